"""The exactly-once protocol: every decision of it, pure. The ledger carries them out; nothing else decides.

An attempt is the journal row of one send. Its life: SENDING → LEFT (its sender passed the last look) → CLOSED (the
outcome is known); or → VOID (proven never to be at the venue). What must hold, and the test that attacks it:

O1  No byte leaves without a journal row.
    `tests/faults/test_venue_faults.py`, `tests/campaign` mutant `send_before_journal`.
O2  One row, one POST: only the caller that opened the row sends, and who finds a row looks.
    `test_attempts.py::test_fifty_opens_at_once_are_fresh_for_one_caller_only`, mutant `resend_when_found`.
O3  A row that was taken back never leaves: the last look and the taking back are compare-and-set on one row.
    `test_attempts.py::test_last_look_and_void_at_once_let_one_of_them_win`, mutant `no_fence`.
O4  Refused, accepted, not sent: only by evidence (`exchanges/verdicts.py`). The rest is IN_DOUBT.
    `tests/unit/test_verdicts.py`, mutant `timeout_is_refusal`.
O5  "Never placed" is concluded only by a whole "not found" that was asked for after the venue's time fence, or by a
    person. `tests/unit/domain/test_protocol.py::test_absence_…`, mutants `not_found_is_never_placed`, `half_fence`.
O6  A report counts for the attempt that it is about: one of an earlier attempt brings its late trades and no ending.
    `test_recording.py`, mutant `earlier_report_ends_order`.
O7  The next attempt is opened only when the one before is VOID or CLOSED and gone, and is for what is left.
    `test_amendment.py`, mutant `amend_sends_all`.
O8  A trade counts once, and an order ends only when its trades add up (`domain/reconciliation.py`).
    `tests/unit/domain/test_beliefs.py`, mutants `no_dedupe`, `final_without_trades`.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from domain.errors import OrderClosed
from domain.lifecycle import OrderEventType, OrderStatus
from domain.numbers import subtract
from domain.order import Doubt, Order, TimeInForce
from domain.placement import Placement
from domain.reports import OrderReport, Submission, SubmitOutcome, SubmitVerdict, VenueOrderStatus


class AttemptState(StrEnum):
    """Where a send stands."""

    SENDING = "SENDING"
    """Journaled; no byte has left."""
    LEFT = "LEFT"
    """Its sender passed the last look: bytes may be on the wire or at the venue."""
    VOID = "VOID"
    """Proven: nothing of it is at the venue, and nothing can come there any more."""
    CLOSED = "CLOSED"
    """Its outcome is known."""


UNDECIDED: Final = frozenset({OrderStatus.SUBMITTED, OrderStatus.IN_DOUBT})
"""Statuses in which it is not known yet what came of the present attempt."""

STATE_AFTER: Final[Mapping[OrderEventType, AttemptState]] = MappingProxyType(
    {
        OrderEventType.ACCEPTED: AttemptState.CLOSED,
        OrderEventType.REJECTED: AttemptState.CLOSED,
        OrderEventType.CANCELED: AttemptState.CLOSED,
        OrderEventType.NOT_SENT: AttemptState.VOID,
        OrderEventType.NEVER_PLACED: AttemptState.VOID,
        OrderEventType.SUBMIT_UNKNOWN: AttemptState.LEFT,
    }
)
"""What the fact that an outcome leads to makes of its attempt."""


def next_submission(order: Order, *, client_order_id: str, now: datetime) -> Submission:
    """Return what the next attempt sends: what is left of the order, signed with the present millisecond.

    Raises
    ------
    OrderClosed
        When nothing may be sent: the order is not at rest, was asked to end, is filled, or waits for its trigger.
    """
    if order.status is not OrderStatus.INITIALIZED or order.cancel_requested or order.leaves_qty <= 0:
        raise OrderClosed(f"order {order.order_id} is {order.status}: nothing is to be sent")
    if order.waits_for_trigger:
        raise OrderClosed(f"order {order.order_id} waits for its trigger: nothing is to be sent yet")
    ticket, held = order.ticket, order.placement is Placement.HELD
    return Submission(
        client_order_id=client_order_id,
        symbol=ticket.symbol,
        side=ticket.side,
        order_type=order.sent_as,
        quantity=subtract(order.quantity, order.cum_qty),
        price=order.price,
        trigger_price=None if held else order.trigger_price,
        # A venue that has no such thing as GTD, or another idea of it, gets GTC: the order's workflow ends it.
        time_in_force=TimeInForce.GTC if ticket.time_in_force.rests else ticket.time_in_force,
        post_only=ticket.post_only,
        signed_at=now.replace(microsecond=now.microsecond // 1000 * 1000),
    )


def may_leave(order: Order, state: AttemptState, *, kill_reason: str | None, now: datetime) -> bool:
    """Decide the last look. The ledger asks the same of its rows in one compare-and-set (`storage/attempts.py`)."""
    expires_at = order.ticket.expires_at
    return (
        state is AttemptState.SENDING
        and order.status is OrderStatus.SUBMITTED
        and not order.cancel_requested
        and (expires_at is None or expires_at > now)
        and kill_reason is None
    )


def fact_of(order: Order, attempt: int, outcome: SubmitOutcome) -> OrderEventType | None:
    """Return the fact that an attempt's outcome makes of the order; `None` when it is no news.

    An outcome of an earlier attempt is none, and "unknown" is none to an order that is in doubt already.
    """
    if attempt != order.attempt or order.status not in UNDECIDED:
        return None
    in_doubt = order.status is OrderStatus.IN_DOUBT
    match outcome.verdict:
        case SubmitVerdict.ACCEPTED:
            return OrderEventType.ACCEPTED
        case SubmitVerdict.REFUSED:
            # What has traded in earlier attempts of an amended order was not rejected.
            return OrderEventType.CANCELED if order.cum_qty > 0 else OrderEventType.REJECTED
        case SubmitVerdict.NOT_SENT:
            # The sender's own proof may come after somebody else gave it up for lost.
            return OrderEventType.NEVER_PLACED if in_doubt else OrderEventType.NOT_SENT
        case SubmitVerdict.UNKNOWN:
            return None if in_doubt else OrderEventType.SUBMIT_UNKNOWN


class Subject(StrEnum):
    """What a report is about."""

    PRESENT = "present"
    """The order's present attempt: it counts in full."""
    EARLIER = "earlier"
    """An attempt that was replaced: its trades count, how it ended does not."""
    TOO_EARLY = "too early"
    """An attempt that was replaced, while the present one is undecided: it is looked at again later."""
    UNEXPECTED = "unexpected"
    """Nothing that should be at the venue: a case for a person."""


def subject_of(order: Order, report: OrderReport, about: tuple[int, AttemptState] | None) -> Subject:
    """Say what a report is about.

    A report is asked for by an id that was current then; by the time it is recorded the order may have been replaced.

    Parameters
    ----------
    about
        Number and state of the latest of this order's attempts that bears the report's venue id or client id.
    """
    sent = order.status is not OrderStatus.INITIALIZED
    if sent and order.venue_order_id == report.venue_order_id:
        return Subject.PRESENT
    undecided = order.status in UNDECIDED
    if about is None:
        return Subject.PRESENT if undecided and order.venue_order_id is None else Subject.UNEXPECTED
    number, state = about
    if state is AttemptState.VOID:
        return Subject.UNEXPECTED
    # A look that was under way when an attempt was replaced may be told after the next one was refused: no news.
    replaced_untraded = number < order.attempt and state is AttemptState.CLOSED and report.cum_qty == 0
    if (
        order.status is OrderStatus.REJECTED
        and report.status is not VenueOrderStatus.REJECTED
        and not replaced_untraded
    ):
        return Subject.UNEXPECTED
    replaced_then_ended = order.is_final and order.venue_order_id is None
    if sent and number == order.attempt and not replaced_then_ended:
        return Subject.PRESENT
    return Subject.TOO_EARLY if undecided else Subject.EARLIER


def trades_only(report: OrderReport) -> OrderReport:
    """Return a report that says nothing but its trades."""
    return report.model_copy(update={"status": VenueOrderStatus.OPEN, "cum_qty": None})


def remembered(told: Order, found: Order | None, *, now: datetime) -> Order | None:
    """Return what a ledger that lost facts should hold of an order, or `None` when it knows as much as Temporal.

    What had ended without a trade, or was never sent, is taken as Temporal remembers it: the evidence is in its
    history. Of anything else only the venue can tell: it is in doubt, without the trades that the ledger has lost.

    Parameters
    ----------
    told
        The order as its workflow knows it.
    found
        The order as the ledger has it.
    """
    if found is not None and found.seq >= told.seq:
        return None
    if told.cum_qty == 0 and (told.is_final or told.status in (OrderStatus.INITIALIZED, OrderStatus.HELD)):
        return told
    traded = found if found is not None else told.model_copy(update=_NOTHING_TRADED)
    figures = {name: getattr(traded, name) for name in _NOTHING_TRADED}
    doubt = {
        "status": told.status if told.status is OrderStatus.INITIALIZED else OrderStatus.IN_DOUBT,
        "seq": told.seq + 1,
        "venue_order_id": None,
        "doubt": Doubt(since=now),
        "needs_attention": True,
        "finalized": False,
        "closed_at": None,
        "updated_at": now,
    }
    return told.model_copy(update={**figures, **doubt})


_NOTHING_TRADED: Final = {
    "cum_qty": Decimal(0),
    "cum_quote_qty": Decimal(0),
    "commissions": (),
    "replaced_qty": Decimal(0),
}


def proves_absence(*, signed_at: datetime, asked_at: datetime, time_fence_s: int | None) -> bool:
    """Tell whether "not found", in a whole answer, proves that the attempt was never placed.

    Parameters
    ----------
    asked_at
        When the question left, not when its answer came.
    time_fence_s
        Seconds from signing after which the venue takes no such request any more, and shows every order that it took;
        `None`: never on this venue.
    """
    return time_fence_s is not None and asked_at >= signed_at + timedelta(seconds=time_fence_s)
