"""The gate's tables: what each scope holds and works, its admissions, and the versions of the limits."""

from sqlalchemy import BigInteger, Column, Date, DateTime, Identity, Index, Integer, Table, Text

from storage.tables import Document, amount, metadata, signed_amount, time

exposures = Table(
    "exposures",
    metadata,
    Column("scope", Text, primary_key=True),
    Column("symbol", Text, primary_key=True),
    signed_amount("amount"),
    signed_amount("cost"),
    signed_amount("realized_pnl"),
    signed_amount("traded"),
    signed_amount("working_buy"),
    signed_amount("working_sell"),
    signed_amount("buy_notional"),
    signed_amount("sell_notional"),
    Column("open_orders", Integer, nullable=False),
    Column("day", Date, nullable=False),
    amount("day_turnover"),
    time("updated_at"),
)
"""A row per scope and symbol. The scope carries the mode: `paper/account:binanceus`."""

risk_scopes = Table(
    "risk_scopes",
    metadata,
    Column("scope", Text, primary_key=True),
    Column("admitted", BigInteger, nullable=False),
    signed_amount("peak_profit"),
)
"""The lock of a scope with limits, and the number of orders that a rate limit has counted."""

admissions = Table(
    "admissions",
    metadata,
    Column("scope", Text, primary_key=True),
    Column("number", BigInteger, primary_key=True),
    Column("admitted_at", DateTime(timezone=True), nullable=False),
)
"""When the latest orders of a scope with a rate limit were admitted, by the ledger's clock."""

limit_sets = Table(
    "limit_sets",
    metadata,
    Column("version", BigInteger, Identity(always=True), primary_key=True),
    Column("document", Document, nullable=False),
    Column("source", Text, nullable=False),
    Column("digest", Text),
    Column("changed_by", Text, nullable=False),
    Column("because", Text, nullable=False),
    time("changed_at"),
    Index("limit_sets_of_file", "version", postgresql_where="digest IS NOT NULL"),
)
"""Every set of limits that ever held, with who changed what and why. The newest holds."""
