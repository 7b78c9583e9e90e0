"""Broken variants of sending and of concluding: each is a small change of the product's real code.

A variant is a context manager: the code is broken inside it and whole again outside. Those of the ledger, the feed and
the arithmetic are in `variants_of_records.py`.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from unittest.mock import patch

from activities import venue_activities
from activities.calls import CancelCall, OrderCall
from activities.failures import in_activity
from activities.venue_activities import VenueActivities
from domain import protocol
from domain.events import OrderEvent, Reason
from domain.identifiers import derive_client_order_id
from domain.lifecycle import OrderEventType, OrderStatus
from domain.order import Order
from domain.ports import Attempt
from domain.protocol import AttemptState, Subject
from domain.reports import OrderReport, SubmitOutcome, SubmitVerdict, VenueOrderStatus
from exchanges import verdicts
from tests.campaign.simulation.memory_journal import MemoryJournal
from tests.campaign.simulation.plan import Plan

Patch = Callable[[], AbstractContextManager[Any]]
USUAL = Plan(orders=60, span_s=12.0, funds=3.0, kill_switches=0, continue_as_new=0.0, amends=0.0)
"""The weather that most variants are caught in. What it breaks in the code as it is would count for every variant."""
AMENDS = Plan(orders=60, span_s=15.0, funds=5.0, amends=0.9, cancels=0.1, submit_fault=0.1, kill=0.003)
LAGGING = Plan(orders=80, span_s=15.0, funds=3.0, amends=0.0, lag=0.95, submit_fault=0.7, slow_answer=0.7)
CANCELS = Plan(orders=60, span_s=12.0, funds=3.0, amends=0.0, cancels=0.9, submit_fault=0.1)


@dataclass(frozen=True)
class Variant:
    """One way to get it wrong."""

    name: str
    what: str
    patch: Patch
    plan: Plan = field(default=USUAL)


def replaced(target: Any, name: str, value: Any) -> Patch:
    """Return a patch of one attribute."""
    return lambda: patch.object(target, name, value)


async def _always() -> bool:
    return True


# Sending.


async def _submit_before_journal(self: VenueActivities, call: OrderCall) -> Order:
    async with in_activity():
        order = await self._store.order(call.account, call.order_id)
        if order.status is not OrderStatus.INITIALIZED or order.cancel_requested:
            return order
        client_order_id = derive_client_order_id(call.order_id, attempt=order.attempt + 1)
        submission = protocol.next_submission(order, client_order_id=client_order_id, now=self._clock())
        outcome = await self._exchange(call.account).submit(submission, last_look=_always)
        attempt = await self._store.open_attempt(call.account, call.order_id, worker="", now=self._clock())
        await self._store.pass_last_look(attempt, now=self._clock())
        return await self._store.record_outcome(attempt, outcome, now=self._clock())


async def _send_what_is_found(self: VenueActivities, attempt: Attempt) -> Order:
    outcome = await self._exchange(attempt.account).submit(attempt.submission, last_look=_always)
    return await self._store.record_outcome(attempt, outcome, now=self._clock())


@contextmanager
def _post_again() -> Iterator[None]:
    from tests.campaign.simulation.exchange import WorkerExchange

    send = WorkerExchange.submit

    async def submit(self: WorkerExchange, submission: Any, *, last_look: Any) -> SubmitOutcome:
        outcome = await send(self, submission, last_look=last_look)
        if outcome.verdict is SubmitVerdict.UNKNOWN:  # as a library does that retries every method
            outcome = await send(self, submission, last_look=_always)
        return outcome

    with patch.object(WorkerExchange, "submit", submit):
        yield


def _with_verdict(verdict: OrderEventType) -> Patch:
    fact_of = protocol.fact_of

    def broken(order: Order, attempt: int, outcome: SubmitOutcome) -> OrderEventType | None:
        fact = fact_of(order, attempt, outcome)
        return verdict if fact is OrderEventType.SUBMIT_UNKNOWN else fact

    return replaced(protocol, "fact_of", broken)


async def _void_without_fence(self: MemoryJournal, attempt: Attempt, *, reason: Reason, now: Any) -> Order | None:
    book = self.book(attempt.account)
    row, _ = book.tokens[attempt.token]
    if row.order.status is not OrderStatus.SUBMITTED or row.order.attempt != attempt.attempt:
        return row.order
    event = OrderEvent(event_type=OrderEventType.NOT_SENT, ts_event=now, reason=reason)
    return self._save(book, row, row.order.apply(event), (event,))


async def _look_says_yes(self: MemoryJournal, attempt: Attempt, *, now: Any) -> bool:
    _, mine = self.book(attempt.account).tokens[attempt.token]
    mine.state = AttemptState.LEFT
    return True


@contextmanager
def _amend_sends_all() -> Iterator[None]:
    make = protocol.next_submission

    def broken(order: Order, **figures: Any) -> Any:
        return make(order, **figures).model_copy(update={"quantity": order.quantity})

    with patch.object(protocol, "next_submission", broken):
        yield


# Concluding.


def _after(seconds: float) -> Patch:
    def proves(*, signed_at: Any, asked_at: Any, time_fence_s: int | None) -> bool:
        return asked_at >= signed_at + timedelta(seconds=seconds)

    return replaced(venue_activities, "proves_absence", proves)


@contextmanager
def _three_looks() -> Iterator[None]:
    looks: dict[str, int] = {}
    absent = VenueActivities._absent

    async def broken(self: VenueActivities, order: Order, attempt: Attempt, exchange: Any, *, asked_at: Any) -> Order:
        looks[attempt.token] = looks.get(attempt.token, 0) + 1
        if looks[attempt.token] < 3:
            return await absent(self, order, attempt, exchange, asked_at=asked_at)
        outcome = SubmitOutcome(verdict=SubmitVerdict.REFUSED, reason=Reason(code="NOT_FOUND", text="three looks"))
        return await self._store.record_outcome(attempt, outcome, now=self._clock())

    with patch.object(VenueActivities, "_absent", broken):
        yield


@contextmanager
def _asked_at_the_answer() -> Iterator[None]:
    absent = VenueActivities._absent

    async def broken(self: VenueActivities, order: Order, attempt: Attempt, exchange: Any, *, asked_at: Any) -> Order:
        return await absent(self, order, attempt, exchange, asked_at=self._clock())

    with patch.object(VenueActivities, "_absent", broken):
        yield


def _gone(order: Order, attempt: Attempt) -> OrderReport:
    """Make up what a careless reader believes: the order is gone, and what is known of it is all there is."""
    return OrderReport(
        symbol=order.ticket.symbol,
        venue_order_id=order.venue_order_id or "",
        client_order_id=attempt.client_order_id,
        status=VenueOrderStatus.CANCELED,
        cum_qty=order.cum_qty - order.replaced_qty,
    )


@contextmanager
def _cancel_believed(*, acknowledged: bool, replacing_only: bool = False) -> Iterator[None]:
    """Take the answer to a cancel for the order's end: the acknowledgment, or the refusal."""
    cancel = VenueActivities.cancel

    async def broken(self: VenueActivities, call: CancelCall) -> Order:
        if replacing_only and call.reason is not None:
            return await cancel(self, call)
        async with in_activity():
            order = await self._store.order(call.account, call.order_id)
            if call.reason is not None:
                order = await self._store.request_cancel(
                    call.account, call.order_id, reason=call.reason, now=self._clock()
                )
            attempt = await self._store.current_attempt(call.account, call.order_id)
            if order.status is not OrderStatus.PENDING_CANCEL or attempt is None:
                return order
            hint = None
            if not replacing_only:
                hint = await self._exchange(call.account).cancel(venue_activities._ref(order, attempt))
            if replacing_only or (hint is None) is acknowledged:
                notice = await self._store.record_report(
                    order.account, order.order_id, _gone(order, attempt), trades=(), now=self._clock()
                )
                return notice.order
            return await self._look(order, attempt)

    with patch.object(VenueActivities, "cancel", broken):
        broken.__name__ = "cancel"
        yield


def _subject(wrong: Callable[[Subject], Subject]) -> Patch:
    subject_of = protocol.subject_of
    return replaced(protocol, "subject_of", lambda *arguments: wrong(subject_of(*arguments)))


def _no_look_names(function: Any, name: str) -> Any:
    function.__name__ = name
    return function


SENDING = (
    Variant("send_before_journal", "the order is sent, then written down",
            replaced(VenueActivities, "submit", _no_look_names(_submit_before_journal, "submit"))),
    Variant("retry_the_post", "a POST without an answer is sent again, as libraries do", _post_again),
    Variant("resend_when_found", "an open journal row is sent by whoever finds it",
            replaced(VenueActivities, "_give_up_unsent_or_doubt", _send_what_is_found)),
    Variant("new_id_on_retry", "no answer: try again under a new client order id",
            _with_verdict(OrderEventType.NOT_SENT)),
    Variant("timeout_is_refusal", "no answer: rejected", _with_verdict(OrderEventType.REJECTED)),
    Variant("duplicate_is_refusal", "'duplicate order' is taken for a refusal",
            replaced(verdicts, "_is_duplicate", lambda words, rules: False)),
    Variant("no_fence", "taking a row back does not stop its sender", replaced(
        MemoryJournal, "void_attempt", _void_without_fence), Plan(
        orders=60, span_s=12.0, funds=3.0, amends=0.0, stop=0.03, kill=0.001, submit_fault=0.1)),
    Variant("last_look_always_true", "the last look says yes to everybody",
            replaced(MemoryJournal, "pass_last_look", _look_says_yes), Plan(
        orders=60, span_s=12.0, funds=3.0, amends=0.0, stop=0.03, kill=0.001, submit_fault=0.1)),
    Variant("amend_sends_all", "a replacement is sent with the whole quantity", _amend_sends_all, AMENDS),
)  # fmt: skip
CONCLUDING = (
    Variant("not_found_is_never_placed", "the first 'not found' is believed", _after(0), LAGGING),
    Variant("half_fence", "half the fence is waited for", _after(8), LAGGING),
    Variant("fence_without_lag", "the fence forgets that orders are shown late", _after(6), LAGGING),
    Variant("n_polls_then_rejected", "three looks without a find, then rejected", _three_looks, LAGGING),
    Variant("asked_at_the_answer", "the fence is measured when the answer comes", _asked_at_the_answer, LAGGING),
    Variant("trust_cancel_ack", "an acknowledged cancel ends the order",
            lambda: _cancel_believed(acknowledged=True), CANCELS),
    Variant("cancel_refused_is_gone", "a refused cancel: it must be gone",
            lambda: _cancel_believed(acknowledged=False), CANCELS),
    Variant("amend_does_not_wait", "the replacement goes out while the old one rests",
            lambda: _cancel_believed(acknowledged=True, replacing_only=True), AMENDS),
    Variant("earlier_report_ends_order", "a report of a replaced attempt counts for the present one",
            _subject(lambda subject: Subject.PRESENT), AMENDS),
)  # fmt: skip
