"""`SqlAccountingStore`: values an account by what its venue says of the market, and keeps the curve of its equity."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from sqlalchemy import Row, and_, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from domain.limits import LimitSet, ScopeKind, scope_name, scope_row
from domain.order import TradingMode
from domain.valuation import Equity, Held, Mark, Needed, Rates, conversions, equity_of
from storage import limit_sets, valuation
from storage.accounting_tables import equity_snapshots, fee_prices
from storage.database import in_transaction
from storage.tables import balances

FEES_LOOKED_BACK: Final = timedelta(hours=1)
"""Fees of trades recorded longer ago are not priced any more: the market of their time was not asked then."""
FEE_MARK_WITHIN: Final = timedelta(minutes=2)
"""How far a mark may be from the trade that it prices the fee of."""
FEE_ASSETS_FOR: Final = timedelta(days=1)
"""How long an asset that a fee was taken in stays marked, so that a late trade finds the price of its time."""
FEES_A_ROUND: Final = 100

_THIRD: Final = (
    "f.commission <> 0 AND f.commission_asset <> split_part(f.symbol, '/', 1)"
    " AND f.commission_asset <> split_part(f.symbol, '/', 2)"
)
_FEE_ASSETS = text(
    f"""
    SELECT DISTINCT asset FROM fills f, unnest(ARRAY[f.commission_asset, split_part(f.symbol, '/', 2)]) AS asset
    WHERE f.account = :account AND f.recorded_at > :since AND {_THIRD}
    """
)
_UNPRICED = text(
    f"""
    SELECT f.symbol, f.venue_order_id, f.trade_id, f.commission_asset AS asset, f.ts_event FROM fills f
    LEFT JOIN fee_prices p ON p.account = f.account AND p.symbol = f.symbol AND p.venue_order_id = f.venue_order_id
        AND p.trade_id = f.trade_id
    WHERE f.account = :account AND f.recorded_at > :since AND {_THIRD} AND p.account IS NULL
    ORDER BY f.recorded_at DESC LIMIT :limit
    """
)
_MARKS_THEN = text(
    """
    SELECT DISTINCT ON (symbol) symbol, bid, ask, last, asked_at FROM marks
    WHERE mode = :mode AND account = :account AND symbol = ANY(:symbols)
      AND minute BETWEEN :oldest ::timestamptz - interval '1 minute' AND :newest
      AND asked_at BETWEEN :oldest AND :newest
    ORDER BY symbol, abs(extract(epoch FROM asked_at - :at))
    """
)
_HELD = text(
    "SELECT symbol, amount, cost, realized_pnl, amount <> 0 OR open_orders > 0 AS is_live"
    " FROM exposures WHERE scope = :scope"
)
_UNMARKED = text(
    """
    SELECT e.symbol FROM exposures e WHERE e.scope = :scope AND e.amount <> 0 AND NOT EXISTS (
        SELECT 1 FROM marks m WHERE m.mode = :mode AND m.symbol = e.symbol AND m.asked_at >= :oldest
          AND m.minute >= :oldest ::timestamptz - interval '1 minute')
    ORDER BY e.symbol
    """
)


class SqlAccountingStore:
    """Implements `domain.valuation.AccountingStore` over Postgres."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def needed(self, account: str, mode: TradingMode, *, now: datetime) -> Needed:
        """Return what the market must be asked for."""

        async def read(connection: AsyncConnection) -> Needed:
            limits = await limit_sets.current(connection)
            held = await _held(connection, account, mode)
            symbols = frozenset(row.symbol for row in held if row.is_live)
            quotes = {row.symbol.split("/")[1] for row in held}
            fees = await connection.execute(_FEE_ASSETS, {"account": account, "since": now - FEE_ASSETS_FOR})
            return Needed(
                symbols=symbols,
                assets=frozenset({*quotes, *await _balances(connection, account), *fees.scalars()}),
                currency=limits.currency,
                equal_assets=limits.equal_assets,
            )

        return await in_transaction(self._engine, read)

    async def unmarked(self, account: str, mode: TradingMode, *, now: datetime) -> Sequence[str]:
        """Return the symbols held that have no usable mark."""
        key = {"scope": _scope(account, mode), "mode": mode, "oldest": now - valuation.MARK_USABLE}

        async def read(connection: AsyncConnection) -> Sequence[str]:
            return (await connection.execute(_UNMARKED, key)).scalars().all()

        return await in_transaction(self._engine, read)

    async def record_valuation(
        self, account: str, mode: TradingMode, marks: Sequence[Mark], *, now: datetime
    ) -> Equity | None:
        """Keep the marks, price fees by them, and keep what the account is worth."""

        async def record(connection: AsyncConnection) -> Equity | None:
            await valuation.record_marks(connection, account, mode, marks)
            limits = await limit_sets.current(connection)
            await _price_fees(connection, account, mode, limits, now)
            totals = await _balances(connection, account)
            if not totals:
                return None
            equity = await _equity(connection, account, mode, totals, limits, now)
            await _keep(connection, equity)
            return equity

        return await in_transaction(self._engine, record)

    async def equity(self, account: str, mode: TradingMode, *, limit: int, before: datetime | None) -> Sequence[Equity]:
        """Return up to `limit` snapshots from before a time, newest first."""
        table = equity_snapshots
        query = select(table).where(table.c.account == account, table.c.mode == mode)
        if before is not None:
            query = query.where(table.c.taken_at < before)
        query = query.order_by(table.c.taken_at.desc()).limit(limit)

        async def read(connection: AsyncConnection) -> Sequence[Equity]:
            return [_snapshot(row) for row in await connection.execute(query)]

        return await in_transaction(self._engine, read)

    async def marks(self, symbols: Sequence[str], mode: TradingMode, *, now: datetime) -> Mapping[str, Mark]:
        """Return the latest usable marks."""
        return await in_transaction(
            self._engine, lambda connection: valuation.marks_of(connection, symbols, mode, now=now)
        )


async def _held(connection: AsyncConnection, account: str, mode: TradingMode) -> Sequence[Row[tuple[object, ...]]]:
    return (await connection.execute(_HELD, {"scope": _scope(account, mode)})).all()


def _scope(account: str, mode: TradingMode) -> str:
    return scope_row(mode, scope_name(ScopeKind.ACCOUNT, account))


async def _balances(connection: AsyncConnection, account: str) -> Mapping[str, Decimal]:
    query = select(balances.c.asset, balances.c.total).where(and_(balances.c.account == account, balances.c.total > 0))
    return {row.asset: row.total for row in await connection.execute(query)}


async def _price_fees(
    connection: AsyncConnection, account: str, mode: TradingMode, limits: LimitSet, now: datetime
) -> None:
    """Write what third assets were worth when fees were taken in them, where the market of that time was asked."""
    key = {"account": account, "since": now - FEES_LOOKED_BACK, "limit": FEES_A_ROUND}
    priced = []
    for row in (await connection.execute(_UNPRICED, key)).all():
        quote = row.symbol.split("/")[1]
        ways = conversions(row.asset, quote, limits.equal_assets)
        span = {"oldest": row.ts_event - FEE_MARK_WITHIN, "newest": row.ts_event + FEE_MARK_WITHIN, "at": row.ts_event}
        names = sorted({symbol for way in ways for symbol in way})
        asked = {"mode": mode, "account": account, "symbols": names, **span}
        found = [valuation.mark_of(mark) for mark in await connection.execute(_MARKS_THEN, asked)]
        price = Rates(found, equal_assets=limits.equal_assets).rate(row.asset, quote)
        if price is not None:
            names_of_fill = {name: row._mapping[name] for name in ("symbol", "venue_order_id", "trade_id", "asset")}
            marked_at = max((mark.asked_at for mark in found), default=row.ts_event)
            priced.append({"account": account, **names_of_fill, "price": price, "marked_at": marked_at})
    if priced:
        await connection.execute(insert(fee_prices).on_conflict_do_nothing(), priced)


async def _equity(
    connection: AsyncConnection,
    account: str,
    mode: TradingMode,
    totals: Mapping[str, Decimal],
    limits: LimitSet,
    now: datetime,
) -> Equity:
    rows = await _held(connection, account, mode)
    held = [Held.model_validate({name: row._mapping[name] for name in Held.model_fields}) for row in rows]
    assets = {*totals, *(position.symbol.split("/")[1] for position in held)}
    ways = (way for asset in assets for way in conversions(asset, limits.currency, limits.equal_assets))
    symbols = {*(position.symbol for position in held), *(symbol for way in ways for symbol in way)}
    marks = await valuation.marks_of(connection, symbols, mode, now=now, account=account)
    return equity_of(
        account,
        mode,
        balances=totals,
        held=held,
        rates=Rates(marks.values(), equal_assets=limits.equal_assets),
        currency=limits.currency,
        now=now,
    )


async def _keep(connection: AsyncConnection, equity: Equity) -> None:
    """Write a snapshot; the last word of each minute stays."""
    figures = {
        "currency": equity.currency,
        "equity": equity.equity,
        "realized": equity.realized,
        "unrealized": equity.unrealized,
        "unpriced": ",".join(equity.unpriced),
    }
    minute = equity.taken_at.replace(second=0, microsecond=0)
    row = insert(equity_snapshots).values(account=equity.account, mode=equity.mode, taken_at=minute, **figures)
    keys = ["account", "mode", "taken_at"]
    await connection.execute(row.on_conflict_do_update(index_elements=keys, set_=figures))


def _snapshot(row: Row[tuple[object, ...]]) -> Equity:
    named = dict(row._mapping)
    unpriced = tuple(named.pop("unpriced").split(",")) if named["unpriced"] else ()
    return Equity.model_validate({**named, "unpriced": unpriced})
