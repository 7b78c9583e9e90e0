"""The accounting's tables: marks of the market, what fees were worth, equity over time, and what fills realized."""

from sqlalchemy import Boolean, Column, Date, DateTime, ForeignKeyConstraint, Index, Table, Text, text

from storage.tables import amount, fills, metadata, signed_amount, time

marks = Table(
    "marks",
    metadata,
    Column("mode", Text, primary_key=True),
    Column("symbol", Text, primary_key=True),
    Column("minute", DateTime(timezone=True), primary_key=True),
    Column("account", Text, primary_key=True),
    amount("bid", nullable=True),
    amount("ask", nullable=True),
    amount("last", nullable=True),
    time("asked_at"),
)
"""The market of a symbol as an account's venue told it, the last word of each minute. Only symbols that are needed."""

fee_prices = Table(
    "fee_prices",
    metadata,
    Column("account", Text, primary_key=True),
    Column("symbol", Text, primary_key=True),
    Column("venue_order_id", Text, primary_key=True),
    Column("trade_id", Text, primary_key=True),
    Column("asset", Text, nullable=False),
    amount("price"),
    time("marked_at"),
    ForeignKeyConstraint(
        ["account", "symbol", "venue_order_id", "trade_id"],
        ["fills.account", "fills.symbol", "fills.venue_order_id", "fills.trade_id"],
    ),
)
"""What a unit of a third commission asset was worth at the trade's time, in the symbol's quote; no row: not known."""

equity_snapshots = Table(
    "equity_snapshots",
    metadata,
    Column("account", Text, primary_key=True),
    Column("mode", Text, primary_key=True),
    Column("taken_at", DateTime(timezone=True), primary_key=True),
    Column("currency", Text, nullable=False),
    signed_amount("equity", nullable=True),
    signed_amount("realized", nullable=True),
    signed_amount("unrealized", nullable=True),
    Column("unpriced", Text, nullable=False),
)
"""What an account was worth, once a minute. NULL is not known; `unpriced` names the assets, with commas between."""

realizations = Table(
    "realizations",
    metadata,
    Column("scope", Text, primary_key=True),
    Column("at", DateTime(timezone=True), primary_key=True),
    Column("account", Text, primary_key=True),
    Column("symbol", Text, primary_key=True),
    Column("venue_order_id", Text, primary_key=True),
    Column("trade_id", Text, primary_key=True),
    Column("order_id", Text, nullable=False),
    signed_amount("realized"),
    Column("by_stop", Boolean, nullable=False),
)
"""A row per scope and fill that realized something, in the symbol's quote asset; `at` is when it was recorded.

The key begins with scope and time, for that is how limits look back.
"""

realized_days = Table(
    "realized_days",
    metadata,
    Column("scope", Text, primary_key=True),
    Column("day", Date, primary_key=True),
    Column("symbol", Text, primary_key=True),
    signed_amount("realized"),
)
"""Their sums by day, UTC: what a limit on the day's loss reads, however many fills there were."""

Index(
    "fills_with_third_fee",
    fills.c.account,
    fills.c.recorded_at,
    postgresql_where=text(
        "commission <> 0 AND commission_asset <> split_part(symbol, '/', 1)"
        " AND commission_asset <> split_part(symbol, '/', 2)"
    ),
)
Index("fills_by_time", fills.c.account, fills.c.symbol, fills.c.ts_event)
