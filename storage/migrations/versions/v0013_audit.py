"""The audit log: every fact of the ledger once more, chained by hash by the database, and checkpoints over all chains.

The canonical form that is hashed is written down in `domain/audit.py`, which computes it without the database.
"""

from alembic import op

revision = "0013"
down_revision = "0015"
branch_labels = None
depends_on = None

_TABLES = (
    "CREATE SEQUENCE audit_entry",
    """
    CREATE TABLE audit_events (
        entry_id BIGINT NOT NULL PRIMARY KEY,
        chain TEXT NOT NULL,
        seq INTEGER NOT NULL,
        action TEXT NOT NULL,
        actor TEXT NOT NULL,
        writer TEXT NOT NULL,
        record JSONB NOT NULL,
        evidence JSONB,
        recorded_at TIMESTAMP WITH TIME ZONE NOT NULL,
        prev_hash BYTEA NOT NULL,
        hash BYTEA NOT NULL,
        CONSTRAINT one_entry_per_place UNIQUE (chain, seq)
    )
    """,
    "CREATE TABLE audit_bodies (hash BYTEA NOT NULL PRIMARY KEY, body TEXT NOT NULL)",
    """
    CREATE TABLE audit_checkpoints (
        number BIGINT NOT NULL PRIMARY KEY,
        upto BIGINT NOT NULL,
        entries BIGINT NOT NULL,
        chains BIGINT NOT NULL,
        root BYTEA NOT NULL,
        made_by TEXT NOT NULL,
        made_at TIMESTAMP WITH TIME ZONE NOT NULL,
        prev_hash BYTEA NOT NULL,
        hash BYTEA NOT NULL
    )
    """,
    """
    CREATE TABLE audit_heads (
        number BIGINT NOT NULL REFERENCES audit_checkpoints (number),
        chain TEXT NOT NULL,
        seq INTEGER NOT NULL,
        entry_id BIGINT NOT NULL,
        hash BYTEA NOT NULL,
        PRIMARY KEY (number, chain)
    )
    """,
)

_FUNCTIONS = (
    # A field is its length in bytes and its text, so that no two rows have the same form.
    """
    CREATE FUNCTION audit_field(value TEXT) RETURNS TEXT LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN coalesce(octet_length(value) || ':' || value, '-') || ','
    """,
    # The transaction has its number before it draws the entry's: a checkpoint relies on it. Who gives no place in the
    # chain is one of many that may append to it at once, and waits for its turn; an order's facts have theirs. A plan
    # that was made while the table was empty is kept by the connection: it must be the index's.
    """
    CREATE FUNCTION audit_chain() RETURNS trigger LANGUAGE plpgsql
    SET enable_seqscan = off SET enable_bitmapscan = off AS $$
    DECLARE
        last_seq INTEGER;
        last_hash BYTEA;
    BEGIN
        IF NEW.seq IS NULL THEN
            PERFORM pg_advisory_xact_lock(hashtextextended(NEW.chain, 0));
        END IF;
        SELECT seq, hash INTO last_seq, last_hash FROM audit_events
        WHERE chain = NEW.chain ORDER BY chain DESC, seq DESC LIMIT 1;
        NEW.entry_id := CASE WHEN pg_current_xact_id() IS NOT NULL THEN nextval('audit_entry') END;
        NEW.seq := coalesce(NEW.seq, last_seq + 1, 1);
        NEW.writer := current_setting('application_name');
        NEW.actor := coalesce(NEW.actor, NEW.writer);
        NEW.recorded_at := coalesce(NEW.recorded_at, clock_timestamp());
        NEW.prev_hash := coalesce(last_hash, decode(repeat('00', 32), 'hex'));
        NEW.hash := sha256(convert_to(
            audit_field(NEW.entry_id::text) || audit_field(NEW.chain) || audit_field(NEW.seq::text)
            || audit_field(NEW.action) || audit_field(NEW.actor) || audit_field(NEW.writer)
            || audit_field(NEW.record::text) || audit_field(NEW.evidence::text)
            || audit_field((extract(epoch FROM NEW.recorded_at) * 1000000)::bigint::text)
            || audit_field(encode(NEW.prev_hash, 'hex')), 'UTF8'));
        RETURN NEW;
    END $$
    """,
    # What was asked for, by whom: of the order's row, this never changes.
    """
    CREATE FUNCTION audit_intent(document JSONB) RETURNS JSONB LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN jsonb_build_object('exchange', document->'exchange', 'mode', document->'mode', 'ticket', document->'ticket',
        'requested_by', document->'requested_by', 'idempotency_key', document->'idempotency_key')
    """,
    """
    CREATE FUNCTION audit_order_event() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        intent JSONB;
        told JSONB := NEW.document;
    BEGIN
        IF NEW.seq = 1 THEN
            SELECT audit_intent(document) INTO intent FROM orders
            WHERE account = NEW.account AND order_id = NEW.order_id;
            told := told || jsonb_build_object('order', intent);
        END IF;
        INSERT INTO audit_events (chain, seq, action, actor, record, evidence, recorded_at)
        VALUES ('order:' || NEW.account || '/' || NEW.order_id, NEW.seq, NEW.event_type,
            coalesce(NEW.document->>'requested_by', intent->>'requested_by'), told, NEW.evidence, NEW.recorded_at);
        RETURN NULL;
    END $$
    """,
    # For tables that see few rows. Arguments: what the chain is called, the columns that name the chain, the columns
    # that may name who did it (the first that is set counts), the columns that are left out: secrets.
    """
    CREATE FUNCTION audit_row() RETURNS trigger LANGUAGE plpgsql SET timezone = 'UTC' AS $$
    DECLARE
        told JSONB := CASE WHEN TG_OP = 'DELETE' THEN to_jsonb(OLD) ELSE to_jsonb(NEW) END;
        subject TEXT;
        who TEXT;
    BEGIN
        told := told - string_to_array(coalesce(TG_ARGV[3], ''), ',');
        SELECT string_agg(told->>name, '/' ORDER BY place) INTO subject
        FROM unnest(string_to_array(TG_ARGV[1], ',')) WITH ORDINALITY AS part (name, place);
        SELECT told->>name INTO who
        FROM unnest(string_to_array(coalesce(TG_ARGV[2], ''), ',')) WITH ORDINALITY AS part (name, place)
        WHERE told->>name IS NOT NULL ORDER BY place LIMIT 1;
        INSERT INTO audit_events (chain, action, actor, record)
        VALUES (TG_ARGV[0] || coalesce(':' || subject, ''), TG_TABLE_NAME || '.' || lower(TG_OP), who, told);
        RETURN NULL;
    END $$
    """,
    """
    CREATE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'facts are never changed or deleted: % on % is refused', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation', HINT = 'volex audit verify finds what was changed by other means.';
    END $$
    """,
)

_SOURCES = {
    "kill_events": ("INSERT", "'kill', 'scope', 'by'"),
    "limit_sets": ("INSERT", "'limits', '', 'changed_by'"),
    "approvals": ("INSERT OR UPDATE OR DELETE", "'approval', 'account,order_id', 'decided_by,asked_by'"),
    "cases": ("INSERT OR UPDATE OR DELETE", "'case', 'account,case_id', ''"),
}
"""Tables whose rows are chained as a whole, by `audit_row`."""
_REFUSING = ("audit_events", "audit_bodies", "audit_checkpoints", "audit_heads", "limit_sets")

_CHAIN_WHAT_IS_THERE = """
    INSERT INTO audit_events (chain, seq, action, actor, record, evidence, recorded_at)
    SELECT 'order:' || e.account || '/' || e.order_id, e.seq, e.event_type,
        coalesce(e.document->>'requested_by', CASE WHEN e.seq = 1 THEN o.document->>'requested_by' END, 'before the log'),
        CASE WHEN e.seq = 1 THEN e.document || jsonb_build_object('order', audit_intent(o.document)) ELSE e.document END,
        e.evidence, e.recorded_at
    FROM order_events e JOIN orders o ON o.account = e.account AND o.order_id = e.order_id
    ORDER BY o.number, e.seq
"""
_CHAIN_ROWS = """
    INSERT INTO audit_events (chain, action, actor, record)
    SELECT {chain}, '{table}.insert', {actor}, to_jsonb(t) FROM {table} AS t ORDER BY {key}
"""
_ROWS = (
    ("kill_events", "'kill:' || t.scope", "t.by", "t.event_id"),
    ("limit_sets", "'limits'", "t.changed_by", "t.version"),
    (
        "approvals",
        "'approval:' || t.account || '/' || t.order_id",
        "coalesce(t.decided_by, t.asked_by)",
        "t.approval_id",
    ),
    ("cases", "'case:' || t.account || '/' || t.case_id", "NULL", "t.case_id"),
)


def upgrade() -> None:
    """Make the log, chain what the ledger holds as it is found, and let nobody change an entry."""
    for statement in (*_TABLES, *_FUNCTIONS):
        op.execute(statement)
    op.execute(
        "CREATE TRIGGER audit_events_chained BEFORE INSERT ON audit_events FOR EACH ROW EXECUTE FUNCTION audit_chain()"
    )
    op.execute("SET LOCAL timezone = 'UTC'")
    op.execute(_CHAIN_WHAT_IS_THERE)
    for table, chain, actor, key in _ROWS:
        op.execute(_CHAIN_ROWS.format(table=table, chain=chain, actor=actor, key=key))
    op.execute(
        "CREATE TRIGGER order_events_audited AFTER INSERT ON order_events"
        " FOR EACH ROW EXECUTE FUNCTION audit_order_event()"
    )
    for table, (when, arguments) in _SOURCES.items():
        op.execute(
            f"CREATE TRIGGER {table}_audited AFTER {when} ON {table} FOR EACH ROW EXECUTE FUNCTION audit_row({arguments})"
        )
    for table in _REFUSING:
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change()"
        )
