"""The simulated venue as unmodified ccxt sees it, and as its own ledger does."""

import time
from collections.abc import AsyncIterator
from typing import Any

import ccxt
import pytest

from simulator.running import API_KEY
from tests.contract.simulated_account import D, SimulatedAccount, client, simulated_account

BTC, ETH = "BTC/USDT", "ETH/USDT"


@pytest.fixture
async def venue() -> AsyncIterator[SimulatedAccount]:
    async with simulated_account() as account:
        yield account


async def limit(venue: SimulatedAccount, price: float, amount: float = 1, side: str = "buy", **params: object) -> Any:
    return await venue.api.create_order(BTC, "limit", side, amount, price, params)


# Reading.


async def test_markets_carry_steps_limits_and_order_types(venue: SimulatedAccount) -> None:
    markets = venue.api.markets
    assert set(markets) == {"BTC/USDT", "ETH/USDT", "ETH/BTC", "SOL/USDT", "BTC/USD", "DOGE/USDT", "LTC/USDT"}
    assert not markets["LTC/USDT"]["active"], "it is halted"
    market = markets[BTC]
    assert (market["precision"]["price"], market["precision"]["amount"]) == (0.01, 0.00001)
    assert (market["limits"]["cost"]["min"], market["limits"]["amount"]["max"]) == (5, 9000)
    assert market["active"] and market["spot"]


async def test_public_reads_agree_with_each_other(venue: SimulatedAccount) -> None:
    await venue.tick(2)
    book = await venue.api.fetch_order_book(BTC, 5)
    ticker = await venue.api.fetch_ticker(BTC)
    (candle,) = await venue.api.fetch_ohlcv(BTC, "1h")
    assert (len(book["bids"]), len(book["asks"])) == (5, 5)
    assert (ticker["bid"], ticker["ask"], ticker["last"]) == (book["bids"][0][0], book["asks"][0][0], 100)
    assert ticker["baseVolume"] > 0
    assert candle[4] == 100
    assert (await venue.api.fetch_bids_asks([BTC]))[BTC]["bid"] == ticker["bid"]
    assert set(await venue.api.fetch_tickers()) == set(venue.api.markets)
    assert abs(await venue.api.fetch_time() - time.time() * 1000) < 1000
    assert (await venue.api.fetch_status())["status"] == "ok"


async def test_balance_shows_what_an_open_order_locks(venue: SimulatedAccount) -> None:
    await limit(venue, 99)
    usdt = (await venue.api.fetch_balance())["USDT"]
    assert (usdt["free"], usdt["used"], usdt["total"]) == (99_901, 99, 100_000)


# Placing.


async def test_market_order_answers_with_its_fills_and_the_fee_in_what_is_received(venue: SimulatedAccount) -> None:
    bought = await venue.api.create_order(BTC, "market", "buy", 2.5)
    assert (bought["status"], bought["filled"], bought["remaining"]) == ("closed", 2.5, 0)
    assert len({trade["price"] for trade in bought["trades"]}) >= 2
    assert {trade["fee"]["currency"] for trade in bought["trades"]} == {"BTC"}
    sold = await venue.api.create_order(BTC, "market", "sell", 0.5)
    assert {trade["fee"]["currency"] for trade in sold["trades"]} == {"USDT"}
    listed = await venue.api.fetch_my_trades(BTC)
    assert [trade["id"] for trade in listed] == [trade["id"] for order in (bought, sold) for trade in order["trades"]]
    assert {trade["timestamp"] for trade in listed[: len(bought["trades"])]} == {bought["timestamp"]}


async def test_market_order_for_an_amount_of_quote_spends_no_more(venue: SimulatedAccount) -> None:
    venue.api.options["quoteOrderQty"] = True
    venue.api.options["createOrder"] = {"quoteOrderQty": True}
    bought = await venue.api.create_order(BTC, "market", "buy", None, None, {"quoteOrderQty": 150})
    assert bought["status"] == "closed"
    assert 149 < bought["cost"] <= 150


async def test_resting_order_fills_in_parts_over_time_at_the_makers_rate(venue: SimulatedAccount) -> None:
    placed = await limit(venue, 99, 0.9)
    await venue.hold(99)
    seen = []
    for _ in range(3):
        await venue.tick()
        seen.append((await venue.api.fetch_order(placed["id"], BTC))["filled"])
    assert seen == [0.3, 0.6, 0.9]
    trades = await venue.api.fetch_order_trades(placed["id"], BTC)
    assert [trade["takerOrMaker"] for trade in trades] == ["maker"] * 3
    assert sum(D(trade["info"]["commission"]) for trade in trades) == D("0.9") * D("0.0008")


async def test_crossing_limit_order_takes_and_then_rests(venue: SimulatedAccount) -> None:
    ask = (await venue.api.fetch_ticker(BTC))["ask"]
    placed = await limit(venue, ask, 9)
    assert placed["status"] == "open"
    assert 0 < placed["filled"] < 9
    assert [order["id"] for order in await venue.api.fetch_open_orders(BTC)] == [placed["id"]]


@pytest.mark.parametrize(
    ("time_in_force", "amount", "status"),
    [("IOC", 9, "expired"), ("IOC", 0.1, "closed"), ("FOK", 9, "expired"), ("FOK", 0.1, "closed")],
)
async def test_order_that_must_not_wait_ends_at_once(
    venue: SimulatedAccount, time_in_force: str, amount: float, status: str
) -> None:
    placed = await limit(venue, 100.01, amount, timeInForce=time_in_force)
    assert placed["status"] == status
    assert await venue.api.fetch_open_orders(BTC) == []


async def test_maker_only_order_rests_or_is_refused(venue: SimulatedAccount) -> None:
    assert (await limit(venue, 99, postOnly=True))["info"].get("status", "NEW") == "NEW"
    with pytest.raises(ccxt.OrderImmediatelyFillable):
        await limit(venue, 100.01, postOnly=True)


async def test_stop_orders_wait_and_trigger_on_the_last_price(venue: SimulatedAccount) -> None:
    market = await venue.api.create_order(BTC, "market", "sell", 1, None, {"stopLossPrice": 98})
    priced = await venue.api.create_order(BTC, "limit", "sell", 1, 99, {"stopLossPrice": 98})
    types = [(await venue.api.fetch_order(order["id"], BTC))["info"]["type"] for order in (market, priced)]
    assert types == ["STOP_LOSS", "STOP_LOSS_LIMIT"]
    await venue.tick()
    assert len(await venue.api.fetch_open_orders(BTC)) == 2
    await venue.hold(98)
    await venue.tick()
    assert (await venue.api.fetch_order(market["id"], BTC))["status"] == "closed"
    assert (await venue.api.fetch_order(priced["id"], BTC))["status"] == "open"


# Looking orders up.


async def test_order_is_found_by_either_id_and_in_every_list(venue: SimulatedAccount) -> None:
    placed = await limit(venue, 99, newClientOrderId="mine")
    elsewhere = await venue.api.create_order(ETH, "limit", "buy", 1, 3000)
    assert placed["id"] == elsewhere["id"] == "1"
    by_client_id = await venue.api.fetch_order("", BTC, {"origClientOrderId": "mine"})
    assert by_client_id["id"] == placed["id"]
    assert (await venue.api.fetch_order(placed["id"], BTC))["clientOrderId"] == "mine"
    assert len(await venue.api.fetch_open_orders(BTC)) == 1
    venue.api.options["warnOnFetchOpenOrdersWithoutSymbol"] = False
    assert {order["symbol"] for order in await venue.api.fetch_open_orders()} == {BTC, ETH}
    assert [order["id"] for order in await venue.api.fetch_orders(BTC)] == [placed["id"]]


async def test_trades_are_read_on_from_a_time_an_id_or_an_order(venue: SimulatedAccount) -> None:
    orders = [await venue.api.create_order(BTC, "market", "buy", 0.1) for _ in range(3)]
    read = venue.api.fetch_my_trades
    assert [trade["order"] for trade in await read(BTC)] == ["1", "2", "3"]
    assert [trade["id"] for trade in await read(BTC, None, None, {"fromId": 2})] == ["2", "3"]
    assert [trade["id"] for trade in await read(BTC, orders[0]["timestamp"], 2)] == ["1", "2"]
    assert await read(BTC, orders[2]["timestamp"] + 1000) == []
    assert [trade["id"] for trade in await venue.api.fetch_order_trades("2", BTC)] == ["2"]
    with pytest.raises(ccxt.BadRequest, match="-1128"):
        await read(BTC, orders[0]["timestamp"], None, {"fromId": 1})


# Cancel and replace.


async def test_cancel_ends_an_order_once_and_gives_back_what_it_locked(venue: SimulatedAccount) -> None:
    placed = await limit(venue, 99, newClientOrderId="mine")
    canceled = await venue.api.cancel_order(placed["id"], BTC)
    assert (canceled["status"], canceled["info"]["origClientOrderId"]) == ("canceled", "mine")
    assert canceled["info"]["clientOrderId"] != "mine"
    assert (await venue.api.fetch_order(placed["id"], BTC))["status"] == "canceled"
    assert (await venue.api.fetch_balance())["USDT"]["used"] == 0
    with pytest.raises(ccxt.OrderNotFound, match="-2011"):
        await venue.api.cancel_order(placed["id"], BTC)


async def test_all_orders_of_a_symbol_are_canceled_and_no_other(venue: SimulatedAccount) -> None:
    for price in (98, 99):
        await limit(venue, price)
    await venue.api.create_order(ETH, "limit", "buy", 1, 3000)
    assert len(await venue.api.cancel_all_orders(BTC)) == 2
    summary = await venue.control("GET", "summary")
    assert (summary["open"], summary["statuses"]) == (1, {"CANCELED": 2, "NEW": 1})


async def test_edit_cancels_the_old_order_and_places_the_new(venue: SimulatedAccount) -> None:
    placed = await limit(venue, 99)
    edited = await venue.api.edit_order(placed["id"], BTC, "limit", "buy", 2, 98)
    assert (edited["id"], edited["price"], edited["status"]) == ("2", 98, "open")
    assert (await venue.api.fetch_order(placed["id"], BTC))["status"] == "canceled"


async def test_edit_that_fails_says_which_half_happened(venue: SimulatedAccount) -> None:
    placed = await limit(venue, 99)
    with pytest.raises(ccxt.ExchangeError, match=r"-2021.*FAILURE.*insufficient balance.*SUCCESS"):
        await venue.api.edit_order(placed["id"], BTC, "limit", "buy", 2000, 99)
    with pytest.raises(ccxt.ExchangeError, match=r"-2022.*NOT_ATTEMPTED"):
        await venue.api.edit_order(placed["id"], BTC, "limit", "buy", 1, 99)
    kept = await limit(venue, 97)
    with pytest.raises(ccxt.BadRequest, match="NOTIONAL"):
        await venue.api.edit_order(kept["id"], BTC, "limit", "buy", 0.00001, 99)
    assert [order["id"] for order in await venue.api.fetch_open_orders(BTC)] == [kept["id"]]


# Refusals.


async def test_client_id_is_unique_among_open_orders_only(venue: SimulatedAccount) -> None:
    first = await limit(venue, 99, newClientOrderId="mine")
    with pytest.raises(ccxt.InvalidOrder, match="Duplicate order sent"):
        await limit(venue, 99, newClientOrderId="mine")
    assert await venue.orders_made("mine") == 1
    await venue.api.cancel_order(first["id"], BTC)
    await limit(venue, 99, newClientOrderId="mine")
    assert await venue.orders_made("mine") == 2


REFUSED: dict[str, tuple[dict[str, object], type[Exception], int]] = {
    "funds": ({"quantity": "2000"}, ccxt.InsufficientFunds, -2010),
    "lot": ({"quantity": "1.000001"}, ccxt.InvalidOrder, -1013),
    "tick": ({"price": "99.001"}, ccxt.InvalidOrder, -1013),
    "notional": ({"quantity": "0.01"}, ccxt.BadRequest, -1013),
    "far price": ({"price": "19"}, ccxt.InvalidOrder, -1013),
    "places": ({"price": "99.000000001"}, ccxt.BadRequest, -1111),
    "exponent": ({"quantity": "1e0"}, ccxt.BadRequest, -1100),
    "missing": ({"quantity": ""}, ccxt.BadRequest, -1102),
    "symbol": ({"symbol": "NOSUCH"}, ccxt.BadSymbol, -1121),
    "late": ({"timestamp": 1}, ccxt.InvalidNonce, -1021),
}


@pytest.mark.parametrize(("changed", "error", "code"), REFUSED.values(), ids=REFUSED)
async def test_refused_order_carries_binances_code_and_leaves_nothing(
    venue: SimulatedAccount, changed: dict[str, object], error: type[Exception], code: int
) -> None:
    asked = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "quantity": "1", "price": "99", "timeInForce": "GTC"}
    with pytest.raises(error):
        await venue.api.private_post_order({**asked, **changed})
    assert await venue.control("GET", "orders") == []
    (post,) = await venue.requests("POST", "/api/v3/order")
    assert (post["accepted"], post["delivered"], post["refused"]) == (False, True, code)


async def test_order_of_the_test_call_is_checked_and_not_placed(venue: SimulatedAccount) -> None:
    await limit(venue, 99, test=True)
    with pytest.raises(ccxt.BadRequest, match="NOTIONAL"):
        await limit(venue, 99, 0.01, test=True)
    assert await venue.control("GET", "orders") == []


async def test_order_that_never_was_is_not_found(venue: SimulatedAccount) -> None:
    with pytest.raises(ccxt.OrderNotFound, match="-2013"):
        await venue.api.fetch_order("77", BTC)
    with pytest.raises(ccxt.OrderNotFound, match="-2011"):
        await venue.api.cancel_order("77", BTC)
    with pytest.raises(ccxt.BadRequest, match="-1100"):
        await venue.api.fetch_order("7" * 4500, BTC)


@pytest.mark.parametrize(
    ("changed", "words"), [({"secret": "wrong"}, "-1022"), ({"apiKey": "wrong"}, "-2015")], ids=["secret", "key"]
)
async def test_wrong_credentials_are_refused(venue: SimulatedAccount, changed: dict[str, str], words: str) -> None:
    stranger = client(venue.venue_url, **changed)
    try:
        with pytest.raises(ccxt.AuthenticationError, match=words):
            await stranger.fetch_balance()
    finally:
        await stranger.close()


async def test_request_without_a_key_or_signature_is_refused(venue: SimulatedAccount) -> None:
    url = f"{venue.venue_url}/api/v3/account?timestamp={int(time.time() * 1000)}"
    async with venue.http.get(url) as response:
        assert (response.status, (await response.json())["code"]) == (401, -2014)
    async with venue.http.get(url, headers={"X-MBX-APIKEY": API_KEY}) as response:
        assert (response.status, (await response.json())["code"]) == (400, -1102)


async def test_clock_ahead_of_the_venues_by_more_than_a_second_is_refused(venue: SimulatedAccount) -> None:
    await venue.control("POST", "clock", {"skew_ms": -1500})
    with pytest.raises(ccxt.InvalidNonce, match="1000ms ahead"):
        await limit(venue, 99)
    await venue.api.load_time_difference()
    assert (await limit(venue, 99))["status"] == "open"


async def test_weight_and_orders_are_counted_and_too_many_requests_are_refused() -> None:
    async with simulated_account(weight_limit=30) as venue:
        await limit(venue, 99)
        headers = {name.upper(): value for name, value in venue.api.last_response_headers.items()}
        assert headers["X-MBX-USED-WEIGHT-1M"] == "11"
        assert headers["X-MBX-ORDER-COUNT-10S"] == headers["X-MBX-ORDER-COUNT-1D"] == "1"
        statuses = []
        for _ in range(13):
            try:
                await venue.api.fetch_balance()
            except ccxt.DDoSProtection as error:
                statuses.append(str(error).split()[1])
                assert int(venue.api.last_response_headers["Retry-After"]) >= 1
        assert statuses == ["429"] * 10 + ["418"] * 2
