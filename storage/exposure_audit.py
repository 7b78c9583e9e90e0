"""What every scope should hold and work, reckoned anew from orders and fills: used = sum of working + sum of filled.

The rows of `exposures` are moved step by step; this adds everything up from the facts, in one snapshot. A difference is
a defect of ours or somebody's hand in the ledger. `rebuild` writes the sums, for a ledger from before there were rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Final

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from domain.events import Fill
from domain.numbers import add
from domain.order import Frozen, Order, OrderSide
from domain.position import Holding
from storage.database import in_transaction
from storage.exposures import rows_of, worked
from storage.risk_tables import exposures

ZERO = Decimal(0)
_SNAPSHOT: Final = text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
_LONG: Final = text(
    "SELECT set_config('statement_timeout', '0', true), set_config('idle_in_transaction_session_timeout', '0', true)"
)
"""It reckons between two statements for longer than the ledger waits for one who holds locks; this one holds none."""
_OPEN: Final = text(
    """
    SELECT orders.document::text AS document, coalesce(reservations.unit_price, 0) AS unit_price
    FROM orders JOIN reservations ON reservations.account = orders.account AND reservations.order_id = orders.order_id
    WHERE orders.is_open ORDER BY orders.account, orders.number
    """
)
_FILLS: Final = text(
    """
    SELECT fills.*, orders.document::text AS document
    FROM fills JOIN orders ON orders.account = fills.account AND orders.order_id = fills.order_id
    ORDER BY fills.recorded_at, fills.ts_event, length(fills.trade_id), fills.trade_id
    """
)
_COUNT: Final = text(
    """
    UPDATE reservations SET working = :working, working_notional = :notional, unit_price = :unit_price, counted = true
    WHERE account = :account AND order_id = :order_id
    """
)
_COMPARED: Final = ("amount", "working_buy", "working_sell", "buy_notional", "sell_notional", "open_orders")
_HELD: Final = ("cost", "realized_pnl", "traded")


class Difference(Frozen):
    """A figure of a row that is not the sum of the facts."""

    scope: str
    symbol: str
    figure: str
    row: str
    facts: str


@dataclass
class _Sums:
    """One row, reckoned from the facts."""

    holding: Holding = field(default_factory=Holding)
    working_buy: Decimal = ZERO
    working_sell: Decimal = ZERO
    buy_notional: Decimal = ZERO
    sell_notional: Decimal = ZERO
    open_orders: int = 0
    base_fees: Decimal = ZERO
    closed: bool = False

    def explains(self, traded: Decimal) -> bool:
        """Tell whether `traded` is what the fills can have made of it.

        It depends on the order in which concurrent fills were recorded, which nothing keeps: it lies between what is
        held and that plus all commissions in the base asset, and is exactly the latter while nothing was closed.
        """
        if not self.base_fees or not self.closed:
            return traded == self.holding.traded
        bounds = sorted((self.holding.amount, add(self.holding.amount, self.base_fees)))
        return bounds[0] <= traded <= bounds[1]

    def figure(self, name: str) -> Decimal | int:
        """Return a figure by the name of its column."""
        value: Decimal | int = getattr(self.holding if name in Holding.model_fields else self, name)
        return value


async def audit(engine: AsyncEngine) -> list[Difference]:
    """Compare every row with the sums of the facts, in one snapshot of the ledger. Long on a long ledger."""

    async def compare(connection: AsyncConnection) -> list[Difference]:
        await connection.execute(_SNAPSHOT)
        await connection.execute(_LONG)
        sums = await _reckoned(connection)
        rows = {(row.scope, row.symbol): row._mapping for row in await connection.execute(exposures.select())}
        found = []
        for key in sorted({*sums, *rows}):
            facts, row = sums.get(key) or _Sums(), rows.get(key)
            for name in _COMPARED:
                told = row[name] if row is not None else 0
                if told != facts.figure(name):
                    found.append(_difference(key, name, told, facts))
            traded = row["traded"] if row is not None else ZERO
            if not facts.explains(traded):
                found.append(_difference(key, "traded", traded, facts))
        return found

    return await in_transaction(engine, compare)


def _difference(key: tuple[str, str], name: str, told: object, facts: _Sums) -> Difference:
    return Difference(scope=key[0], symbol=key[1], figure=name, row=str(told), facts=str(facts.figure(name)))


async def rebuild_if_empty(connection: AsyncConnection, *, now: datetime) -> int:
    """Write the rows from the facts if there are facts and no rows; return how many were written."""
    if (await connection.execute(text("SELECT EXISTS (SELECT FROM exposures)"))).scalar_one():
        return 0
    sums = await _reckoned(connection, count=True)
    rows = [
        {
            "scope": scope,
            "symbol": symbol,
            **{name: facts.figure(name) for name in (*_COMPARED, *_HELD)},
            "day": now.date(),
            "day_turnover": ZERO,
            "updated_at": now,
        }
        for (scope, symbol), facts in sums.items()
    ]
    if rows:
        await connection.execute(insert(exposures), rows)
    return len(rows)


async def _reckoned(connection: AsyncConnection, *, count: bool = False) -> Mapping[tuple[str, str], _Sums]:
    sums: dict[tuple[str, str], _Sums] = {}
    for row in await connection.execute(_FILLS):
        order = Order.model_validate_json(row.document)
        fill = Fill.model_validate({name: row._mapping[name] for name in Fill.model_fields})
        for scope in rows_of(order):
            into = sums.setdefault((scope, fill.symbol), _Sums())
            movement = into.holding.moved(fill, side=order.ticket.side)
            into.holding, into.closed = movement.holding, into.closed or movement.closed > 0
            if fill.commission is not None and fill.commission_asset == fill.symbol.split("/")[0]:
                into.base_fees = add(into.base_fees, fill.commission)
    for row in (await connection.execute(_OPEN)).all():
        order = Order.model_validate_json(row.document)
        unit_price = row.unit_price or order.price or ZERO
        still = worked(order, unit_price)
        for scope in rows_of(order):
            into = sums.setdefault((scope, order.ticket.symbol), _Sums())
            into.open_orders += 1
            if order.ticket.side is OrderSide.BUY:
                into.working_buy = add(into.working_buy, still.quantity)
                into.buy_notional = add(into.buy_notional, still.notional)
            else:
                into.working_sell = add(into.working_sell, still.quantity)
                into.sell_notional = add(into.sell_notional, still.notional)
        if count:
            key = {"account": order.account, "order_id": order.order_id, "unit_price": unit_price}
            await connection.execute(_COUNT, {**key, "working": still.quantity, "notional": still.notional})
    return sums
