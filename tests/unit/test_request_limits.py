"""How many requests a caller may make of the REST interface."""

import httpx2
import pytest

from api.auth import Entrance
from api.request_limits import CALLERS_MAX, RequestLimits, caller_of
from settings import load_settings


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_bucket_holds_a_minute_and_refills_evenly() -> None:
    clock = Clock()
    limits = RequestLimits(60, clock=clock)
    waits = [limits.take("a", method="GET", path="/orders/x") for _ in range(61)]
    assert waits == [0] * 60 + [1]
    assert limits.take("b", method="GET", path="/orders/x") == 0, "each caller has a bucket"
    clock.now += 2
    assert [limits.take("a", method="POST", path="/orders") for _ in range(3)] == [0, 0, 1]


def test_slow_limit_says_how_long_to_wait() -> None:
    limits = RequestLimits(2, clock=Clock())
    assert [limits.take("a", method="GET", path="/") for _ in range(3)] == [0, 0, 30]


@pytest.mark.parametrize(
    ("method", "path"), [("DELETE", "/orders/x/1"), ("POST", "/risk/kill"), ("POST", "/risk/deadman/beat")]
)
def test_what_stops_things_passes_when_everything_else_is_used_up(method: str, path: str) -> None:
    limits = RequestLimits(1, clock=Clock())
    assert limits.take("a", method="POST", path="/orders") == 0
    assert limits.take("a", method="POST", path="/orders") > 0
    assert limits.take("a", method=method, path=path) == 0


def test_callers_are_forgotten_before_they_are_too_many() -> None:
    limits = RequestLimits(1, clock=Clock())
    for number in range(CALLERS_MAX + 5):
        limits.take(str(number), method="GET", path="/")
    assert limits.take("0", method="GET", path="/") == 0
    assert limits.take(str(CALLERS_MAX), method="GET", path="/") > 0


def test_no_key_is_kept() -> None:
    assert "secret" not in caller_of(b"secret-key", "127.0.0.1")
    assert caller_of(b"", "127.0.0.1") != caller_of(b"", "127.0.0.2")


async def test_too_many_requests_are_answered_with_a_problem_and_the_time_to_wait() -> None:
    async def inner(scope: object, receive: object, send: object) -> None:
        await httpx_ok(send)

    async def httpx_ok(send: object) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})  # type: ignore[operator]  # of ASGI
        await send({"type": "http.response.body", "body": b"{}"})  # type: ignore[operator]  # of ASGI

    settings = load_settings({"API_REQUESTS_PER_MINUTE": "2", "API_KEY": "k" * 20})
    app = Entrance(inner, settings=settings)  # type: ignore[arg-type]  # the smallest application
    transport = httpx2.ASGITransport(app=app)  # type: ignore[arg-type]  # as above
    headers = {"X-API-Key": "k" * 20}
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        answers = [await client.get("/orders/binanceus", headers=headers) for _ in range(3)]
        live = await client.get("/health/live")
        wrong = [await client.get("/orders/binanceus", headers={"X-API-Key": "wrong"}) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[2].headers["content-type"] == "application/problem+json"
    assert answers[2].headers["retry-after"] == "30"
    body = answers[2].json()
    assert (body["code"], body["numbers"]) == ("TOO_MANY_REQUESTS", {"retry_after_s": 30})
    assert live.status_code == 200
    assert {answer.status_code for answer in wrong} == {401}, "a wrong key uses up nobody's bucket"
