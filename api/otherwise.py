"""What would have happened otherwise: beside a fact of an order's story, what it was kept from, or would have met."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from domain.events import OrderEvent
from domain.lifecycle import OrderEventType
from domain.numbers import plain
from domain.order import OnNeverPlaced, Order
from domain.ports import RecordedEvent
from domain.unsent import REFUSED_UNSENT
from workflows import policies

_E = OrderEventType
LIMITS_TOLD: Final = 6
Word = Callable[[RecordedEvent, Order], str]


def otherwise(recorded: RecordedEvent, order: Order) -> str | None:
    """Return the sentence for a fact; `None` where there is nothing to say."""
    words = _WORDS.get(recorded.event.event_type)
    if words is None:
        return None
    return (words if isinstance(words, str) else words(recorded, order)) or None


def rests_on(recorded: RecordedEvent) -> Any:
    """Return what the fact rests on, as it was recorded: the limits looked at, or the venue's words."""
    return json.loads(recorded.evidence) if recorded.evidence is not None else None


def limits_looked_at(recorded: RecordedEvent) -> Sequence[Mapping[str, Any]]:
    """Return the limits that a decision looked at, with their numbers; empty for a fact that is no decision."""
    found = rests_on(recorded)
    return [one for one in found if isinstance(one, dict) and "limit" in one] if isinstance(found, list) else []


def _admitted(recorded: RecordedEvent, order: Order) -> str:
    held = [one for one in limits_looked_at(recorded) if not one.get("shadow")]
    if not held:
        return "No limit is set that this order could have met."
    told = "; ".join(_limit(one) for one in held[:LIMITS_TOLD])
    more = f"; and {len(held) - LIMITS_TOLD} more" if len(held) > LIMITS_TOLD else ""
    return f"Beyond any of these it would have been denied or held, and nothing sent: {told}{more}."


def _limit(one: Mapping[str, Any]) -> str:
    numbers = ", ".join(f"{name}={value}" for name, value in one.get("numbers", {}).items())
    return f"{one['limit']} of {one['scope']}{f' ({numbers})' if numbers else ''}"


def _not_sent(recorded: RecordedEvent, order: Order) -> str:
    first, longest = policies.SUBMIT_PAUSE_FIRST.total_seconds(), policies.SUBMIT_PAUSE_MAX.total_seconds()
    return (
        f"A new attempt follows after a pause of {first:g} s, which doubles up to {longest:g} s; "
        f"after {policies.SUBMIT_ATTEMPTS_MAX} in vain it is given up."
    )


def _never_placed(recorded: RecordedEvent, order: Order) -> str:
    if order.ticket.on_never_placed is OnNeverPlaced.GIVE_UP:
        return "The ticket says to give it up then; it could also have asked for a new attempt."
    return "The ticket lets it be sent anew, after rules, limits and price are checked once more."


def _accepted(recorded: RecordedEvent, order: Order) -> str:
    name = _client_order_id(recorded, order)
    return f"Had this answer been lost, the order would be in doubt, and found by its id {name}; never sent again."


def _client_order_id(recorded: RecordedEvent, order: Order) -> str:
    return recorded.event.client_order_id or order.client_order_id or order.order_id


def _filled(recorded: RecordedEvent, order: Order) -> str:
    event: OrderEvent = recorded.event
    price = order.ticket.price
    if event.fill is None or price is None:
        return ""
    better = price - event.fill.last_px if order.ticket.side == "buy" else event.fill.last_px - price
    if better <= 0:
        return ""
    return f"At its limit of {plain(price)} it would have been {plain(better)} worse for each unit."


def _rejected(recorded: RecordedEvent, order: Order) -> str:
    reason = recorded.event.reason
    if reason is not None and reason.code in REFUSED_UNSENT:
        return "Without that last look it would have been sent."
    return "The venue's word is proof that it has no such order: it is not in doubt, and not sent again."


_WORDS: Final[Mapping[OrderEventType, str | Word]] = {
    _E.ADMITTED: _admitted,
    _E.DENIED: "Corrected, it is a new order, with a key of its own; repeated with the same key, this is the answer.",
    _E.HELD: "Without anybody's word it expires, and nothing is sent; approved, it passes the limits once more first.",
    _E.SUBMITTED: (
        "Had the worker died from here on, the next one would have found the attempt written down and looked for it at "
        "the venue: an attempt is sent once."
    ),
    _E.NOT_SENT: _not_sent,
    _E.SUBMIT_UNKNOWN: (
        "Sent again now, two orders might work. So the venue is asked by our id, in every list it has, until it shows "
        "the order, or until its time fence proves that it never can; where it has none, a person decides."
    ),
    _E.NEVER_PLACED: _never_placed,
    _E.ACCEPTED: _accepted,
    _E.REJECTED: _rejected,
    _E.PARTIALLY_FILLED: _filled,
    _E.FILLED: _filled,
    _E.CANCEL_REQUESTED: "What is filled before the venue's final word still counts; a refused cancel says nothing.",
    _E.AMEND_REQUESTED: "Nothing new is sent before the old attempt is proven gone: never are both at the venue.",
}


__all__ = ["limits_looked_at", "otherwise", "rests_on"]
