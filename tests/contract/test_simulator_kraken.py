"""The simulated Kraken as unmodified ccxt sees it, and as its own ledger does."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import ccxt
import pytest

from simulator.running import API_KEY
from tests.contract.kraken_account import client, kraken_account
from tests.contract.simulated_account import SimulatedAccount

BTC = "BTC/USDT"
ADD = "/0/private/AddOrder"


@pytest.fixture
async def venue() -> AsyncIterator[SimulatedAccount]:
    async with kraken_account() as account:
        yield account


async def limit(venue: SimulatedAccount, price: float, amount: float = 1, side: str = "buy", **params: object) -> Any:
    return await venue.api.create_order(BTC, "limit", side, amount, price, params)


async def test_markets_carry_kraken_names_steps_limits_and_fees(venue: SimulatedAccount) -> None:
    markets = venue.api.markets
    assert set(markets) == {"BTC/USDT", "ETH/USDT", "ETH/BTC", "SOL/USDT", "BTC/USD", "DOGE/USDT", "LTC/USDT"}
    ids = {symbol: market["id"] for symbol, market in markets.items()}
    assert (ids["BTC/USDT"], ids["BTC/USD"], ids["ETH/BTC"]) == ("XBTUSDT", "XXBTZUSD", "XETHXXBT")
    market = markets[BTC]
    assert (market["precision"]["price"], market["precision"]["amount"]) == (0.01, 0.00001)
    assert (market["limits"]["cost"]["min"], market["taker"]) == (5, 0.001)
    assert market["active"] and not markets["LTC/USDT"]["active"]


async def test_public_reads_agree_with_each_other(venue: SimulatedAccount) -> None:
    await venue.tick(2)
    book, ticker = await venue.api.fetch_order_book(BTC, 5), await venue.api.fetch_ticker(BTC)
    assert (len(book["bids"]), len(book["asks"])) == (5, 5)
    assert (ticker["bid"], ticker["ask"], ticker["last"]) == (book["bids"][0][0], book["asks"][0][0], 100)
    assert set(await venue.api.fetch_tickers()) == set(venue.api.markets)
    assert abs(await venue.api.fetch_time() - time.time() * 1000) < 2000
    assert (await venue.api.fetch_status())["status"] == "ok"
    await venue.api.create_order(BTC, "market", "buy", 0.5)
    told = (await venue.api.fetch_trades(BTC))[-1]  # after those of the market
    assert (told["amount"], told["side"]) == (0.5, "buy")


async def test_balance_shows_what_an_open_order_locks(venue: SimulatedAccount) -> None:
    await limit(venue, 99)
    usdt = (await venue.api.fetch_balance())["USDT"]
    assert (usdt["free"], usdt["used"], usdt["total"]) == (99_901, 99, 100_000)


async def test_order_is_seen_by_all_ways_and_pays_in_quote(venue: SimulatedAccount) -> None:
    placed = await venue.api.create_order(BTC, "market", "buy", 2.5, None, {"clientOrderId": "a1b2c3d4e5f60718"})
    order = await venue.api.fetch_order(placed["id"])
    assert (order["status"], order["filled"], order["clientOrderId"]) == ("closed", 2.5, "a1b2c3d4e5f60718")
    trades = await venue.api.fetch_my_trades(BTC)
    assert sum(trade["amount"] for trade in trades) == 2.5
    assert {(trade["order"], trade["fee"]["currency"]) for trade in trades} == {(placed["id"], "USDT")}
    named = await venue.api.fetch_order_trades(placed["id"], BTC, None, None, {"trades": order["trades"]})
    assert {trade["id"] for trade in named} == {trade["id"] for trade in trades}
    (closed,) = await venue.api.fetch_closed_orders(BTC, None, None, {"clientOrderId": "a1b2c3d4e5f60718"})
    assert closed["id"] == placed["id"]
    assert await venue.api.fetch_open_orders(BTC, None, None, {"clientOrderId": "a1b2c3d4e5f60718"}) == []
    fees = sum(trade["fee"]["cost"] for trade in trades)
    cost = sum(trade["cost"] for trade in trades)
    assert (await venue.api.fetch_balance())["USDT"]["total"] == pytest.approx(100_000 - cost - fees)


async def test_cancel_goes_by_either_id_and_by_number(venue: SimulatedAccount) -> None:
    first = await limit(venue, 90)
    await limit(venue, 91, clientOrderId="b1b2c3d4e5f60718")
    await limit(venue, 92, userref=77)
    await venue.api.cancel_order(first["id"])
    await venue.api.cancel_order(None, BTC, {"clientOrderId": "b1b2c3d4e5f60718"})
    await venue.api.cancel_order(None, BTC, {"userref": 77})
    assert await venue.api.fetch_open_orders() == []
    with pytest.raises(ccxt.OrderNotFound):
        await venue.api.cancel_order(first["id"])
    closed = await venue.api.fetch_closed_orders()
    assert [order["status"] for order in closed] == ["canceled"] * 3


async def test_client_id_is_unique_among_open_orders_only(venue: SimulatedAccount) -> None:
    placed = await limit(venue, 90, clientOrderId="c1")
    with pytest.raises(ccxt.ExchangeError, match="cl_ord_id"):
        await limit(venue, 90, clientOrderId="c1")
    await venue.api.cancel_order(placed["id"])
    await limit(venue, 90, clientOrderId="c1")
    assert await venue.orders_made("c1") == 2


async def test_maker_only_order_that_would_take_is_taken_and_canceled(venue: SimulatedAccount) -> None:
    crossing = await limit(venue, 101, postOnly=True)
    order = await venue.api.fetch_order(crossing["id"])
    assert (order["status"], order["filled"], order["info"]["reason"]) == ("canceled", 0, "Post only order")


async def test_immediate_or_cancel_leaves_nothing_open(venue: SimulatedAccount) -> None:
    ask = (await venue.api.fetch_order_book(BTC, 1))["asks"][0][0]
    placed = await limit(venue, ask, 20, timeInForce="IOC")
    order = await venue.api.fetch_order(placed["id"])
    assert order["status"] == "canceled" and 0 < order["filled"] < 20


async def test_good_till_date_ends_by_itself(venue: SimulatedAccount) -> None:
    placed = await limit(venue, 90, timeInForce="GTD", expiretm="+30")
    await venue.control("POST", "clock", {"skew_ms": 31_000})
    await venue.tick()
    assert (await venue.api.fetch_order(placed["id"]))["status"] == "expired"


async def test_order_that_is_only_validated_is_not_placed(venue: SimulatedAccount) -> None:
    assert (await limit(venue, 90, validate="true"))["id"] is None
    assert await venue.api.fetch_open_orders() == []


async def test_order_held_up_beyond_its_deadline_is_not_taken(venue: SimulatedAccount) -> None:
    await venue.fault("delay", path="/AddOrder", seconds=0.2, times=1)
    at = (datetime.now(UTC) + timedelta(seconds=5)).isoformat()
    placing = asyncio.create_task(limit(venue, 90, deadline=at))
    while not await venue.requests("POST", ADD):
        await asyncio.sleep(0.01)
    await venue.control("POST", "clock", {"skew_ms": 6000})
    with pytest.raises(ccxt.ExchangeError, match="Deadline elapsed"):
        await placing
    assert await venue.api.fetch_open_orders() == []


REFUSALS: dict[str, tuple[type[Exception], str, dict[str, Any]]] = {
    "funds": (ccxt.InsufficientFunds, "EOrder:Insufficient funds", {"price": 99, "amount": 8000}),
    "minimum": (ccxt.ExchangeError, "EOrder:Cost minimum not met", {"price": 99, "amount": 0.0001}),
    "fill or kill": (ccxt.BadRequest, "EGeneral:Invalid arguments", {"price": 99, "timeInForce": "FOK"}),
    "long id": (ccxt.ExchangeError, "cl_ord_id", {"price": 99, "clientOrderId": "x" * 19}),
}


@pytest.mark.parametrize(("kind", "words", "asked"), REFUSALS.values(), ids=REFUSALS)
async def test_refusal_says_it_in_krakens_words(
    venue: SimulatedAccount, kind: type[Exception], words: str, asked: dict[str, Any]
) -> None:
    with pytest.raises(ccxt.ExchangeError, match=words):
        await limit(venue, **asked)
    assert await venue.api.fetch_open_orders() == []


async def test_keys_signature_and_nonce_are_checked(venue: SimulatedAccount) -> None:
    wrong = {"apiKey": {"apiKey": "other"}, "secret": {"secret": "b3RoZXI="}}
    for words, changed in (("Invalid key", wrong["apiKey"]), ("Invalid signature", wrong["secret"])):
        api = client(venue.venue_url, **changed)
        with pytest.raises(ccxt.ExchangeError, match=words):
            await api.fetch_balance()
        await api.close()
    await venue.api.fetch_balance()
    late = client(venue.venue_url, apiKey=API_KEY)
    late.nonce = lambda: 1
    with pytest.raises(ccxt.InvalidNonce):
        await late.fetch_balance()
    await late.close()


async def test_call_counter_refuses_and_falls_with_time() -> None:
    async with kraken_account(weight_limit=15) as venue:
        for _ in range(7):
            await venue.api.fetch_my_trades(BTC)
        await venue.api.fetch_balance()
        with pytest.raises(ccxt.DDoSProtection):
            await venue.api.fetch_balance()
        await limit(venue, 90)
        await venue.control("POST", "clock", {"skew_ms": 10_000})
        await venue.api.fetch_balance()


async def test_orders_have_a_counter_of_their_own() -> None:
    async with kraken_account(order_limit=10) as venue:
        first = await limit(venue, 90)
        await venue.api.cancel_order(first["id"])
        await limit(venue, 91)
        with pytest.raises(ccxt.DDoSProtection):
            await limit(venue, 92)


LOST: dict[str, tuple[dict[str, Any], int]] = {
    "drop before": ({"kind": "drop_before"}, 0),
    "drop after": ({"kind": "drop_after"}, 1),
    "hang": ({"kind": "hang", "seconds": 0.1}, 1),
    "503": ({"kind": "http_status", "status": 503, "accepted": True}, 1),
    "truncated": ({"kind": "truncated"}, 1),
    "service": ({"kind": "error", "accepted": False, "msg": "EService:Unavailable"}, 0),
}


@pytest.mark.parametrize(("fault", "orders"), LOST.values(), ids=LOST)
async def test_fault_loses_the_answer_and_the_ledger_knows(
    venue: SimulatedAccount, fault: dict[str, Any], orders: int
) -> None:
    await venue.fault(**fault, path="/AddOrder", client_order_id_prefix="d", times=1)
    try:
        placed = await limit(venue, 90, clientOrderId="d1")
        assert placed["id"] is None
    except ccxt.BaseError:
        pass
    assert await venue.orders_made("d1") == orders
    (request,) = await venue.requests("POST", ADD)
    assert (request["accepted"], request["delivered"]) == (bool(orders), False)


async def test_order_is_found_only_when_it_shows(venue: SimulatedAccount) -> None:
    await venue.fault("visibility_lag", seconds=20)
    placed = await limit(venue, 90, clientOrderId="e1")
    assert await venue.api.fetch_open_orders() == []
    with pytest.raises(ccxt.InvalidOrder):
        await venue.api.fetch_order(placed["id"])
    await venue.control("POST", "clock", {"skew_ms": 21_000})
    assert len(await venue.api.fetch_open_orders()) == 1
