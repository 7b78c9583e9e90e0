"""The paper venue's tables. Rows hold a key and a document; balances are columns, so that the database can hold them
to their bounds."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKeyConstraint,
    Index,
    Numeric,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from storage.tables import metadata

paper_accounts = Table(
    "paper_accounts",
    metadata,
    Column("account", Text, primary_key=True),
    Column("opened_at", DateTime(timezone=True), nullable=False),
)
"""One row per account: whoever changes anything of the account locks it first."""

paper_balances = Table(
    "paper_balances",
    metadata,
    Column("account", Text, primary_key=True),
    Column("asset", Text, primary_key=True),
    Column("used", Numeric(38, 18), nullable=False),
    Column("total", Numeric(38, 18), nullable=False),
    CheckConstraint("used >= 0 AND used <= total AND total < 1000000000000000000", name="paper_balance_in_bounds"),
    ForeignKeyConstraint(["account"], ["paper_accounts.account"]),
)

paper_desks = Table(
    "paper_desks",
    metadata,
    Column("account", Text, primary_key=True),
    Column("symbol", Text, primary_key=True),
    Column("document", JSONB, nullable=False),
    ForeignKeyConstraint(["account"], ["paper_accounts.account"]),
)
"""The last order and trade numbers of a symbol, and what was taken of the public book."""

paper_orders = Table(
    "paper_orders",
    metadata,
    Column("account", Text, primary_key=True),
    Column("symbol", Text, primary_key=True),
    Column("venue_order_id", BigInteger, primary_key=True, autoincrement=False),
    Column("client_order_id", Text, nullable=False),
    Column("is_open", Boolean, nullable=False),
    Column("document", JSONB, nullable=False),
    ForeignKeyConstraint(["account"], ["paper_accounts.account"]),
    UniqueConstraint("account", "client_order_id", name="one_paper_order_per_client_order_id"),
    Index("paper_orders_open", "account", "symbol", "venue_order_id", postgresql_where=text("is_open")),
)

paper_fills = Table(
    "paper_fills",
    metadata,
    Column("account", Text, primary_key=True),
    Column("symbol", Text, primary_key=True),
    Column("trade_id", BigInteger, primary_key=True, autoincrement=False),
    Column("venue_order_id", BigInteger, nullable=False),
    Column("ts_event", DateTime(timezone=True), nullable=False),
    Column("document", JSONB, nullable=False),
    ForeignKeyConstraint(
        ["account", "symbol", "venue_order_id"],
        ["paper_orders.account", "paper_orders.symbol", "paper_orders.venue_order_id"],
    ),
    Index("paper_fills_by_time", "account", "symbol", "ts_event"),
    Index("paper_fills_by_order", "account", "symbol", "venue_order_id"),
)

paper_absences = Table(
    "paper_absences",
    metadata,
    Column("account", Text, primary_key=True),
    Column("client_order_id", Text, primary_key=True),
    Column("answered_at", DateTime(timezone=True), nullable=False),
    ForeignKeyConstraint(["account"], ["paper_accounts.account"]),
)
"""Client order ids that somebody was told the book does not have. They can never be placed."""
