"""An index that finds orders like another, however many came since; and the commission in what a buy reserves."""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make it as `storage/tables.py` describes it."""
    op.execute(
        """
        CREATE INDEX orders_alike ON orders
            (account, symbol, COALESCE((document->'ticket'->>'price')::numeric, 0), created_at)
        """
    )
    op.execute(
        """
        ALTER TABLE reservations ADD COLUMN fee_rate NUMERIC(38, 18) DEFAULT 0 NOT NULL
            CONSTRAINT fee_rate_in_bounds CHECK (fee_rate >= 0 AND fee_rate < 1e18)
        """
    )
