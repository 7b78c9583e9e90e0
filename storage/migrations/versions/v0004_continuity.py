"""A ledger that came back from a copy is known by its beat, and not written to before it was compared."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Count the feed's rounds, and keep under which start of the server they were found in order."""
    op.execute(
        "ALTER TABLE account_states ADD COLUMN beat BIGINT NOT NULL DEFAULT 0,"
        " ADD COLUMN verified_start TIMESTAMP WITH TIME ZONE, ADD COLUMN beat_at TIMESTAMP WITH TIME ZONE,"
        " ADD COLUMN served_since TIMESTAMP WITH TIME ZONE"
    )
    op.execute(
        "CREATE INDEX orders_ended_short ON orders (account, updated_at) WHERE status IN ('CANCELED', 'EXPIRED')"
    )
