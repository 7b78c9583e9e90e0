"""`believe` over whole conversations: reports and trades repeated, shuffled, stale and beyond the quantity."""

from decimal import Decimal
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from domain.events import Fill, OrderEvent
from domain.lifecycle import AMENDABLE, TRANSITIONS, OrderEventType, OrderStatus
from domain.order import Order, TradingMode
from domain.reconciliation import believe
from domain.reports import OrderReport, VenueOrderStatus
from tests.factories import NOW, make_fill, make_report, make_request

E = OrderEventType
STEP = Decimal("0.0001")
FACTS: dict[OrderStatus, tuple[OrderEventType, ...]] = {
    OrderStatus.SUBMITTED: (),
    OrderStatus.IN_DOUBT: (E.SUBMIT_UNKNOWN,),
    OrderStatus.ACCEPTED: (E.ACCEPTED,),
    OrderStatus.PENDING_CANCEL: (E.ACCEPTED, E.CANCEL_REQUESTED),
}
ENDED = (VenueOrderStatus.CANCELED, VenueOrderStatus.EXPIRED, VenueOrderStatus.CLOSED)
Key = tuple[str, str, str]


def make_order(start: OrderStatus, *, canceling: bool = False, amending: bool = False) -> Order:
    """An order of 0.1 BTC in that status; at the venue it is number 7."""
    order = make_request().new_order(exchange="binanceus", mode=TradingMode.SANDBOX)
    asked = (E.CANCEL_REQUESTED,) if canceling and start is not OrderStatus.PENDING_CANCEL else ()
    for event_type in (E.ADMITTED, E.SUBMITTED, *FACTS[start], *asked):
        fields: dict[str, object] = {}
        if event_type is E.SUBMITTED:
            fields = {"attempt": 1, "client_order_id": order.order_id}
        if event_type is E.ACCEPTED:
            fields = {"venue_order_id": "7"}
        order = order.apply(OrderEvent(event_type=event_type, ts_event=NOW, **fields))
    if amending and order.status in AMENDABLE:
        figures = {"quantity": Decimal("0.2"), "price": Decimal(101)}
        order = order.apply(OrderEvent(event_type=E.AMEND_REQUESTED, ts_event=NOW, **figures))
    return order


starts = st.builds(
    make_order, st.sampled_from(sorted(FACTS)), canceling=st.booleans(), amending=st.booleans()
)  # fmt: skip
sizes = st.lists(st.integers(1, 400), max_size=6)


def make_trades(pieces: list[int]) -> list[Fill]:
    return [make_fill(str(n), last_qty=size * STEP) for n, size in enumerate(pieces)]


@given(starts, sizes, st.sampled_from([*ENDED, VenueOrderStatus.OPEN]), st.randoms(use_true_random=False))
def test_a_conversation_in_any_order_leads_to_the_distinct_trades_and_no_further(
    order: Order, pieces: list[int], last: VenueOrderStatus, chance: Random
) -> None:
    trades = make_trades(pieces)
    total = sum((fill.last_qty for fill in trades), Decimal(0))
    known: frozenset[Key] = frozenset()
    told = dict[Key, Fill]()
    start, replaced = order, False
    for number in range(6):
        page = chance.choices(trades, k=chance.randint(0, 8)) if trades else []
        so_far = sum((fill.last_qty for fill in trades[: chance.randint(0, len(trades))]), Decimal(0))
        closing = number == 5 or chance.random() < 0.2
        report = make_report(status=last if closing else VenueOrderStatus.OPEN, cum_qty=total if closing else so_far)
        if number == 5:
            page = [*trades, *trades]
        belief = believe(order, report, trades=page, known=known, now=NOW)
        assert_follows_from(order, belief.events, belief.order)
        told |= {fill.key: fill for fill in page}
        known |= {event.fill.key for event in belief.events if event.fill is not None}
        assert belief.order.cum_qty == sum((fill.last_qty for fill in told.values()), Decimal(0))
        if belief.order.is_final and not order.is_final and belief.order.status is not OrderStatus.FILLED:
            assert belief.order.cum_qty == total, "it ended before its trades added up"
        assert (belief.case is not None) == (
            any(event.fill for event in belief.events) and belief.order.cum_qty > order.quantity
        )
        order, replaced = belief.order, replaced or any(e.event_type is E.REPLACED for e in belief.events)
        if replaced:
            return
    assert order.cum_qty == total
    if last is not VenueOrderStatus.OPEN and total < start.quantity:
        assert order.is_final


def assert_follows_from(before: Order, events: tuple[OrderEvent, ...], after: Order) -> None:
    """Every fact is a row of the table, and they lead from one order to the other."""
    order = before
    for event in events:
        assert (order.status, event.event_type) in TRANSITIONS
        order = order.apply(event)
    assert order == after


@given(starts, st.sampled_from(VenueOrderStatus), st.none() | st.integers(0, 1500), sizes)
def test_the_table_takes_whatever_is_believed_in_every_status(
    order: Order, status: VenueOrderStatus, units: int | None, pieces: list[int]
) -> None:
    cum_qty = None if units is None else units * STEP
    report = make_report(status=status, cum_qty=cum_qty, trades=tuple(make_trades(pieces[:2])))
    belief = believe(order, report, trades=make_trades(pieces), known=frozenset(), now=NOW)
    assert_follows_from(order, belief.events, belief.order)
    if status is VenueOrderStatus.REJECTED:
        return
    owed = cum_qty is None or cum_qty > belief.order.cum_qty - order.replaced_qty
    ended_by_report = any(e.event_type in (E.CANCELED, E.EXPIRED, E.REPLACED) for e in belief.events)
    assert not (owed and ended_by_report), "nothing ends while the venue says that more was filled"


@given(sizes, st.randoms(use_true_random=False))
def test_what_is_told_a_second_time_is_no_news(pieces: list[int], chance: Random) -> None:
    trades = make_trades(pieces)
    report: OrderReport = make_report(cum_qty=sum((fill.last_qty for fill in trades), Decimal(0)))
    first = believe(make_order(OrderStatus.ACCEPTED), report, trades=trades, known=frozenset(), now=NOW)
    chance.shuffle(trades)
    known = frozenset(fill.key for fill in trades)
    again = believe(first.order, report, trades=trades, known=known, now=NOW)
    assert again.events == ()
    assert again.order == first.order
