"""Who may come in, asked of the real middleware in front of a small application."""

import httpx2
import pytest
from starlette.responses import PlainTextResponse

from api.app import create_app
from api.auth import Entrance
from domain.errors import ConfigurationError
from settings import Settings


async def ask(
    settings: Settings, path: str = "/orders", *, method: str = "GET", body: bytes | None = None, **headers: str
) -> int:
    """Return the status of a request with these headers; 200 when it was let in."""
    entrance = Entrance(PlainTextResponse("in"), settings=settings)
    transport = httpx2.ASGITransport(app=entrance)
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8002") as client:
        return (
            await client.request(
                method, path, content=body, headers={name.replace("_", "-"): value for name, value in headers.items()}
            )
        ).status_code


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"host": "localhost"}, 200),
        ({"host": "LOCALHOST.:8002"}, 200),
        ({"host": "[::1]:8002"}, 200),
        ({"host": "evil.example"}, 421),
        ({"host": "127.0.0.1.evil.example"}, 421),
        ({"host": "127.0.0.1@evil.example"}, 421),
        ({"host": "[::1"}, 421),
        ({"host": '127.0.0.1:8002">'}, 421),
        ({"host": "127.0.0.1:99999"}, 421),
        ({"origin": "http://127.0.0.1:8002"}, 200),
        ({"origin": "http://localhost:3000"}, 403),
        ({"origin": "http://127.0.0.1:3000"}, 403),
        ({"origin": "file://127.0.0.1:8002"}, 403),
        ({"sec_fetch_site": "same-origin"}, 200),
        ({"sec_fetch_site": "none"}, 200),
        ({"sec_fetch_site": "cross-site"}, 403),
        ({"sec_fetch_site": "same-site", "sec_fetch_mode": "no-cors"}, 403),
        ({"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"}, 200),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://[::1"}, 403),
    ],
)
async def test_loopback_answers_programs_and_no_foreign_page(headers, status):
    assert await ask(Settings(), **headers) == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"authorization": "Bearer wrong"}, 401),
        ({"authorization": "Basic s3cret-key"}, 401),
        ({"authorization": "Bearer s3cret-key"}, 200),
        ({"authorization": "bearer  s3cret-key"}, 200),
        ({"x_api_key": "s3cret-key"}, 200),
        ({"x_api_key": "s3cret-ke"}, 401),
    ],
)
async def test_key_is_asked_for_where_one_is_set(headers, status):
    assert await ask(Settings(api_key="s3cret-key"), **headers) == status


async def test_sign_of_life_needs_no_key():
    settings = Settings(api_key="s3cret-key")
    assert await ask(settings, "/health/live") == 200
    assert await ask(settings, "/health") == 401


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("application/json", b"{}", 200),
        ("Application/JSON; charset=UTF-8", b"{}", 200),
        (None, None, 200),
        (None, b"{}", 415),
        ("", b"{}", 415),
        ("text/plain", b"{}", 415),
        ("text/plain", None, 415),
        ("application/x-www-form-urlencoded", b"{}", 415),
        ("multipart/form-data; boundary=x", b"{}", 415),
        ("application/json; charset=utf-7", b"{}", 415),
        ("application/jsonp", b"{}", 415),
        ("text/plain; application/json", b"{}", 415),
    ],
)
@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
async def test_body_of_another_kind_is_refused_for_a_form_can_send_it(method, kind, body, status):
    headers = {"content_type": kind} if kind is not None else {}
    assert await ask(Settings(), method=method, body=body, **headers) == status


async def test_other_address_takes_any_host_unless_some_are_named():
    keyed = {"api_host": "0.0.0.0", "api_key": "s3cret-key"}
    assert await ask(Settings(**keyed), host="trade.example", x_api_key="s3cret-key") == 200
    named = Settings(**keyed, api_allowed_hosts=("trade.example",))
    assert await ask(named, host="Trade.Example:443", x_api_key="s3cret-key") == 200
    assert await ask(named, host="other.example", x_api_key="s3cret-key") == 421


@pytest.mark.parametrize(
    "settings",
    [
        Settings(api_host="0.0.0.0"),
        Settings(
            dry_run_mode=False, accounts={"live": {"exchange": "binanceus", "mode": "live", "credentials": "env"}}
        ),
    ],
)
def test_open_interface_is_refused_where_one_is_not_allowed(settings):
    with pytest.raises(ConfigurationError, match="API key"):
        create_app(settings)
