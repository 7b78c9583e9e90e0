"""The gate: key, signature, window and weight."""

import hashlib
import hmac

import pytest

from simulator.gate import Gate
from simulator.refusals import Refusal

NOW_MS = 1_700_000_030_000
SENT = f"symbol=BTCUSDT&newClientOrderId=a%3Ab&timestamp={NOW_MS}"


class Clock:
    now_ms = NOW_MS

    def __call__(self) -> int:
        return self.now_ms


def gate(limit: int = 100) -> Gate:
    return Gate("key", "secret", Clock(), limit)


def sign(sent: str) -> str:
    return hmac.new(b"secret", sent.encode(), hashlib.sha256).hexdigest()


def test_signature_over_exactly_what_was_sent_passes() -> None:
    signature = sign(SENT)
    gate().check_signature("key", (f"{SENT}&signature={signature}", ""), {"signature": signature})


@pytest.mark.parametrize("in_query", [True, False])
def test_query_and_body_are_signed_together_wherever_the_signature_stands(in_query: bool) -> None:
    query, body = SENT, "quantity=1"
    signature = sign(query + body)
    told = f"&signature={signature}"
    sent = (query + told, body) if in_query else (query, body + told)
    gate().check_signature("key", sent, {"signature": signature})


@pytest.mark.parametrize(
    ("key", "sent", "parameters", "code"),
    [
        (None, SENT, {"signature": sign(SENT)}, -2014),
        ("other", SENT, {"signature": sign(SENT)}, -2015),
        ("key", SENT, {}, -1102),
        ("key", SENT, {"signature": "0" * 64}, -1022),
        ("key", SENT, {"signature": "\u00e9"}, -1022),
        ("\udce9", SENT, {"signature": sign(SENT)}, -2015),
        ("key", SENT.replace("%3A", ":"), {"signature": sign(SENT)}, -1022),
        ("key", SENT + "0", {"signature": sign(SENT)}, -1022),
    ],
)
def test_wrong_key_or_signature_is_refused(key: str | None, sent: str, parameters: dict[str, str], code: int) -> None:
    with pytest.raises(Refusal) as refused:
        gate().check_signature(key, (sent, ""), parameters)
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("offset_ms", "window_ms", "code"),
    [
        (0, None, None),
        (1000, None, None),
        (1001, None, -1021),
        (-5000, None, None),
        (-5001, None, -1021),
        (-5001, 6000, None),
        (-101, 100, -1021),
        (0, 60_001, -1131),
    ],
)
def test_timestamp_must_lie_in_the_window(offset_ms: int, window_ms: int | None, code: int | None) -> None:
    parameters = {"timestamp": str(NOW_MS + offset_ms)}
    if window_ms is not None:
        parameters["recvWindow"] = str(window_ms)
    if code is None:
        gate().check_window(parameters)
        return
    with pytest.raises(Refusal) as refused:
        gate().check_window(parameters)
    assert refused.value.code == code


def test_weight_over_the_limit_is_429_then_418_and_free_again_next_minute() -> None:
    guarded = gate(limit=10)
    assert guarded.weigh(10)["X-MBX-USED-WEIGHT-1M"] == "10"
    statuses = []
    for _ in range(12):
        with pytest.raises(Refusal) as refused:
            guarded.weigh(1)
        statuses.append(refused.value.status)
        assert 1 <= int(refused.value.headers["Retry-After"]) <= 60
    assert statuses == [429] * 10 + [418] * 2
    guarded.clock_ms.now_ms += 60_000  # type: ignore[attr-defined]  # the clock of this test
    assert guarded.weigh(1)["X-MBX-USED-WEIGHT-1M"] == "1"


def test_orders_are_counted_by_ten_seconds_and_by_day() -> None:
    guarded = gate()
    for _ in range(3):
        guarded.count_order()
    assert guarded.order_headers() == {"X-MBX-ORDER-COUNT-10S": "3", "X-MBX-ORDER-COUNT-1D": "3"}
    guarded.clock_ms.now_ms += 10_000  # type: ignore[attr-defined]  # the clock of this test
    assert guarded.order_headers() == {"X-MBX-ORDER-COUNT-10S": "0", "X-MBX-ORDER-COUNT-1D": "3"}


def test_orders_beyond_the_interval_are_429_and_then_418_and_taken_again_in_the_next() -> None:
    guarded = gate()
    guarded.order_limits = {10_000: 3}
    for _ in range(3):
        guarded.check_order_limits()
        guarded.count_order()
    statuses = []
    for _ in range(12):
        with pytest.raises(Refusal) as refused:
            guarded.check_order_limits()
        assert refused.value.code == -1015
        assert 1 <= int(refused.value.headers["Retry-After"]) <= 10
        statuses.append(refused.value.status)
    assert statuses == [429] * 10 + [418] * 2
    guarded.clock_ms.now_ms += 10_000  # type: ignore[attr-defined]  # the clock of this test
    guarded.check_order_limits()
