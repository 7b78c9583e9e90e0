"""Every fault of the simulated venue: what unmodified ccxt sees of it, and what the venue's own ledger says."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import ccxt
import pytest

from tests.contract.simulated_account import TIMEOUT_MS, SimulatedAccount, simulated_account

BTC = "BTC/USDT"
LONG_S = TIMEOUT_MS / 1000 * 1.5
NOTHING = "an order without an id"


@pytest.fixture
async def venue() -> AsyncIterator[SimulatedAccount]:
    async with simulated_account() as account:
        yield account


async def placed(venue: SimulatedAccount, client_order_id: str = "mine", **params: object) -> Any:
    params = {"newClientOrderId": client_order_id, **params}
    return await venue.api.create_order(BTC, "limit", "buy", 1, 99, params)


async def until_orders(venue: SimulatedAccount, count: int) -> None:
    async with asyncio.timeout(5):
        while await venue.orders_made("mine") != count:
            await asyncio.sleep(0.01)


# What strikes an order's request: what the client sees, and how many orders there are.
STRUCK: dict[str, tuple[dict[str, Any], type[Exception] | str, int]] = {
    "drop before": ({"kind": "drop_before"}, ccxt.ExchangeNotAvailable, 0),
    "drop after": ({"kind": "drop_after"}, ccxt.ExchangeNotAvailable, 1),
    "hang after": ({"kind": "hang", "seconds": LONG_S}, ccxt.RequestTimeout, 1),
    "hang before": ({"kind": "hang", "seconds": LONG_S, "accepted": False}, ccxt.RequestTimeout, 0),
    "502 accepted": ({"kind": "http_status", "status": 502}, ccxt.ExchangeNotAvailable, 1),
    "503 not accepted": ({"kind": "http_status", "status": 503, "accepted": False}, ccxt.ExchangeNotAvailable, 0),
    "-1007 accepted": ({"kind": "error"}, ccxt.RequestTimeout, 1),
    "-1007 not accepted": ({"kind": "error", "accepted": False}, ccxt.RequestTimeout, 0),
    "any error": ({"kind": "error", "code": -1001, "msg": "Internal.", "accepted": False}, ccxt.OperationFailed, 0),
    "truncated": ({"kind": "truncated"}, NOTHING, 1),
    "cut short": ({"kind": "cut_short"}, ccxt.ExchangeError, 1),
    "empty 200": ({"kind": "empty_200"}, NOTHING, 1),
    "html 200": ({"kind": "html_200"}, NOTHING, 1),
    "429": ({"kind": "rate_limit", "seconds": 7}, ccxt.DDoSProtection, 0),
    "418": ({"kind": "rate_limit", "status": 418, "seconds": 7}, ccxt.DDoSProtection, 0),
    "maintenance": ({"kind": "maintenance"}, ccxt.ExchangeNotAvailable, 0),
}


@pytest.mark.parametrize(("fault", "seen", "orders"), STRUCK.values(), ids=STRUCK)
async def test_struck_order_is_what_the_ledger_says_and_was_sent_once(
    venue: SimulatedAccount, fault: dict[str, Any], seen: type[Exception] | str, orders: int
) -> None:
    await venue.fault(**fault, method="POST", path="/order", client_order_id_prefix="mi", times=1)
    if isinstance(seen, str):
        assert (await placed(venue))["id"] is None
    else:
        with pytest.raises(seen):
            await placed(venue)
    (post,) = await venue.requests("POST", "/api/v3/order")
    assert (post["fault"], post["accepted"]) == (fault["kind"], bool(orders))
    assert post["delivered"] == (fault["kind"] == "rate_limit")
    assert await venue.orders_made("mine") == orders
    if fault["kind"] == "rate_limit":
        assert (post["status"], venue.api.last_response_headers["Retry-After"]) == (fault.get("status", 429), "7")
    await placed(venue, "next")
    assert await venue.orders_made("next") == 1


async def test_refusal_is_lost_like_any_answer(venue: SimulatedAccount) -> None:
    await venue.fault("drop_after", method="POST", times=1)
    with pytest.raises(ccxt.ExchangeNotAvailable):
        await placed(venue, quantity="2000")
    (post,) = await venue.requests("POST", "/api/v3/order")
    assert (post["accepted"], post["delivered"], post["refused"]) == (False, False, -2010)


async def test_delayed_order_is_taken_late_even_when_the_client_has_gone(venue: SimulatedAccount) -> None:
    await venue.fault("delay", method="POST", seconds=LONG_S, times=1)
    with pytest.raises(ccxt.RequestTimeout):
        await placed(venue)
    assert await venue.orders_made("mine") == 0
    await until_orders(venue, 1)
    (post,) = await venue.requests("POST", "/api/v3/order")
    assert (post["accepted"], post["delivered"]) == (True, False)


async def test_order_that_is_delayed_beyond_its_window_is_refused(venue: SimulatedAccount) -> None:
    await venue.fault("delay", method="POST", seconds=0.15, times=1)
    with pytest.raises(ccxt.InvalidNonce, match="-1021"):
        await placed(venue, recvWindow=50)
    assert await venue.orders_made("mine") == 0
    await venue.fault("delay", method="POST", seconds=0.05, times=1)
    assert (await placed(venue))["status"] == "open"


async def test_order_that_does_not_show_yet_is_nowhere_and_then_everywhere(venue: SimulatedAccount) -> None:
    await venue.fault("visibility_lag", seconds=0.4, times=1)
    bought = await venue.api.create_order(BTC, "limit", "buy", 9, 100.01, {"newClientOrderId": "mine"})
    hidden_until = time.monotonic() + 0.4
    reads = (venue.api.fetch_open_orders, venue.api.fetch_orders, venue.api.fetch_my_trades)
    assert [await read(BTC) for read in reads] == [[], [], []]
    with pytest.raises(ccxt.OrderNotFound):
        await venue.api.fetch_order(bought["id"], BTC)
    with pytest.raises(ccxt.InvalidOrder, match="Duplicate order sent"):
        await placed(venue)
    async with asyncio.timeout(5):
        while not await venue.api.fetch_open_orders(BTC):
            await asyncio.sleep(0.01)
    assert time.monotonic() > hidden_until - 0.05
    assert (await venue.api.fetch_order(bought["id"], BTC))["filled"] == bought["filled"] > 0
    assert all([await read(BTC) for read in reads])


async def test_trades_appear_late_while_the_order_says_filled(venue: SimulatedAccount) -> None:
    await venue.fault("fill_lag", seconds=0.4, times=1)
    bought = await venue.api.create_order(BTC, "market", "buy", 0.5)
    assert (await venue.api.fetch_order(bought["id"], BTC))["status"] == "closed"
    assert await venue.api.fetch_my_trades(BTC) == []
    assert len(await venue.control("GET", "fills")) == len(bought["trades"])
    async with asyncio.timeout(5):
        while len(await venue.api.fetch_my_trades(BTC)) < len(bought["trades"]):
            await asyncio.sleep(0.01)


async def test_cancel_that_loses_the_race_is_refused_and_the_order_filled(venue: SimulatedAccount) -> None:
    order = await placed(venue)
    await venue.fault("cancel_race", client_order_id_prefix="other")
    await venue.fault("cancel_race", client_order_id_prefix="mine", side="BUY", symbol="BTCUSDT", times=1)
    with pytest.raises(ccxt.OrderNotFound, match="-2011"):
        await venue.api.cancel_order(order["id"], BTC)
    assert (await venue.api.fetch_order(order["id"], BTC))["status"] == "closed"
    faults = (await venue.control("GET", "faults"))["active"]
    assert [fault["hits"] for fault in faults] == [0, 1]


async def test_pages_of_trades_repeat_and_are_out_of_order(venue: SimulatedAccount) -> None:
    for _ in range(3):
        await venue.api.create_order(BTC, "market", "buy", 0.1)
    await venue.fault("repeat_trades")
    page = await venue.api.private_get_mytrades({"symbol": "BTCUSDT"})
    assert [trade["id"] for trade in page] == [3, 2, 1, 1, 2, 3]


async def test_every_fault_is_tried_here_and_an_unknown_one_is_refused(venue: SimulatedAccount) -> None:
    kinds = set((await venue.control("GET", "faults"))["kinds"])
    elsewhere = {"delay", "visibility_lag", "fill_lag", "cancel_race", "repeat_trades"}
    assert {fault["kind"] for fault, _, _ in STRUCK.values()} | elsewhere == kinds
    for described in ({"kind": "no_such"}, {"kind": "hang", "second": 1}):
        with pytest.raises(AssertionError, match="ValueError"):
            await venue.control("POST", "faults", described)


async def test_faults_are_grouped_chosen_by_chance_and_cleared(venue: SimulatedAccount) -> None:
    await venue.control(
        "POST",
        "faults",
        {
            "kind": "http_status",
            "match": {"method": "GET", "path": "/ticker/24hr"},
            "params": {"status": 500},
            "probability": 0.5,
        },
    )
    failed = 0
    for _ in range(30):
        try:
            await venue.api.fetch_ticker(BTC)
        except ccxt.ExchangeNotAvailable:
            failed += 1
    assert 5 <= failed <= 25
    await venue.control("DELETE", "faults")
    await venue.api.fetch_ticker(BTC)
    assert (await venue.control("GET", "faults"))["active"] == []


# The control face and the venue's memory.


async def test_control_face_counts_orders_by_client_id_and_tells_their_lives(venue: SimulatedAccount) -> None:
    order = await placed(venue)
    fill = {"client_order_id": "mine", "quantity": "0.25", "price": "98.5"}
    await venue.control("POST", "market/BTCUSDT", {"fill": fill})
    await venue.api.cancel_order(order["id"], BTC)
    await placed(venue)
    summary = await venue.control("GET", "summary")
    assert summary["orders_per_client_order_id_max"] == summary["posts_per_client_order_id_max"] == 2
    ledger = await venue.control("GET", "ledger")
    steps = [step["status"] for step in ledger["orders"][0]["history"]]
    assert steps == ["NEW", "PARTIALLY_FILLED", "CANCELED"]
    (fill,) = ledger["fills"]
    assert (fill["clientOrderId"], fill["qty"], fill["price"]) == ("mine", "0.25000000", "98.50000000")
    changes = [entry["method"] for entry in ledger["requests"] if entry["method"] != "GET"]
    assert changes == ["POST", "DELETE", "POST"]


async def test_control_face_refuses_what_it_cannot_do(venue: SimulatedAccount) -> None:
    for path, body in (
        ("market/BTCUSDT", {"fill": {"client_order_id": "none", "quantity": "1"}}),
        ("market/BTCUSDT", {"price": "-1"}),
        ("market/NOSUCH", {}),
        ("balances", {"USDT": "-1"}),
    ):
        with pytest.raises(AssertionError, match="error"):
            await venue.control("POST", path, body)
    assert (await venue.control("GET", "balances"))["USDT"]["free"] == "100000.00000000"


async def test_ports_are_never_mixed(venue: SimulatedAccount) -> None:
    for path in ("ledger", "faults", "orders", "health"):
        async with venue.http.get(f"{venue.venue_url}/{path}") as response:
            assert response.status == 404
    with pytest.raises(AssertionError, match="404"):
        await venue.control("GET", "api/v3/time")


async def test_venue_remembers_everything_over_a_restart(tmp_path: Path) -> None:
    async with simulated_account(data_dir=tmp_path) as venue:
        order = await placed(venue)
        await venue.api.create_order(BTC, "market", "buy", 0.5)
        await venue.fault("drop_after", method="POST", times=1)
        with pytest.raises(ccxt.ExchangeNotAvailable):
            await placed(venue, "lost")
        before = {path: await venue.control("GET", path) for path in ("orders", "fills", "balances", "client-orders")}
        posts = await venue.requests("POST", "/api/v3/order")
    async with simulated_account(data_dir=tmp_path) as venue:
        assert {path: await venue.control("GET", path) for path in before} == before
        assert await venue.requests("POST", "/api/v3/order") == posts
        assert len(await venue.api.fetch_open_orders(BTC)) == 2
        await venue.api.cancel_order(order["id"], BTC)
        assert (await placed(venue))["id"] == "4"


async def test_unknown_path_is_not_found_and_a_broken_number_is_refused(venue: SimulatedAccount) -> None:
    url = f"{venue.venue_url}/api/v3"
    async with venue.http.get(f"{url}/no/such") as response:
        assert response.status == 404
    async with venue.http.get(f"{url}/depth", params={"symbol": "BTCUSDT", "limit": "many"}) as response:
        assert (response.status, (await response.json())["code"]) == (400, -1100)
    async with venue.http.get(f"{url}/depth?symbol=BTCUSDT", timeout=aiohttp.ClientTimeout(1)) as response:
        assert response.status == 200
