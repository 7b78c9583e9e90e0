"""The paper venue's matching, as pure functions: what it fills, what it refuses, and what never goes wrong."""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.events import Fill, Reason
from domain.instrument import Instrument
from domain.paper_ports import PaperDesk, PaperOrder
from domain.reports import Balance, BookLevel, OrderBook, Submission, VenueOrderStatus
from exchanges.paper_matching import cancel, match, place
from exchanges.paper_rules import Market

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SYMBOL = "BTC/USDT"
D = Decimal
INSTRUMENT = Instrument(
    symbol=SYMBOL,
    base_asset="BTC",
    quote_asset="USDT",
    tick_size=D("0.01"),
    step_size=D("0.001"),
    min_notional=D("5"),
)


def levels(*pairs: tuple[str, str]) -> tuple[BookLevel, ...]:
    return tuple(BookLevel(price=D(price), quantity=D(quantity)) for price, quantity in pairs)


ASKS = levels(("100", "1"), ("101", "2"), ("102", "3"))
BIDS = levels(("99", "1"), ("98", "2"))


def market(
    *,
    asks: Sequence[BookLevel] = ASKS,
    bids: Sequence[BookLevel] = BIDS,
    last: str | None = "99.5",
    instrument: Instrument = INSTRUMENT,
) -> Market:
    return Market(
        instrument=instrument,
        book=OrderBook(symbol=SYMBOL, bids=tuple(bids), asks=tuple(asks), ts_event=NOW),
        last=D(last) if last is not None else None,
        maker_rate=D("0.001"),
        taker_rate=D("0.002"),
        now=NOW,
    )


def submission(client_order_id: str = "a1", **changes: object) -> Submission:
    fields: dict[str, object] = {
        "client_order_id": client_order_id,
        "symbol": SYMBOL,
        "side": "buy",
        "order_type": "limit",
        "quantity": D("1"),
        "price": D("100"),
        "signed_at": NOW,
        **changes,
    }
    return Submission.model_validate(fields)


def market_order(client_order_id: str = "a1", **changes: object) -> Submission:
    return submission(client_order_id, **{"order_type": "market", "price": None, **changes})


def stop_order(client_order_id: str = "a1", **changes: object) -> Submission:
    return market_order(client_order_id, **{"order_type": "stop", **changes})


def desk_with(*, btc: str = "10", usdt: str = "10000") -> PaperDesk:
    return PaperDesk(
        balances=(
            Balance(asset="BTC", free=D(btc), used=D(0), total=D(btc)),
            Balance(asset="USDT", free=D(usdt), used=D(0), total=D(usdt)),
        )
    )


def accepted(desk: PaperDesk, order: Submission, shown: Market) -> PaperDesk:
    outcome = place(desk, order, shown)
    assert isinstance(outcome, PaperDesk), outcome
    return outcome


def refused(desk: PaperDesk, order: Submission, shown: Market) -> Reason:
    outcome = place(desk, order, shown)
    assert isinstance(outcome, Reason)
    return outcome


def balance(desk: PaperDesk, asset: str) -> Balance:
    return next(entry for entry in desk.balances if entry.asset == asset)


def traded(desk: PaperDesk) -> list[tuple[Decimal, Decimal, str | None]]:
    return [(fill.last_qty, fill.last_px, fill.liquidity_side) for fill in desk.fills]


def test_market_buy_walks_the_book_at_several_prices_and_pays_commission_in_base() -> None:
    desk = accepted(desk_with(), market_order(quantity=D("2")), market())

    assert traded(desk) == [(D(1), D(100), "taker"), (D(1), D(101), "taker")]
    assert [fill.trade_id for fill in desk.fills] == ["1", "2"]
    assert {fill.commission_asset for fill in desk.fills} == {"BTC"}
    assert desk.orders[0].status is VenueOrderStatus.CLOSED
    assert desk.orders[0].cum_quote_qty == D(201)
    assert balance(desk, "USDT").total == D(9799)
    assert balance(desk, "USDT").used == 0
    assert balance(desk, "BTC").total == D("11.996")


def test_market_order_beyond_the_depth_fills_in_part_and_the_rest_expires() -> None:
    desk = accepted(desk_with(), market_order(side="sell", quantity=D("5")), market())

    assert desk.orders[0].status is VenueOrderStatus.EXPIRED
    assert desk.orders[0].cum_qty == D(3)
    assert balance(desk, "BTC") == Balance(asset="BTC", free=D(7), used=D(0), total=D(7))
    assert balance(desk, "USDT").total == D("10000") + D("295") * D("0.998")


def test_second_market_order_does_not_take_the_same_depth_again() -> None:
    shown = market()
    desk = accepted(desk_with(), market_order("a1", quantity=D(1)), shown)
    desk = accepted(desk, market_order("a2", quantity=D(1)), shown)

    assert traded(desk)[1] == (D(1), D(101), "taker")


def test_limit_order_takes_what_crosses_and_rests_with_the_remainder_locked() -> None:
    desk = accepted(desk_with(), submission(quantity=D(4), price=D(101)), market())

    assert traded(desk) == [(D(1), D(100), "taker"), (D(2), D(101), "taker")]
    assert desk.orders[0].status is VenueOrderStatus.OPEN
    assert balance(desk, "USDT").used == D(101)
    assert balance(desk, "USDT").total == D(10000 - 100 - 202)


def test_resting_order_fills_as_maker_at_its_price_only_up_to_new_depth() -> None:
    desk = accepted(desk_with(), submission(quantity=D(3), price=D("99.5")), market())
    assert desk.fills == ()

    desk = match(desk, market(asks=levels(("99", "0.5"), ("99.5", "0.5"), ("99.51", "9"))))
    assert traded(desk) == [(D(1), D("99.5"), "maker")]
    desk = match(desk, market(asks=levels(("99", "0.5"), ("99.5", "0.5"), ("99.51", "9"))))
    assert len(desk.fills) == 1
    desk = match(desk, market(asks=levels(("99", "0.7"), ("99.5", "0.5"))))
    assert traded(desk)[1:] == [(D("0.2"), D("99.5"), "maker")]
    assert desk.fills[1].commission == D("0.0002")


def test_two_resting_orders_share_the_depth_better_price_first() -> None:
    desk = accepted(desk_with(), submission("a1", quantity=D(1), price=D("98")), market())
    desk = accepted(desk, submission("a2", quantity=D(1), price=D("99")), market())

    desk = match(desk, market(asks=levels(("97", "1.5"))))

    assert [(fill.venue_order_id, fill.last_qty) for fill in desk.fills] == [("2", D(1)), ("1", D("0.5"))]


def test_post_only_order_that_would_cross_is_refused_with_both_prices() -> None:
    reason = refused(desk_with(), submission(post_only=True, price=D(100)), market())

    assert reason.code == "POST_ONLY_WOULD_TAKE"
    assert reason.numbers == {"price": "100", "best_price": "100"}
    assert accepted(desk_with(), submission(post_only=True, price=D("99.99")), market()).fills == ()


def test_ioc_fills_what_is_there_and_expires() -> None:
    desk = accepted(desk_with(), submission(quantity=D(2), price=D(100), time_in_force="IOC"), market())

    assert traded(desk) == [(D(1), D(100), "taker")]
    assert desk.orders[0].status is VenueOrderStatus.EXPIRED
    assert balance(desk, "USDT").used == 0


@pytest.mark.parametrize(("quantity", "status"), [("3", VenueOrderStatus.CLOSED), ("3.001", VenueOrderStatus.EXPIRED)])
def test_fok_fills_all_or_nothing(quantity: str, status: VenueOrderStatus) -> None:
    desk = accepted(desk_with(), submission(quantity=D(quantity), price=D(101), time_in_force="FOK"), market())

    assert desk.orders[0].status is status
    assert desk.orders[0].cum_qty == (D(3) if status is VenueOrderStatus.CLOSED else D(0))


@pytest.mark.parametrize(
    ("order", "needed", "available"),
    [
        (submission(quantity=D(200), price=D(99)), "19800", "10000"),
        (market_order(side="sell", quantity=D("10.001")), "10.001", "10"),
        (stop_order(quantity=D(100), trigger_price=D(101)), "10100", "10000"),
    ],
)
def test_order_that_the_balance_does_not_pay_for_is_refused_with_numbers(
    order: Submission, needed: str, available: str
) -> None:
    reason = refused(desk_with(), order, market())

    assert reason.code == "INSUFFICIENT_FUNDS"
    assert (reason.numbers["needed"], reason.numbers["available"]) == (needed, available)


def test_market_buy_that_the_balance_does_not_pay_for_is_refused() -> None:
    assert refused(desk_with(usdt="200"), market_order(quantity=D(2)), market()).code == "INSUFFICIENT_FUNDS"


def test_balance_locked_by_one_order_is_not_there_for_the_next() -> None:
    desk = accepted(desk_with(usdt="150"), submission("a1", price=D(99)), market())

    assert refused(desk, submission("a2", price=D(99)), market()).numbers["available"] == "51"


def test_stop_waits_for_its_trigger_and_then_takes_from_the_book() -> None:
    desk = accepted(desk_with(), stop_order(trigger_price=D("101"), quantity=D("1")), market(last="100"))
    assert balance(desk, "USDT").used == D(101)

    assert match(desk, market(last="100.99")).fills == ()
    desk = match(desk, market(last="101"))

    assert traded(desk) == [(D(1), D(100), "taker")]
    assert desk.orders[0].status is VenueOrderStatus.CLOSED
    assert balance(desk, "USDT") == Balance(asset="USDT", free=D(9900), used=D(0), total=D(9900))


def test_stop_that_the_balance_no_longer_pays_for_expires_without_a_trade() -> None:
    desk = accepted(desk_with(usdt="105"), stop_order(trigger_price=D("101")), market())

    desk = match(desk, market(last="120", asks=levels(("120", "1"))))

    assert desk.orders[0].status is VenueOrderStatus.EXPIRED
    assert balance(desk, "USDT") == Balance(asset="USDT", free=D(105), used=D(0), total=D(105))


def test_stop_limit_takes_what_crosses_once_triggered_and_rests() -> None:
    order = submission(order_type="stop-limit", side="sell", trigger_price=D(98), price=D("97.5"), quantity=D(5))
    desk = accepted(desk_with(), order, market())

    desk = match(desk, market(last="97.9", bids=levels(("97.9", "1"), ("97", "9"))))
    assert traded(desk) == [(D(1), D("97.9"), "taker")]
    assert desk.orders[0].status is VenueOrderStatus.OPEN
    desk = match(desk, market(last="99", bids=levels(("98", "9"))))

    assert traded(desk)[1:] == [(D(4), D("97.5"), "maker")]


def test_stop_that_would_trigger_at_once_is_refused() -> None:
    assert refused(desk_with(), stop_order(trigger_price=D("99")), market(last="99")).code == "TRIGGER_PRICE_PASSED"


def test_cancel_releases_the_lock_and_a_second_cancel_is_refused() -> None:
    desk = accepted(desk_with(), submission(price=D(99)), market())

    canceled = cancel(desk, "1", now=NOW)
    assert isinstance(canceled, PaperDesk)

    assert canceled.orders[0].status is VenueOrderStatus.CANCELED
    assert balance(canceled, "USDT").free == D(10000)
    assert isinstance(cancel(canceled, "1", now=NOW), Reason)


def test_same_client_order_id_again_changes_nothing_and_another_order_under_it_is_refused() -> None:
    desk = accepted(desk_with(), submission(), market())

    assert place(desk, submission(signed_at=datetime(2026, 1, 3, tzinfo=UTC)), market()) == desk
    assert refused(desk, submission(quantity=D(2)), market()).code == "CLIENT_ORDER_ID_REUSED"


def test_order_that_was_answered_as_absent_can_never_be_placed() -> None:
    desk = desk_with().model_copy(update={"disowned": True})

    assert refused(desk, submission(), market()).code == "CLIENT_ORDER_ID_DISOWNED"


@pytest.mark.parametrize(
    ("order", "code"),
    [
        (submission(quantity=D("1.0001")), "QUANTITY_OFF_STEP"),
        (submission(price=D("100.001")), "PRICE_OFF_TICK"),
        (submission(quantity=D("0.01")), "NOTIONAL_BELOW_MINIMUM"),
        (submission(side="short"), "ORDER_UNREADABLE"),
        (market_order(price=D(1)), "PRICE_SUPERFLUOUS"),
    ],
)
def test_order_against_the_venues_rules_is_refused(order: Submission, code: str) -> None:
    assert refused(desk_with(), order, market()).code == code


def test_symbol_whose_prices_times_quantities_do_not_fit_is_refused() -> None:
    fine = INSTRUMENT.model_copy(update={"tick_size": D("1e-10"), "step_size": D("1e-9")})

    assert refused(desk_with(), submission(), market(instrument=fine)).code == "PRECISION_UNSUPPORTED"


def test_commission_is_cut_to_eight_digits() -> None:
    desk = accepted(desk_with(), market_order(quantity=D("0.111"), side="sell"), market(bids=levels(("99.87", "1"))))

    assert desk.fills[0].commission == D("0.02217114")
    assert desk.fills[0].commission_asset == "USDT"


TICKS = st.integers(9_500, 10_500).map(lambda ticks: D(ticks).scaleb(-2))
STEPS = st.integers(1, 5_000).map(lambda steps: D(steps).scaleb(-3))


@st.composite
def books(draw: st.DrawFn) -> Market:
    middle = draw(st.integers(9_600, 10_400))
    ask_gaps = draw(st.lists(st.integers(1, 50), max_size=4, unique=True))
    bid_gaps = draw(st.lists(st.integers(1, 50), max_size=4, unique=True))
    asks = [BookLevel(price=D(middle + gap).scaleb(-2), quantity=draw(STEPS)) for gap in sorted(ask_gaps)]
    bids = [BookLevel(price=D(middle - gap).scaleb(-2), quantity=draw(STEPS)) for gap in sorted(bid_gaps)]
    return market(asks=asks, bids=bids, last=str(D(middle).scaleb(-2)))


@st.composite
def submissions(draw: st.DrawFn) -> Submission:
    order_type = draw(st.sampled_from(["market", "limit", "limit", "stop", "stop-limit"]))
    tif = draw(st.sampled_from(["GTC", "IOC", "FOK"])) if order_type == "limit" else "GTC"
    return submission(
        "placeholder",
        side=draw(st.sampled_from(["buy", "sell"])),
        order_type=order_type,
        quantity=draw(STEPS),
        price=draw(TICKS) if "limit" in order_type else None,
        trigger_price=draw(TICKS) if "stop" in order_type else None,
        time_in_force=tif,
        post_only=order_type == "limit" and tif == "GTC" and draw(st.booleans()),
    )


STEP = st.one_of(submissions(), st.just("match"), st.integers(1, 8))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(STEP, books()), min_size=1, max_size=12))
def test_any_sequence_keeps_balances_exact_and_never_fills_beyond_what_was_shown(
    steps: list[tuple[Submission | str | int, Market]],
) -> None:
    desk = desk_with(btc="6", usdt="700")
    for number, (step, shown) in enumerate(steps):
        if isinstance(step, Submission):
            outcome = place(desk, step.model_copy(update={"client_order_id": f"c{number}"}), shown)
        elif isinstance(step, int):
            outcome = cancel(desk, str(step), now=NOW)
        else:
            outcome = match(desk, shown)
        if isinstance(outcome, Reason):
            continue
        assert_depth_respected(outcome.fills[len(desk.fills) :], outcome, shown)
        desk = outcome
        assert_consistent(desk)


def assert_depth_respected(fresh: Sequence[Fill], desk: PaperDesk, shown: Market) -> None:
    for side, opposite in (("buy", shown.book.asks), ("sell", shown.book.bids)):
        orders = {order.venue_order_id: order for order in desk.orders if order.submission.side == side}
        filled = sum((fill.last_qty for fill in fresh if fill.venue_order_id in orders), D(0))
        assert filled <= sum((level.quantity for level in opposite), D(0))
        for fill in fresh:
            limit = orders[fill.venue_order_id].submission.price if fill.venue_order_id in orders else None
            if limit is not None:
                assert fill.last_px <= limit if side == "buy" else fill.last_px >= limit


def assert_consistent(desk: PaperDesk) -> None:
    totals = {"BTC": D(6), "USDT": D(700)}
    orders = {order.venue_order_id: order for order in desk.orders}
    for fill in desk.fills:
        sign = 1 if orders[fill.venue_order_id].submission.side == "buy" else -1
        totals["BTC"] += sign * fill.last_qty
        totals["USDT"] -= sign * fill.last_qty * fill.last_px
        assert fill.commission is not None
        assert fill.commission_asset is not None
        totals[fill.commission_asset] -= fill.commission
    for entry in desk.balances:
        spends = "buy" if entry.asset == "USDT" else "sell"
        assert entry.total == totals[entry.asset]
        assert entry.free + entry.used == entry.total
        assert entry.used == sum((o.locked for o in desk.orders if o.submission.side == spends), D(0))
    for order in desk.orders:
        assert_order_consistent(order, [fill for fill in desk.fills if fill.venue_order_id == order.venue_order_id])


def assert_order_consistent(order: PaperOrder, fills: Sequence[Fill]) -> None:
    is_open = order.status is VenueOrderStatus.OPEN
    assert order.cum_qty == sum((fill.last_qty for fill in fills), D(0))
    assert (order.cum_qty == order.submission.quantity) == (order.status is VenueOrderStatus.CLOSED)
    assert is_open == (order.locked > 0)
    if order.submission.order_type == "market" or order.submission.time_in_force != "GTC":
        assert not is_open
    if order.submission.time_in_force == "FOK":
        assert order.cum_qty in (D(0), order.submission.quantity)
