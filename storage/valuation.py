"""What the market was when, in the ledger: marks, the worth of fees, equity over time, and realized profit."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final

from sqlalchemy import BindParameter, DateTime, Row, Text, bindparam, cast, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.limits import LimitSet
from domain.order import Order, OrderType, TradingMode
from domain.valuation import Mark, Rates, conversions
from storage.accounting_tables import marks
from storage.exposures import Realized

MARK_USABLE: Final = timedelta(seconds=150)
"""A mark older than this is no mark: some rounds of an account without open orders, which asks twice a minute."""
MINUTE: Final = timedelta(minutes=1)
STOPS: Final = frozenset({OrderType.STOP, OrderType.STOP_LIMIT})


def _minute(name: str) -> BindParameter[datetime]:
    return bindparam(name, type_=DateTime(timezone=True))


_LATEST = text(
    """
    SELECT DISTINCT ON (symbol) symbol, bid, ask, last, asked_at FROM marks
    WHERE mode = :mode AND symbol = ANY(:symbols) AND minute >= :oldest ::timestamptz - interval '1 minute'
      AND asked_at >= :oldest AND account = coalesce(:account, account)
    ORDER BY symbol, asked_at DESC
    """
)
LATEST_OF_SYMBOL: Final = (
    select(
        cast(
            func.json_build_object(
                "bid", cast(marks.c.bid, Text), "ask", cast(marks.c.ask, Text), "last", cast(marks.c.last, Text),
                "told_at", marks.c.asked_at, "source", "mark",
            ),
            Text,
        )
    )
    .where(
        marks.c.mode == bindparam("mark_mode", type_=Text()),
        marks.c.symbol == bindparam("mark_symbol", type_=Text()),
        marks.c.account == bindparam("account", type_=Text()),
        marks.c.minute.between(_minute("marks_minute"), _minute("marks_until")),
        marks.c.asked_at.between(_minute("marks_from"), _minute("marks_until")),
    )
    .order_by(marks.c.asked_at.desc())
    .limit(1)
    .scalar_subquery()
)  # fmt: skip
"""An account's latest usable mark of one symbol as an `Arrival`."""
_REALIZED = text(
    "SELECT symbol, sum(realized) AS realized FROM realizations WHERE scope = :scope AND at >= :since GROUP BY symbol"
)
_REALIZED_DAYS = text(
    "SELECT symbol, sum(realized) AS realized FROM realized_days WHERE scope = :scope AND day >= :day GROUP BY symbol"
)
_RECORD_REALIZED = text(
    """
    WITH told AS (
        SELECT * FROM unnest(:scopes ::text[], :venue_orders ::text[], :trades ::text[], :realized ::numeric[])
            AS told (scope, venue_order_id, trade_id, realized)
    ), days AS (
        INSERT INTO realized_days AS d (scope, day, symbol, realized)
        SELECT scope, :day ::date, :symbol ::text, sum(realized) FROM told GROUP BY scope ORDER BY scope
        ON CONFLICT (scope, day, symbol) DO UPDATE SET realized = d.realized + excluded.realized
    )
    INSERT INTO realizations (scope, at, account, symbol, venue_order_id, trade_id, order_id, realized, by_stop)
    SELECT scope, :at, :account, :symbol, venue_order_id, trade_id, :order_id, realized, :by_stop FROM told
    """
)
_REALIZED_EVER = text("SELECT symbol, realized_pnl AS realized FROM exposures WHERE scope = :scope")


async def record_marks(connection: AsyncConnection, account: str, mode: TradingMode, told: Iterable[Mark]) -> None:
    """Keep what the venue said of its market; the last word of each minute stays."""
    rows = [
        {
            "mode": mode,
            "symbol": mark.symbol,
            "minute": mark.asked_at.replace(second=0, microsecond=0),
            "account": account,
            **mark.model_dump(exclude={"symbol"}),
        }
        for mark in sorted(told, key=lambda mark: mark.symbol)
    ]
    if rows:
        row = insert(marks)
        figures = {name: row.excluded[name] for name in ("bid", "ask", "last", "asked_at")}
        newer = marks.c.asked_at <= row.excluded.asked_at
        keys = ["mode", "symbol", "minute", "account"]
        await connection.execute(row.on_conflict_do_update(index_elements=keys, set_=figures, where=newer), rows)


async def marks_of(
    connection: AsyncConnection,
    symbols: Collection[str],
    mode: TradingMode,
    *,
    now: datetime,
    account: str | None = None,
) -> Mapping[str, Mark]:
    """Return the latest mark of each symbol that is not too old to be used: an account's, or any of the mode."""
    key = {"mode": mode, "symbols": sorted(symbols), "oldest": now - MARK_USABLE, "account": account}
    return {row.symbol: mark_of(row) for row in await connection.execute(_LATEST, key)}


def key_of_latest(symbol: str, mode: TradingMode, *, now: datetime) -> dict[str, Any]:
    """Return the values of `LATEST_OF_SYMBOL`, beside the account's."""
    oldest = now - MARK_USABLE
    span = {"marks_minute": oldest - MINUTE, "marks_from": oldest, "marks_until": now}
    return {"mark_symbol": symbol, "mark_mode": mode, **span}


async def values_of(
    connection: AsyncConnection,
    symbols: Collection[str],
    limits: LimitSet,
    *,
    mode: TradingMode,
    now: datetime,
    told: Mapping[str, Mark | None] = MappingProxyType({}),
) -> Mapping[str, tuple[Decimal | None, Decimal | None]]:
    """Return for each symbol its price, and what a unit of its quote asset is worth in the risk currency.

    Either is `None` when the market was not asked lately, or does not say. What is `told` is not read again.
    """
    quotes = {symbol.split("/")[1] for symbol in symbols}
    ways = (way for quote in quotes for way in conversions(quote, limits.currency, limits.equal_assets))
    missing = {*symbols, *(symbol for way in ways for symbol in way)} - told.keys()
    found = [mark for mark in told.values() if mark is not None]
    if missing:
        found += (await marks_of(connection, missing, mode, now=now)).values()
    rates = Rates(found, equal_assets=limits.equal_assets)
    return {symbol: (rates.price(symbol), rates.rate(symbol.split("/")[1], limits.currency)) for symbol in symbols}


async def realized_since(connection: AsyncConnection, scope_row: str, since: datetime | None) -> Mapping[str, Decimal]:
    """Return the profit that a scope realized since then, or ever, in each symbol's quote asset.

    Since a midnight, UTC, it costs the same however many fills there were.
    """
    if since is None:
        rows = await connection.execute(_REALIZED_EVER, {"scope": scope_row})
    elif since.astimezone(UTC).time() == time.min:
        rows = await connection.execute(_REALIZED_DAYS, {"scope": scope_row, "day": since.astimezone(UTC).date()})
    else:
        rows = await connection.execute(_REALIZED, {"scope": scope_row, "since": since})
    return {row.symbol: row.realized for row in rows}


async def record_realized(
    connection: AsyncConnection, order: Order, realized: Sequence[Realized], *, now: datetime
) -> None:
    """Keep what an order's new fills realized in its scopes. Part of the fills' own transaction, after the exposures.

    Those rows are locked for the same scopes and symbol, so nobody else waits for these.
    """
    if not realized:
        return
    figures = {
        "scopes": [entry.scope for entry in realized],
        "venue_orders": [entry.fill.venue_order_id for entry in realized],
        "trades": [entry.fill.trade_id for entry in realized],
        "realized": [entry.realized for entry in realized],
        "account": order.account,
        "order_id": order.order_id,
        "symbol": order.ticket.symbol,
        "by_stop": order.ticket.order_type in STOPS,
        "day": now.astimezone(UTC).date(),
        "at": now,
    }
    await connection.execute(_RECORD_REALIZED, figures)


def mark_of(row: Row[tuple[object, ...]]) -> Mark:
    """Read a row of the table, or of a query with its columns."""
    return Mark.model_validate({name: row._mapping[name] for name in Mark.model_fields})
