"""Histories of closed workflows, kept after Temporal has forgotten them."""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_TABLES = """
CREATE TABLE archived_histories (
    account TEXT NOT NULL,
    workflow_id TEXT NOT NULL,
    run_id TEXT NOT NULL,
    workflow_type TEXT NOT NULL,
    order_id TEXT,
    ending TEXT NOT NULL,
    events INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    closed_at TIMESTAMP WITH TIME ZONE NOT NULL,
    location TEXT,
    packed BYTEA,
    archived_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    PRIMARY KEY (account, workflow_id, run_id),
    CONSTRAINT is_kept_in_one_place CHECK ((location IS NULL) <> (packed IS NULL))
);

ALTER TABLE archived_histories ALTER COLUMN packed SET STORAGE EXTERNAL;

CREATE INDEX archived_histories_by_order ON archived_histories (account, order_id);

CREATE INDEX archived_histories_by_end ON archived_histories (closed_at, run_id);

CREATE TABLE archive_due (
    account TEXT NOT NULL,
    workflow_id TEXT NOT NULL,
    order_id TEXT,
    standing BOOLEAN DEFAULT false NOT NULL,
    changes INTEGER DEFAULT 0 NOT NULL,
    since TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    next_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    gone_at TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (account, workflow_id)
);

CREATE INDEX archive_due_next ON archive_due (next_at) WHERE gone_at IS NULL;

INSERT INTO archive_due (account, workflow_id, order_id)
    SELECT account, 'order-' || account || '-' || order_id, order_id FROM orders
    WHERE (document->>'finalized')::boolean
"""
_FUNCTION = """
CREATE FUNCTION owe_history() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO archive_due AS due (account, workflow_id, order_id, next_at)
    VALUES (NEW.account, 'order-' || NEW.account || '-' || NEW.order_id, NEW.order_id,
        clock_timestamp() + interval '1 second')
    ON CONFLICT (account, workflow_id) DO UPDATE SET changes = due.changes + 1;
    RETURN NULL;
END $$
"""
_TRIGGER = """
CREATE TRIGGER {name} AFTER {moment} ON orders
    FOR EACH ROW WHEN ((NEW.document->>'finalized')::boolean) EXECUTE FUNCTION owe_history()
"""


def upgrade() -> None:
    """Make the tables; every order that has ended before owes its history as well."""
    for statement in _TABLES.split(";\n"):
        op.execute(statement)
    op.execute(_FUNCTION)
    op.execute(_TRIGGER.format(name="owe_history_of_ended", moment="UPDATE OF document"))
    op.execute(_TRIGGER.format(name="owe_history_of_restored", moment="INSERT"))
