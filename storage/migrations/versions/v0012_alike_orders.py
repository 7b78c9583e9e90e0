"""An index that finds an order like another among the latest ones, however many orders came since."""

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
