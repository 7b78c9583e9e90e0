"""The ledger's tables: columns only. Amounts are NUMERIC(38,18) with an upper bound: NaN is above every number."""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ColumnElement,
    DateTime,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    MetaData,
    Numeric,
    Table,
    Text,
    UniqueConstraint,
    cast,
    text,
)
from sqlalchemy.types import UserDefinedType

metadata = MetaData()

_UPPER_BOUND = "1e18"


class Document(UserDefinedType[str]):
    """JSONB that is written and read as JSON text: pydantic makes and reads that text itself, in one step."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """Return the name of the type in SQL."""
        return "JSONB"

    def column_expression(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        """Read it as text, past SQLAlchemy's codec, which would parse it."""
        return cast(column, Text)


def amount(name: str, *, nullable: bool = False, default: str | None = None) -> Column[object]:
    """Return a column of zero or more."""
    check = CheckConstraint(f"{name} >= 0 AND {name} < {_UPPER_BOUND}", name=f"{name}_in_bounds")
    return Column(name, Numeric(38, 18), check, nullable=nullable, server_default=default)


def signed_amount(name: str, *, nullable: bool = False, default: str | None = None) -> Column[object]:
    """Return a column of any sign."""
    check = CheckConstraint(f"{name} > -{_UPPER_BOUND} AND {name} < {_UPPER_BOUND}", name=f"{name}_in_bounds")
    return Column(name, Numeric(38, 18), check, nullable=nullable, server_default=default)


def time(name: str, *, nullable: bool = False) -> Column[object]:
    """Return a column of UTC times."""
    return Column(name, DateTime(timezone=True), nullable=nullable)


orders = Table(
    "orders",
    metadata,
    Column("account", Text, primary_key=True),
    Column("order_id", Text, primary_key=True),
    Column("number", BigInteger, nullable=False, server_default=text("nextval('order_number')")),
    Column("idempotency_key", Text),
    Column("fingerprint", Text, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("is_open", Boolean, nullable=False),
    Column("is_at_venue", Boolean, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("notify_seq", Integer, nullable=False, server_default="0"),
    Column("notified_seq", Integer, nullable=False, server_default="0"),
    amount("quantity"),
    amount("cum_qty"),
    Column("document", Document, nullable=False),
    time("created_at"),
    time("updated_at"),
    UniqueConstraint("account", "idempotency_key", name="one_order_per_key"),
    Index("orders_by_number", "account", "number"),
    Index("orders_open", "account", "number", postgresql_where=text("is_open")),
    Index("orders_at_venue", "account", postgresql_where=text("is_at_venue")),
    Index("orders_by_symbol", "account", "symbol", "number"),
    Index(
        "orders_alike",
        "account",
        "symbol",
        text("COALESCE(((document -> 'ticket'::text) ->> 'price'::text)::numeric, 0::numeric)"),
        "created_at",
    ),
    Index("orders_unfinished", "account", "number", postgresql_where=text("NOT (document->>'finalized')::boolean")),
    Index("orders_ended_short", "account", "updated_at", postgresql_where=text("status IN ('CANCELED', 'EXPIRED')")),
    Index(
        "orders_waiting",
        "account",
        "number",
        postgresql_where=text(
            "status = 'INITIALIZED' AND document->>'placement' = 'held' AND document->'triggered' IS NULL"
        ),
    ),
    Index("orders_to_notify", "account", "number", postgresql_where=text("notify_seq > notified_seq")),
)

order_events = Table(
    "order_events",
    metadata,
    Column("account", Text, primary_key=True),
    Column("order_id", Text, primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("event_type", Text, nullable=False),
    Column("document", Document, nullable=False),
    Column("evidence", Document),
    Column("recorded_at", DateTime(timezone=True), nullable=False, server_default=text("clock_timestamp()")),
    ForeignKeyConstraint(["account", "order_id"], ["orders.account", "orders.order_id"]),
)

attempts = Table(
    "attempts",
    metadata,
    Column("account", Text, primary_key=True),
    Column("order_id", Text, primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("client_order_id", Text, nullable=False),
    Column("venue_order_id", Text),
    Column("token", Text, nullable=False, unique=True),
    Column("state", Text, nullable=False),
    Column("worker", Text, nullable=False),
    Column("submission", Document, nullable=False),
    Column("outcome", Document),
    time("signed_at"),
    time("left_at", nullable=True),
    ForeignKeyConstraint(["account", "order_id"], ["orders.account", "orders.order_id"]),
    UniqueConstraint("account", "client_order_id", name="one_attempt_per_client_order_id"),
    CheckConstraint("state IN ('SENDING', 'LEFT', 'VOID', 'CLOSED')", name="state_is_known"),
)

fills = Table(
    "fills",
    metadata,
    Column("account", Text, primary_key=True),
    Column("symbol", Text, primary_key=True),
    Column("venue_order_id", Text, primary_key=True),
    Column("trade_id", Text, primary_key=True),
    Column("order_id", Text, nullable=False),
    amount("last_qty"),
    amount("last_px"),
    signed_amount("commission", nullable=True),
    Column("commission_asset", Text),
    Column("liquidity_side", Text),
    time("ts_event"),
    Column("recorded_at", DateTime(timezone=True), nullable=False, server_default=text("clock_timestamp()")),
    ForeignKeyConstraint(["account", "order_id"], ["orders.account", "orders.order_id"]),
    Index("fills_by_order", "account", "order_id"),
)

balances = Table(
    "balances",
    metadata,
    Column("account", Text, primary_key=True),
    Column("asset", Text, primary_key=True),
    amount("free"),
    amount("used"),
    amount("total"),
    amount("reserved"),
    time("asked_at"),
    time("told_at", nullable=True),
    time("moved_at", nullable=True),
    signed_amount("expected", default="0"),
    time("expected_at", nullable=True),
    signed_amount("difference", nullable=True),
    time("differs_since", nullable=True),
)

reservations = Table(
    "reservations",
    metadata,
    Column("account", Text, primary_key=True),
    Column("order_id", Text, primary_key=True),
    Column("asset", Text, nullable=False),
    amount("amount"),
    amount("unit_amount"),
    amount("fee_rate", default="0"),
    amount("unit_price", nullable=True),
    amount("working", default="0"),
    amount("working_notional", default="0"),
    Column("counted", Boolean, nullable=False, server_default=text("false")),
    ForeignKeyConstraint(["account", "order_id"], ["orders.account", "orders.order_id"]),
)

account_states = Table(
    "account_states",
    metadata,
    Column("account", Text, primary_key=True),
    time("balances_at", nullable=True),
    time("reconciled_at", nullable=True),
    Column("beat", BigInteger, nullable=False, server_default="0"),
    time("verified_start", nullable=True),
    time("beat_at", nullable=True),
    time("served_since", nullable=True),
)

trigger_marks = Table(
    "trigger_marks",
    metadata,
    Column("account", Text, primary_key=True),
    Column("symbol", Text, primary_key=True),
    time("until"),
    time("listed_at"),
)

cases = Table(
    "cases",
    metadata,
    Column("case_id", BigInteger, Identity(always=True), primary_key=True),
    Column("account", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("order_id", Text),
    Column("code", Text, nullable=False),
    Column("reason", Document, nullable=False),
    Column("opened_at", DateTime(timezone=True), nullable=False, server_default=text("clock_timestamp()")),
    time("closed_at", nullable=True),
    Column("resolution", Text),
    ForeignKeyConstraint(["account", "order_id"], ["orders.account", "orders.order_id"]),
    Index("one_open_case", "account", "subject", "code", unique=True, postgresql_where=text("closed_at IS NULL")),
    Index("cases_by_subject", "account", "subject", "code"),
    Index("cases_by_number", "account", "case_id"),
)
