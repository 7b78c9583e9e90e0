"""What each scope holds and works in one row per symbol, and limits that are versioned in the ledger."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_AMOUNT = "{0} NUMERIC(38, 18) NOT NULL CONSTRAINT {0}_in_bounds CHECK ({0} >= 0 AND {0} < 1e18)"
_SIGNED = "{0} NUMERIC(38, 18) NOT NULL CONSTRAINT {0}_in_bounds CHECK ({0} > -1e18 AND {0} < 1e18)"
_WORKED = ("amount", "cost", "realized_pnl", "traded", "working_buy", "working_sell", "buy_notional", "sell_notional")


def upgrade() -> None:
    """Positions become the exposures of an account's scope: `storage/exposures.py` makes them anew from the fills."""
    op.execute(
        "CREATE TABLE exposures (scope TEXT NOT NULL, symbol TEXT NOT NULL, "
        + ", ".join(_SIGNED.format(name) for name in _WORKED)
        + ", open_orders INTEGER NOT NULL, day DATE NOT NULL, "
        + _AMOUNT.format("day_turnover")
        + ", updated_at TIMESTAMP WITH TIME ZONE NOT NULL, PRIMARY KEY (scope, symbol))"
    )
    op.execute(
        "CREATE TABLE risk_scopes (scope TEXT PRIMARY KEY, admitted BIGINT NOT NULL, "
        + _SIGNED.format("peak_profit")
        + ")"
    )
    op.execute(
        "CREATE TABLE admissions (scope TEXT NOT NULL, number BIGINT NOT NULL,"
        " admitted_at TIMESTAMP WITH TIME ZONE NOT NULL, PRIMARY KEY (scope, number))"
    )
    op.execute(
        "CREATE TABLE limit_sets (version BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, document JSONB NOT NULL,"
        " source TEXT NOT NULL, digest TEXT, changed_by TEXT NOT NULL, because TEXT NOT NULL,"
        " changed_at TIMESTAMP WITH TIME ZONE NOT NULL)"
    )
    op.execute("CREATE INDEX limit_sets_of_file ON limit_sets (version) WHERE digest IS NOT NULL")
    op.execute(
        "ALTER TABLE reservations ADD COLUMN unit_price NUMERIC(38, 18)"
        " CONSTRAINT unit_price_in_bounds CHECK (unit_price >= 0 AND unit_price < 1e18),"
        " ADD COLUMN working NUMERIC(38, 18) NOT NULL DEFAULT 0"
        " CONSTRAINT working_in_bounds CHECK (working >= 0 AND working < 1e18),"
        " ADD COLUMN working_notional NUMERIC(38, 18) NOT NULL DEFAULT 0"
        " CONSTRAINT working_notional_in_bounds CHECK (working_notional >= 0 AND working_notional < 1e18),"
        " ADD COLUMN counted BOOLEAN NOT NULL DEFAULT false"
    )
    op.execute("DROP TABLE positions")
