"""How the REST interface is served: a real server on a real socket, in front of a small application."""

import asyncio
import contextlib
import logging
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from api import auth
from api.auth import Entrance
from api.context import json_body
from api.problems import problem
from api.serving import PunctualProtocol, options_of
from domain.errors import ConfigurationError, RequestError
from embedded.child import free_port
from settings import Settings
from tests.vault_server import _write_certificates

SOON_S = 0.3


async def small_app(scope: Scope, receive: Receive, send: Send) -> None:
    """Read the body as routes do; `/crash` is one that fails."""
    request = Request(scope, receive)
    answer: Response = PlainTextResponse("in")
    if request.url.path == "/crash":
        raise RuntimeError("with the secret canary-5f1c in it")
    if request.method == "POST":
        try:
            await json_body(request)
        except RequestError as error:
            answer = problem(error)
    await answer(scope, receive, send)


@contextlib.asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[None]:
    options = {**options_of(settings), "lifespan": "off"}
    server = uvicorn.Server(uvicorn.Config(Entrance(small_app, settings=settings), **options))
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]  # the test's own loop has them
    running = asyncio.create_task(server._serve())
    while not server.started:
        assert not running.done(), running
        await asyncio.sleep(0.01)
    try:
        yield
    finally:
        server.should_exit = True
        await running


@pytest.fixture
async def port(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    monkeypatch.setattr(PunctualProtocol, "headers_timeout_s", SOON_S)
    monkeypatch.setattr(auth, "BODY_TIMEOUT_S", SOON_S)
    port = free_port()
    async with serving(Settings(api_port=port)):
        yield port


async def say(port: int, *parts: bytes, pause_s: float = 0.0) -> bytes:
    """Send parts with pauses between, and return all that comes until the connection ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    listening = asyncio.create_task(reader.read())
    with contextlib.suppress(ConnectionError):
        for part in parts:
            writer.write(part)
            await writer.drain()
            if listening.done():
                break
            await asyncio.sleep(pause_s)
    told = await asyncio.wait_for(listening, 10)
    writer.close()
    return told


HEAD = b"GET /a HTTP/1.1\r\nHost: 127.0.0.1\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n"


async def test_headers_that_trickle_in_end_the_connection(port: int) -> None:
    began = asyncio.get_running_loop().time()
    assert await say(port, HEAD, *([b"X-A: b\r\n"] * 100), pause_s=0.05) == b""
    assert asyncio.get_running_loop().time() - began < 10 * SOON_S


async def test_a_connection_that_says_nothing_is_ended(port: int) -> None:
    assert await say(port) == b""


async def test_headers_that_trickle_in_after_a_first_request_end_it_too(port: int) -> None:
    told = await say(port, HEAD + b"\r\n", HEAD, *([b"X-A: b\r\n"] * 100), pause_s=0.05)
    assert told.count(b"HTTP/1.1 200") == 1


async def test_a_body_that_trickles_in_is_answered_with_408(port: int) -> None:
    told = await say(port, POST, *([b" "] * 8), pause_s=0.1)
    assert told.startswith(b"HTTP/1.1 408") and b"BODY_TOO_SLOW" in told


async def test_one_that_takes_a_while_and_comes_whole_is_answered(port: int) -> None:
    told = await say(port, POST.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), b'{"a": ', b"12}")
    assert told.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"POST /a HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
        b"POST /a HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: x\r\n\r\n",
        b"GET /a HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\n\r\n",
        b"GET /a HTTP/1.1\r\n\r\n",
        b"GET /a HTTP/1.1\r\nHost : 127.0.0.1\r\n\r\n",
        b"GET /a HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 4 + b"\r\n\r\n",
    ],
)
async def test_what_is_no_request_is_refused(port: int, request_bytes: bytes) -> None:
    told = await say(port, request_bytes.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
    assert told[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 421", b"HTTP/1.1 501", b"HTTP/1.1 431", b""), told[:200]
    assert b"Traceback" not in told


async def test_a_crash_is_answered_without_its_trace_and_text(port: int, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.CRITICAL):
        told = await say(port, HEAD.replace(b"/a", b"/crash") + b"Connection: close\r\n\r\n")
    assert told.startswith(b"HTTP/1.1 500") and b"canary" not in told and b"Traceback" not in told


async def test_a_proxys_word_on_who_calls_counts_only_where_it_is_trusted() -> None:
    assert options_of(Settings())["proxy_headers"] is False
    trusting = options_of(Settings(api_trusted_proxies=("10.0.0.1",)))
    assert (trusting["proxy_headers"], trusting["forwarded_allow_ips"]) == (True, ["10.0.0.1"])


# TLS.


async def test_only_callers_with_a_certificate_of_the_authority_come_in(tmp_path: Path) -> None:
    _write_certificates(tmp_path)
    port = free_port()
    files = {"api_tls_cert_path": tmp_path / "server.pem", "api_tls_key_path": tmp_path / "server.key"}
    settings = Settings(api_port=port, **files, api_tls_client_ca_path=tmp_path / "ca.pem")
    trusting = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
    with_own = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
    with_own.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.load_verify_locations(tmp_path / "ca.pem")
    old.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")
    old.maximum_version = ssl.TLSVersion.TLSv1_1

    async def ask(context: ssl.SSLContext | bool, scheme: str = "https") -> httpx2.Response:
        async with httpx2.AsyncClient(verify=context, trust_env=False) as client:
            return await client.get(f"{scheme}://127.0.0.1:{port}/a")

    async with serving(settings):
        answer = await ask(with_own)
        assert answer.status_code == 200 and answer.headers["strict-transport-security"] == "max-age=31536000"
        for context in (trusting, old, True):
            with pytest.raises(httpx2.TransportError):
                await ask(context)
        with pytest.raises(httpx2.TransportError):
            await ask(with_own, scheme="http")


@pytest.mark.parametrize(
    "fields", [{"api_tls_cert_path": "a.pem"}, {"api_tls_key_path": "a.key"}, {"api_tls_client_ca_path": "ca.pem"}]
)
def test_half_of_a_certificate_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        Settings(**fields).check_api_key()


def test_an_unencrypted_interface_on_a_network_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    options_of(Settings())
    assert not caplog.records
    options_of(Settings(api_host="0.0.0.0", api_key="k" * 40))
    assert "api_unencrypted" in caplog.text
