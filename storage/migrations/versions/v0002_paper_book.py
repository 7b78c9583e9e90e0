"""The paper venue's book: accounts, balances, orders and trades of dry runs."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_TABLES = """
CREATE TABLE paper_accounts (
    account TEXT NOT NULL,
    opened_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (account)
);

CREATE TABLE paper_balances (
    account TEXT NOT NULL,
    asset TEXT NOT NULL,
    used NUMERIC(38, 18) NOT NULL,
    total NUMERIC(38, 18) NOT NULL,
    PRIMARY KEY (account, asset),
    CONSTRAINT paper_balance_in_bounds CHECK (used >= 0 AND used <= total AND total < 1000000000000000000),
    FOREIGN KEY (account) REFERENCES paper_accounts (account)
);

CREATE TABLE paper_desks (
    account TEXT NOT NULL,
    symbol TEXT NOT NULL,
    document JSONB NOT NULL,
    PRIMARY KEY (account, symbol),
    FOREIGN KEY (account) REFERENCES paper_accounts (account)
);

CREATE TABLE paper_orders (
    account TEXT NOT NULL,
    symbol TEXT NOT NULL,
    venue_order_id BIGINT NOT NULL,
    client_order_id TEXT NOT NULL,
    is_open BOOLEAN NOT NULL,
    document JSONB NOT NULL,
    PRIMARY KEY (account, symbol, venue_order_id),
    CONSTRAINT one_paper_order_per_client_order_id UNIQUE (account, client_order_id),
    FOREIGN KEY (account) REFERENCES paper_accounts (account)
);

CREATE INDEX paper_orders_open ON paper_orders (account, symbol, venue_order_id) WHERE is_open;

CREATE TABLE paper_fills (
    account TEXT NOT NULL,
    symbol TEXT NOT NULL,
    trade_id BIGINT NOT NULL,
    venue_order_id BIGINT NOT NULL,
    ts_event TIMESTAMP WITH TIME ZONE NOT NULL,
    document JSONB NOT NULL,
    PRIMARY KEY (account, symbol, trade_id),
    FOREIGN KEY (account, symbol, venue_order_id) REFERENCES paper_orders (account, symbol, venue_order_id)
);

CREATE INDEX paper_fills_by_time ON paper_fills (account, symbol, ts_event);

CREATE INDEX paper_fills_by_order ON paper_fills (account, symbol, venue_order_id);

CREATE TABLE paper_absences (
    account TEXT NOT NULL,
    client_order_id TEXT NOT NULL,
    answered_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (account, client_order_id),
    FOREIGN KEY (account) REFERENCES paper_accounts (account)
);

CREATE TRIGGER paper_fills_append_only BEFORE UPDATE OR DELETE ON paper_fills
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
"""


def upgrade() -> None:
    """Make the tables; a paper trade is a fact as well, and is never changed."""
    for statement in _TABLES.split(";\n"):
        op.execute(statement)
