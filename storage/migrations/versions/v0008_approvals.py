"""Approvals: which order a person was asked about and why, until when, and who answered what."""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_STATEMENTS = (
    """
    CREATE TABLE approvals (
        approval_id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        account TEXT NOT NULL,
        order_id TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        reason JSONB NOT NULL,
        asked_by TEXT,
        asked_at TIMESTAMP WITH TIME ZONE NOT NULL,
        expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
        decision TEXT,
        decided_by TEXT,
        decided_at TIMESTAMP WITH TIME ZONE,
        because TEXT,
        CONSTRAINT one_approval_per_order UNIQUE (account, order_id),
        FOREIGN KEY (account, order_id) REFERENCES orders (account, order_id)
    )
    """,
    "CREATE INDEX approvals_by_number ON approvals (account, approval_id)",
    "CREATE INDEX approvals_open ON approvals (account, approval_id) WHERE decision IS NULL",
)


def upgrade() -> None:
    """Add the table of approvals."""
    for statement in _STATEMENTS:
        op.execute(statement)
