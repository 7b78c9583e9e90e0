"""Balances: exact to the last digit, and nothing made or lost whatever is traded."""

import tempfile
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.account import Account
from simulator.engine import Engine
from simulator.listing import LISTINGS, cut_up
from simulator.orders import Ticket
from simulator.refusals import Refusal
from tests.unit.simulator.engines import BALANCES, D, engine_at, place


def test_buyer_pays_from_what_was_locked_and_gets_the_rest_back() -> None:
    engine = engine_at()
    order = place(engine, "2.5")
    account = engine.account
    cost = sum(trade.price * trade.quantity for trade in order.trades)
    commission = sum(trade.commission for trade in order.trades)
    assert {trade.commission_asset for trade in order.trades} == {"BTC"}
    assert commission == D("0.0025")
    assert (account.free("USDT"), account.locked("USDT")) == (D(100_000) - cost, 0)
    assert account.free("BTC") == D(10) + D("2.5") - commission


def test_seller_pays_commission_in_quote_at_the_makers_rate() -> None:
    engine = engine_at()
    order = place(engine, "1", "101", side="SELL")
    assert (engine.account.free("BTC"), engine.account.locked("BTC")) == (9, 1)
    engine.fill_now(order, D(1))
    (trade,) = order.trades
    assert (trade.commission, trade.commission_asset) == (D("0.0808"), "USDT")
    assert engine.account.free("USDT") == D(100_000) + 101 - trade.commission


def test_order_beyond_the_balance_is_refused_and_locks_nothing() -> None:
    engine = engine_at()
    for side, quantity, price in (("BUY", "2000", "99"), ("SELL", "10.00001", "101"), ("SELL", "10.00001", None)):
        with pytest.raises(Refusal, match="insufficient balance") as refused:
            place(engine, quantity, price, side=side)
        assert refused.value.code == -2010
    assert (engine.account.free("USDT"), engine.account.free("BTC")) == (100_000, 10)


def test_whole_balance_can_be_used_and_comes_back_on_cancel() -> None:
    engine = engine_at()
    order = place(engine, "1000", "100")
    assert (engine.account.free("USDT"), engine.account.locked("USDT")) == (0, 100_000)
    engine.cancel(order)
    assert (engine.account.free("USDT"), engine.account.locked("USDT")) == (100_000, 0)


def test_market_order_passes_with_exactly_what_it_costs_and_not_with_less() -> None:
    rich = engine_at()
    cost = place(rich, "5").cost
    engine = engine_at()
    engine.set_balance("USDT", cost - D("0.00000001"))
    with pytest.raises(Refusal, match="insufficient balance"):
        place(engine, "5")
    engine.set_balance("USDT", cost)
    assert place(engine, "5").status == "FILLED"
    assert engine.account.free("USDT") == 0
    sold = engine_at()
    assert place(sold, "10", side="SELL").status == "FILLED"
    assert sold.account.free("BTC") == 0


@pytest.mark.parametrize("change", ["release", "spend"])
def test_more_than_is_locked_can_be_neither_spent_nor_released(change: str) -> None:
    account = Account({"BTC": D(1)})
    account.lock("BTC", D("0.4"))
    with pytest.raises(ArithmeticError):
        getattr(account, change)("BTC", D("0.5"))
    assert (account.free("BTC"), account.locked("BTC")) == (D("0.6"), D("0.4"))


tickets = st.builds(
    Ticket,
    symbol=st.sampled_from(["BTCUSDT", "ETHBTC"]),
    side=st.sampled_from(["BUY", "SELL"]),
    type=st.sampled_from(["LIMIT", "MARKET", "LIMIT_MAKER"]),
    quantity=st.integers(1, 90_000).map(lambda steps: steps * D("0.0001")),
    client_order_id=st.sampled_from("abcdefgh"),
    price=st.integers(-30, 30).map(D),
    time_in_force=st.sampled_from(["GTC", "IOC", "FOK"]),
)
moves = st.one_of(tickets, st.integers(-20, 20), st.just("cancel"))


def _work(engine: Engine, move: Ticket | int | str) -> None:
    if isinstance(move, Ticket):
        market, listing = engine.markets[move.symbol], LISTINGS[move.symbol]
        price = market.price + move.price * listing.tick if move.type != "MARKET" else D(0)
        ticket = Ticket(**{**move.__dict__, "price": price})
        try:
            engine.place(ticket)
        except Refusal:
            return
    elif isinstance(move, int):
        for market in engine.markets.values():
            market.set_price(market.price + move * market.listing.tick)
        engine.tick()
    else:
        for orders in engine.open.values():
            for order in list(orders.values())[:1]:
                engine.cancel(order)


def _expected(engine: Engine) -> dict[str, Decimal]:
    total = dict(BALANCES)
    for trade in (trade for trades in engine.trades.values() for trade in trades):
        listing = LISTINGS[trade.symbol]
        sign = 1 if trade.is_buyer else -1
        total[listing.base] += sign * trade.quantity
        total[listing.quote] -= sign * trade.cost
        total[trade.commission_asset] -= trade.commission
    return total


@settings(max_examples=60, deadline=None)
@given(st.lists(moves, max_size=25))
def test_whatever_is_traded_nothing_is_made_or_lost_and_the_journal_tells_it_all(
    made: list[Ticket | int | str],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "venue.jsonl"
        engine = engine_at(journal=path)
        for move in made:
            _work(engine, move)
        account, orders = engine.account, [order for listed in engine.orders.values() for order in listed]
        for asset, total in _expected(engine).items():
            locked = sum(
                (
                    order.locked
                    for order in orders
                    if asset == getattr(LISTINGS[order.symbol], "quote" if order.side == "BUY" else "base")
                ),
                D(0),
            )
            assert (account.free(asset), account.locked(asset)) == (total - locked, locked)
        for order in orders:
            assert order.executed == sum((trade.quantity for trade in order.trades), D(0)) <= order.quantity
            assert order.cost == sum((trade.cost for trade in order.trades), D(0))
            assert order.is_open == (order.order_id in engine.open[order.symbol])
            needed = order.left if order.side == "SELL" else cut_up(order.left * order.price)
            assert order.locked == (needed if order.is_open else 0)
        later = engine_at(journal=path)
        for entry in later._journal.read():
            later.remember(entry)
        assert later.orders == engine.orders
        assert later.open == engine.open
        assert later.trades == engine.trades
        for asset in account.assets():
            assert (later.account.free(asset), later.account.locked(asset)) == (
                account.free(asset),
                account.locked(asset),
            )
