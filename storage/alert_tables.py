"""Alerts, what is still to be told of them, and whose turn it is to watch."""

from sqlalchemy import BigInteger, Boolean, Column, DateTime, ForeignKey, Identity, Index, Integer, Table, Text, text

from storage.tables import metadata

alerts = Table(
    "alerts",
    metadata,
    Column("alert_id", BigInteger, Identity(always=True), primary_key=True),
    Column("code", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("account", Text),
    Column("order_id", Text),
    Column("summary", Text, nullable=False),
    Column("started_at", DateTime(timezone=True), nullable=False),
    Column("resolved_at", DateTime(timezone=True)),
    Column("resolution", Text),
    Index("one_open_alert", "code", "fingerprint", unique=True, postgresql_where=text("resolved_at IS NULL")),
    Index("alerts_by_fingerprint", "code", "fingerprint"),
)

alert_deliveries = Table(
    "alert_deliveries",
    metadata,
    Column("alert_id", BigInteger, ForeignKey("alerts.alert_id"), primary_key=True),
    Column("state", Text, primary_key=True),
    Column("channel", Text, primary_key=True),
    Column("queued_at", DateTime(timezone=True), nullable=False, server_default=text("clock_timestamp()")),
    Column("next_try_at", DateTime(timezone=True), nullable=False, server_default=text("clock_timestamp()")),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("delivered_at", DateTime(timezone=True)),
    Column("given_up_at", DateTime(timezone=True)),
    Column("last_error", Text),
    Index(
        "alert_deliveries_due", "channel", "next_try_at",
        postgresql_where=text("delivered_at IS NULL AND given_up_at IS NULL"),
    ),
)  # fmt: skip

alert_watches = Table(
    "alert_watches",
    metadata,
    Column("single", Boolean, primary_key=True, server_default=text("true")),
    Column("holder", Text, nullable=False),
    Column("held_until", DateTime(timezone=True), nullable=False),
    Column("held_since", DateTime(timezone=True), nullable=False),
    Column("watched_at", DateTime(timezone=True)),
)
"""One row. `watched_at`: what was over before it has been told already, or is old news."""

__all__ = ["alert_deliveries", "alert_watches", "alerts"]
