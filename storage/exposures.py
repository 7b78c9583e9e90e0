"""What each scope of an order holds and works: taken when it is admitted, moved by its fills, released at its end.

Every order counts in all its scopes, whether they have limits or not, so that a new limit finds true figures. What an
order counts for stands in its reservation (`working`, `working_notional`), so a change is the difference to that.
Rows are locked by name of scope, last of all in every transaction, and so the shortest.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.events import Fill
from domain.limits import scope_row, scopes_of
from domain.numbers import EXACT, SCALE, add, multiply, round_up_to_step, subtract, to_scale
from domain.order import Order, OrderSide
from domain.position import Holding

ZERO = Decimal(0)

ADD_ROWS = """
    INSERT INTO exposures AS e (scope, symbol, amount, cost, realized_pnl, traded, working_buy, working_sell,
        buy_notional, sell_notional, open_orders, day, day_turnover, updated_at)
    SELECT scope, :symbol, 0, 0, 0, 0, :buy, :sell, :buy_notional, :sell_notional, :orders, :day, 0, :now
    FROM {given}unnest(:scopes ::text[]) AS scope ORDER BY scope
    ON CONFLICT (scope, symbol) DO UPDATE SET
        working_buy = e.working_buy + excluded.working_buy, working_sell = e.working_sell + excluded.working_sell,
        buy_notional = e.buy_notional + excluded.buy_notional,
        sell_notional = e.sell_notional + excluded.sell_notional,
        open_orders = e.open_orders + excluded.open_orders, updated_at = excluded.updated_at
    RETURNING scope, amount, cost, realized_pnl, traded, day, day_turnover
"""
_ADD = text(ADD_ROWS.format(given=""))
_WORK = text(
    """
    UPDATE reservations new SET working = :working, working_notional = :working_notional, counted = :counted,
        unit_price = coalesce(new.unit_price, :unit_price)
    FROM reservations old
    WHERE new.account = :account AND new.order_id = :order_id
      AND old.account = new.account AND old.order_id = new.order_id
    RETURNING old.working, old.working_notional, old.counted
    """
)
_UNIT_PRICE = text("SELECT unit_price FROM reservations WHERE account = :account AND order_id = :order_id")
_COUNTED = text("SELECT working, working_notional FROM reservations WHERE account = :account AND order_id = :order_id")
_HOLD = text(
    """
    UPDATE exposures SET amount = new.amount, cost = new.cost, realized_pnl = new.realized_pnl, traded = new.traded,
        day = :day, day_turnover = new.day_turnover
    FROM unnest(:scopes ::text[], :amount ::numeric[], :cost ::numeric[], :realized_pnl ::numeric[],
        :traded ::numeric[], :day_turnover ::numeric[])
        AS new (scope, amount, cost, realized_pnl, traded, day_turnover)
    WHERE exposures.scope = new.scope AND exposures.symbol = :symbol
    """
)


@dataclass(frozen=True)
class Worked:
    """What an order may still trade at worst: base units, and quote units for them."""

    quantity: Decimal = ZERO
    notional: Decimal = ZERO


@dataclass(frozen=True)
class Realized:
    """What one fill realized in one scope, in quote units."""

    scope: str
    fill: Fill
    realized: Decimal


def rows_of(order: Order) -> list[str]:
    """Return the names of the rows that an order counts in, sorted as they are locked."""
    return sorted(scope_row(order.mode, scope) for scope in scopes_of(order))


def worked(order: Order, unit_price: Decimal) -> Worked:
    """Return what an order may still trade at worst; while it is being replaced, the worse of old and new."""
    if order.is_final:
        return Worked()
    figures = [(order.quantity, order.price)]
    if order.amend_quantity is not None:
        figures.append((order.amend_quantity, order.amend_price))
    left = [(max(subtract(quantity, order.cum_qty), ZERO), price or unit_price) for quantity, price in figures]
    notional = max(round_up_to_step(multiply(quantity, price), step=SCALE) for quantity, price in left)
    return Worked(quantity=max(quantity for quantity, _ in left), notional=notional)


async def forget(connection: AsyncConnection, order: Order, held: Worked, *, now: datetime) -> None:
    """Take a held order, whose reservation was given back, out of its scopes: it is asked about anew."""
    await _add(connection, order, EXACT.minus(held.quantity), EXACT.minus(held.notional), orders=-1, now=now)


async def rework(connection: AsyncConnection, order: Order, *, now: datetime) -> None:
    """Count an order whose amendment was asked for at the worse of old and new."""
    await _rework(connection, order, unit_price=await _unit_price(connection, order), now=now)


async def counted(connection: AsyncConnection, order: Order) -> Worked:
    """Return what the order counts for now."""
    key = {"account": order.account, "order_id": order.order_id}
    row = (await connection.execute(_COUNTED, key)).first()
    return Worked(quantity=row.working, notional=row.working_notional) if row is not None else Worked()


async def settle(
    connection: AsyncConnection, order: Order, fills: Sequence[Fill], *, now: datetime
) -> Sequence[Realized]:
    """Do what new fills and the order's new state do in all its scopes; return what the fills realized."""
    unit_price = await _unit_price(connection, order)
    rows = await _rework(connection, order, unit_price=unit_price, now=now)
    if not fills:
        return []
    realized: list[Realized] = []
    today = now.astimezone(UTC).date()
    turnover = sum((_notional(fill) for fill in fills), ZERO)
    after: dict[str, tuple[Holding, Decimal]] = {}
    for scope, (holding, day, day_turnover) in rows.items():
        for fill in fills:
            movement = holding.moved(fill, side=order.ticket.side)
            if movement.realized or movement.closed:
                realized.append(Realized(scope=scope, fill=fill, realized=movement.realized))
            holding = movement.holding
        after[scope] = (holding, add(day_turnover if day == today else ZERO, turnover))
    figures = {
        name: [getattr(holding, name) for holding, _ in after.values()]
        for name in ("amount", "cost", "realized_pnl", "traded")
    }
    turnovers = [turnover for _, turnover in after.values()]
    key = {"scopes": list(after), "symbol": order.ticket.symbol, "day": today, "day_turnover": turnovers}
    await connection.execute(_HOLD, {**key, **figures})
    return realized


def _notional(fill: Fill) -> Decimal:
    return to_scale(multiply(fill.last_qty, fill.last_px))


async def _unit_price(connection: AsyncConnection, order: Order) -> Decimal:
    key = {"account": order.account, "order_id": order.order_id}
    return (await connection.execute(_UNIT_PRICE, key)).scalar_one_or_none() or order.price or ZERO


async def _rework(
    connection: AsyncConnection, order: Order, *, unit_price: Decimal, now: datetime
) -> Mapping[str, tuple[Holding, date, Decimal]]:
    """Make what the order counts for what it may still trade; return what its scopes hold, locked."""
    new = worked(order, unit_price)
    key = {"account": order.account, "order_id": order.order_id}
    counted = not order.is_final
    figures = {"working": new.quantity, "working_notional": new.notional, "unit_price": unit_price, "counted": counted}
    old = (await connection.execute(_WORK, {**key, **figures})).first()
    quantity = subtract(new.quantity, old.working) if old is not None else ZERO
    notional = subtract(new.notional, old.working_notional) if old is not None else ZERO
    orders = int(counted) - int(old.counted) if old is not None else 0
    return await _add(connection, order, quantity, notional, orders=orders, now=now)


async def _add(
    connection: AsyncConnection, order: Order, quantity: Decimal, notional: Decimal, *, orders: int, now: datetime
) -> Mapping[str, tuple[Holding, date, Decimal]]:
    rows = await connection.execute(_ADD, changes(order, quantity, notional, orders=orders, now=now))
    return {
        row.scope: (
            Holding(amount=row.amount, cost=row.cost, realized_pnl=row.realized_pnl, traded=row.traded),
            row.day,
            row.day_turnover,
        )
        for row in rows
    }


def changes(order: Order, quantity: Decimal, notional: Decimal, *, orders: int, now: datetime) -> dict[str, object]:
    """Return the values of `ADD_ROWS`: what the order's scopes work more, in base and in quote units."""
    buying = order.ticket.side is OrderSide.BUY
    return {
        "scopes": rows_of(order),
        "symbol": order.ticket.symbol,
        "buy": quantity if buying else ZERO,
        "sell": ZERO if buying else quantity,
        "buy_notional": notional if buying else ZERO,
        "sell_notional": ZERO if buying else notional,
        "orders": orders,
        "day": now.astimezone(UTC).date(),
        "now": now,
    }
