"""What is seen of every request: its metrics, its trace, and an order's names on each log line that it writes."""

import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from domain.identifiers import order_workflow_id
from domain.order import OrderRequest
from observability import metrics, traces
from observability.logs import bind, bound

log = logging.getLogger("volex.api")
_ABOUT_ORDER: Final = re.compile(r"/orders/([a-z0-9][a-z0-9_-]{0,31})/([a-f][0-9a-f]{15})(?:/|$)", re.ASCII)
_UNTRACED: Final = ("/health", "/metrics", "/docs", "/openapi.json", "/swagger")
_METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
_NOTED: Final = "volex.noted"
_CHANGES: Final = frozenset({"POST", "PATCH", "DELETE", "PUT"})


@dataclass(slots=True)
class _Noted:
    """What became known of a request while it was answered."""

    status: int = 500
    order: tuple[str, str] | None = None
    """Account and order id."""
    timed_as: str | None = None
    """Type of an order whose placing counts against the budget."""


class Observed:
    """ASGI middleware around all others: refused requests are seen too."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and look at what comes back."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        noted = scope[_NOTED] = _Noted()
        began = time.perf_counter()

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                noted.status = message["status"]
            await send(message)

        names = _names_in(scope["path"])
        if names is not None:
            noted.order = names
        with bound(**(_words(*names) if names is not None else {})):
            try:
                await self._traced(scope, receive, answer, noted)
            finally:
                _count(scope, noted, time.perf_counter() - began)

    async def _traced(self, scope: Scope, receive: Receive, send: Send, noted: _Noted) -> None:
        if scope["path"].startswith(_UNTRACED):
            await self._app(scope, receive, send)
            return
        with traces.request_span(_method(scope), Headers(scope=scope)) as (tell, rename):
            try:
                with bound(**traces.names()):
                    await self._app(scope, receive, send)
            finally:
                _tell(scope, noted, tell, rename)


def note_order(scope: Scope, request: OrderRequest, *, timed: bool) -> None:
    """Let the request's log lines, trace and metrics know the order that it places."""
    bind(**_words(request.account, request.order_id))
    noted = scope.get(_NOTED)
    if noted is not None:
        noted.order = (request.account, request.order_id)
        noted.timed_as = str(request.ticket.order_type) if timed else None


def _tell(scope: Scope, noted: _Noted, tell: Callable[[str, Any], None], rename: Callable[[str], None]) -> None:
    route = _route(scope)
    rename(f"{_method(scope)} {route}")
    tell("http.request.method", _method(scope))
    tell("http.route", route)
    tell("http.response.status_code", noted.status)
    if noted.order is not None:
        for name, value in _words(*noted.order).items():
            tell(f"volex.{name}", value)


def _count(scope: Scope, noted: _Noted, took_s: float) -> None:
    method, route = _method(scope), _route(scope)
    metrics.HTTP_REQUESTS.labels(method, route, str(noted.status)).inc()
    metrics.HTTP_DURATION.labels(method, route).observe(took_s)
    if noted.timed_as is not None:
        metrics.ORDER_ANSWER.labels(noted.timed_as).observe(took_s)
    level = logging.INFO if noted.order is not None and method in _CHANGES else logging.DEBUG
    facts = {"method": method, "route": route, "status": noted.status, "took_ms": round(took_s * 1000, 1)}
    log.log(level, "request_answered", extra=facts)


def _route(scope: Scope) -> str:
    """Return the route's template, which is bounded where paths are not."""
    return str(getattr(scope.get("route"), "path", None) or "other")


def _method(scope: Scope) -> str:
    return scope["method"] if scope["method"] in _METHODS else "other"


def _names_in(path: str) -> tuple[str, str] | None:
    found = _ABOUT_ORDER.match(path)
    return (found[1], found[2]) if found is not None else None


def _words(account: str, order_id: str) -> dict[str, str]:
    return {"account": account, "order_id": order_id, "workflow_id": order_workflow_id(account, order_id)}
