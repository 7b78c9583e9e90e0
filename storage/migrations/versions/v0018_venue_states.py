"""What workers have seen of their venues and feeds, for health, metrics and alerts."""

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table. Rows are written again and again in place: room beside them keeps that cheap."""
    op.execute(
        """
        CREATE TABLE venue_states (
            account TEXT NOT NULL,
            answered_at TIMESTAMP WITH TIME ZONE,
            failed_at TIMESTAMP WITH TIME ZONE,
            error TEXT,
            measured_at TIMESTAMP WITH TIME ZONE,
            latency_ms BIGINT,
            clock_skew_ms BIGINT,
            followed_at TIMESTAMP WITH TIME ZONE,
            told_at TIMESTAMP WITH TIME ZONE NOT NULL,
            told_by TEXT NOT NULL,
            PRIMARY KEY (account)
        ) WITH (fillfactor = 50)
        """
    )
