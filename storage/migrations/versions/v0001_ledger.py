"""The ledger: orders with their facts, attempts, fills, positions, balances and reservations."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_ORDER_NUMBER = "CREATE SEQUENCE order_number"

_TABLES = """
CREATE TABLE account_states (
    account TEXT NOT NULL,
    reconciled_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (account)
);

CREATE TABLE balances (
    account TEXT NOT NULL,
    asset TEXT NOT NULL,
    free NUMERIC(38, 18) NOT NULL CONSTRAINT free_in_bounds CHECK (free >= 0 AND free < 1e18),
    used NUMERIC(38, 18) NOT NULL CONSTRAINT used_in_bounds CHECK (used >= 0 AND used < 1e18),
    total NUMERIC(38, 18) NOT NULL CONSTRAINT total_in_bounds CHECK (total >= 0 AND total < 1e18),
    reserved NUMERIC(38, 18) NOT NULL CONSTRAINT reserved_in_bounds CHECK (reserved >= 0 AND reserved < 1e18),
    asked_at TIMESTAMP WITH TIME ZONE NOT NULL,
    moved_at TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (account, asset)
);

CREATE TABLE kill_switches (
    scope TEXT NOT NULL,
    reason TEXT NOT NULL,
    engaged_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    PRIMARY KEY (scope)
);

CREATE TABLE orders (
    account TEXT NOT NULL,
    order_id TEXT NOT NULL,
    number BIGINT DEFAULT nextval('order_number') NOT NULL,
    idempotency_key TEXT,
    fingerprint TEXT NOT NULL,
    symbol TEXT NOT NULL,
    status TEXT NOT NULL,
    is_open BOOLEAN NOT NULL,
    is_at_venue BOOLEAN NOT NULL,
    seq INTEGER NOT NULL,
    notify_seq INTEGER DEFAULT '0' NOT NULL,
    notified_seq INTEGER DEFAULT '0' NOT NULL,
    quantity NUMERIC(38, 18) NOT NULL CONSTRAINT quantity_in_bounds CHECK (quantity >= 0 AND quantity < 1e18),
    cum_qty NUMERIC(38, 18) NOT NULL CONSTRAINT cum_qty_in_bounds CHECK (cum_qty >= 0 AND cum_qty < 1e18),
    document JSONB NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (account, order_id),
    CONSTRAINT one_order_per_key UNIQUE (account, idempotency_key)
);

CREATE INDEX orders_at_venue ON orders (account) WHERE is_at_venue;

CREATE INDEX orders_by_number ON orders (account, number);

CREATE INDEX orders_by_symbol ON orders (account, symbol, number);

CREATE INDEX orders_open ON orders (account, number) WHERE is_open;

CREATE INDEX orders_to_notify ON orders (account, number) WHERE notify_seq > notified_seq;

CREATE TABLE positions (
    account TEXT NOT NULL,
    symbol TEXT NOT NULL,
    amount NUMERIC(38, 18) NOT NULL CONSTRAINT amount_in_bounds CHECK (amount > -1e18 AND amount < 1e18),
    cost NUMERIC(38, 18) NOT NULL CONSTRAINT cost_in_bounds CHECK (cost > -1e18 AND cost < 1e18),
    realized_pnl NUMERIC(38, 18) NOT NULL
        CONSTRAINT realized_pnl_in_bounds CHECK (realized_pnl > -1e18 AND realized_pnl < 1e18),
    updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (account, symbol)
);

CREATE TABLE attempts (
    account TEXT NOT NULL,
    order_id TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    client_order_id TEXT NOT NULL,
    venue_order_id TEXT,
    token TEXT NOT NULL,
    state TEXT NOT NULL,
    worker TEXT NOT NULL,
    submission JSONB NOT NULL,
    outcome JSONB,
    signed_at TIMESTAMP WITH TIME ZONE NOT NULL,
    left_at TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (account, order_id, attempt),
    FOREIGN KEY(account, order_id) REFERENCES orders (account, order_id),
    CONSTRAINT one_attempt_per_client_order_id UNIQUE (account, client_order_id),
    CONSTRAINT state_is_known CHECK (state IN ('SENDING', 'LEFT', 'VOID', 'CLOSED')),
    UNIQUE (token)
);

CREATE TABLE cases (
    account TEXT NOT NULL,
    order_id TEXT NOT NULL,
    code TEXT NOT NULL,
    reason JSONB NOT NULL,
    opened_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    PRIMARY KEY (account, order_id, code),
    FOREIGN KEY(account, order_id) REFERENCES orders (account, order_id)
);

CREATE TABLE fills (
    account TEXT NOT NULL,
    symbol TEXT NOT NULL,
    venue_order_id TEXT NOT NULL,
    trade_id TEXT NOT NULL,
    order_id TEXT NOT NULL,
    last_qty NUMERIC(38, 18) NOT NULL CONSTRAINT last_qty_in_bounds CHECK (last_qty >= 0 AND last_qty < 1e18),
    last_px NUMERIC(38, 18) NOT NULL CONSTRAINT last_px_in_bounds CHECK (last_px >= 0 AND last_px < 1e18),
    commission NUMERIC(38, 18) CONSTRAINT commission_in_bounds CHECK (commission > -1e18 AND commission < 1e18),
    commission_asset TEXT,
    liquidity_side TEXT,
    ts_event TIMESTAMP WITH TIME ZONE NOT NULL,
    recorded_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    PRIMARY KEY (account, symbol, venue_order_id, trade_id),
    FOREIGN KEY(account, order_id) REFERENCES orders (account, order_id)
);

CREATE INDEX fills_by_order ON fills (account, order_id);

CREATE TABLE order_events (
    account TEXT NOT NULL,
    order_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    event_type TEXT NOT NULL,
    document JSONB NOT NULL,
    evidence JSONB,
    recorded_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    PRIMARY KEY (account, order_id, seq),
    FOREIGN KEY(account, order_id) REFERENCES orders (account, order_id)
);

CREATE TABLE reservations (
    account TEXT NOT NULL,
    order_id TEXT NOT NULL,
    asset TEXT NOT NULL,
    amount NUMERIC(38, 18) NOT NULL CONSTRAINT amount_in_bounds CHECK (amount >= 0 AND amount < 1e18),
    unit_amount NUMERIC(38, 18) NOT NULL
        CONSTRAINT unit_amount_in_bounds CHECK (unit_amount >= 0 AND unit_amount < 1e18),
    PRIMARY KEY (account, order_id),
    FOREIGN KEY(account, order_id) REFERENCES orders (account, order_id)
)
"""

_APPEND_ONLY = """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'facts are never changed or deleted'; END $$
"""

_APPEND_ONLY_TABLES = ("order_events", "fills")


def upgrade() -> None:
    """Make every table, and let nobody change a fact."""
    op.execute(_ORDER_NUMBER)
    for statement in _TABLES.split(";\n"):
        op.execute(statement)
    op.execute(_APPEND_ONLY)
    for table in _APPEND_ONLY_TABLES:
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )
