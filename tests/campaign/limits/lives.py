"""A worker process: callers that admit tickets and move them on, as activities do, until it is killed."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from multiprocessing.connection import Connection
from typing import Any

from domain.errors import StoreUnavailable
from domain.events import Fill, Reason
from domain.lifecycle import OrderEventType, OrderStatus
from domain.order import Order, TradingMode
from domain.reports import OrderReport, SubmitOutcome, SubmitVerdict, VenueOrderStatus
from domain.risk import AccountTerms, Answer
from storage.database import open_engine
from storage.order_store import SqlOrderStore
from tests.campaign.limits.cases import FEE_SHARE, PART, PRICE, SYMBOL, UNIT, VALIDATED, Fate, Ticket

REASON = Reason(code="TEST", text="a test says so")
TRIES = 20


@dataclass(frozen=True)
class Told:
    """What a caller was told of a ticket."""

    ticket: Ticket
    answer: str
    code: str | None = None
    numbers: dict[str, str] = field(default_factory=dict)


def serve(url: str, tickets: list[Ticket], callers: int, answers: Connection) -> None:
    """Work the tickets off; each is told once its whole life is on record."""
    asyncio.run(_serve(url, tickets, callers, answers))


async def _serve(url: str, tickets: list[Ticket], callers: int, answers: Connection) -> None:
    engine = open_engine(url, application_name="limits")
    left = iter(tickets)

    async def call() -> None:
        desk = Desk(SqlOrderStore(engine))
        for ticket in left:
            answers.send(await desk.told(ticket))

    async with asyncio.TaskGroup() as group:
        for _ in range(callers):
            group.create_task(call())
    await engine.dispose()


class Desk:
    """One caller. Every step may be repeated by the next process: what is on record is not done again."""

    def __init__(self, store: SqlOrderStore) -> None:
        self._store = store

    async def told(self, ticket: Ticket) -> Told:
        """Live a ticket's life, anew from its beginning while the ledger does not answer."""
        for _ in range(TRIES):
            try:
                return await self._live(ticket)
            except StoreUnavailable:
                await asyncio.sleep(0.05)
        raise RuntimeError(f"the ledger did not answer {TRIES} times: {ticket}")

    async def _live(self, ticket: Ticket) -> Told:
        terms = AccountTerms(account=ticket.account, exchange="binanceus", mode=TradingMode.SANDBOX)
        admission = await self._store.admit(ticket.request(), VALIDATED, terms=terms, now=_now())
        if admission.answer is Answer.ALLOW:
            await self._move(ticket, admission.order)
        reason = admission.reason
        numbers = dict(reason.numbers) if reason is not None else {}
        return Told(ticket, str(admission.answer), reason.code if reason is not None else None, numbers)

    async def _move(self, ticket: Ticket, order: Order) -> None:
        where = (order.account, order.order_id)
        if order.is_final:
            await self._store.finalize(*where, now=_now())
        if order.is_final or ticket.fate is Fate.ADMITTED:
            return
        if ticket.fate is Fate.UNSENT:
            await self._store.end_unsent(*where, event_type=OrderEventType.CANCELED, reason=REASON, now=_now())
            await self._store.finalize(*where, now=_now())
            return
        order = await self._sent(ticket, order)
        if ticket.fate is Fate.DOUBT:
            return
        fills = list(_fills(ticket))
        if ticket.fate in (Fate.FILLED, Fate.CUT):
            await self._report(ticket, VenueOrderStatus.OPEN, fills[:1])
        if ticket.fate is Fate.FILLED:
            await self._report(ticket, VenueOrderStatus.CLOSED, fills)
        if ticket.fate is Fate.CUT:
            await self._store.request_cancel(*where, reason=REASON, now=_now())
            await self._report(ticket, VenueOrderStatus.CANCELED, fills[:1])
        if ticket.fate in (Fate.FILLED, Fate.CUT, Fate.REFUSED):
            await self._store.finalize(*where, now=_now())

    async def _sent(self, ticket: Ticket, order: Order) -> Order:
        """Let it leave once, and record what came of it, which somebody killed in between may have left open."""
        if order.status not in (OrderStatus.INITIALIZED, OrderStatus.SUBMITTED):
            return order
        attempt = await self._store.open_attempt(order.account, order.order_id, worker="w", now=_now())
        if not attempt.may_have_left:
            await self._store.pass_last_look(attempt, now=_now())
        verdicts = {Fate.DOUBT: SubmitVerdict.UNKNOWN, Fate.REFUSED: SubmitVerdict.REFUSED}
        verdict = verdicts.get(ticket.fate, SubmitVerdict.ACCEPTED)
        accepted = verdict is SubmitVerdict.ACCEPTED
        report = _report(ticket, order, VenueOrderStatus.OPEN, Decimal(0)) if accepted else None
        outcome = SubmitOutcome(verdict=verdict, report=report, reason=None if accepted else REASON)
        return await self._store.record_outcome(attempt, outcome, now=_now())

    async def _report(self, ticket: Ticket, status: VenueOrderStatus, fills: list[Fill]) -> None:
        request = ticket.request()
        order = await self._store.order(request.account, request.order_id)
        report = _report(ticket, order, status, sum((fill.last_qty for fill in fills), Decimal(0)))
        await self._store.record_report(order.account, order.order_id, report, trades=fills, now=_now())


def _report(ticket: Ticket, order: Order, status: VenueOrderStatus, filled: Decimal) -> OrderReport:
    return OrderReport(
        symbol=SYMBOL,
        venue_order_id=f"v{ticket.number}",
        client_order_id=order.client_order_id,
        status=status,
        cum_qty=filled,
    )


def _fills(ticket: Ticket) -> Iterable[Fill]:
    for part, quantity in (("a", PART), ("b", UNIT - PART)):
        told: dict[str, Any] = {"symbol": SYMBOL, "venue_order_id": f"v{ticket.number}", "last_px": PRICE}
        fee = {"commission": quantity * FEE_SHARE, "commission_asset": "BTC"}
        yield Fill(**told, **fee, trade_id=f"{ticket.number}{part}", last_qty=quantity, ts_event=_now())


def _now() -> datetime:
    return datetime.now(UTC)
