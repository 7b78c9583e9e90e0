"""Marks of the market, what fees were worth, equity over time, and what each fill realized in its scopes."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_AMOUNT = "{0} NUMERIC(38, 18) CONSTRAINT {0}_in_bounds CHECK ({0} >= 0 AND {0} < 1e18)"
_SIGNED = "{0} NUMERIC(38, 18) CONSTRAINT {0}_in_bounds CHECK ({0} > -1e18 AND {0} < 1e18)"
_TIME = "TIMESTAMP WITH TIME ZONE NOT NULL"


def upgrade() -> None:
    """Add the tables; nothing that is there changes."""
    op.execute(
        f"CREATE TABLE marks (mode TEXT NOT NULL, symbol TEXT NOT NULL, minute {_TIME}, account TEXT NOT NULL, "
        + ", ".join(_AMOUNT.format(name) for name in ("bid", "ask", "last"))
        + f", asked_at {_TIME}, PRIMARY KEY (mode, symbol, minute, account))"
    )
    op.execute(
        "CREATE TABLE fee_prices (account TEXT NOT NULL, symbol TEXT NOT NULL, venue_order_id TEXT NOT NULL,"
        " trade_id TEXT NOT NULL, asset TEXT NOT NULL, price NUMERIC(38, 18) NOT NULL"
        " CONSTRAINT price_in_bounds CHECK (price >= 0 AND price < 1e18),"
        f" marked_at {_TIME}, PRIMARY KEY (account, symbol, venue_order_id, trade_id),"
        " FOREIGN KEY (account, symbol, venue_order_id, trade_id)"
        " REFERENCES fills (account, symbol, venue_order_id, trade_id))"
    )
    op.execute(
        f"CREATE TABLE equity_snapshots (account TEXT NOT NULL, mode TEXT NOT NULL, taken_at {_TIME},"
        " currency TEXT NOT NULL, "
        + ", ".join(_SIGNED.format(name) for name in ("equity", "realized", "unrealized"))
        + ", unpriced TEXT NOT NULL, PRIMARY KEY (account, mode, taken_at))"
    )
    op.execute(
        f"CREATE TABLE realizations (scope TEXT NOT NULL, at {_TIME}, account TEXT NOT NULL, symbol TEXT NOT NULL,"
        " venue_order_id TEXT NOT NULL, trade_id TEXT NOT NULL, order_id TEXT NOT NULL,"
        " realized NUMERIC(38, 18) NOT NULL"
        " CONSTRAINT realized_in_bounds CHECK (realized > -1e18 AND realized < 1e18), by_stop BOOLEAN NOT NULL,"
        " PRIMARY KEY (scope, at, account, symbol, venue_order_id, trade_id))"
    )
    op.execute(
        "CREATE TABLE realized_days (scope TEXT NOT NULL, day DATE NOT NULL, symbol TEXT NOT NULL,"
        " realized NUMERIC(38, 18) NOT NULL"
        " CONSTRAINT realized_in_bounds CHECK (realized > -1e18 AND realized < 1e18), PRIMARY KEY (scope, day, symbol))"
    )
    op.execute(
        "CREATE INDEX fills_with_third_fee ON fills (account, recorded_at) WHERE commission <> 0"
        " AND commission_asset <> split_part(symbol, '/', 1) AND commission_asset <> split_part(symbol, '/', 2)"
    )
    op.execute("CREATE INDEX fills_by_time ON fills (account, symbol, ts_event)")
