"""Tables of the kill switch and the dead-man switch: what is on, what happened, and what may pass all the same."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Table,
    Text,
    text,
)

from storage.tables import Document, metadata

_NOW = text("clock_timestamp()")

kill_events = Table(
    "kill_events",
    metadata,
    Column("event_id", BigInteger, Identity(always=True), primary_key=True),
    Column("scope", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("numbers", Document, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False, server_default=_NOW),
)

kill_switches = Table(
    "kill_switches",
    metadata,
    Column("scope", Text, primary_key=True),
    Column("reason", Text, nullable=False),
    Column("engaged_at", DateTime(timezone=True), nullable=False, server_default=_NOW),
    Column("code", Text, nullable=False, server_default="MANUAL"),
    Column("engaged_by", Text, nullable=False, server_default="unknown"),
    Column("cancel_orders", Boolean, nullable=False, server_default=text("false")),
    Column("flatten", Boolean, nullable=False, server_default=text("false")),
    Column("event_id", BigInteger, ForeignKey("kill_events.event_id")),
    Column("lift_code", Text),
    Column("lift_asked_at", DateTime(timezone=True)),
    Column("lift_asked_by", Text),
)

kill_sweeps = Table(
    "kill_sweeps",
    metadata,
    Column("event_id", BigInteger, ForeignKey("kill_events.event_id"), primary_key=True),
    Column("account", Text, primary_key=True),
    Column("swept_at", DateTime(timezone=True)),
    Column("flattened_at", DateTime(timezone=True)),
)
"""How far an account has come with what an event asks."""

kill_exemptions = Table(
    "kill_exemptions",
    metadata,
    Column("account", Text, primary_key=True),
    Column("order_id", Text, primary_key=True),
    Column("event_id", BigInteger, ForeignKey("kill_events.event_id"), nullable=False),
    Column("symbol", Text, nullable=False),
    Column("exempted_at", DateTime(timezone=True), nullable=False, server_default=_NOW),
    Index("kill_exemptions_by_event", "event_id", "account"),
)
"""Orders that close a position though a switch is on. Only the sweep writes here, before it places them."""

deadman_switches = Table(
    "deadman_switches",
    metadata,
    Column("scope", Text, primary_key=True),
    Column("timeout_s", Integer, nullable=False),
    Column("stop_admission", Boolean, nullable=False),
    Column("armed_by", Text, nullable=False),
    Column("armed_at", DateTime(timezone=True), nullable=False, server_default=_NOW),
    Column("beat_at", DateTime(timezone=True), nullable=False, server_default=_NOW),
    Column("fired_at", DateTime(timezone=True)),
)
