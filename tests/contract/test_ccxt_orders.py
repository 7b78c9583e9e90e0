"""ccxt's way to place orders at a venue whose bytes the test writes: one POST, and the right verdict."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest

from domain.errors import RateLimited
from domain.ports import Exchange
from domain.reports import SubmitVerdict
from exchanges.ccxt_transport import ORDER_KEEPALIVE_S
from tests.contract.raw_account import CLIENT_ORDER_ID, ORDER, submit
from tests.contract.raw_venue import DROP, HANG, RawVenue, answer


async def test_placed_order_is_accepted_with_the_venues_id(exchange: Exchange, raw: RawVenue) -> None:
    outcome = await submit(exchange)
    assert outcome.verdict is SubmitVerdict.ACCEPTED
    assert outcome.report is not None and outcome.report.venue_order_id == "28"
    (post,) = raw.of("POST")
    assert (post.params["newClientOrderId"], post.params["recvWindow"]) == (CLIENT_ORDER_ID, "5000")


UNKNOWN: dict[str, bytes] = {
    "dropped after reading": DROP,
    "no answer": HANG,
    "cut body": answer(200, ORDER, cut=20),
    "cut JSON": answer(200, json.dumps(ORDER)[:-20]),
    "empty 200": answer(200, ""),
    "null": answer(200, "null"),
    "html 200": answer(200, "<html>maintenance</html>"),
    "empty object": answer(200, "{}"),
    "empty list": answer(200, "[]"),
    "204": answer(204, ""),
    "302": answer(302, "", headers={"Location": "/elsewhere"}),
    "307": answer(307, "", headers={"Location": "/api/v3/order"}),
    "308": answer(308, "", headers={"Location": "/api/v3/order"}),
    "403 html": answer(403, "<html>"),
    "413": answer(413, ""),
    "429 without words": answer(429, ""),
    "500": answer(500, {"code": -1000, "msg": "An unknown error occurred while processing the request."}),
    "503": answer(503, "Service unavailable"),
    "504": answer(504, ""),
    "524": answer(524, ""),
    "-1007": answer(408, {"code": -1007, "msg": "Timeout waiting for response from backend server."}),
    "-1006": answer(400, {"code": -1006, "msg": "An unexpected response was received from the message bus."}),
    "bad status line": b"HTTP/1.1 abc\r\n\r\n",
    "bad gzip": answer(200, ORDER, headers={"Content-Encoding": "gzip"}),
    "unknown shape": answer(200, {**ORDER, "orderId": None}),
}


@pytest.mark.parametrize("reply", UNKNOWN.values(), ids=UNKNOWN)
async def test_answer_that_proves_nothing_leaves_the_order_in_doubt(
    exchange: Exchange, raw: RawVenue, reply: bytes
) -> None:
    raw.answers["POST order"] = reply
    outcome = await submit(exchange)
    assert outcome.verdict is SubmitVerdict.UNKNOWN, outcome
    assert len(raw.of("POST")) == 1
    assert "signature" not in str(outcome) and "key-of-the-test" not in str(outcome)


async def test_duplicate_id_is_evidence_that_ours_exists(exchange: Exchange, raw: RawVenue) -> None:
    raw.answers["POST order"] = answer(400, {"code": -2010, "msg": "Duplicate order sent."})
    outcome = await submit(exchange)
    assert (outcome.verdict, outcome.reason and outcome.reason.code) == (
        SubmitVerdict.UNKNOWN,
        "DUPLICATE_CLIENT_ORDER_ID",
    )


async def test_proven_refusal_carries_the_venues_words(exchange: Exchange, raw: RawVenue) -> None:
    words = "Account has insufficient balance for requested action."
    raw.answers["POST order"] = answer(400, {"code": -2010, "msg": words})
    outcome = await submit(exchange)
    assert outcome.verdict is SubmitVerdict.REFUSED
    assert outcome.reason is not None
    assert (outcome.reason.code, outcome.reason.venue_text) == ("INSUFFICIENT_FUNDS", words)
    assert outcome.reason.numbers == {"venue_code": "-2010", "http_status": "400"}


async def test_rate_limit_is_not_sent_and_nothing_more_is_asked_until_the_pause_is_over(
    exchange: Exchange, raw: RawVenue
) -> None:
    await exchange.instruments()
    raw.answers["POST order"] = answer(429, {"code": -1003, "msg": "Too many."}, headers={"Retry-After": "17"})
    outcome = await submit(exchange)
    assert (outcome.verdict, outcome.retry_after_s) == (SubmitVerdict.NOT_SENT, 17)
    asked = len(raw.requests)
    again = await submit(exchange)
    assert (again.verdict, again.retry_after_s in (16, 17)) == (SubmitVerdict.NOT_SENT, True)
    with pytest.raises(RateLimited):
        await exchange.fetch_balances()
    assert len(raw.requests) == asked


async def test_refused_connection_is_not_sent(exchange: Exchange, raw: RawVenue) -> None:
    await exchange.instruments()
    await exchange.status()
    exchange._api.urls["api"]["private"] = "http://127.0.0.1:9/api/v3"  # type: ignore[attr-defined]  # the discard port
    looks: list[bool] = []
    outcome = await submit(exchange, last_look=lambda: _record(looks))
    assert (outcome.verdict, looks) == (SubmitVerdict.NOT_SENT, [])


async def _record(looks: list[bool], *, say: bool = True) -> bool:
    looks.append(say)
    return say


async def test_last_look_that_says_no_sends_nothing(exchange: Exchange, raw: RawVenue) -> None:
    looks: list[bool] = []
    outcome = await submit(exchange, last_look=lambda: _record(looks, say=False))
    assert (outcome.verdict, outcome.reason and outcome.reason.code) == (SubmitVerdict.NOT_SENT, "LAST_LOOK_REFUSED")
    assert looks == [False]
    assert raw.of("POST") == []
    assert (await submit(exchange)).verdict is SubmitVerdict.ACCEPTED
    kept = await submit(exchange, last_look=lambda: _record(looks, say=False))
    assert kept.verdict is SubmitVerdict.NOT_SENT
    assert len(raw.of("POST")) == 1


async def test_last_look_that_fails_sends_nothing(exchange: Exchange, raw: RawVenue) -> None:
    async def lost() -> bool:
        raise ConnectionError("the ledger is gone")

    outcome = await submit(exchange, last_look=lost)
    assert outcome.verdict is SubmitVerdict.NOT_SENT
    assert raw.of("POST") == []


async def test_last_look_is_taken_once_on_a_kept_connection_too(exchange: Exchange, raw: RawVenue) -> None:
    looks: list[bool] = []
    for _ in range(3):
        await submit(exchange, last_look=lambda: _record(looks))
    assert looks == [True] * 3
    assert len({post.connection for post in raw.of("POST")}) == 1


async def test_order_is_signed_with_the_journaled_time_on_the_venues_clock(exchange: Exchange, raw: RawVenue) -> None:
    raw.clock_ahead_ms = 90_000
    signed_at = datetime.now(UTC) - timedelta(seconds=2)
    await submit(exchange, signed_at=signed_at)
    (post,) = raw.of("POST")
    difference_ms = int(post.params["timestamp"]) - int(signed_at.timestamp() * 1000)
    assert abs(difference_ms - 90_000) < 200


async def test_order_journaled_long_ago_is_not_sent(exchange: Exchange, raw: RawVenue) -> None:
    outcome = await submit(exchange, signed_at=datetime.now(UTC) - timedelta(minutes=1))
    assert (outcome.verdict, outcome.reason and outcome.reason.code) == (SubmitVerdict.NOT_SENT, "TOO_LATE_TO_SEND")
    assert raw.of("POST") == []


async def test_venue_that_does_not_answer_before_the_order_is_not_sent(exchange: Exchange, raw: RawVenue) -> None:
    raw.answers["GET exchangeInfo"] = HANG
    outcome = await submit(exchange)
    assert outcome.verdict is SubmitVerdict.NOT_SENT
    assert raw.of("POST") == []


async def test_canceled_while_in_flight_raises_and_has_sent_once(exchange: Exchange, raw: RawVenue) -> None:
    await exchange.instruments()
    raw.answers["POST order"] = HANG
    sending = asyncio.create_task(submit(exchange))
    async with asyncio.timeout(5):
        while not raw.of("POST"):
            await asyncio.sleep(0.005)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert len(raw.of("POST")) == 1


async def test_connection_for_orders_is_not_kept_as_long_as_front_ends_keep_theirs(
    exchange: Exchange, raw: RawVenue
) -> None:
    assert ORDER_KEEPALIVE_S < 5
    raw.idle_timeout_s = 0.05
    await submit(exchange)
    async with asyncio.timeout(5):
        while raw.open_connections:
            await asyncio.sleep(0.01)
    await exchange.status()  # a round trip, in which our side notices that too
    assert (await submit(exchange)).verdict is SubmitVerdict.ACCEPTED
    assert len(raw.of("POST")) == 2
