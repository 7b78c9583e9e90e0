"""Cases about anything at the venue; reconciliation apart from balances; what should be there beside what is."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_UP = """
ALTER TABLE cases RENAME TO order_cases;
CREATE TABLE cases (
    case_id BIGINT GENERATED ALWAYS AS IDENTITY,
    account TEXT NOT NULL,
    subject TEXT NOT NULL,
    order_id TEXT,
    code TEXT NOT NULL,
    reason JSONB NOT NULL,
    opened_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    closed_at TIMESTAMP WITH TIME ZONE,
    resolution TEXT,
    PRIMARY KEY (case_id),
    FOREIGN KEY(account, order_id) REFERENCES orders (account, order_id)
);
INSERT INTO cases (account, subject, order_id, code, reason, opened_at)
SELECT account, order_id, order_id, code, reason, opened_at FROM order_cases ORDER BY opened_at;
DROP TABLE order_cases;
CREATE UNIQUE INDEX one_open_case ON cases (account, subject, code) WHERE closed_at IS NULL;
CREATE INDEX cases_by_subject ON cases (account, subject, code);
CREATE INDEX cases_by_number ON cases (account, case_id);

ALTER TABLE account_states RENAME COLUMN reconciled_at TO balances_at;
ALTER TABLE account_states ALTER COLUMN balances_at DROP NOT NULL;
ALTER TABLE account_states ADD COLUMN reconciled_at TIMESTAMP WITH TIME ZONE;

ALTER TABLE balances
    ADD COLUMN expected NUMERIC(38, 18) NOT NULL DEFAULT 0
        CONSTRAINT expected_in_bounds CHECK (expected > -1000000000000000000 AND expected < 1000000000000000000),
    ADD COLUMN expected_at TIMESTAMP WITH TIME ZONE,
    ADD COLUMN difference NUMERIC(38, 18)
        CONSTRAINT difference_in_bounds CHECK (difference > -1000000000000000000 AND difference < 1000000000000000000),
    ADD COLUMN differs_since TIMESTAMP WITH TIME ZONE;
UPDATE balances SET expected = total, expected_at = asked_at;

CREATE INDEX orders_unfinished ON orders (account, number) WHERE NOT (document->>'finalized')::boolean
"""


def upgrade() -> None:
    """Bring the ledger to this version."""
    for statement in _UP.split(";\n"):
        op.execute(statement)
