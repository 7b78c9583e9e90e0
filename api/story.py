"""An order's facts, and its story in words. Each sentence rests on one recorded fact, which is shown beside it."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from api.otherwise import otherwise, rests_on
from api.schemas import order_json, reason_json, status_word
from domain.approvals import APPROVED, REJECTED
from domain.decisions import DECIDED_BY_PERSON
from domain.events import OrderEvent
from domain.identifiers import order_workflow_id
from domain.lifecycle import OrderEventType
from domain.numbers import plain
from domain.order import Order
from domain.placement import Placement
from domain.ports import RecordedAttempt, RecordedEvent
from domain.unsent import REFUSED_UNSENT

_E = OrderEventType


def event_json(recorded: RecordedEvent) -> dict[str, object]:
    """Return a fact in the wire's words; fields that the fact does not have are left out."""
    event = recorded.event
    fields: dict[str, object] = {
        "seq": recorded.seq,
        "type": event.event_type,
        "time": event.ts_event,
        "recorded_at": recorded.recorded_at,
        "attempt": event.attempt,
        "client_order_id": event.client_order_id,
        "venue_order_id": event.venue_order_id,
        "amount": event.quantity,
        "price": event.price,
        "requested_by": event.requested_by,
        "reason": reason_json(event.reason),
        "fill": _fill_json(event),
        "placement": event.placement,
        "crossing": _crossing_json(event),
        "arrival": _arrival_json(event),
        "rests_on": rests_on(recorded),
    }
    return {name: value for name, value in fields.items() if value is not None}


def _crossing_json(event: OrderEvent) -> dict[str, object] | None:
    crossing = event.crossing
    if crossing is None:
        return None
    fields = {
        "by": crossing.by,
        "price": crossing.price,
        "time": crossing.ts_event,
        "seen_at": crossing.seen_at,
        "trade_id": crossing.trade_id,
        "bid": crossing.bid,
        "ask": crossing.ask,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _arrival_json(event: OrderEvent) -> dict[str, object] | None:
    arrival = event.arrival
    if arrival is None:
        return None
    fields = {"bid": arrival.bid, "ask": arrival.ask, "last": arrival.last, "time": arrival.told_at}
    return {**{name: value for name, value in fields.items() if value is not None}, "source": arrival.source}


def _fill_json(event: OrderEvent) -> dict[str, object] | None:
    fill = event.fill
    if fill is None:
        return None
    return {
        "trade_id": fill.trade_id,
        "venue_order_id": fill.venue_order_id,
        "amount": fill.last_qty,
        "price": fill.last_px,
        "fee": fill.commission,
        "fee_currency": fill.commission_asset,
        "liquidity": fill.liquidity_side,
        "time": fill.ts_event,
    }


def tell(
    order: Order,
    events: Sequence[RecordedEvent],
    attempts: Sequence[RecordedAttempt] = (),
    *,
    workflows_url: str | None,
) -> dict[str, Any]:
    """Return the order's story. `workflows_url` is where the Web UI shows workflows, for a link to the order's."""
    workflow_id = order_workflow_id(order.account, order.order_id)
    story = [_chapter(order.created_at, f"Asked for: {order.ticket.summary()}.", {}, after=None)]
    sent = {attempt.attempt: attempt for attempt in attempts}
    before = order.created_at
    for recorded in events:
        event = recorded.event
        text = _sentence(event, order)
        if event.event_type is _E.SUBMITTED and event.attempt in sent:
            text += f" {_sent(sent[event.attempt])}"
        chapter = _chapter(event.ts_event, text, event_json(recorded), after=recorded.recorded_at - before)
        if (words := otherwise(recorded, order)) is not None:
            chapter["otherwise"] = words
        story.append(chapter)
        before = recorded.recorded_at
    return {
        "id": order.order_id,
        "summary": _summary(order),
        "figures": _figures(order, events, attempts),
        "story": story,
        "order": order_json(order),
        "workflow_id": workflow_id,
        "workflow_url": f"{workflows_url}/{workflow_id}" if workflows_url else None,
    }


def _chapter(
    moment: datetime, text: str, evidence: Mapping[str, object], *, after: timedelta | None
) -> dict[str, object]:
    chapter: dict[str, object] = {"time": moment, "text": text, "evidence": evidence}
    if after is not None:
        chapter["after_s"] = _seconds(after)
    return chapter


def _seconds(span: timedelta) -> Decimal:
    """Return a span in seconds to the millisecond; clocks differ, and a span below zero says nothing."""
    return max(Decimal(round(span / timedelta(milliseconds=1))) / 1000, Decimal(0))


def _sent(attempt: RecordedAttempt) -> str:
    signed = f"Signed at {attempt.signed_at:%H:%M:%S.%f}Z by {attempt.worker}"
    return f"{signed}; leave to send was given at {attempt.left_at:%H:%M:%S.%f}Z." if attempt.left_at else f"{signed}."


def _figures(order: Order, events: Sequence[RecordedEvent], attempts: Sequence[RecordedAttempt]) -> dict[str, object]:
    """Return how often it was tried, and how long it waited for what, by the ledger's clock."""
    doubts = 0
    in_doubt, answered = timedelta(0), None
    since: datetime | None = None
    submitted: datetime | None = None
    for recorded in events:
        kind = recorded.event.event_type
        if since is not None:
            in_doubt, since = in_doubt + (recorded.recorded_at - since), None
        if kind is _E.SUBMIT_UNKNOWN:
            doubts, since = doubts + 1, recorded.recorded_at
        if kind is _E.SUBMITTED and submitted is None:
            submitted = recorded.recorded_at
        if kind in (_E.ACCEPTED, _E.REJECTED) and answered is None and submitted is not None:
            answered = recorded.recorded_at - submitted
    ended = events[-1].recorded_at if events and order.is_final else None
    return {
        "attempts": len(attempts) or order.attempt,
        "doubts": doubts,
        "in_doubt_s": _seconds(in_doubt),
        "venue_answered_in_s": _seconds(answered) if answered is not None else None,
        "lived_s": _seconds(ended - order.created_at) if ended is not None else None,
    }


def _summary(order: Order) -> str:
    text = f"{order.ticket.summary()} on {order.account} is {status_word(order)}: "
    text += f"{plain(order.cum_qty)} of {plain(order.quantity)} filled"
    if order.avg_px is not None:
        text += f" at {plain(order.avg_px)} on average"
    return text + (f". Last word: {order.reason.text}." if order.reason is not None else ".")


def _fill_words(event: OrderEvent) -> str:
    fill = event.fill
    if fill is None:
        return "Filled."
    fee = ""
    if fill.commission is not None:
        fee = f", fee {plain(fill.commission)} {fill.commission_asset or ''}".rstrip()
    return f"Trade {fill.trade_id} at the venue: {plain(fill.last_qty)} at {plain(fill.last_px)}{fee}."


def _submitted(event: OrderEvent) -> str:
    return f"Attempt {event.attempt} was written down, then sent to the venue as {event.client_order_id}."


def _never_placed(event: OrderEvent) -> str:
    if event.reason is not None and event.reason.code == DECIDED_BY_PERSON:
        return f"{event.requested_by or 'Somebody'} decided that the venue never had the order."
    return "Proven: the venue never had the order, and cannot get it any more."


def _admitted(event: OrderEvent) -> str:
    if event.reason is not None and event.reason.code == APPROVED:
        return f"Approved by {event.requested_by}; checked once more against rules and limits, and admitted."
    held = " We hold it until its stop price comes." if event.placement is Placement.HELD else ""
    return f"Checked against the venue's rules and the risk limits, and admitted.{held}"


def _triggered(event: OrderEvent) -> str:
    crossing = event.crossing
    if crossing is None:
        return "Its stop price has come."
    what = f"trade {crossing.trade_id}" if crossing.trade_id is not None else "best bid and ask"
    return f"Triggered: {what} put the {crossing.by} price at {plain(crossing.price)}."


def _denied(event: OrderEvent) -> str:
    if event.reason is not None and event.reason.code == REJECTED:
        return f"Rejected by {event.requested_by}; nothing was sent."
    return "Denied by us; nothing was sent."


def _rejected(event: OrderEvent) -> str:
    if event.reason is not None and event.reason.code in REFUSED_UNSENT:
        return "Refused at our last check before the venue; nothing was sent."
    return "The venue rejected the order."


def _amended(event: OrderEvent) -> str:
    figures = [
        f"{name} {plain(value)}" for name, value in (("amount", event.quantity), ("price", event.price)) if value
    ]
    return f"A change was asked for: {', '.join(figures)}. The resting part is canceled first."


_WORDS: Final[Mapping[OrderEventType, str | Callable[[OrderEvent], str]]] = {
    _E.ADMITTED: _admitted,
    _E.DENIED: _denied,
    _E.HELD: "Held until a person approves it.",
    _E.TRIGGERED: _triggered,
    _E.SUBMITTED: _submitted,
    _E.NOT_SENT: "Proven: no byte of that attempt left this machine.",
    _E.SUBMIT_UNKNOWN: "The venue's answer did not arrive; whether it has the order is being looked up.",
    _E.NEVER_PLACED: _never_placed,
    _E.RESOLVED: lambda event: (
        f"{event.requested_by or 'Somebody'} named the venue's order {event.venue_order_id}, and it fits what was sent."
    ),
    _E.ACCEPTED: lambda event: f"The venue has the order, as its number {event.venue_order_id}.",
    _E.REJECTED: _rejected,
    _E.PARTIALLY_FILLED: _fill_words,
    _E.FILLED: lambda event: f"{_fill_words(event)} With it the order is filled.",
    _E.CANCEL_REQUESTED: "A cancel was asked for.",
    _E.AMEND_REQUESTED: _amended,
    _E.REPLACED: "The old attempt is proven gone; the next one may be sent.",
    _E.CANCELED: "Canceled: nothing more will be filled.",
    _E.EXPIRED: "Expired: nothing more will be filled.",
    _E.FINALIZED: "Closed in the ledger: what it had reserved is free again.",
}


def _sentence(event: OrderEvent, order: Order) -> str:
    words = _WORDS[event.event_type]
    text = words if isinstance(words, str) else words(event)
    if event.event_type is _E.ADMITTED and order.rounded_from is not None:
        text += f" The amount was rounded down to the venue's step, from {plain(order.rounded_from)}."
    return f"{text} {event.reason.text}." if event.reason is not None else text
