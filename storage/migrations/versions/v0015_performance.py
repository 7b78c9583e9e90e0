"""Execution quality, a row an order; and quick ways to what is to be measured and to what is old."""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_AMOUNTS = (
    "fill_ratio", "arrival_price", "avg_px", "mid_price", "notional", "arrival_notional", "ordered_notional",
)
_SIGNED_AMOUNTS = (
    "arrival_spread_bps", "slippage_bps", "mid_slippage_bps", "fees_value", "execution_cost", "opportunity_cost",
    "shortfall", "shortfall_bps",
)
_STAGES = ("admit", "send", "venue", "first_fill", "last_fill", "persist")
_AMOUNT = "{0} NUMERIC(38, 18){1} CONSTRAINT {0}_in_bounds CHECK ({0} >= 0 AND {0} < 1e18)"
_SIGNED = "{0} NUMERIC(38, 18) CONSTRAINT {0}_in_bounds CHECK ({0} > -1e18 AND {0} < 1e18)"
_TIME = "{0} TIMESTAMP WITH TIME ZONE{1}"
_COLUMNS = (
    *(f"{name} TEXT NOT NULL" for name in ("account", "order_id")),
    _TIME.format("placed_at", " NOT NULL"),
    *(f"{name} TEXT NOT NULL" for name in ("mode", "venue", "symbol", "currency", "side", "order_type", "status")),
    "strategy TEXT",
    "arrival_source TEXT",
    "seq INTEGER NOT NULL",
    "fills INTEGER NOT NULL",
    *(_AMOUNT.format(name, " NOT NULL") for name in ("quantity", "cum_qty")),
    *(_AMOUNT.format(name, "") for name in _AMOUNTS),
    *(_SIGNED.format(name) for name in _SIGNED_AMOUNTS),
    *(_TIME.format(name, "") for name in ("first_fill_at", "last_fill_at", "ended_at")),
    *(f"{stage}_us BIGINT" for stage in _STAGES),
    *(_TIME.format(name, " NOT NULL") for name in ("order_updated_at", "measured_at")),
    "PRIMARY KEY (account, order_id, placed_at)",
)
_INDEXES = (
    "CREATE INDEX performance_by_time ON performance (account, placed_at)",
    "CREATE INDEX performance_by_update ON performance (account, order_updated_at)",
    "CREATE INDEX performance_old ON performance USING brin (placed_at)",
    "CREATE INDEX marks_old ON marks USING brin (minute)",
    "CREATE INDEX equity_old ON equity_snapshots USING brin (taken_at)",
    "CREATE INDEX orders_ended ON orders (account, updated_at) WHERE NOT is_open AND status <> 'DENIED'",
)


def upgrade() -> None:
    """Add the table and the indexes. Where TimescaleDB is, `storage.hypertables` makes hypertables of the series."""
    op.execute(f"CREATE TABLE performance ({', '.join(_COLUMNS)})")
    for statement in _INDEXES:
        op.execute(statement)
