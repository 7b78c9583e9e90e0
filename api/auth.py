"""The entrance: which requests come in, and what leaves with every answer."""

import asyncio
import logging
import time
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.browsers import HostsAndOrigins, kind_refusal
from api.callers import OPEN_PATHS, KeyDesk, KeyTable
from api.errors import BodyTooSlow, HeadTooLarge, TextUnreadable, TooManyRequests, Unauthorized
from api.problems import problem
from api.request_limits import RequestLimits, caller_of
from api.response_headers import with_headers
from domain.api_keys import Caller
from domain.errors import RequestError
from settings import Settings

BODY_TIMEOUT_S: Final = 10.0
"""For the whole body: one that trickles keeps a request, and what it holds, no longer."""
HEAD_MAX_BYTES: Final = 32 * 1024
REFUSED_PER_MINUTE: Final = 120
"""Wrong keys of one address that are logged; further ones are told to wait. Good keys pass all the same."""
_CHANGING: Final = ("POST", "PUT", "PATCH", "DELETE")
_NOBODY: Final = Caller(scopes=frozenset())
log = logging.getLogger("volex.api")


class Entrance:
    """ASGI middleware before everything else.

    Loopback without a key is open to programs of this machine, and a browser on it must not become one:
    `api/browsers.py` says how that is told. Then the key says who calls; what the caller may do, `api/callers.py` says.
    """

    def __init__(self, app: ASGIApp, *, settings: Settings, keys: KeyTable | None = None) -> None:
        self._app = app
        self._desk = KeyDesk(settings, keys or KeyTable())
        self._pages = HostsAndOrigins(settings)
        self._limits = RequestLimits(settings.api_requests_per_minute, clock=time.monotonic)
        self._addresses = RequestLimits(settings.api_requests_per_minute_of_address, clock=time.monotonic)
        self._refused = RequestLimits(REFUSED_PER_MINUTE, clock=time.monotonic)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        sending = with_headers(send, scope)
        headers = Headers(scope=scope)
        try:
            scope.setdefault("state", {})["caller"] = await self._caller(scope, headers)
        except RequestError as refusal:
            await problem(refusal, instance=scope["path"][:200])(scope, receive, sending)
            return
        await self._app(scope, _in_time(receive), sending)

    async def _caller(self, scope: Scope, headers: Headers) -> Caller:
        """Return who makes the request. Raises why it is refused."""
        method, path = scope["method"], scope["path"]
        head = len(scope.get("raw_path") or b"") + len(scope["query_string"])
        if head + sum(len(name) + len(value) for name, value in scope["headers"]) > HEAD_MAX_BYTES:
            raise HeadTooLarge(f"path, query and headers are longer than {HEAD_MAX_BYTES} bytes")
        if "\0" in path or b"%00" in scope["query_string"]:
            raise TextUnreadable("the path or the query holds a NUL character")
        refusal = self._pages.refusal(method, headers)
        if refusal is not None:
            raise refusal
        if path in OPEN_PATHS:
            return _NOBODY
        peer = scope["client"][0] if scope.get("client") else ""
        _take(self._addresses, f"peer {peer}", method, path)
        key = _key_in(headers)
        caller = await self._desk.caller(key)
        if caller is None:
            _take(self._refused, f"peer {peer}", method, path)
            log.warning("api_key_refused", extra={"address": peer, "path": path[:200], "shown": bool(key)})
            raise Unauthorized("this needs an API key" if not key else "the API key is not known, revoked or expired")
        _take(self._limits, caller_of(key if caller.key_id else b"", peer), method, path)
        if method in _CHANGING and (refusal := kind_refusal(headers)) is not None:
            raise refusal
        return caller


def _take(limits: RequestLimits, who: str, method: str, path: str) -> None:
    wait_s = limits.take(who, method=method, path=path)
    if wait_s:
        raise TooManyRequests("too many requests", numbers={"retry_after_s": str(wait_s)})


def _key_in(headers: Headers) -> bytes:
    """Return the key that is shown; empty for none, and for two that differ: which one counts is not ours to guess."""
    shown = {
        token.strip()
        for scheme, _, token in (value.partition(" ") for value in headers.getlist("authorization"))
        if scheme.lower() == "bearer"
    }
    shown |= set(headers.getlist("x-api-key"))
    return shown.pop().encode("utf-8", "surrogateescape") if len(shown) == 1 else b""


def _in_time(receive: Receive) -> Receive:
    """Let the body take so long and no longer; `BodyTooSlow` is raised where it is read."""
    until: float | None = None
    has_ended = False

    async def receiving() -> Message:
        nonlocal until, has_ended
        if has_ended:  # what comes now is the end of the connection, whenever that is
            return await receive()
        loop = asyncio.get_running_loop()
        until = loop.time() + BODY_TIMEOUT_S if until is None else until
        try:
            async with asyncio.timeout_at(until):
                message = await receive()
        except TimeoutError:
            raise BodyTooSlow(f"the body took longer than {BODY_TIMEOUT_S:g} s") from None
        has_ended = not message.get("more_body", False)
        return message

    return receiving
