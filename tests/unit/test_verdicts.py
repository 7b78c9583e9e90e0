"""What an answer proves: a table of bodies as venues send them, and that everything else proves nothing."""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import ccxt
import pytest
from ccxt.base.errors import error_hierarchy
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import ClockSkew, CredentialsRefused, RateLimited, VenueUnavailable
from domain.reports import SubmitVerdict
from exchanges.ccxt_transport import Gate, HttpCall, NotSent, Probe
from exchanges.venue_rules import listed_venues, venue_rules
from exchanges.verdicts import (
    READ_FAILURES,
    clean,
    incomplete,
    judge_submission,
    read_failure,
    retry_after_s,
    says_not_found,
)

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SYMBOL = "BTC/USDT"


async def _yes() -> bool:
    return True


def http_call(status: int | None, body: object, **changes: Any) -> HttpCall:
    text = body if isinstance(body, str) else json.dumps(body)
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    document = document if isinstance(document, dict | list) else None
    made: dict[str, Any] = {"may_have_left": True, "status": status, "body": text, "document": document}
    return HttpCall("POST", **{**made, **changes})


def judged(venue: str, call: HttpCall | None, *, error: Exception | None = None, order: Any = None) -> Any:
    gate = Gate(_yes, signed_at=NOW, send_within_s=5, check=_anything, clock=lambda: NOW)
    if call is not None:
        call.gate = gate
    probe = Probe(gate=gate, calls=[call] if call is not None else [])
    return judge_submission(probe, order=order, error=error, symbol=SYMBOL, rules=venue_rules(venue), now=NOW)


def binance(code: int, text: str) -> dict[str, object]:
    return {"code": code, "msg": text}


REFUSED = [
    ("binanceus", 400, binance(-1013, "Filter failure: LOT_SIZE"), "FILTER_FAILED"),
    ("binanceus", 400, binance(-1102, "Mandatory parameter 'quantity' was not sent."), "REQUEST_REFUSED"),
    ("binanceus", 400, binance(-1111, "Parameter 'quantity' has too much precision."), "FILTER_FAILED"),
    ("binanceus", 400, binance(-1121, "Invalid symbol."), "SYMBOL_UNKNOWN"),
    ("binance", 400, binance(-2010, "Account has insufficient balance for requested action."), "INSUFFICIENT_FUNDS"),
    ("binance", 400, binance(-2010, "Order would immediately match and take."), "POST_ONLY_WOULD_TAKE"),
    ("binance", 400, binance(-2010, "Stop price would trigger immediately."), "TRIGGER_PRICE_PASSED"),
    ("binance", 400, binance(-2010, "Market is closed."), "MARKET_CLOSED"),
    ("binance", 400, binance(-2010, "Something new."), "VENUE_REFUSED"),
    ("binance", 401, binance(-2014, "API-key format invalid."), "CREDENTIALS_REFUSED"),
    ("binance", 401, binance(-2015, "Invalid API-key, IP, or permissions for action."), "CREDENTIALS_REFUSED"),
    ("binance", 400, binance(-1022, "Signature for this request is not valid."), "CREDENTIALS_REFUSED"),
    ("kraken", 200, {"error": ["EOrder:Insufficient funds"]}, "INSUFFICIENT_FUNDS"),
    ("kraken", 200, {"error": ["EGeneral:Invalid arguments:volume"]}, "REQUEST_REFUSED"),
    ("okx", 200, {"code": "1", "data": [{"sCode": "51008", "sMsg": "Insufficient balance"}]}, "INSUFFICIENT_FUNDS"),
    ("bybit", 200, {"retCode": 170131, "retMsg": "Balance insufficient."}, "INSUFFICIENT_FUNDS"),
    ("kucoin", 200, {"code": "200004", "msg": "Balance insufficient!"}, "INSUFFICIENT_FUNDS"),
    ("bitget", 400, {"code": "43012", "msg": "Insufficient balance", "data": None}, "INSUFFICIENT_FUNDS"),
    ("gate", 400, {"label": "BALANCE_NOT_ENOUGH", "message": "Not enough balance"}, "INSUFFICIENT_FUNDS"),
    ("gate", 400, {"label": "POC_FILL_IMMEDIATELY", "message": "would match"}, "POST_ONLY_WOULD_TAKE"),
    ("gemini", 406, {"result": "error", "reason": "InsufficientFunds", "message": "no"}, "INSUFFICIENT_FUNDS"),
    (
        "htx",
        200,
        {"status": "error", "err-code": "account-frozen-balance-insufficient-error", "err-msg": "no", "data": None},
        "INSUFFICIENT_FUNDS",
    ),
    ("mexc", 400, {"code": 30004, "msg": "Insufficient position"}, "INSUFFICIENT_FUNDS"),
    (
        "coinbase",
        200,
        {"success": False, "error_response": {"error": "INSUFFICIENT_FUND", "message": "no"}},
        "INSUFFICIENT_FUNDS",
    ),
]
TURNED_AWAY = [
    ("binance", 429, binance(-1003, "Too many requests."), "VENUE_RATE_LIMITED"),
    ("binance", 418, binance(-1003, "Way too much request weight used; IP banned."), "VENUE_RATE_LIMITED"),
    ("binance", 429, binance(-1015, "Too many new orders."), "VENUE_RATE_LIMITED"),
    ("binance", 400, binance(-1021, "Timestamp for this request is outside of the recvWindow."), "CLOCK_SKEW"),
    ("kraken", 200, {"error": ["EOrder:Rate limit exceeded"]}, "VENUE_RATE_LIMITED"),
    ("okx", 200, {"code": "1", "data": [{"sCode": "50061", "sMsg": "Too many orders"}]}, "VENUE_RATE_LIMITED"),
    ("kucoin", 200, {"code": "429000", "msg": "Too many requests"}, "VENUE_RATE_LIMITED"),
    ("bitget", 400, {"code": "40008", "msg": "Request timestamp expired"}, "CLOCK_SKEW"),
    ("gate", 401, {"label": "REQUEST_EXPIRED", "message": "gap between timestamps"}, "CLOCK_SKEW"),
    ("mexc", 400, {"code": 700003, "msg": "outside of the recvWindow"}, "CLOCK_SKEW"),
]
UNKNOWN = [
    ("binance", 503, binance(-1013, "a refusal under a server error"), "ANSWER_PROVES_NOTHING"),
    ("binance", 500, binance(-1007, "Timeout waiting for response from backend server."), "ANSWER_PROVES_NOTHING"),
    ("binance", 400, binance(-1007, "Timeout waiting for response from backend server."), "ANSWER_PROVES_NOTHING"),
    ("binance", 400, binance(-1006, "An unexpected response was received."), "ANSWER_PROVES_NOTHING"),
    ("binance", 400, binance(-1000, "An unknown error occurred."), "ANSWER_PROVES_NOTHING"),
    ("binance", 409, binance(-2021, "Order cancel-replace partially failed."), "ANSWER_PROVES_NOTHING"),
    ("binance", 400, binance(-9999, "a code of tomorrow"), "ANSWER_PROVES_NOTHING"),
    ("binance", 400, binance(-2010, "Duplicate order sent."), "DUPLICATE_CLIENT_ORDER_ID"),
    ("binance", 429, "<html>slow down</html>", "ANSWER_PROVES_NOTHING"),
    ("binance", 403, "<html>forbidden</html>", "ANSWER_PROVES_NOTHING"),
    ("binance", 200, "", "ANSWER_PROVES_NOTHING"),
    ("binance", 200, "<html>", "ANSWER_PROVES_NOTHING"),
    ("binance", 200, "null", "ANSWER_PROVES_NOTHING"),
    ("binance", 200, "{}", "ANSWER_PROVES_NOTHING"),
    ("binance", 200, '{"orderId": 28, "stat', "ANSWER_PROVES_NOTHING"),
    ("binance", 307, "", "ANSWER_PROVES_NOTHING"),
    ("binance", None, "", "NO_WHOLE_ANSWER"),
    ("bybit", 200, {"retCode": 170146, "retMsg": "Order creation timeout"}, "ANSWER_PROVES_NOTHING"),
    ("bybit", 200, {"retCode": 170141, "retMsg": "Duplicate clientOrderId"}, "DUPLICATE_CLIENT_ORDER_ID"),
    ("okx", 200, {"code": "1", "data": [{"sCode": "51149", "sMsg": "Order timed out."}]}, "ANSWER_PROVES_NOTHING"),
    ("okx", 200, {"code": "1", "data": [{"sCode": "51016", "sMsg": "exists"}]}, "DUPLICATE_CLIENT_ORDER_ID"),
    ("kraken", 200, {"error": ["EService:Deadline elapsed"]}, "ANSWER_PROVES_NOTHING"),
    ("kraken", 200, {"error": ["EOrder:Insufficient funds", "EService:Timeout"]}, "ANSWER_PROVES_NOTHING"),
    ("coinbase", 200, {"success": False}, "ANSWER_PROVES_NOTHING"),
    ("kucoin", 200, {"code": "408000", "msg": "Network timeout, please try again"}, "ANSWER_PROVES_NOTHING"),
    ("kucoin", 200, {"code": "400100", "msg": "some parameter"}, "ANSWER_PROVES_NOTHING"),
    ("kucoin", 200, {"code": "126044", "msg": "clientOid exists"}, "DUPLICATE_CLIENT_ORDER_ID"),
    ("bitget", 400, {"code": "40010", "msg": "Request timed out"}, "ANSWER_PROVES_NOTHING"),
    ("bitget", 400, {"code": "40786", "msg": "clientOid exists"}, "DUPLICATE_CLIENT_ORDER_ID"),
    ("gate", 503, {"label": "BALANCE_NOT_ENOUGH", "message": "under a server error"}, "ANSWER_PROVES_NOTHING"),
    ("gate", 400, {"label": "REQUEST_TIMEOUT", "message": "no"}, "ANSWER_PROVES_NOTHING"),
    ("htx", 200, {"status": "error", "err-code": "gateway-internal-error"}, "ANSWER_PROVES_NOTHING"),
    ("gemini", 400, {"result": "error", "reason": "System", "message": "no"}, "ANSWER_PROVES_NOTHING"),
    ("mexc", 400, {"code": 730000, "msg": "Request failed"}, "ANSWER_PROVES_NOTHING"),
    ("bitstamp", 400, binance(-2010, "nobody studied this venue's words"), "ANSWER_PROVES_NOTHING"),
]


@pytest.mark.parametrize(("venue", "status", "body", "code"), REFUSED)
def test_white_listed_refusal_is_proof(venue: str, status: int, body: object, code: str) -> None:
    outcome = judged(venue, http_call(status, body), error=ccxt.ExchangeError("of any class"))
    assert (outcome.verdict, outcome.reason.code) == (SubmitVerdict.REFUSED, code)
    assert outcome.reason.numbers["http_status"] == str(status)


@pytest.mark.parametrize(("venue", "status", "body", "code"), TURNED_AWAY)
def test_request_turned_away_unread_may_be_sent_again_after_a_pause(
    venue: str, status: int, body: object, code: str
) -> None:
    outcome = judged(venue, http_call(status, body), error=ccxt.DDoSProtection("of any class"))
    assert (outcome.verdict, outcome.reason.code) == (SubmitVerdict.NOT_SENT, code)
    assert outcome.retry_after_s >= 1


@pytest.mark.parametrize(("venue", "status", "body", "code"), UNKNOWN)
@pytest.mark.parametrize("error", [None, ccxt.InvalidOrder("x"), KeyError("inverse")], ids=["none", "ccxt", "bug"])
def test_everything_else_is_unknown(
    venue: str, status: int | None, body: object, code: str, error: Exception | None
) -> None:
    outcome = judged(venue, http_call(status, body), error=error, order={"id": None})
    assert (outcome.verdict, outcome.reason.code) == (SubmitVerdict.UNKNOWN, code)


@pytest.mark.parametrize("venue", listed_venues())
@pytest.mark.parametrize("kind", [ccxt.InvalidOrder, ccxt.BadRequest, ccxt.AuthenticationError, ccxt.InsufficientFunds])
def test_class_of_ccxt_alone_never_proves_a_refusal(venue: str, kind: type[Exception]) -> None:
    outcome = judged(venue, http_call(400, {"something": "nobody knows"}), error=kind("x"))
    assert outcome.verdict is SubmitVerdict.UNKNOWN


@given(st.integers(100, 599), st.text(max_size=60), st.sampled_from(listed_venues()))
def test_arbitrary_text_never_proves_anything(status: int, body: str, venue: str) -> None:
    assert judged(venue, http_call(status, body), order={"id": None}).verdict is SubmitVerdict.UNKNOWN


@given(st.integers(500, 599), st.sampled_from(REFUSED + TURNED_AWAY))
def test_no_refusal_under_a_server_error_is_proof(status: int, case: Any) -> None:
    venue, _, body, _ = case
    assert judged(venue, http_call(status, body)).verdict is SubmitVerdict.UNKNOWN


def test_order_with_an_id_in_a_whole_answer_is_accepted() -> None:
    body = {"orderId": 28, "status": "NEW", "executedQty": "0"}
    order = {"id": "28", "status": "open", "symbol": SYMBOL, "info": body}
    outcome = judged("binance", http_call(200, body), order=order)
    assert outcome.verdict is SubmitVerdict.ACCEPTED
    assert outcome.report.venue_order_id == "28"


@pytest.mark.parametrize("status", [201, 299, 302, 404, 500, None])
def test_id_counts_only_with_success(status: int | None) -> None:
    outcome = judged("binance", http_call(status, {"orderId": 28}), order={"id": "28", "status": "open"})
    assert (outcome.verdict is SubmitVerdict.ACCEPTED) == (status in (201, 299))


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (NotSent("LAST_LOOK_REFUSED", "no"), SubmitVerdict.NOT_SENT),
        (NotSent("CLIENT_ORDER_ID_NOT_CARRIED", "no", refused=True), SubmitVerdict.REFUSED),
        (ccxt.InvalidOrder("price below the tick"), SubmitVerdict.REFUSED),
        (ccxt.ExchangeNotAvailable("refused"), SubmitVerdict.NOT_SENT),
        (ccxt.RequestTimeout("connecting"), SubmitVerdict.NOT_SENT),
        (OSError("no file descriptors"), SubmitVerdict.NOT_SENT),
        (KeyError("a bug before any request"), SubmitVerdict.REFUSED),
    ],
)
def test_nothing_left_is_never_in_doubt(error: Exception, verdict: SubmitVerdict) -> None:
    assert judged("binance", None, error=error).verdict is verdict


def test_failure_of_a_request_before_the_order_is_not_sent() -> None:
    gate = Gate(_yes, signed_at=NOW, send_within_s=5, check=_anything, clock=lambda: NOW)
    probe = Probe(gate=gate, calls=[HttpCall("GET", status=401, body="{}", document={})])
    outcome = judge_submission(
        probe, order=None, error=ccxt.AuthenticationError("x"), symbol=SYMBOL, rules=venue_rules("bybit"), now=NOW
    )
    assert outcome.verdict is SubmitVerdict.NOT_SENT


# Reads.


def _classes(tree: dict[str, Any]) -> Iterator[str]:
    for name, below in tree.items():
        yield name
        yield from _classes(below)


def test_every_class_of_ccxt_has_been_thought_about() -> None:
    assert {getattr(ccxt, name) for name in _classes(error_hierarchy)} == set(READ_FAILURES)


@pytest.mark.parametrize("kind", READ_FAILURES)
@pytest.mark.parametrize("call", [None, http_call(None, ""), http_call(502, "<html>"), http_call(400, {"a": 1})])
def test_every_class_of_ccxt_becomes_an_error_of_the_port(kind: type[Exception], call: HttpCall | None) -> None:
    failure = read_failure(kind("x"), call, venue_rules("binance"))
    assert isinstance(failure, VenueUnavailable | RateLimited | ClockSkew | CredentialsRefused)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, binance(-1021, "Timestamp"), ClockSkew),
        (401, binance(-2015, "Invalid API-key"), CredentialsRefused),
        (400, binance(-1022, "Signature"), CredentialsRefused),
        (429, binance(-1003, "Too many requests."), RateLimited),
        (418, "banned", RateLimited),
        (503, "<html>", VenueUnavailable),
        (401, "<html>proxy log-in</html>", VenueUnavailable),
    ],
)
def test_read_failure_goes_by_the_venues_words(status: int, body: object, kind: type[Exception]) -> None:
    """ccxt takes Binance's -2015 for a temporary ban after the first success, and would retry a dead key for ever."""
    assert isinstance(read_failure(ccxt.DDoSProtection("x"), http_call(status, body), venue_rules("binance")), kind)


@pytest.mark.parametrize(
    ("header", "status", "seconds"), [("17", 429, 17), ("", 429, 5), ("", 418, 120), ("x", 429, 5)]
)
def test_pause_comes_from_the_venues_header(header: str, status: int, seconds: int) -> None:
    assert retry_after_s(http_call(status, "", headers={"retry-after": header})) == seconds


@pytest.mark.parametrize(
    ("status", "body", "believed"),
    [
        (400, binance(-2013, "Order does not exist."), True),
        (503, binance(-2013, "Order does not exist."), False),
        (400, binance(-1121, "Invalid symbol."), False),
        (404, "<html>", False),
        (400, '{"code": -2013, "msg": "Order do', False),
        (200, "", False),
        (200, "{}", False),
        (None, "", False),
    ],
)
def test_absence_is_believed_only_from_a_whole_answer(status: int | None, body: object, believed: bool) -> None:
    error = ccxt.OrderNotFound("ccxt says so in any case")
    assert says_not_found(error, http_call(status, body), venue_rules("binance")) is believed


@pytest.mark.parametrize(
    ("body", "believed"), [({"error": [], "result": {}}, True), ({"error": []}, False), ({}, False)]
)
def test_absence_that_ccxt_reads_out_of_an_empty_answer_is_not_believed(body: object, believed: bool) -> None:
    error = ccxt.OrderNotFound("ccxt says so of every answer without the order")
    assert says_not_found(error, http_call(200, body), venue_rules("kraken")) is believed


@pytest.mark.parametrize(
    ("venue", "status", "body"),
    [
        ("binance", 200, ""),
        ("binance", 200, "<html>"),
        ("binance", 200, "null"),
        ("binance", 200, "{}"),
        ("binance", 200, '[{"orderId": 1'),
        ("binance", 200, {"status": "ok"}),
        ("binance", 302, "[]"),
        ("kraken", 200, {"error": []}),
        ("binance", None, ""),
    ],
)
def test_list_is_believed_only_from_a_whole_answer(venue: str, status: int | None, body: object) -> None:
    assert incomplete(http_call(status, body), venue_rules(venue), listing=True)


def test_empty_list_in_a_whole_answer_is_believed() -> None:
    assert incomplete(http_call(200, []), venue_rules("binance"), listing=True) is None
    assert incomplete(http_call(200, {"error": [], "result": {}}), venue_rules("kraken"), listing=True) is None


def test_shown_text_holds_no_signature_no_key_and_no_query() -> None:
    said = 'bad https://venue.invalid/api/v3/order?timestamp=1&signature=beef {"apiKey": "k123"} signature=cafe '
    shown = clean(said + "x" * 1000)
    assert len(shown) == 500
    for secret in ("beef", "cafe", "k123", "timestamp=1"):
        assert secret not in shown


# The gate.


def _anything(url: str, headers: Mapping[str, str] | None, body: object) -> None:
    """Let every request pass."""


@pytest.mark.parametrize("age_s", [5, 60])
async def test_order_that_waited_too_long_does_not_leave(age_s: int) -> None:
    late = NOW + timedelta(seconds=age_s)
    gate = Gate(_yes, signed_at=NOW, send_within_s=5, check=_anything, clock=lambda: late)
    with pytest.raises(NotSent, match="too long ago"):
        await gate.pass_through()


def test_second_request_of_one_order_does_not_leave() -> None:
    gate = Gate(_yes, signed_at=NOW, send_within_s=5, check=_anything, clock=lambda: NOW)
    gate.check_request("https://venue.invalid/order", {}, "id=abc")
    with pytest.raises(NotSent) as refusal:
        gate.check_request("https://venue.invalid/order", {}, "id=abc")
    assert refusal.value.refused
