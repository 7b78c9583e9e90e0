"""`Order.apply`: whatever comes in whatever order, the table decides, and the figures stay sums of what was told."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidTransition
from domain.events import OrderEvent
from domain.lifecycle import TERMINAL, TRANSITIONS, OrderEventType, OrderStatus
from domain.order import Order, TradingMode
from tests.factories import NOW, make_fill, make_request

E, S = OrderEventType, OrderStatus
FILLS = (E.PARTIALLY_FILLED, E.FILLED)
commissions = st.tuples(st.sampled_from(["BTC", "USDT", None]), st.decimals("-0.001", "0.001", places=6))


def make_order() -> Order:
    return make_request().new_order(exchange="binanceus", mode=TradingMode.SANDBOX)


def make_event(event_type: OrderEventType, number: int, fee: tuple[str | None, Decimal]) -> OrderEvent:
    asset, amount = fee
    fields: dict[str, Any] = {}
    if event_type in FILLS:
        commission = {"commission": amount if asset else None, "commission_asset": asset}
        fields["fill"] = make_fill(str(number), last_qty=Decimal(number + 1).scaleb(-4), **commission)
    if event_type is E.SUBMITTED:
        fields |= {"attempt": number + 1, "client_order_id": f"c{number}"}
    if event_type is E.ACCEPTED:
        fields["venue_order_id"] = "7"
    if event_type is E.AMEND_REQUESTED:
        fields |= {"quantity": Decimal("0.2"), "price": Decimal(101)}
    return OrderEvent(event_type=event_type, ts_event=NOW, **fields)


walks = st.lists(st.tuples(st.sampled_from(OrderEventType), commissions), max_size=40)


@given(walks)
def test_any_sequence_of_facts_is_taken_by_the_table_or_refused_whole(
    walk: list[tuple[OrderEventType, tuple[str | None, Decimal]]],
) -> None:
    order, taken = make_order(), list[OrderEvent]()
    for number, (event_type, fee) in enumerate(walk):
        event = make_event(event_type, number, fee)
        expected = TRANSITIONS.get((order.status, event_type))
        if expected is None:
            with pytest.raises(InvalidTransition):
                order.apply(event)
            continue
        before, order = order, order.apply(event)
        taken.append(event)
        assert (order.status, order.seq) == (expected, before.seq + 1)
        assert order.is_final == (order.status in TERMINAL)
        assert order.cum_qty >= before.cum_qty, "what was filled is never taken back"
        if before.is_final:
            assert order.closed_at == before.closed_at
    fills = [event.fill for event in taken if event.fill is not None]
    assert order.cum_qty == sum((fill.last_qty for fill in fills), Decimal(0))
    assert order.cum_quote_qty == sum((fill.last_qty * fill.last_px for fill in fills), Decimal(0))
    for asset in ("BTC", "USDT"):
        told = [fill.commission for fill in fills if fill.commission_asset == asset and fill.commission is not None]
        kept = [entry.amount for entry in order.commissions if entry.asset == asset]
        assert kept == ([sum(told, Decimal(0))] if told else [])
    assert 0 <= order.leaves_qty <= order.quantity
    assert (order.avg_px is None) == (not fills)
    assert Order.model_validate_json(order.model_dump_json()) == order, "it survives its own JSON"


def paths(start: OrderStatus) -> dict[OrderStatus, tuple[OrderEventType, ...]]:
    """Return for each status the shortest sequence of facts that leads there."""
    found: dict[OrderStatus, tuple[OrderEventType, ...]] = {start: ()}
    todo = [start]
    for status in todo:
        for (known, event_type), following in TRANSITIONS.items():
            if known is status and following not in found:
                found[following] = (*found[status], event_type)
                todo.append(following)
    return found


@pytest.mark.parametrize("status", OrderStatus)
def test_an_order_is_led_to_every_status_through_the_one_door(status: OrderStatus) -> None:
    order = make_order()
    for number, event_type in enumerate(paths(S.INITIALIZED)[status]):
        order = order.apply(make_event(event_type, number, (None, Decimal(0))))
    assert order.status is status
    assert (order.closed_at is not None) == (status in TERMINAL)


def test_a_fill_without_its_trade_is_refused() -> None:
    order = make_order().apply(make_event(E.SUBMITTED, 0, (None, Decimal(0))))
    with pytest.raises(ValueError, match="carries no fill"):
        order.apply(OrderEvent(event_type=E.FILLED, ts_event=NOW))


def test_an_order_cannot_be_changed_but_through_the_door() -> None:
    with pytest.raises(ValueError, match="frozen"):
        make_order().status = S.FILLED  # type: ignore[misc]  # the point of the test


def test_attempts_in_vain_are_counted_since_the_venue_last_took_one() -> None:
    none = (None, Decimal(0))

    def after(*facts: OrderEventType) -> int | None:
        order = make_order()
        for number, fact in enumerate(facts):
            order = order.apply(make_event(fact, number, none))
        return order.sent_in_vain

    unsent, lost = (E.SUBMITTED, E.NOT_SENT), (E.SUBMITTED, E.SUBMIT_UNKNOWN, E.NEVER_PLACED)
    taken, replaced = (E.SUBMITTED, E.ACCEPTED), (E.AMEND_REQUESTED, E.REPLACED)
    assert after(E.SUBMITTED) is None
    assert after(*unsent, *lost, *unsent) == 3
    assert after(*unsent, *lost, *taken) == 0
    assert after(*unsent, *taken, *replaced, *unsent) == 1
