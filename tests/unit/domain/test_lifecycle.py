"""The table: everything can be reached, everything can end, and nothing else can happen."""

import itertools

import pytest

from domain.errors import InvalidTransition
from domain.lifecycle import AT_VENUE, TERMINAL, TRANSITIONS, OrderEventType, OrderStatus, next_status


def _reachable(start: OrderStatus) -> set[OrderStatus]:
    seen, todo = {start}, [start]
    while todo:
        status = todo.pop()
        for (known, _), following in TRANSITIONS.items():
            if known is status and following not in seen:
                seen.add(following)
                todo.append(following)
    return seen


def test_every_status_is_reachable() -> None:
    assert _reachable(OrderStatus.INITIALIZED) == set(OrderStatus)


@pytest.mark.parametrize("status", OrderStatus)
def test_every_status_can_reach_a_terminal_one(status: OrderStatus) -> None:
    assert _reachable(status) & TERMINAL


@pytest.mark.parametrize("event_type", OrderEventType)
def test_every_event_type_can_happen(event_type: OrderEventType) -> None:
    assert any(known is event_type for _, known in TRANSITIONS)


def test_an_unknown_pair_raises() -> None:
    unknown = [pair for pair in itertools.product(OrderStatus, OrderEventType) if pair not in TRANSITIONS]
    assert len(unknown) > 100
    for status, event_type in unknown:
        with pytest.raises(InvalidTransition, match=f"{status} does not take {event_type}"):
            next_status(status, event_type)


def test_what_has_ended_only_changes_by_a_late_trade() -> None:
    for (status, event_type), following in TRANSITIONS.items():
        if status in TERMINAL and following is not status:
            assert (event_type, following) == (OrderEventType.FILLED, OrderStatus.FILLED)


def test_nothing_is_sent_while_something_may_be_at_the_venue() -> None:
    assert all(known not in AT_VENUE for known, event in TRANSITIONS if event is OrderEventType.SUBMITTED)
