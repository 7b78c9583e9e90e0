"""What the gate needs to know of an order's scopes, read under their locks.

A scope with limits that other orders change is locked before its figures are read, and stays locked until the
transaction ends: whoever asks next sees this order. So limits hold exactly, over any number of workers, and a denial
tells the very figures that it was decided by (decision 0011).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from sqlalchemy import Row, bindparam, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.controls import CONTROLS, PROFIT_WINDOW_S, RATE_WINDOWS, STOP_OUT_WINDOW_S
from domain.exposure import Exposure, ScopeFigures, StopOuts, SymbolExposure, Twin, Validated
from domain.limits import Limits, LimitSet, scope_row
from domain.numbers import multiply, subtract
from domain.order import Order, OrderRequest, OrderSide, TradingMode
from storage import valuation
from storage.risk_tables import risk_scopes

ZERO = Decimal(0)
_LOCKING = frozenset(control.limit for control in CONTROLS if control.locks)
_PRICED = frozenset(control.limit for control in CONTROLS if control.needs_ticker and control.locks)

_LOCK = (
    select(risk_scopes)
    .where(risk_scopes.c.scope.in_(bindparam("scopes", expanding=True)))
    .order_by(risk_scopes.c.scope)
    .with_for_update()
)
_VALUED = f"""
    WITH own AS (SELECT * FROM exposures WHERE scope = ANY(:scopes)), latest AS (
        SELECT mark.* FROM (SELECT DISTINCT symbol FROM own WHERE :priced) AS asked, LATERAL (
            SELECT symbol AS marked, bid, ask, last, asked_at FROM marks WHERE mode = :mode AND symbol = asked.symbol
              AND minute >= statement_timestamp() - interval '{valuation.MARK_USABLE.seconds + 60} seconds'
              AND asked_at >= statement_timestamp() - interval '{valuation.MARK_USABLE.seconds} seconds'
            ORDER BY asked_at DESC LIMIT 1
        ) AS mark
    )
    SELECT * FROM own LEFT JOIN latest ON marked = symbol
"""
_TWIN = """
    SELECT NULL, 'twin', order_id, created_at, NULL ::numeric FROM orders
    WHERE :window ::integer IS NOT NULL AND account = :account AND symbol = :symbol AND order_id <> :order_id
      AND coalesce((document->'ticket'->>'price')::numeric, 0) = coalesce(:price ::numeric, 0)
      AND created_at > statement_timestamp() - make_interval(secs => :window)
      AND document->>'status' <> 'DENIED' AND document->'ticket'->>'side' = :side
      AND document->'ticket'->>'order_type' = :order_type
      AND (document->'ticket'->>'quantity')::numeric IS NOT DISTINCT FROM :quantity ::numeric
      AND (document->'ticket'->>'quote_amount')::numeric IS NOT DISTINCT FROM :quote_amount ::numeric
      AND (document->'ticket'->>'trigger_price')::numeric IS NOT DISTINCT FROM :trigger_price ::numeric
    ORDER BY created_at DESC LIMIT 1
"""
_CROSSED = """
    SELECT NULL, 'crossed', order_id, NULL ::timestamptz, NULL ::numeric FROM orders
    WHERE :crossing AND account = :account AND is_open AND symbol = :symbol AND order_id <> :order_id
      AND document->'ticket'->>'side' <> :side AND document->'ticket'->>'trigger_price' IS NULL
      AND (:price ::numeric IS NULL OR (document->>'price')::numeric IS NULL
           OR CASE WHEN :side = 'buy' THEN (document->>'price')::numeric <= :price
                   ELSE (document->>'price')::numeric >= :price END)
    ORDER BY number LIMIT 1
"""
_FACTS = f"""
    SELECT asked.scope AS of_scope, asked.what, NULL AS name, admissions.admitted_at AS at, NULL ::numeric AS figure
    FROM unnest(:rated ::text[], :rates ::text[], :numbers ::bigint[]) AS asked (scope, what, number)
    JOIN admissions ON admissions.scope = asked.scope AND admissions.number = asked.number
    UNION ALL
    SELECT scope, 'realized_today', symbol, NULL, sum(realized) FROM realized_days
    WHERE scope = ANY(:losing ::text[]) AND day >= (statement_timestamp() AT TIME ZONE 'UTC')::date
    GROUP BY scope, symbol
    UNION ALL ({_TWIN}) UNION ALL ({_CROSSED})
"""
_SEEN = text(
    f"""
    SELECT statement_timestamp() AS now, valued.*, facts.* FROM (SELECT 1) AS once
    LEFT JOIN (({_VALUED}) AS valued FULL JOIN ({_FACTS}) AS facts ON false) ON true
    """
)
"""All that the limits measure, in one round trip: a row is either what a scope holds and works of a symbol, with the
market's latest word on it, or a fact that some limit asks for, named by `what`. What no limit asks for reads nothing.
The time is that of this statement, which the server gets after it has taken the locks: it never runs backwards from one
order to the next."""
_FORGET = text(
    """
    DELETE FROM admissions USING unnest(:scopes ::text[], :numbers ::bigint[]) AS old (scope, number)
    WHERE admissions.scope = old.scope AND admissions.number <= old.number
    """
)
FORGET_EVERY = 64
"""Admissions after which those that no window can reach are dropped: not each time, for it reads many rows."""
_STOP_OUTS = text(
    """
    SELECT count(DISTINCT order_id) FILTER (WHERE at > :since) AS count, max(at) FILTER (WHERE symbol = :symbol) AS last
    FROM realizations WHERE scope = :scope AND by_stop AND realized < 0 AND at > least(:since, :cooled)
    """
)
_REALIZED = text("SELECT sum(realized) FROM realizations WHERE scope = :scope AND symbol = :symbol AND at > :since")


@dataclass(frozen=True)
class Figures:
    """What was read under the locks."""

    scopes: tuple[ScopeFigures, ...]
    now: datetime | None
    """The ledger's time after the locks were taken; `None` when there was nothing to lock."""
    twin: Twin | None = None
    crossed: str | None = None

    def onto(self, exposure: Exposure) -> Exposure:
        """Return what is known of the account, with what is known of the scopes."""
        return exposure.model_copy(update={"scopes": self.scopes, "twin": self.twin, "crossed": self.crossed})


async def figures(
    connection: AsyncConnection,
    order: Order | OrderRequest,
    limit_set: LimitSet,
    *,
    mode: TradingMode,
    validated: Validated | None = None,
) -> Figures:
    """Lock the order's scopes that have limits which other orders change, and read what the limits measure."""
    limits = limit_set.of_order(order)
    rows = {scope: scope_row(mode, scope) for scope in limits}
    locking = sorted(rows[scope] for scope, own in limits.items() if _LOCKING & _set(own))
    if not locking:
        return Figures(scopes=tuple(ScopeFigures(scope=scope, limits=own) for scope, own in limits.items()), now=None)
    locked = await _locked(connection, locking)
    priced = any(_PRICED & _set(own) for own in limits.values())
    key = {"scopes": sorted(rows.values()), "priced": priced, "mode": mode, **_asked(order, limits, rows, locked)}
    found = list(await connection.execute(_SEEN, key))
    now: datetime = found[0].now
    kept = {scope: [row for row in found if row.scope == name] for scope, name in rows.items()}
    held = await _valued(
        connection, order, kept, limit_set if priced else None, mode=mode, validated=validated, now=now
    )
    facts = _facts(row for row in found if row.what is not None)
    told = []
    for scope, own in limits.items():
        told.append(
            ScopeFigures(
                scope=scope,
                limits=own,
                symbols=held[scope],
                earlier_admissions=facts.earlier.get(rows[scope], {}),
                peak_profit=locked[rows[scope]].peak_profit if rows[scope] in locked else ZERO,
                realized_today=in_currency(facts.realized_today.get(rows[scope], {}), held[scope]),
                realized_total=in_currency({row.symbol: row.realized_pnl for row in kept[scope]}, held[scope]),
                **await stops(connection, own, rows[scope], order.ticket.symbol, now),
            )
        )
    return Figures(scopes=tuple(told), now=now, twin=facts.twin, crossed=facts.crossed)


def rated_of(seen: Figures, *, mode: TradingMode) -> Mapping[str, int]:
    """Return the rows of the scopes that count their orders, with the most that any of their windows can reach."""
    return {
        scope_row(mode, figures.scope): max(_rates(figures.limits).values())
        for figures in seen.scopes
        if _rates(figures.limits)
    }


async def forget(connection: AsyncConnection, rated: Mapping[str, int], counted: Mapping[str, int]) -> None:
    """Drop the admissions that no window can reach any more, now and then."""
    old = {scope: number - rated[scope] for scope, number in counted.items() if number % FORGET_EVERY == 0}
    if old:
        await connection.execute(_FORGET, {"scopes": list(old), "numbers": list(old.values())})


def _set(limits: Limits) -> frozenset[str]:
    return frozenset(name for name, value in limits if value is not None)


def _rates(limits: Limits) -> Mapping[str, int]:
    rates = {name: getattr(limits, name) for name in RATE_WINDOWS}
    return {name: rate for name, rate in rates.items() if rate is not None}


async def _locked(connection: AsyncConnection, names: Sequence[str]) -> Mapping[str, Row[tuple[object, ...]]]:
    rows = {row.scope: row for row in await connection.execute(_LOCK, {"scopes": names})}
    if len(rows) < len(names):
        new = [{"scope": name, "admitted": 0, "peak_profit": ZERO} for name in names]
        await connection.execute(insert(risk_scopes).on_conflict_do_nothing(), new)
        rows = {row.scope: row for row in await connection.execute(_LOCK, {"scopes": names})}
    return rows


async def _valued(
    connection: AsyncConnection,
    order: Order | OrderRequest,
    held: Mapping[str, Sequence[Row[tuple[object, ...]]]],
    limit_set: LimitSet | None,
    *,
    mode: TradingMode,
    validated: Validated | None,
    now: datetime,
) -> Mapping[str, tuple[SymbolExposure, ...]]:
    """Return what each scope holds and works, valued by the limits' currency unless no limit needs it."""
    own = order.ticket.symbol
    values: Mapping[str, tuple[Decimal | None, Decimal | None]] = {}
    if limit_set is not None:
        every = [row for rows in held.values() for row in rows]
        told = {row.symbol: valuation.mark_of(row) if row.asked_at is not None else None for row in every}
        symbols = {own, *told}
        values = await valuation.values_of(connection, symbols, limit_set, mode=mode, now=now, told=told)
    mark = _own_mark(validated)
    valued = {}
    for scope, rows in held.items():
        exposed = {row.symbol: exposure_of(row, values, now) for row in rows}
        mine = exposed.get(own) or SymbolExposure(symbol=own, rate=values.get(own, (None, None))[1])
        exposed[own] = mine.model_copy(update={"mark": mark or mine.mark})
        valued[scope] = tuple(exposed.values())
    return valued


def _own_mark(validated: Validated | None) -> Decimal | None:
    """Return the price that what is held of the order's own symbol is worth at worst: the dearer side."""
    if validated is None or validated.ticker is None:
        return validated.reference_price if validated is not None else None
    return validated.ticker.ask or validated.ticker.bid or validated.ticker.last


def exposure_of(
    row: Row[tuple[object, ...]], values: Mapping[str, tuple[Decimal | None, Decimal | None]], now: datetime
) -> SymbolExposure:
    """Read a row of `exposures`, with its symbol's price and rate of `values`."""
    named = row._mapping
    mark, rate = values.get(named["symbol"], (None, None))
    kept = {name: named[name] for name in SymbolExposure.model_fields if name in named}
    for name in ("working_buy", "working_sell", "buy_notional", "sell_notional"):
        kept[name] = max(kept[name], ZERO)
    today = named["day"] == now.astimezone(UTC).date()
    return SymbolExposure(**kept, turnover=named["day_turnover"] if today else ZERO, mark=mark, rate=rate)


def without(seen: Figures, order: Order, *, working: Decimal, notional: Decimal) -> Figures:
    """Return the figures as they would be without what one working order counts for: it is about to be replaced."""
    sides = ("working_buy", "buy_notional") if order.ticket.side is OrderSide.BUY else ("working_sell", "sell_notional")
    told = []
    for figures in seen.scopes:
        own = figures.of(order.ticket.symbol)
        less = dict(zip(sides, (working, notional), strict=True))
        left = {name: max(subtract(getattr(own, name), value), ZERO) for name, value in less.items()}
        others = tuple(row for row in figures.symbols if row.symbol != own.symbol)
        mine = own.model_copy(update={**left, "open_orders": max(own.open_orders - 1, 0)})
        told.append(figures.model_copy(update={"symbols": (*others, mine)}))
    return Figures(scopes=tuple(told), now=seen.now, twin=seen.twin, crossed=seen.crossed)


@dataclass
class _Facts:
    """What some limits ask for beside what is held, by row of scope."""

    earlier: dict[str, dict[str, datetime]] = field(default_factory=dict)
    """By rate limit of N: when the N-th last order was admitted, which must be out of the window."""
    realized_today: dict[str, dict[str, Decimal]] = field(default_factory=dict)
    twin: Twin | None = None
    crossed: str | None = None


def _asked(
    order: Order | OrderRequest,
    limits: Mapping[str, Limits],
    rows: Mapping[str, str],
    locked: Mapping[str, Row[tuple[object, ...]]],
) -> dict[str, object]:
    """Return what the facts are asked by."""
    ticket = order.ticket
    earlier = [
        (rows[scope], name, locked[rows[scope]].admitted - rate + 1)
        for scope, own in limits.items()
        for name, rate in _rates(own).items()
        if rate > 0
    ]
    windows = [own.duplicate_window_s for own in limits.values() if own.duplicate_window_s is not None]
    # A stop is asleep, and trades with nobody yet.
    crossing = ticket.trigger_price is None and any(own.forbid_self_trade for own in limits.values())
    return {
        "rated": [row for row, _, _ in earlier],
        "rates": [name for _, name, _ in earlier],
        "numbers": [number for _, _, number in earlier],
        "losing": [rows[scope] for scope, own in limits.items() if own.max_daily_loss is not None],
        "window": max(windows, default=None),
        "crossing": crossing,
        "account": order.account,
        "symbol": ticket.symbol,
        "order_id": order.order_id,
        "side": ticket.side,
        "order_type": ticket.order_type,
        "quantity": ticket.quantity,
        "quote_amount": ticket.quote_amount,
        "price": ticket.price,
        "trigger_price": ticket.trigger_price,
    }


def _facts(rows: Iterable[Row[tuple[object, ...]]]) -> _Facts:
    facts = _Facts()
    for row in rows:
        match row.what:
            case "twin":
                facts.twin = Twin(order_id=row.name, placed_at=row.at)
            case "crossed":
                facts.crossed = row.name
            case "realized_today":
                facts.realized_today.setdefault(row.of_scope, {})[row.name] = row.figure
            case rate:
                facts.earlier.setdefault(row.of_scope, {})[rate] = row.at
    return facts


def in_currency(realized: Mapping[str, Decimal], held: Sequence[SymbolExposure]) -> Decimal:
    """Return profit, by symbol in quote units, in the risk currency."""
    rates = {symbol.symbol: symbol.rate or ZERO for symbol in held}
    return sum((multiply(amount, rates.get(symbol, ZERO)) for symbol, amount in realized.items()), ZERO)


async def realized_of(
    connection: AsyncConnection, limits: Limits, row: str, held: Sequence[SymbolExposure], now: datetime
) -> Mapping[str, Decimal]:
    """Return what the scope realized today and ever, in the risk currency, where a limit asks for it."""
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    wanted: dict[str, datetime | None] = {}
    if limits.max_daily_loss is not None:
        wanted["realized_today"] = midnight
    if limits.max_drawdown is not None:
        wanted["realized_total"] = None
    return {
        name: in_currency(await valuation.realized_since(connection, row, since), held)
        for name, since in wanted.items()
    }


async def stops(
    connection: AsyncConnection, limits: Limits, row: str, symbol: str, now: datetime
) -> Mapping[str, object]:
    """Return the scope's stops at a loss, and what the symbol realized lately, where a limit asks for it."""
    told: dict[str, object] = {}
    if limits.cooldown_after_stop_s is not None or limits.max_stop_outs is not None:
        since = now - timedelta(seconds=limits.stop_out_window_s or STOP_OUT_WINDOW_S)
        cooled = now - timedelta(seconds=limits.cooldown_after_stop_s or 0)
        key = {"scope": row, "symbol": symbol, "since": since, "cooled": cooled}
        found = (await connection.execute(_STOP_OUTS, key)).one()
        told["stop_outs"] = StopOuts(count=found.count, last_in_symbol_at=found.last)
    if limits.min_profit is not None:
        since = now - timedelta(seconds=limits.profit_window_s or PROFIT_WINDOW_S)
        key = {"scope": row, "symbol": symbol, "since": since}
        told["realized_in_window"] = (await connection.execute(_REALIZED, key)).scalar_one()
    return told
