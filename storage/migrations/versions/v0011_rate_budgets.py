"""Budgets of requests that a fleet shares, and the pauses that a venue asked for."""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_TABLES = """
CREATE TABLE rate_budgets (
    account TEXT NOT NULL,
    budget TEXT NOT NULL,
    whole BIGINT NOT NULL,
    window_ms BIGINT NOT NULL,
    document JSONB NOT NULL,
    PRIMARY KEY (account, budget)
) WITH (fillfactor = 50);

CREATE TABLE rate_pauses (
    account TEXT NOT NULL,
    paused_until TIMESTAMP WITH TIME ZONE NOT NULL,
    why TEXT NOT NULL,
    told_by TEXT NOT NULL,
    PRIMARY KEY (account)
)
"""


def upgrade() -> None:
    """Make the tables. Rows are written again and again in place: room beside them keeps that cheap."""
    for statement in _TABLES.split(";\n"):
        op.execute(statement)
