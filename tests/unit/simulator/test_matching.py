"""Matching: what trades at once, what waits, what ends."""

import pytest

from simulator.refusals import Refusal
from tests.unit.simulator.engines import SYMBOL, D, engine_at, hold, place


def test_market_order_walks_the_book_to_worse_prices() -> None:
    order = place(engine_at(), "2.5")
    prices = [trade.price for trade in order.trades]
    assert order.status == "FILLED"
    assert len(prices) >= 2
    assert prices == sorted(set(prices))
    assert prices[0] == D("100.01")
    assert sum(trade.quantity for trade in order.trades) == D("2.5")


def test_market_order_beyond_the_book_expires_with_what_it_got() -> None:
    engine = engine_at()
    engine.set_balance("USDT", D(10_000_000))
    order = place(engine, "8000")
    assert order.status == "EXPIRED"
    assert 0 < order.executed < 8000
    assert engine.account.locked("USDT") == 0


def test_sale_for_an_amount_of_quote_gets_no_more_than_that() -> None:
    for side in ("BUY", "SELL"):
        order = place(engine_at(), "0", side=side, type="MARKET", quote_quantity="150")
        assert order.status == "FILLED"
        assert D(149) < order.cost <= 150


def test_sale_for_an_amount_of_quote_beyond_the_book_expires_with_what_it_got() -> None:
    for levels in (0, 1):
        engine = engine_at()
        for level in engine.markets[SYMBOL].asks[levels:]:
            level.quantity = D(0)
        offered = engine.markets[SYMBOL].available("BUY", None)
        order = place(engine, "0", type="MARKET", quote_quantity="50000")
        assert (order.status, order.executed) == ("EXPIRED", offered)
        assert engine.account.locked("USDT") == 0


def test_amount_of_quote_worth_less_than_one_step_is_refused() -> None:
    engine = engine_at(D(1_000_000))
    with pytest.raises(Refusal, match="LOT_SIZE"):
        place(engine, "0", type="MARKET", quote_quantity="6")
    assert engine.orders[SYMBOL] == []


def test_crossing_limit_order_takes_what_crosses_and_rests_at_its_price() -> None:
    engine = engine_at()
    order = place(engine, "9", "100.02")
    assert order.status == "PARTIALLY_FILLED"
    assert {trade.price for trade in order.trades} == {D("100.01"), D("100.02")}
    assert not any(trade.is_maker for trade in order.trades)
    assert engine.account.locked("USDT") == order.left * order.price


def test_resting_order_waits_until_the_market_reaches_it_and_then_fills_in_slices() -> None:
    engine = engine_at()
    order = place(engine, "0.9", "99")
    engine.tick()
    assert order.status == "NEW"
    hold(engine, D(99))
    executed = []
    for _ in range(3):
        engine.tick()
        executed.append(order.executed)
    assert executed == [D("0.3"), D("0.6"), D("0.9")]
    assert order.status == "FILLED"
    assert all(trade.is_maker and trade.price == 99 for trade in order.trades)


def test_last_slice_is_what_the_others_have_left() -> None:
    engine = engine_at()
    order = place(engine, "0.1", "99")
    hold(engine, D(99))
    while order.is_open:
        engine.tick()
    assert [trade.quantity for trade in order.trades] == [D("0.03333")] * 3 + [D("0.00001")]


@pytest.mark.parametrize(
    ("quantity", "time_in_force", "status"),
    [("9", "IOC", "EXPIRED"), ("0.1", "IOC", "FILLED"), ("9", "FOK", "EXPIRED"), ("0.1", "FOK", "FILLED")],
)
def test_order_that_must_not_wait_fills_or_ends_at_once(quantity: str, time_in_force: str, status: str) -> None:
    order = place(engine_at(), quantity, "100.01", time_in_force=time_in_force)
    assert order.status == status
    assert order.executed == D(quantity) if status == "FILLED" else order.executed < D(quantity)
    if (time_in_force, status) == ("FOK", "EXPIRED"):
        assert order.executed == 0


def test_maker_only_order_that_would_take_is_refused_and_leaves_nothing() -> None:
    engine = engine_at()
    with pytest.raises(Refusal, match="immediately match and take"):
        place(engine, "1", "100.01", type="LIMIT_MAKER")
    assert engine.orders[SYMBOL] == []
    assert engine.account.locked("USDT") == 0
    assert place(engine, "1", "100", type="LIMIT_MAKER").status == "NEW"


def test_stop_waits_for_the_last_price_and_then_goes_to_market() -> None:
    engine = engine_at()
    stop = place(engine, "1", side="SELL", type="STOP_LOSS", stop_price="98")
    engine.tick()
    assert (stop.status, stop.triggered) == ("NEW", False)
    hold(engine, D(98))
    engine.tick()
    assert (stop.status, stop.triggered) == ("FILLED", True)
    assert all(trade.price < 98 for trade in stop.trades)


def test_stop_with_a_limit_rests_at_its_limit_once_triggered() -> None:
    engine = engine_at()
    stop = place(engine, "1", "98.5", side="SELL", type="STOP_LOSS_LIMIT", stop_price="98")
    hold(engine, D(98))
    engine.tick()
    assert (stop.status, stop.triggered) == ("NEW", True)
    hold(engine, D("98.5"))
    engine.tick()
    assert stop.status == "PARTIALLY_FILLED"


def test_stop_that_the_market_has_passed_is_refused() -> None:
    for side, stop_price in (("BUY", "100"), ("SELL", "100")):
        with pytest.raises(Refusal, match="trigger immediately"):
            place(engine_at(), "1", side=side, type="STOP_LOSS", stop_price=stop_price)


def test_buying_stop_that_costs_more_than_is_left_expires_and_no_balance_falls_below_zero() -> None:
    engine = engine_at()
    engine.set_balance("USDT", D(1010))
    stop = place(engine, "10", type="STOP_LOSS", stop_price="101")
    hold(engine, D(150))
    engine.tick()
    assert (stop.status, stop.executed) == ("EXPIRED", 0)
    assert (engine.account.free("USDT"), engine.account.locked("USDT")) == (1010, 0)


def test_ids_of_orders_and_trades_start_at_one_in_each_symbol() -> None:
    engine = engine_at()
    bitcoin = place(engine, "0.5")
    ether = place(engine, "1", symbol="ETHUSDT")
    assert (bitcoin.order_id, ether.order_id) == (1, 1)
    assert (bitcoin.trades[0].trade_id, ether.trades[0].trade_id) == (1, 1)


def test_client_id_is_unique_among_open_orders_only() -> None:
    engine = engine_at()
    first = place(engine, "1", "99")
    with pytest.raises(Refusal, match="Duplicate order sent"):
        place(engine, "1", "99")
    assert place(engine, "1", "3000", symbol="ETHUSDT").status == "NEW"
    engine.cancel(first)
    again = place(engine, "1", "98")
    assert engine.find(SYMBOL, None, "c1") is again
    assert engine.find(SYMBOL, first.order_id, "c1") is first


def test_ids_that_name_two_orders_find_none() -> None:
    engine = engine_at()
    order = place(engine, "1", "99")
    for order_id, client_order_id in ((order.order_id, "other"), (2, None), (0, None), (None, "other")):
        with pytest.raises(Refusal) as refused:
            engine.find(SYMBOL, order_id, client_order_id)
        assert refused.value.code == -2013


def test_trades_carry_the_time_of_the_answer_to_their_order() -> None:
    order = place(engine_at(), "3")
    assert {trade.time_ms for trade in order.trades} == {order.new_order_answer("FULL")["transactTime"]}


def test_fill_by_hand_is_exact_and_refused_when_it_cannot_be() -> None:
    engine = engine_at()
    order = place(engine, "1", "99")
    engine.fill_now(order, D("0.25"), D("98.5"))
    assert (order.status, order.executed, order.cost) == ("PARTIALLY_FILLED", D("0.25"), D("24.625"))
    for quantity, price in ((D("0.8"), None), (D("0.1"), D("99.01")), (D(0), None)):
        with pytest.raises(ValueError, match="cannot fill"):
            engine.fill_now(order, quantity, price)
    engine.cancel(order)
    with pytest.raises(ValueError, match="status=CANCELED"):
        engine.fill_now(order, D("0.1"))
    assert order.executed == D("0.25")


def test_same_seed_gives_the_same_market() -> None:
    walks = []
    for _ in range(2):
        engine = engine_at()
        engine.markets[SYMBOL].frozen = False
        prices = []
        for _ in range(20):
            engine.tick()
            prices.append(engine.markets[SYMBOL].price)
        walks.append(prices)
    assert walks[0] == walks[1]
    assert len(set(walks[0])) > 10
