"""What scopes have lost today and fallen since their best: figures for the trips, and the peaks that drawdown needs."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from domain.exposure import ScopeFigures
from domain.limits import Limits, LimitSet, ScopeKind, scope_name, scope_row
from domain.numbers import EXACT
from domain.order import Frozen, TradingMode
from storage import gate, limit_sets, valuation
from storage.database import in_transaction
from storage.risk_tables import exposures, risk_scopes


class Loss(Frozen):
    """A scope that has lost as much as it may today, in the risk currency."""

    scope: str
    loss: Decimal
    limit: Decimal
    currency: str


async def look(engine: AsyncEngine, account: str, mode: TradingMode, *, now: datetime) -> Sequence[Loss]:
    """Keep the highest profit of every scope with a limit on drawdown; return those at their limit of the day's loss.

    Only scopes that the account belongs to are looked at. One whose worth is not known says nothing.
    """

    async def measure(connection: AsyncConnection) -> Sequence[Loss]:
        limit_set = await limit_sets.current(connection)
        lost = []
        for scope, limits in _watched(limit_set, account).items():
            figures = await _figures(connection, scope, limits, limit_set, mode=mode, now=now)
            await _keep_peak(connection, scope_row(mode, scope), figures)
            today, cap = figures.profit(figures.realized_today), limits.max_daily_loss
            if cap is not None and today is not None and EXACT.minus(today) >= cap:
                lost.append(Loss(scope=scope, loss=EXACT.minus(today), limit=cap, currency=limit_set.currency))
        return lost

    return await in_transaction(engine, measure)


def _watched(limit_set: LimitSet, account: str) -> Mapping[str, Limits]:
    """Return the limits of the account's own scope, and of those that do not name an account."""
    own = scope_name(ScopeKind.ACCOUNT, account)
    others = [scope for scope in limit_set.by_scope if not scope.startswith(f"{ScopeKind.ACCOUNT}:")]
    found = {scope: limit_set.of(scope) for scope in (own, *others)}
    return {
        scope: limits
        for scope, limits in found.items()
        if limits.max_daily_loss is not None or limits.max_drawdown is not None
    }


async def _figures(
    connection: AsyncConnection, scope: str, limits: Limits, limit_set: LimitSet, *, mode: TradingMode, now: datetime
) -> ScopeFigures:
    row = scope_row(mode, scope)
    held = list(await connection.execute(select(exposures).where(exposures.c.scope == row)))
    symbols = {entry.symbol for entry in held}
    values = await valuation.values_of(connection, symbols, limit_set, mode=mode, now=now) if symbols else {}
    exposed = tuple(gate.exposure_of(entry, values, now) for entry in held)
    return ScopeFigures(
        scope=scope, limits=limits, symbols=exposed, **await gate.realized_of(connection, limits, row, exposed, now)
    )


async def _keep_peak(connection: AsyncConnection, row: str, figures: ScopeFigures) -> None:
    profit = figures.profit(figures.realized_total)
    if figures.limits.max_drawdown is None or profit is None or profit <= 0:
        return
    peak = insert(risk_scopes).values(scope=row, admitted=0, peak_profit=profit)
    highest = func.greatest(risk_scopes.c.peak_profit, peak.excluded.peak_profit)
    await connection.execute(peak.on_conflict_do_update(index_elements=["scope"], set_={"peak_profit": highest}))
