"""Keys of the REST interface: who may do what, who made each, and who revoked it."""

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_STATEMENTS = (
    """
    CREATE TABLE api_keys (
        key_id TEXT PRIMARY KEY,
        name TEXT NOT NULL,
        digest BYTEA NOT NULL CHECK (length(digest) = 32),
        scopes TEXT[] NOT NULL CHECK (cardinality(scopes) > 0),
        accounts TEXT[],
        created_by TEXT NOT NULL,
        created_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT clock_timestamp(),
        expires_at TIMESTAMP WITH TIME ZONE,
        revoked_by TEXT,
        revoked_at TIMESTAMP WITH TIME ZONE,
        revoked_because TEXT
    )
    """,
    "CREATE INDEX api_keys_usable ON api_keys (name) WHERE revoked_at IS NULL",
    """
    CREATE FUNCTION keep_api_keys() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP <> 'UPDATE' THEN
            RAISE EXCEPTION 'API keys are revoked, never deleted' USING ERRCODE = 'restrict_violation';
        END IF;
        IF OLD.revoked_at IS NOT NULL OR NEW.revoked_at IS NULL OR NEW.revoked_by IS NULL
           OR (NEW.key_id, NEW.name, NEW.digest, NEW.scopes, NEW.created_by, NEW.created_at)
               IS DISTINCT FROM (OLD.key_id, OLD.name, OLD.digest, OLD.scopes, OLD.created_by, OLD.created_at)
           OR NEW.accounts IS DISTINCT FROM OLD.accounts OR NEW.expires_at IS DISTINCT FROM OLD.expires_at THEN
            RAISE EXCEPTION 'an API key changes once, when it is revoked' USING ERRCODE = 'restrict_violation';
        END IF;
        RETURN NEW;
    END $$
    """,
    """
    CREATE TRIGGER api_keys_kept BEFORE UPDATE OR DELETE ON api_keys
    FOR EACH ROW EXECUTE FUNCTION keep_api_keys()
    """,
    """
    CREATE TRIGGER api_keys_not_emptied BEFORE TRUNCATE ON api_keys
    FOR EACH STATEMENT EXECUTE FUNCTION keep_api_keys()
    """,
    # The audit log has who made and revoked each; not the digest.
    """
    CREATE TRIGGER api_keys_audited AFTER INSERT OR UPDATE OR DELETE ON api_keys
    FOR EACH ROW EXECUTE FUNCTION audit_row('key', 'key_id', 'revoked_by,created_by', 'digest')
    """,
)


def upgrade() -> None:
    """Add the table, whose rows change once and are never deleted."""
    for statement in _STATEMENTS:
        op.execute(statement)
