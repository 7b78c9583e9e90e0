"""Broken variants of the gate: each is a small change of the product's real code, and a known way to exceed a limit.

They are patched before the worker processes are forked, so that every process has them.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from unittest.mock import patch

from sqlalchemy import bindparam, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.exposure import SymbolExposure
from domain.lifecycle import OrderStatus
from domain.limits import LimitSet, scope_row
from domain.numbers import EXACT
from domain.order import Order, OrderSide
from storage import entering, exposures, gate
from storage.database import in_transaction
from storage.exposures import Worked
from storage.order_store import SqlOrderStore
from storage.risk_tables import risk_scopes
from tests.campaign.limits.cases import FATES, Fate
from tests.campaign.limits.run import Plan, run

ZERO = Decimal(0)
WINDOW_S = 0.05
"""How long a variant that does in two transactions what belongs into one stays between them."""
TICKETS, UNITS = 60, 22
"""With 22 units of 0.001 a limit that is reckoned in floats loses the last one."""


@dataclass(frozen=True)
class LimitVariant:
    """One way to get it wrong, and the limits that show it."""

    name: str
    what: str
    patch: Callable[[], AbstractContextManager[Any]]
    cases: tuple[str, ...] = ("quantity",)
    fates: tuple[Fate, ...] = ()
    """What becomes of the tickets, where that is what shows it; none: they stay admitted."""

    def report(self, seed: int, url: str) -> dict[str, Any]:
        """Attack the broken code on an empty ledger until something breaks."""
        moves = bool(self.fates)
        plan = Plan(seed, TICKETS, UNITS, within_s=60, cases=self.cases, phases=(moves,), fates=self.fates or FATES)
        with self.patch():
            return run(plan, url)


_UNLOCKED = (
    select(risk_scopes)
    .where(risk_scopes.c.scope.in_(bindparam("scopes", expanding=True)))
    .order_by(risk_scopes.c.scope)
)


def _check_then_act() -> AbstractContextManager[Any]:
    return patch.object(gate, "_LOCK", _UNLOCKED)


@contextmanager
def _stale_snapshot() -> Iterator[None]:
    figures, locked = gate.figures, gate._locked

    async def broken(connection: AsyncConnection, order: Any, limit_set: LimitSet, **others: Any) -> gate.Figures:
        with patch.object(gate, "_locked", unlocked):
            seen = await figures(connection, order, limit_set, **others)
        names = [scope_row(others["mode"], scope) for scope in limit_set.of_order(order)]
        await locked(connection, sorted(names))
        return seen

    async def unlocked(connection: AsyncConnection, names: Any) -> Mapping[str, Any]:
        return {row.scope: row for row in await connection.execute(_UNLOCKED, {"scopes": names})}

    with patch.object(gate, "figures", broken):
        yield


def _worst(quantity: Callable[[SymbolExposure, OrderSide, Decimal], Decimal]) -> Callable[[], Any]:
    return lambda: patch.object(SymbolExposure, "worst_quantity", quantity)


def _in_floats(self: SymbolExposure, side: OrderSide, quantity: Decimal) -> Decimal:
    return Decimal(float(self.traded) + float(self.working_buy) + float(quantity))


def _filled_only(self: SymbolExposure, side: OrderSide, quantity: Decimal) -> Decimal:
    return self.traded + quantity


def _net_of_commissions(self: SymbolExposure, side: OrderSide, quantity: Decimal) -> Decimal:
    return self.amount + self.working_buy + quantity


@contextmanager
def _per_process() -> Iterator[None]:
    figures, enter = gate.figures, entering.enter
    mine: dict[str, Decimal] = {}  # each forked process gets its own

    async def counted(connection: AsyncConnection, order: Order, *others: Any, **named: Any) -> Any:
        mine[order.account] = mine.get(order.account, ZERO) + order.quantity
        return await enter(connection, order, *others, **named)

    async def broken(connection: AsyncConnection, order: Any, *others: Any, **named: Any) -> gate.Figures:
        seen = await figures(connection, order, *others, **named)
        known = {"traded": ZERO, "working_buy": mine.get(order.account, ZERO)}
        told = [
            scope.model_copy(update={"symbols": tuple(row.model_copy(update=known) for row in scope.symbols)})
            for scope in seen.scopes
        ]
        return gate.Figures(scopes=tuple(told), now=seen.now)

    with patch.object(gate, "figures", broken), patch.object(entering, "enter", counted):
        yield


_NOTHING_WORKS = text(
    "UPDATE reservations SET working = 0, working_notional = 0 WHERE account = :account AND order_id = :order_id"
)


async def _release(store: SqlOrderStore, order: Order, *, counts: int) -> None:
    """Give back what an order works, in a transaction of its own."""

    async def work(connection: AsyncConnection) -> None:
        held: Worked = await exposures.counted(connection, order)
        less = (EXACT.minus(held.quantity), EXACT.minus(held.notional))
        await connection.execute(_NOTHING_WORKS, {"account": order.account, "order_id": order.order_id})
        await exposures._add(connection, order, *less, orders=counts, now=order.updated_at)

    await in_transaction(store._engine, work)


@contextmanager
def _release_before_fill() -> Iterator[None]:
    record = SqlOrderStore.record_report

    async def broken(self: SqlOrderStore, account: str, order_id: str, *others: Any, **named: Any) -> Any:
        order = await self.order(account, order_id)
        if not order.is_final:
            await _release(self, order, counts=0)
            await asyncio.sleep(WINDOW_S)
        return await record(self, account, order_id, *others, **named)

    with patch.object(SqlOrderStore, "record_report", broken):
        yield


@contextmanager
def _doubt_forgotten() -> Iterator[None]:
    record = SqlOrderStore.record_outcome

    async def broken(self: SqlOrderStore, *others: Any, **named: Any) -> Order:
        order = await record(self, *others, **named)
        if order.status is OrderStatus.IN_DOUBT:
            await _release(self, order, counts=-1)
        return order

    with patch.object(SqlOrderStore, "record_outcome", broken):
        yield


def _never_released() -> AbstractContextManager[Any]:
    def broken(order: Order, unit_price: Decimal) -> Worked:
        left = max(order.quantity - order.cum_qty, ZERO)
        return Worked(quantity=left, notional=left * (order.price or unit_price))

    return patch.object(exposures, "worked", broken)


def _balance_unasked() -> AbstractContextManager[Any]:
    unasked = entering._ENTER_NEW.text.replace("AND total - reserved >= :more", "")
    return patch.object(entering, "_ENTER_NEW", text(unasked))


VARIANTS = (
    LimitVariant("check_then_act", "figures are read without locking their scopes", _check_then_act),
    LimitVariant(
        "check_then_act_on_counts",
        "orders are counted without locking their scopes",
        _check_then_act,
        cases=("open", "rate", "turnover"),
    ),
    LimitVariant("stale_snapshot", "figures are read, and then the scopes are locked", _stale_snapshot),
    LimitVariant("float", "the limit is reckoned in floats", _worst(_in_floats)),
    LimitVariant("filled_only", "what works does not count", _worst(_filled_only)),
    LimitVariant("per_process", "every process counts what it has admitted itself", _per_process),
    LimitVariant("balance_unasked", "the reservation does not ask what is left", _balance_unasked, cases=("balance",)),
    LimitVariant("release_before_fill", "what works is given back before its fill counts", _release_before_fill,
                 fates=(Fate.FILLED,)),
    LimitVariant("doubt_forgotten", "an order in doubt gives back what it works", _doubt_forgotten,
                 fates=(Fate.DOUBT,)),
    LimitVariant("net_of_commissions", "fills count less their commissions", _worst(_net_of_commissions),
                 fates=(Fate.FILLED,)),
    LimitVariant("never_released", "an order that has ended works on", _never_released,
                 fates=(Fate.FILLED, Fate.UNSENT, Fate.REFUSED)),
)  # fmt: skip
