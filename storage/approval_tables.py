"""The table of approvals: one row for each order that a person was asked about, kept for ever."""

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    ForeignKeyConstraint,
    Identity,
    Index,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from storage.tables import Document, metadata

approvals = Table(
    "approvals",
    metadata,
    Column("approval_id", BigInteger, Identity(always=True), primary_key=True),
    Column("account", Text, nullable=False),
    Column("order_id", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("reason", Document, nullable=False),
    Column("asked_by", Text),
    Column("asked_at", DateTime(timezone=True), nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("decision", Text),
    Column("decided_by", Text),
    Column("decided_at", DateTime(timezone=True)),
    Column("because", Text),
    ForeignKeyConstraint(["account", "order_id"], ["orders.account", "orders.order_id"]),
    UniqueConstraint("account", "order_id", name="one_approval_per_order"),
    Index("approvals_by_number", "account", "approval_id"),
    Index("approvals_open", "account", "approval_id", postgresql_where=text("decision IS NULL")),
)
"""`decision` is `NULL` while it is open. The order's row is locked before its approval's is read or written."""

__all__ = ["approvals"]
