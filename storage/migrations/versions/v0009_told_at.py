"""A word on the balances is of a moment between its question and its answer: both are kept."""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Keep when the answer was there; of words from before this it is not known, and they are replaced soon."""
    op.execute("ALTER TABLE balances ADD COLUMN told_at TIMESTAMP WITH TIME ZONE")
