"""What is believed of a venue's report: each trade once, nothing final before the trades add up."""

from decimal import Decimal
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from domain.events import Fill, OrderEvent, Reason
from domain.lifecycle import OrderEventType, OrderStatus
from domain.order import Order, TradingMode
from domain.reconciliation import DEADLINE_REACHED, believe
from domain.reports import OrderReport, VenueOrderStatus
from tests.factories import NOW, make_fill, make_report, make_request

E, S = OrderEventType, OrderStatus


def make_order(*event_types: OrderEventType, **fields: object) -> Order:
    order = make_request().new_order(exchange="binanceus", mode=TradingMode.SANDBOX)
    for event_type in (E.ADMITTED, E.SUBMITTED, *event_types):
        event = {"attempt": 1, "client_order_id": order.order_id} if event_type is E.SUBMITTED else {}
        if event_type is E.ACCEPTED:
            event = {"venue_order_id": "7"}
        order = order.apply(OrderEvent(event_type=event_type, ts_event=NOW, **{**event, **fields}))
    return order


def told(order: Order, report: OrderReport, trades: list[Fill], known: frozenset[tuple[str, str, str]]) -> Order:
    return believe(order, report, trades=trades, known=known, now=NOW).order


pieces = st.lists(st.integers(1, 300), min_size=1, max_size=8).filter(lambda sizes: sum(sizes) <= 1000)


@given(pieces, st.randoms(use_true_random=False))
def test_each_trade_counts_once_however_often_it_is_told(sizes: list[int], chance: Random) -> None:
    trades = [make_fill(str(n), last_qty=Decimal(size).scaleb(-4)) for n, size in enumerate(sizes)]
    total = Decimal(sum(sizes)).scaleb(-4)
    order, known = make_order(E.ACCEPTED), frozenset[tuple[str, str, str]]()
    for _ in range(4):
        page = [*trades, *trades]
        chance.shuffle(page)
        page = page[: len(page) // 2 + 1]
        known_before = known
        order = told(order, make_report(cum_qty=total), page, known)
        known |= {fill.key for fill in page}
        assert known >= known_before
    order = told(order, make_report(cum_qty=total), trades, known)
    assert order.cum_qty == total
    assert order.commissions[0].amount == Decimal("0.0001") * len(trades)


@given(pieces, st.sampled_from([VenueOrderStatus.CANCELED, VenueOrderStatus.EXPIRED, VenueOrderStatus.CLOSED]))
def test_an_order_ends_only_when_its_trades_add_up(sizes: list[int], ending: VenueOrderStatus) -> None:
    trades = [make_fill(str(n), last_qty=Decimal(size).scaleb(-4)) for n, size in enumerate(sizes)]
    report = make_report(status=ending, cum_qty=Decimal(sum(sizes)).scaleb(-4))
    short = believe(make_order(E.ACCEPTED), report, trades=trades[:-1], known=frozenset(), now=NOW)
    assert not short.settled
    assert not short.order.is_final
    whole = believe(make_order(E.ACCEPTED), report, trades=trades, known=frozenset(), now=NOW)
    assert whole.settled
    assert whole.order.is_final
    assert (whole.order.status is S.FILLED) == (sum(sizes) == 1000)


def test_a_trade_beyond_the_quantity_is_a_case_and_is_counted() -> None:
    trades = [make_fill("1", last_qty=Decimal("0.09")), make_fill("2", last_qty=Decimal("0.02"))]
    report = make_report(status=VenueOrderStatus.CLOSED, cum_qty=Decimal("0.11"))
    belief = believe(make_order(E.ACCEPTED), report, trades=trades, known=frozenset(), now=NOW)
    assert belief.case is not None
    assert belief.case.numbers == {"quantity": "0.1", "cum_qty": "0.11"}
    assert belief.order.cum_qty == Decimal("0.11")


def test_trades_of_another_order_are_left_out() -> None:
    order = told(make_order(E.ACCEPTED), make_report(), [make_fill(venue_order_id="8")], frozenset())
    assert order.cum_qty == 0


def test_an_order_in_doubt_is_adopted_as_it_is() -> None:
    report = make_report(status=VenueOrderStatus.CLOSED, cum_qty=Decimal("0.1"), trades=(make_fill(),))
    belief = believe(make_order(E.SUBMIT_UNKNOWN), report, trades=[], known=frozenset(), now=NOW)
    assert [event.event_type for event in belief.events] == [E.ACCEPTED, E.FILLED]
    assert belief.order.venue_order_id == "7"


def test_a_cancel_at_the_orders_own_deadline_ends_it_expired() -> None:
    order = make_order(E.ACCEPTED).apply(
        OrderEvent(event_type=E.CANCEL_REQUESTED, ts_event=NOW, reason=Reason(code=DEADLINE_REACHED, text="over"))
    )
    assert told(order, make_report(status=VenueOrderStatus.CANCELED), [], frozenset()).status is S.EXPIRED


def test_the_old_attempt_of_an_amendment_gives_way_with_what_it_filled() -> None:
    order = make_order(E.ACCEPTED).apply(
        OrderEvent(event_type=E.AMEND_REQUESTED, ts_event=NOW, quantity=Decimal("0.2"), price=Decimal("101"))
    )
    report = make_report(status=VenueOrderStatus.CANCELED, cum_qty=Decimal("0.04"))
    replaced = told(order, report, [make_fill(last_qty=Decimal("0.04"))], frozenset())
    assert (replaced.status, replaced.quantity, replaced.replaced_qty) == (
        S.INITIALIZED,
        Decimal("0.2"),
        Decimal("0.04"),
    )
    canceled = order.apply(OrderEvent(event_type=E.CANCEL_REQUESTED, ts_event=NOW))
    assert told(canceled, report, [make_fill(last_qty=Decimal("0.04"))], frozenset()).status is S.CANCELED


def test_a_rejected_order_without_trades_ends_rejected() -> None:
    report = make_report(status=VenueOrderStatus.REJECTED, cum_qty=None)
    assert told(make_order(), report, [], frozenset()).status is S.REJECTED


def test_a_report_that_does_not_say_what_was_filled_concludes_nothing() -> None:
    report = make_report(status=VenueOrderStatus.CANCELED, cum_qty=None)
    belief = believe(make_order(E.ACCEPTED), report, trades=[], known=frozenset(), now=NOW)
    assert not belief.settled
    assert not belief.order.is_final


def test_a_rejection_that_meets_a_pending_cancel_ends_the_order_rejected() -> None:
    report = make_report(status=VenueOrderStatus.REJECTED, cum_qty=None)
    assert told(make_order(E.ACCEPTED, E.CANCEL_REQUESTED), report, [], frozenset()).status is S.REJECTED


def test_an_order_that_traded_never_ends_rejected() -> None:
    report = make_report(status=VenueOrderStatus.REJECTED, cum_qty=Decimal("0.04"))
    ended = told(make_order(E.ACCEPTED, E.CANCEL_REQUESTED), report, [make_fill(last_qty=Decimal("0.04"))], frozenset())
    assert (ended.status, ended.cum_qty) == (S.CANCELED, Decimal("0.04"))
