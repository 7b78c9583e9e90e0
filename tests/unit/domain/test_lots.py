"""Lots by example: what a disposal says of its two trades, its fees, and what is not known."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

from domain.lots import Book, Disposal, Method, Trade
from domain.order import OrderSide
from tests.factories import NOW, make_fill

BUY, SELL = OrderSide.BUY, OrderSide.SELL


def trade(number: int, side: OrderSide, quantity: str, price: str, fee: str = "0 USDT", **known: Any) -> Trade:
    """A trade a day after the one before it, with a fee as `0.1 BNB`; an empty one is not known yet."""
    amount, asset = fee.split() if fee else (None, None)
    fill = make_fill(
        str(number),
        last_qty=Decimal(quantity),
        last_px=Decimal(price),
        commission=Decimal(amount) if amount is not None else None,
        commission_asset=asset,
        ts_event=NOW + timedelta(days=number),
    )
    return Trade(f"order{number}", side, fill, **known)


def taken(method: Method, *trades: Trade) -> tuple[Book, list[Disposal]]:
    """The book after the trades, and all that they closed."""
    book = Book(method)
    return book, [disposal for each in trades for disposal in book.take(each)]


def told(disposals: list[Disposal]) -> list[tuple[str, str, str, str, str]]:
    """Opened by, closed by, quantity, proceeds and cost."""
    return [
        (each.opened.order_id, each.closed.order_id, *(f"{figure.normalize():f}" for figure in figures))
        for each in disposals
        for figures in [(each.quantity, each.proceeds, each.cost)]
    ]


def test_the_oldest_is_closed_first_and_each_row_names_both_trades() -> None:
    trades = (trade(1, BUY, "1", "100"), trade(2, BUY, "2", "110"), trade(3, SELL, "2", "150"))
    book, disposals = taken(Method.FIFO, *trades)
    assert told(disposals) == [("order1", "order3", "1", "150", "100"), ("order2", "order3", "1", "150", "110")]
    assert [each.held_for for each in disposals] == [timedelta(days=2), timedelta(days=1)]
    assert [(each.gain, each.net_gain) for each in disposals] == [(50, 50), (40, 40)]
    [lot] = book.lots
    assert (lot.opened.trade_id, lot.quantity, lot.cost) == ("2", 1, 110)


def test_average_cost_is_one_lot_without_a_time_of_its_own() -> None:
    trades = (trade(1, BUY, "1", "100"), trade(2, BUY, "2", "130"), trade(3, SELL, "1", "150"))
    book, disposals = taken(Method.AVERAGE, *trades)
    assert told(disposals) == [("order1", "order3", "1", "150", "120")]
    assert disposals[0].held_for is None
    assert [(lot.quantity, lot.cost) for lot in book.lots] == [(2, 240)]


def test_a_short_is_sold_first_and_a_flip_is_two_things_at_once() -> None:
    trades = (trade(1, SELL, "1", "100"), trade(2, BUY, "3", "90", "0.3 USDT"), trade(3, SELL, "2", "95"))
    book, disposals = taken(Method.FIFO, *trades)
    assert told(disposals) == [("order1", "order2", "1", "100", "90"), ("order2", "order3", "2", "190", "180")]
    assert [each.is_short for each in disposals] == [True, False]
    assert [each.net_gain for each in disposals] == [Decimal("9.9"), Decimal("9.8")], "the fee goes by quantity"
    assert not book.lots


def test_shares_of_a_fee_add_up_though_they_cannot_be_divided() -> None:
    trades = (trade(1, BUY, "3", "1", "1 USDT"), *(trade(number, SELL, "1", "1") for number in (2, 3, 4)))
    _, disposals = taken(Method.FIFO, *trades)
    shares = [each.fees.by_asset["USDT"].amount for each in disposals]
    assert sum(shares) == 1
    assert len(set(shares)) > 1, "the last takes what rounding left"


def test_a_fee_in_the_base_asset_lessens_the_lot_and_is_not_taken_off_the_gain_again() -> None:
    trades = (trade(1, BUY, "1", "100", "0.1 BTC"), trade(2, SELL, "0.9", "100"))
    _, [disposal] = taken(Method.FIFO, *trades)
    assert (disposal.quantity, disposal.cost, disposal.gain, disposal.net_gain) == (Decimal("0.9"), 100, -10, -10)
    assert disposal.fees.by_asset["BTC"].value == 10


def test_a_fee_that_takes_all_that_is_held_is_a_row_with_nothing_coming_in() -> None:
    book, [disposal] = taken(Method.FIFO, trade(1, BUY, "0.001", "100", "0.001 BTC"))
    assert (disposal.by_fee, disposal.quantity, disposal.proceeds, disposal.gain) == (
        True, Decimal("0.001"), 0, Decimal("-0.1"),
    )  # fmt: skip
    assert not book.lots
    book, disposals = taken(Method.FIFO, trade(1, SELL, "1", "100"), trade(2, BUY, "1", "90", "0.001 BTC"))
    assert [(each.is_short, each.gain) for each in disposals] == [(True, 10)]
    assert [(lot.quantity, lot.cost) for lot in book.lots] == [(Decimal("-0.001"), 0)], "what is owed for the fee"


def test_a_rebate_raises_the_gain() -> None:
    _, [disposal] = taken(Method.FIFO, trade(1, BUY, "1", "100", "-1 USDT"), trade(2, SELL, "1", "100", "-2 USDT"))
    assert (disposal.gain, disposal.net_gain) == (0, 3)


def test_a_fee_of_unknown_worth_leaves_the_net_gain_unknown_and_the_gain_as_it_is() -> None:
    known = (trade(1, BUY, "2", "100", "1 BNB", price_of_fee=Decimal(6)), trade(2, SELL, "1", "110", "0 BNB"))
    book, [first] = taken(Method.FIFO, *known)
    assert (first.gain, first.net_gain) == (10, 7)
    [unpriced] = book.take(trade(3, SELL, "0.5", "110", "1 BNB"))
    assert (unpriced.gain, unpriced.net_gain) == (5, None)
    [untold] = book.take(trade(4, SELL, "0.5", "110", ""))
    assert (untold.gain, untold.net_gain, untold.fees.complete) == (5, None, False)
