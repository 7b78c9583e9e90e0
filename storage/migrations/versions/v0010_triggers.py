"""Stops that we hold: a quick way to those that wait, and how far each symbol's public trades were looked at."""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_STATEMENTS = (
    """
    CREATE INDEX orders_waiting ON orders (account, number)
    WHERE status = 'INITIALIZED' AND document->>'placement' = 'held' AND document->'triggered' IS NULL
    """,
    """
    CREATE TABLE trigger_marks (
        account TEXT NOT NULL,
        symbol TEXT NOT NULL,
        until TIMESTAMP WITH TIME ZONE NOT NULL,
        listed_at TIMESTAMP WITH TIME ZONE NOT NULL,
        PRIMARY KEY (account, symbol)
    )
    """,
)


def upgrade() -> None:
    """Add the index and the table."""
    for statement in _STATEMENTS:
        op.execute(statement)
