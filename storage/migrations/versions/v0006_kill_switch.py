"""The kill switch keeps who, why and what it asks for, has a history, and lets closing orders pass; dead-man switches."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_STATEMENTS = (
    """
    CREATE TABLE kill_events (
        event_id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        scope TEXT NOT NULL,
        kind TEXT NOT NULL,
        by TEXT NOT NULL,
        why TEXT NOT NULL,
        numbers JSONB NOT NULL,
        at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT clock_timestamp()
    )
    """,
    """
    ALTER TABLE kill_switches
        ADD COLUMN code TEXT NOT NULL DEFAULT 'MANUAL',
        ADD COLUMN engaged_by TEXT NOT NULL DEFAULT 'unknown',
        ADD COLUMN cancel_orders BOOLEAN NOT NULL DEFAULT false,
        ADD COLUMN flatten BOOLEAN NOT NULL DEFAULT false,
        ADD COLUMN event_id BIGINT REFERENCES kill_events (event_id),
        ADD COLUMN lift_code TEXT,
        ADD COLUMN lift_asked_at TIMESTAMP WITH TIME ZONE,
        ADD COLUMN lift_asked_by TEXT
    """,
    """
    CREATE TRIGGER kill_events_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON kill_events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
    """,
    "UPDATE kill_switches SET scope = 'firm' WHERE scope = 'global'",
    """
    CREATE TABLE kill_sweeps (
        event_id BIGINT NOT NULL REFERENCES kill_events (event_id),
        account TEXT NOT NULL,
        swept_at TIMESTAMP WITH TIME ZONE,
        flattened_at TIMESTAMP WITH TIME ZONE,
        PRIMARY KEY (event_id, account)
    )
    """,
    """
    CREATE TABLE kill_exemptions (
        account TEXT NOT NULL,
        order_id TEXT NOT NULL,
        event_id BIGINT NOT NULL REFERENCES kill_events (event_id),
        symbol TEXT NOT NULL,
        exempted_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (account, order_id)
    )
    """,
    "CREATE INDEX kill_exemptions_by_event ON kill_exemptions (event_id, account)",
    """
    CREATE TABLE deadman_switches (
        scope TEXT NOT NULL PRIMARY KEY,
        timeout_s INTEGER NOT NULL,
        stop_admission BOOLEAN NOT NULL,
        armed_by TEXT NOT NULL,
        armed_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT clock_timestamp(),
        beat_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT clock_timestamp(),
        fired_at TIMESTAMP WITH TIME ZONE
    )
    """,
)


def upgrade() -> None:
    """Widen the switches, name the whole firm as limits do, and add history, sweeps, exemptions and dead-man switches."""
    for statement in _STATEMENTS:
        op.execute(statement)
