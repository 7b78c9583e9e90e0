"""Alerts: what people are told, by which channel, and what is still to be told."""

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_STATEMENTS = (
    """
    CREATE TABLE alerts (
        alert_id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        code TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        account TEXT,
        order_id TEXT,
        summary TEXT NOT NULL,
        started_at TIMESTAMP WITH TIME ZONE NOT NULL,
        resolved_at TIMESTAMP WITH TIME ZONE,
        resolution TEXT
    )
    """,
    "CREATE UNIQUE INDEX one_open_alert ON alerts (code, fingerprint) WHERE resolved_at IS NULL",
    "CREATE INDEX alerts_by_fingerprint ON alerts (code, fingerprint)",
    """
    CREATE TABLE alert_deliveries (
        alert_id BIGINT NOT NULL REFERENCES alerts (alert_id),
        state TEXT NOT NULL,
        channel TEXT NOT NULL,
        queued_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT clock_timestamp(),
        next_try_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT clock_timestamp(),
        attempts INTEGER NOT NULL DEFAULT 0,
        delivered_at TIMESTAMP WITH TIME ZONE,
        given_up_at TIMESTAMP WITH TIME ZONE,
        last_error TEXT,
        PRIMARY KEY (alert_id, state, channel)
    )
    """,
    "CREATE INDEX alert_deliveries_due ON alert_deliveries (channel, next_try_at) "
    "WHERE delivered_at IS NULL AND given_up_at IS NULL",
    """
    CREATE TABLE alert_watches (
        single BOOLEAN PRIMARY KEY DEFAULT true CHECK (single),
        holder TEXT NOT NULL,
        held_until TIMESTAMP WITH TIME ZONE NOT NULL,
        held_since TIMESTAMP WITH TIME ZONE NOT NULL,
        watched_at TIMESTAMP WITH TIME ZONE
    )
    """,
)


def upgrade() -> None:
    """Add the tables of the notifier."""
    for statement in _STATEMENTS:
        op.execute(statement)
