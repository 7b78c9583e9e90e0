"""What an answer of the venue means is decided by the product's own `exchanges.verdicts`, from status and body."""

import json
from typing import Any, Final

import ccxt

from domain.errors import VenueError
from domain.reports import SubmitOutcome
from exchanges import verdicts
from exchanges.ccxt_transport import HttpCall, Probe
from exchanges.venue_rules import venue_rules
from tests.campaign.simulation.clock import EPOCH

RULES: Final = venue_rules("binance")
_NO_WHOLE_ANSWER: Final = (None, "", ccxt.RequestTimeout("binance POST"))
_ANSWERS: Final[dict[str, tuple[int | None, str, Exception | None]]] = {
    "request_lost": _NO_WHOLE_ANSWER,
    "request_late": _NO_WHOLE_ANSWER,
    "reply_lost": _NO_WHOLE_ANSWER,
    "http_5xx_and_taken": (502, "<html>bad gateway</html>", ccxt.ExchangeNotAvailable("binance 502")),
    "http_5xx_and_not_taken": (
        503,
        json.dumps({"code": -1007, "msg": "Timeout waiting for response from backend server."}),
        ccxt.RequestTimeout("binance"),
    ),
    "maintenance": (503, "<html>maintenance</html>", ccxt.OnMaintenance("binance")),
    "broken_body": (200, '{"symbol":"BTCUSDT","orderI', ccxt.BadResponse("binance")),
    "empty_body": (200, "{}", None),
    "rate_limited_429": (429, json.dumps({"code": -1003, "msg": "Too many requests."}), ccxt.RateLimitExceeded("")),
    "banned_418": (418, json.dumps({"code": -1003, "msg": "IP banned."}), ccxt.DDoSProtection("")),
    "refused_with_proof": (
        400,
        json.dumps({"code": -1013, "msg": "Filter failure: LOT_SIZE"}),
        ccxt.InvalidOrder("binance"),
    ),
    "clock_refused_1021": (
        400,
        json.dumps({"code": -1021, "msg": "Timestamp for this request is outside of the recvWindow."}),
        ccxt.InvalidNonce("binance"),
    ),
    "answered_as_duplicate": (
        400,
        json.dumps({"code": -2010, "msg": "Duplicate order sent."}),
        ccxt.InvalidOrder("binance"),
    ),
}
_READS: Final[dict[str, tuple[int | None, str, Exception | None]]] = {
    "read_failed": _NO_WHOLE_ANSWER,
    "read_cut_off": (200, "[{", ccxt.BadResponse("binance")),
    "read_rate_limited": _ANSWERS["rate_limited_429"],
    "read_clock_refused": _ANSWERS["clock_refused_1021"],
}
_known: dict[str, SubmitOutcome] = {}


def _call(kind: str, status: int | None, body: str) -> HttpCall:
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    gate: Any = object()
    headers = {"retry-after": {"rate_limited_429": "2", "banned_418": "15"}.get(kind, "")}
    return HttpCall("POST", gate=gate, may_have_left=True, status=status, headers=headers, body=body, document=document)


def outcome_of(kind: str) -> SubmitOutcome:
    """Return what the product makes of an answer to a new order."""
    found = _known.get(kind)
    if found is None:
        if kind == "connection_refused":
            call: Any = HttpCall("POST", gate=object())  # type: ignore[arg-type]
            error: Exception | None = ccxt.NetworkError("refused")
        else:
            status, body, error = _ANSWERS[kind]
            call = _call(kind, status, body)
        probe = Probe(calls=[call])
        found = verdicts.judge_submission(probe, order=None, error=error, symbol="BTC/USDT", rules=RULES, now=EPOCH)
        _known[kind] = found
    return found


def read_failure(kind: str) -> VenueError:
    """Return what the product makes of a failed read."""
    status, body, error = _READS[kind]
    return verdicts.read_failure(error, _call(kind, status, body), RULES)


def forget() -> None:
    """Decide anew from now on: the product's code was exchanged for a broken variant, or back."""
    _known.clear()
