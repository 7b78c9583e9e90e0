"""The table of execution quality: a row an order, made from the ledger's facts and made anew whenever they change."""

from sqlalchemy import BigInteger, Column, Index, Integer, Table, Text, text

from domain.performance import STAGES
from storage.accounting_tables import equity_snapshots, marks
from storage.tables import amount, metadata, orders, signed_amount, time

performance = Table(
    "performance",
    metadata,
    Column("account", Text, primary_key=True),
    Column("order_id", Text, primary_key=True),
    Column("placed_at", time("placed_at").type, primary_key=True),
    Column("mode", Text, nullable=False),
    Column("venue", Text, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("side", Text, nullable=False),
    Column("order_type", Text, nullable=False),
    Column("strategy", Text),
    Column("status", Text, nullable=False),
    Column("seq", Integer, nullable=False),
    amount("quantity"),
    amount("cum_qty"),
    amount("fill_ratio", nullable=True),
    Column("fills", Integer, nullable=False),
    amount("arrival_price", nullable=True),
    Column("arrival_source", Text),
    signed_amount("arrival_spread_bps", nullable=True),
    amount("avg_px", nullable=True),
    amount("mid_price", nullable=True),
    amount("notional", nullable=True),
    amount("arrival_notional", nullable=True),
    amount("ordered_notional", nullable=True),
    signed_amount("slippage_bps", nullable=True),
    signed_amount("mid_slippage_bps", nullable=True),
    signed_amount("fees_value", nullable=True),
    signed_amount("execution_cost", nullable=True),
    signed_amount("opportunity_cost", nullable=True),
    signed_amount("shortfall", nullable=True),
    signed_amount("shortfall_bps", nullable=True),
    time("first_fill_at", nullable=True),
    time("last_fill_at", nullable=True),
    time("ended_at", nullable=True),
    *(Column(f"{stage}_us", BigInteger) for stage in STAGES),
    time("order_updated_at"),
    time("measured_at"),
    Index("performance_by_time", "account", "placed_at"),
    Index("performance_by_update", "account", "order_updated_at"),
)
"""Nothing refers to it, and it can be made again: so it may be a hypertable, with the time in its key (decision 0015).

`arrival_notional` is what was filled, and `ordered_notional` what was asked for, each at the arrival price.
"""

Index("performance_old", performance.c.placed_at, postgresql_using="brin")
Index("marks_old", marks.c.minute, postgresql_using="brin")
Index("equity_old", equity_snapshots.c.taken_at, postgresql_using="brin")
Index(
    "orders_ended",
    orders.c.account,
    orders.c.updated_at,
    postgresql_where=text("NOT is_open AND status <> 'DENIED'"),
)
"""What is to be measured, and what is to be thinned."""
