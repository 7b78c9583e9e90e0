"""`SqlRiskDesk`: the gate as an operator asks it. What it asks leaves nothing behind; only a change of limits does."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from domain.controls import RATE_WINDOWS
from domain.exposure import ScopeFigures, SymbolExposure, Validated
from domain.limit_changes import changed, changes_between
from domain.limits import Limits, LimitSet, ScopeKind, scope_name, scope_row
from domain.order import Order, OrderRequest, TradingMode
from domain.risk import AccountTerms
from domain.risk_desk import Changed, Discrepancy, LimitVersion, ScopeUse, Simulated, uses
from domain.risk_replay import Recorded
from storage import admission, exposure_audit, gate, limit_sets, risk_history, valuation
from storage.database import in_transaction

_SCOPES = text(
    """
    SELECT DISTINCT scope FROM exposures WHERE starts_with(scope, :mode ::text || '/')
    """
)
_ROWS = text("SELECT * FROM exposures WHERE scope = :scope ORDER BY symbol")
_ADMITTED = text(
    "SELECT count(*) AS admitted, clock_timestamp() AS now FROM admissions"
    " WHERE scope = :scope AND admitted_at > clock_timestamp() - make_interval(secs => :seconds)"
)
_PEAK = text("SELECT peak_profit FROM risk_scopes WHERE scope = :scope")


class SqlRiskDesk:
    """Implements `domain.risk_desk.RiskDesk` over Postgres. What each method promises is said there."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def simulate(
        self, request: OrderRequest, validated: Validated, *, terms: AccountTerms, now: datetime
    ) -> Simulated:
        """Ask the gate by the path of every order; what it locked and wrote is taken back."""

        async def work(connection: AsyncConnection) -> Simulated:
            holds = await limit_sets.newest(connection)
            asked = await admission.foresee(connection, request, validated, terms=terms, now=now)
            version = holds.version if holds is not None else None
            if isinstance(asked, Order):
                return Simulated(decision=None, order=asked, version=version, at=now)
            return Simulated(decision=asked.decision, order=None, version=version, at=asked.seen.now or now)

        return await in_transaction(self._engine, work)

    async def limits(self) -> LimitVersion | None:
        """Return the limits that hold."""
        return await in_transaction(self._engine, limit_sets.newest)

    async def versions(self, *, limit: int, before: int | None) -> Sequence[LimitVersion]:
        """Return versions, newest first."""
        return await in_transaction(
            self._engine, lambda connection: limit_sets.versions(connection, limit=limit, before=before)
        )

    async def change(
        self, scope: str, wanted: Mapping[str, object], *, because: str, changed_by: str, now: datetime
    ) -> Changed:
        """Make a new version of the current one, while nobody else can."""

        async def work(connection: AsyncConnection) -> Changed:
            before = await limit_sets.lock(connection)
            after = changed(before, scope, wanted)
            changes = changes_between(before, after)
            if before == after:
                return Changed(version=await limit_sets.newest(connection), changes=())
            version = await limit_sets.add(
                connection, after, source="operator", changed_by=changed_by, because=because, now=now
            )
            return Changed(version=version, changes=changes)

        return await in_transaction(self._engine, work)

    async def scopes(
        self,
        mode: TradingMode,
        *,
        accounts: Sequence[str],
        scope: str | None,
        after: str | None,
        limit: int,
        now: datetime,
    ) -> Sequence[ScopeUse]:
        """Return scopes with what is used of their limits."""

        async def work(connection: AsyncConnection) -> Sequence[ScopeUse]:
            limit_set = await limit_sets.current(connection)
            names = {name for name, limits in limit_set.by_scope.items() if not limits.is_empty}
            names |= {scope_name(ScopeKind.ACCOUNT, account) for account in accounts}
            names |= {row.scope.partition("/")[2] for row in await connection.execute(_SCOPES, {"mode": mode})}
            wanted = sorted(name for name in names if scope is None or name == scope)
            page = [name for name in wanted if after is None or name > after][:limit]
            return [await _use(connection, limit_set, mode, name, now) for name in page]

        return await in_transaction(self._engine, work)

    async def audit(self) -> Sequence[Discrepancy]:
        """Compare rows with facts."""
        found = await exposure_audit.audit(self._engine)
        return [Discrepancy.model_validate(difference.model_dump()) for difference in found]

    async def recorded(self, *, since: datetime, limit: int) -> Recorded:
        """Return what happened since then."""
        return await in_transaction(
            self._engine, lambda connection: risk_history.recorded(connection, since=since, limit=limit)
        )


async def _use(
    connection: AsyncConnection, limit_set: LimitSet, mode: TradingMode, scope: str, now: datetime
) -> ScopeUse:
    limits, row = limit_set.of(scope), scope_row(mode, scope)
    held = list(await connection.execute(_ROWS, {"scope": row}))
    symbols = await _valued(connection, held, limit_set, mode, now)
    peak = (await connection.execute(_PEAK, {"scope": row})).scalar_one_or_none()
    stops = await gate.stops(connection, limits, row, "", now)
    figures = ScopeFigures(
        scope=scope,
        limits=limits,
        symbols=symbols,
        peak_profit=peak or Decimal(0),
        **await gate.realized_of(connection, limits, row, symbols, now),
        **stops,
    )
    admitted = {name: await _admitted(connection, row, name) for name in RATE_WINDOWS if getattr(limits, name)}
    own = limit_set.by_scope.get(scope, Limits())
    return ScopeUse(
        mode=mode,
        scope=scope,
        open_orders=figures.open_orders(),
        symbols=symbols,
        limits=uses(figures, own, admitted=admitted, now=now),
    )


async def _valued(
    connection: AsyncConnection,
    held: Sequence[Row[tuple[object, ...]]],
    limit_set: LimitSet,
    mode: TradingMode,
    now: datetime,
) -> tuple[SymbolExposure, ...]:
    symbols = {row.symbol for row in held}
    values = await valuation.values_of(connection, symbols, limit_set, mode=mode, now=now) if symbols else {}
    return tuple(gate.exposure_of(row, values, now) for row in held)


async def _admitted(connection: AsyncConnection, row: str, limit: str) -> int:
    key = {"scope": row, "seconds": RATE_WINDOWS[limit].total_seconds()}
    count: int = (await connection.execute(_ADMITTED, key)).one().admitted
    return count
