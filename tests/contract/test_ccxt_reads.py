"""ccxt's reads from a venue whose bytes the test writes: whole answers only, nothing counted twice."""

import asyncio
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from domain.errors import ClockSkew, CredentialsRefused, RateLimited, VenueUnavailable
from domain.ports import Exchange
from domain.reports import OrderRef, SubmitVerdict, VenueOrderStatus
from tests.contract.raw_account import CLIENT_ORDER_ID, ORDER, REF, SYMBOL, submit
from tests.contract.raw_venue import DROP, HANG, RawVenue, Request, answer
from tests.contract.test_ccxt_orders import UNKNOWN

LOST: dict[str, bytes] = {
    name: UNKNOWN[name]
    for name in ("dropped after reading", "no answer", "cut body", "cut JSON", "empty 200", "null", "html 200", "302",
                 "empty object", "204", "500", "503", "bad status line")
}  # fmt: skip


@pytest.mark.parametrize("reply", LOST.values(), ids=LOST)
async def test_read_without_a_whole_answer_raises_and_is_never_absence(
    exchange: Exchange, raw: RawVenue, reply: bytes
) -> None:
    for name in ("order", "openOrders", "myTrades", "account", "ticker/24hr", "depth"):
        raw.answers[f"GET {name}"] = reply
    by_id = OrderRef(symbol=SYMBOL, client_order_id=CLIENT_ORDER_ID, venue_order_id="28")
    reads = (
        exchange.fetch_order(REF),
        exchange.fetch_order(by_id),
        exchange.fetch_open_orders(),
        exchange.fetch_trades(SYMBOL, since=datetime.now(UTC)),
        exchange.fetch_order_trades(by_id, since=datetime.now(UTC)),
        exchange.fetch_balances(),
        exchange.fetch_ticker(SYMBOL),
        exchange.fetch_order_book(SYMBOL, depth=5),
    )
    came = await asyncio.gather(*reads, return_exceptions=True)
    assert [type(result) for result in came] == [VenueUnavailable] * len(reads)


async def test_absence_is_the_venues_own_word(exchange: Exchange, raw: RawVenue) -> None:
    raw.answers["GET order"] = answer(400, {"code": -2013, "msg": "Order does not exist."})
    assert await exchange.fetch_order(REF) is None
    raw.answers["GET order"] = answer(500, {"code": -2013, "msg": "Order does not exist."})
    with pytest.raises(VenueUnavailable):
        await exchange.fetch_order(REF)


async def test_answer_for_another_order_is_not_believed(exchange: Exchange, raw: RawVenue) -> None:
    raw.answers["GET order"] = answer(200, {**ORDER, "clientOrderId": "other"})
    with pytest.raises(VenueUnavailable):
        await exchange.fetch_order(REF)


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (answer(401, {"code": -2015, "msg": "Invalid API-key, IP, or permissions for action."}), CredentialsRefused),
        (answer(400, {"code": -1021, "msg": "Timestamp for this request is outside of the recvWindow."}), ClockSkew),
        (answer(418, {"code": -1003, "msg": "banned"}, headers={"Retry-After": "300"}), RateLimited),
    ],
    ids=["key", "clock", "ban"],
)
async def test_venues_words_become_errors_of_the_port(
    exchange: Exchange, raw: RawVenue, reply: bytes, kind: type[Exception]
) -> None:
    raw.answers["GET account"] = answer(200, {"balances": []})
    await exchange.fetch_balances()
    raw.answers["GET account"] = reply
    with pytest.raises(kind):
        await exchange.fetch_balances()


async def test_clock_is_measured_again_after_the_venue_refused_a_time(exchange: Exchange, raw: RawVenue) -> None:
    await exchange.status()
    raw.answers["POST order"] = answer(400, {"code": -1021, "msg": "Timestamp outside of the recvWindow."})
    refused = await submit(exchange)
    assert (refused.verdict, refused.reason and refused.reason.code) == (SubmitVerdict.NOT_SENT, "CLOCK_SKEW")
    raw.clock_ahead_ms = 30_000
    raw.answers["POST order"] = answer(200, ORDER)
    assert (await submit(exchange)).verdict is SubmitVerdict.ACCEPTED
    assert abs(int(raw.of("POST")[-1].params["timestamp"]) - raw.now_ms()) < 2000


def trade(number: int, *, time_ms: int, order_id: int = 28, quantity: str = "0.001") -> dict[str, Any]:
    return {
        "symbol": "BTCUSDT", "id": number, "orderId": order_id, "price": "50000.00", "qty": quantity,
        "quoteQty": "50.00", "commission": "0.000001", "commissionAsset": "BTC", "time": time_ms,
        "isBuyer": True, "isMaker": True,
    }  # fmt: skip


async def test_trades_are_read_to_the_last_page_in_any_order_and_counted_once(
    exchange: Exchange, raw: RawVenue
) -> None:
    start_ms = 1767323045000
    all_trades = [trade(number, time_ms=start_ms + number // 7) for number in range(1, 2502)]

    def page(request: Request) -> bytes:
        first = int(request.params.get("fromId", 1))
        rows = [row for row in all_trades if row["id"] >= first - 3][:1000]  # repeats three of the page before
        return answer(200, rows[::-1])

    raw.answers["GET myTrades"] = page
    since = datetime.fromtimestamp(start_ms / 1000, UTC)
    fills = await exchange.fetch_trades(SYMBOL, since=since)
    assert [int(fill.trade_id) for fill in fills] == list(range(1, 2502))
    asked = raw.of("GET", "myTrades")
    assert asked[0].params["startTime"] == str(start_ms)
    assert all("startTime" not in request.params for request in asked[1:])


async def test_page_that_fails_in_the_middle_fails_the_whole_list(exchange: Exchange, raw: RawVenue) -> None:
    def page(request: Request) -> bytes:
        if "fromId" in request.params:
            return answer(503, "")
        return answer(200, [trade(number, time_ms=1767323045000 + number) for number in range(1, 1001)])

    raw.answers["GET myTrades"] = page
    with pytest.raises(VenueUnavailable):
        await exchange.fetch_trades(SYMBOL, since=datetime(2026, 1, 1, tzinfo=UTC))


async def test_smart_routing_trades_without_numbers_are_told_apart(exchange: Exchange, raw: RawVenue) -> None:
    rows = [trade(-1, time_ms=1767323045000), trade(-1, time_ms=1767323045000), trade(-1, time_ms=1767323045001)]
    raw.answers["GET myTrades"] = answer(200, rows)
    by_id = OrderRef(symbol=SYMBOL, client_order_id=CLIENT_ORDER_ID, venue_order_id="28")
    first = await exchange.fetch_order_trades(by_id, since=datetime(2026, 1, 1, tzinfo=UTC))
    second = await exchange.fetch_order_trades(by_id, since=datetime(2026, 1, 1, tzinfo=UTC))
    assert len({fill.key for fill in first}) == 3
    assert [fill.key for fill in first] == [fill.key for fill in second]


async def test_markets_are_loaded_in_one_call_and_once(exchange: Exchange, raw: RawVenue) -> None:
    await asyncio.gather(*(exchange.instruments() for _ in range(20)))
    assert [request.path for request in raw.requests] == ["/api/v3/exchangeInfo"]


async def test_markets_are_loaded_again_after_the_venue_refused_by_a_filter(exchange: Exchange, raw: RawVenue) -> None:
    raw.answers["POST order"] = answer(400, {"code": -1013, "msg": "Filter failure: LOT_SIZE"})
    outcome = await submit(exchange)
    assert outcome.reason is not None and outcome.reason.code == "FILTER_FAILED"
    await exchange.instruments()
    await exchange.instruments()
    assert len(raw.of("GET", "exchangeInfo")) == 2


async def test_ticker_is_asked_once_for_all_who_ask_together(exchange: Exchange, raw: RawVenue) -> None:
    raw.answers["GET ticker/24hr"] = answer(
        200, {"symbol": "BTCUSDT", "lastPrice": "50000.1", "bidPrice": "50000", "askPrice": "50001", "volume": "3"}
    )
    tickers = await asyncio.gather(*(exchange.fetch_ticker(SYMBOL) for _ in range(50)))
    assert {ticker.ask for ticker in tickers} == {Decimal("50001")}
    assert len(raw.of("GET", "ticker/24hr")) == 1


async def test_cancel_goes_by_the_venues_id_where_it_is_known(exchange: Exchange, raw: RawVenue) -> None:
    raw.answers["DELETE order"] = answer(200, {**ORDER, "status": "CANCELED"})
    assert await exchange.cancel(REF.model_copy(update={"venue_order_id": "28"})) is None
    assert await exchange.cancel(REF) is None
    by_id, by_client_id = raw.of("DELETE")
    assert by_id.params["orderId"] == "28"
    assert by_client_id.params["origClientOrderId"] == CLIENT_ORDER_ID


async def test_refused_cancel_is_a_hint_and_a_lost_one_an_error(exchange: Exchange, raw: RawVenue) -> None:
    raw.answers["DELETE order"] = answer(400, {"code": -2011, "msg": "Unknown order sent."})
    hint = await exchange.cancel(REF)
    assert hint is not None and (hint.code, hint.numbers["venue_code"]) == ("CANCEL_REFUSED", "-2011")
    raw.answers["DELETE order"] = HANG
    with pytest.raises(VenueUnavailable):
        await exchange.cancel(REF)


async def test_open_orders_of_all_symbols_come_in_one_call(exchange: Exchange, raw: RawVenue) -> None:
    rows = [
        {**ORDER, "time": 1767323045678},
        {**ORDER, "orderId": 29, "clientOrderId": "bcdef", "status": "PENDING_NEW"},
    ]
    raw.answers["GET openOrders"] = answer(200, rows)
    reports = await exchange.fetch_open_orders()
    assert [(report.venue_order_id, report.status) for report in reports] == [
        ("28", VenueOrderStatus.OPEN),
        ("29", VenueOrderStatus.OPEN),
    ]
    (asked,) = raw.of("GET", "openOrders")
    assert "symbol" not in asked.params


async def test_status_tells_latency_skew_weight_and_the_last_failure(exchange: Exchange, raw: RawVenue) -> None:
    raw.clock_ahead_ms = -5_000
    raw.answers["GET time"] = lambda _: answer(
        200, {"serverTime": raw.now_ms()}, headers={"X-MBX-USED-WEIGHT-1M": "123"}
    )
    status = await exchange.status()
    assert (status.reachable, status.markets_count, status.rate_budget_used) == (True, 1, 123)
    assert status.latency_ms is not None and status.clock_skew_ms is not None
    assert abs(status.clock_skew_ms - 5_000) < 200
    raw.answers["GET account"] = answer(503, "")
    with pytest.raises(VenueUnavailable):
        await exchange.fetch_balances()
    async with asyncio.timeout(5):
        while "HTTP 503" not in ((await exchange.status()).last_error or ""):
            await asyncio.sleep(0.05)


async def test_venue_that_is_down_is_told_by_status_without_raising(exchange: Exchange, raw: RawVenue) -> None:
    raw.answers["GET exchangeInfo"] = DROP
    status = await exchange.status()
    assert (status.reachable, status.markets_count) == (False, 0)
