"""Who may come in: the host that was asked for, the origin of a browser's page, and the API key."""

import hmac
import ipaddress
import time
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from api.errors import HostRefused, OriginRefused, TooManyRequests, Unauthorized
from api.problems import problem
from api.request_limits import RequestLimits, caller_of
from domain.errors import RequestError
from settings import Settings

OPEN_PATHS: Final = frozenset(
    {
        "/",
        "/health/live",
        "/docs",
        "/openapi.json",
        "/swagger/swagger-ui-bundle.js",
        "/swagger/swagger-ui.css",
        "/swagger/favicon-32x32.png",
    }
)
"""Orchestrators and readers of the documentation need no key."""
_LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class Entrance:
    """ASGI middleware before everything else.

    Loopback without a key is open to programs of this machine, and a browser on it must not become one: a page that
    points its own name at 127.0.0.1 is refused by the host's name, and a page that calls 127.0.0.1 by its origin.
    """

    def __init__(self, app: ASGIApp, *, settings: Settings) -> None:
        self._app = app
        self._key = settings.api_key.get_secret_value().encode() if settings.api_key is not None else None
        self._hosts = _allowed_hosts(settings)
        self._limits = RequestLimits(settings.api_requests_per_minute, clock=time.monotonic)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            refusal = self._refusal(scope["path"], headers) or self._too_many(scope, headers)
            if refusal is not None:
                await problem(refusal, instance=scope["path"])(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _refusal(self, path: str, headers: Headers) -> RequestError | None:
        host = _host_of(headers.get("host", ""))
        if self._hosts is not None and host not in self._hosts:
            return HostRefused(f"requests for host {host[:80]!r} are not answered")
        origin = headers.get("origin")
        if origin is not None and _host_of(origin.partition("://")[2]) not in (self._hosts or {host}):
            return OriginRefused(f"requests from pages of {origin[:80]!r} are not answered")
        if self._key is None or path in OPEN_PATHS or hmac.compare_digest(_key_in(headers), self._key):
            return None
        return Unauthorized("this needs an API key")

    def _too_many(self, scope: Scope, headers: Headers) -> RequestError | None:
        path = scope["path"]
        if path in OPEN_PATHS:
            return None
        peer = scope.get("client")
        caller = caller_of(_key_in(headers) if self._key is not None else b"", peer[0] if peer else "")
        wait_s = self._limits.take(caller, method=scope["method"], path=path)
        if not wait_s:
            return None
        return TooManyRequests("too many requests", numbers={"retry_after_s": str(wait_s)})


def _key_in(headers: Headers) -> bytes:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    key = token.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")
    return key.encode("utf-8", "surrogateescape")


def _host_of(address: str) -> str:
    """Return the host's name without port and brackets, in lower case; empty when it is not readable."""
    try:
        return (urlsplit(f"//{address}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _allowed_hosts(settings: Settings) -> frozenset[str] | None:
    """Return the names that requests may be for; `None` for all: on another address a key is needed anyway."""
    given = frozenset(name.lower() for name in settings.api_allowed_hosts)
    try:
        loopback = settings.api_host == "localhost" or ipaddress.ip_address(settings.api_host).is_loopback
    except ValueError:
        loopback = False
    if loopback:
        return _LOOPBACK_NAMES | {settings.api_host.lower()} | given
    return given | _LOOPBACK_NAMES if given else None
