"""A rehearsal: what other limits would have said to the orders of the past, asked of the same controls.

What happened is replayed in its order: decisions, fills, ends. An order that the other limits would have denied is
taken out from there on, with its fills. One that was denied and would have been admitted leaves no fills, for nobody
knows what it would have traded. What the ledger does not hold is told as not known, never guessed.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from pydantic import AwareDatetime

from domain.controls import CONTROLS, Control, Measured, Missing
from domain.exposure import ScopeFigures
from domain.limits import LimitSet
from domain.order import Frozen
from domain.risk import Answer
from domain.risk_replay import Recorded, RecordedFill, RecordedOrder, Replay

_CODES: Final = frozenset(control.code for control in CONTROLS)


class Outcome(StrEnum):
    """What becomes of an order under the other limits, when it is not what became of it then."""

    DENIED = "would be denied"
    HELD = "would be held"
    ADMITTED = "would be admitted"
    UNKNOWN = "not known"


class Verdict(Frozen):
    """An order that fares otherwise, or may, and by which limit."""

    account: str
    order_id: str
    summary: str
    decided_at: AwareDatetime
    then: Answer
    outcome: Outcome
    limit: str | None
    scope: str | None
    code: str | None
    text: str
    numbers: Mapping[str, str] = {}


class Rehearsal(Frozen):
    """What came of it."""

    since: AwareDatetime
    until: AwareDatetime
    orders: int
    unchanged: int
    verdicts: tuple[Verdict, ...]
    unknown: Mapping[str, int]
    """Orders by limit that nothing can be said about."""
    notes: tuple[str, ...]


def rehearse(recorded: Recorded, limits: LimitSet) -> Rehearsal:
    """Replay what happened as if other limits had held since then, and return every order that fares otherwise."""
    replay = Replay(recorded, limits)
    by_id = {(entry.order.account, entry.order.order_id): entry for entry in recorded.orders}
    gone: set[tuple[str, str]] = set()
    verdicts: list[Verdict] = []
    unknown: dict[str, int] = defaultdict(int)
    count = 0
    for fact in _in_order(recorded):
        if isinstance(fact, RecordedFill):
            entry = by_id.get((fact.account, fact.order_id))
            if entry is not None and (fact.account, fact.order_id) not in gone:
                replay.fill(entry.order, fact)
        elif isinstance(fact, _End):
            replay.end(fact.recorded)
        else:
            judged = fact.decided_at >= recorded.since
            verdict = _verdict(fact, replay) if judged else None
            denied = verdict is not None and verdict.outcome is Outcome.DENIED
            if fact.answer is Answer.DENY or denied:
                gone.add((fact.order.account, fact.order.order_id))
            else:
                replay.admit(fact)
            count += judged
            if verdict is not None:
                verdicts.append(verdict)
                if verdict.outcome is Outcome.UNKNOWN:
                    unknown[verdict.limit or ""] += 1
    return Rehearsal(
        since=recorded.since,
        until=recorded.until,
        orders=count,
        unchanged=count - len(verdicts),
        verdicts=tuple(verdicts),
        unknown=unknown,
        notes=_notes(recorded),
    )


@dataclass(frozen=True)
class _End:
    recorded: RecordedOrder


_Fact = RecordedOrder | RecordedFill | _End


def _in_order(recorded: Recorded) -> Sequence[_Fact]:
    """Return all facts by time; at one moment fills come first, then ends, then decisions."""
    facts: list[tuple[datetime, int, _Fact]] = [(told.at, 0, told) for told in recorded.fills]
    facts += [(entry.ended_at, 1, _End(entry)) for entry in recorded.orders if entry.ended_at is not None]
    facts += [(entry.decided_at, 2, entry) for entry in recorded.orders]
    return [fact for _, _, fact in sorted(facts, key=lambda fact: fact[:2])]


def _verdict(recorded: RecordedOrder, replay: Replay) -> Verdict | None:
    """Return what becomes of an order; `None` when it fares as it did."""
    was_denied = recorded.answer is Answer.DENY
    if was_denied and (recorded.reason is None or recorded.reason.code not in _CODES):
        return None  # it was no limit that denied it
    missing: tuple[Control, ScopeFigures, Missing] | None = None
    held: tuple[Control, ScopeFigures, Measured] | None = None
    for control, figures, found in replay.ask(recorded):
        if control.limit in (figures.limits.shadow or ()):
            continue
        if isinstance(found, Missing):
            missing = missing or (control, figures, found)
        elif not found.holds and control.asks_person:
            held = held or (control, figures, found)
        elif not found.holds:
            return None if was_denied else _told(recorded, Outcome.DENIED, control, figures, found)
    if missing is not None:
        return _told(recorded, Outcome.UNKNOWN, *missing)
    if held is not None and recorded.answer is not Answer.HOLD:
        return _told(recorded, Outcome.HELD, *held)
    if was_denied or (recorded.answer is Answer.HOLD and held is None):
        return _told(recorded, Outcome.ADMITTED, None, None, None)
    return None


def _told(
    recorded: RecordedOrder,
    outcome: Outcome,
    control: Control | None,
    figures: ScopeFigures | None,
    found: Measured | Missing | None,
) -> Verdict:
    order, reason = recorded.order, recorded.reason
    then = f"every one of the other limits holds; it was denied then: {reason}" if reason else "every limit holds"
    text = found.text if isinstance(found, Missing) else control.text if control is not None else then
    return Verdict(
        account=order.account,
        order_id=order.order_id,
        summary=order.ticket.summary(),
        decided_at=recorded.decided_at,
        then=recorded.answer,
        outcome=outcome,
        limit=control.limit if control is not None else None,
        scope=figures.scope if figures is not None else None,
        code=control.code if control is not None else None,
        text=text,
        numbers=dict(found.numbers) if isinstance(found, Measured) else {},
    )


def _notes(recorded: Recorded) -> tuple[str, ...]:
    notes = [
        "An order that was denied then and would be admitted leaves no fills: nobody knows what it would have traded.",
        "What was held at the beginning is reckoned back from the present by the trades' quantities: "
        "exact but for commissions in the base asset.",
        "Prices are the marks of the ledger, one a minute; slippage, depth and losses are as they were measured then, "
        "where the decision's record has them.",
        "Balances and the kill switch are not replayed; an order that they denied stays denied.",
        "An order counts as it was admitted until it ended: its amendments are not replayed.",
    ]
    if not recorded.is_whole:
        notes.append("There were more orders than are read at once: the oldest are left out.")
    return tuple(notes)
