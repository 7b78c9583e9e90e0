"""The venue's face: Binance spot REST, as far as ccxt's `binanceus` uses it."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from simulator.faults import WHOLE_ANSWER, Fault
from simulator.refusals import Refusal
from simulator.routes import ROUTES, Route
from simulator.venue import Venue

HTML = "<html><body><h1>{status}</h1></body></html>"
NOT_CARRIED_OUT = ("drop_before", "rate_limit", "maintenance")


def build(venue: Venue) -> web.Application:
    """Make the application."""
    app = web.Application(client_max_size=1 << 20)
    for route in ROUTES:
        app.router.add_route(route.method, route.path, _handler(venue, route))
    return app


def _handler(venue: Venue, route: Route) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handle(request: web.Request) -> web.StreamResponse:
        # The signature covers the bytes as they were sent, so nothing here may have been decoded.
        query, body = request.raw_path.partition("?")[2], (await request.read()).decode(errors="replace")
        parameters = dict(parse_qsl(body, keep_blank_values=True) + parse_qsl(query, keep_blank_values=True))
        record = venue.requests.arrived(
            method=route.method, path=route.path, parameters=parameters, time_ms=venue.clock_ms()
        )
        call = _Call(venue, route, request, parameters, record)
        try:
            return await call.answer((query, body))
        finally:
            venue.requests.ended(record)

    return handle


class _Call:
    """One request on its way through gate, faults and endpoint."""

    def __init__(
        self, venue: Venue, route: Route, request: web.Request, parameters: dict[str, str], record: dict[str, Any]
    ) -> None:
        self._venue = venue
        self._route = route
        self._request = request
        self._parameters = parameters
        self._record = record
        self._headers: dict[str, str] = {}

    async def answer(self, sent: tuple[str, str]) -> web.StreamResponse:
        """Carry the request out as far as the faults let it, and return what the client sees."""
        gate = self._venue.gate
        try:
            self._headers = gate.weigh(self._route.weighs(self._parameters))
            if self._route.signed:
                gate.check_signature(self._request.headers.get("X-MBX-APIKEY"), sent, self._parameters)
                gate.check_window(self._parameters)
            fault = self._venue.faults.strike(
                self._route.method, self._route.path, self._venue.subject(self._parameters), WHOLE_ANSWER
            )
            return self._carried_out() if fault is None else await self._struck(fault)
        except Refusal as refusal:
            self._record["refused"] = refusal.code
            return self._response(refusal.wire(), status=refusal.status, headers=refusal.headers)

    def _carried_out(self) -> web.Response:
        content = self._content()
        headers = self._venue.gate.order_headers() if self._route.method == "POST" else {}
        return self._response(content, headers=headers)

    def _content(self) -> Any:
        content = self._route.endpoint(self._venue, self._parameters)
        self._record["accepted"] = True
        return content

    def _true_answer(self) -> str:
        """Carry the request out, and return what the client would have seen: a refusal is lost like any answer."""
        try:
            content = self._content()
        except Refusal as refusal:
            self._record["refused"] = refusal.code
            content = refusal.wire()
        return json.dumps(content, separators=(",", ":"))

    def _response(self, content: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
        transport = self._request.transport
        self._record |= {"delivered": transport is not None and not transport.is_closing(), "status": status}
        return web.Response(
            text=json.dumps(content, separators=(",", ":")),
            status=status,
            headers={**self._headers, **(headers or {})},
            content_type="application/json",
        )

    async def _struck(self, fault: Fault) -> web.StreamResponse:
        self._record["fault"] = fault.kind
        if fault.kind == "delay":
            await asyncio.sleep(fault.seconds)
            if self._route.signed:
                self._venue.gate.check_window(self._parameters)
            return self._carried_out()
        if fault.kind == "rate_limit":
            headers = {"Retry-After": str(int(fault.seconds))}
            raise Refusal(-1003, "Too many requests.", status=fault.status or 429, headers=headers)
        text = ""
        if fault.accepted and fault.kind not in NOT_CARRIED_OUT:
            text = self._true_answer()
        if fault.kind == "hang":
            await asyncio.sleep(fault.seconds)
        if fault.kind in ("hang", "drop_before", "drop_after"):
            return self._cut()
        if fault.kind == "cut_short":
            return await self._cut_short(text)
        response = _spoilt(fault, text)
        self._record["status"] = response.status
        return response

    def _cut(self) -> web.StreamResponse:
        if self._request.transport is not None:
            self._request.transport.abort()
        return web.Response()

    async def _cut_short(self, text: str) -> web.StreamResponse:
        content = text.encode()
        response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": str(len(content))})
        await response.prepare(self._request)
        await response.write(content[: len(content) // 2])
        if self._request.transport is not None:
            self._request.transport.close()
        return response


def _spoilt(fault: Fault, text: str) -> web.Response:
    if fault.kind == "error":
        status = fault.status or (504 if fault.code == -1007 else 400)
        return web.json_response({"code": fault.code, "msg": fault.msg}, status=status)
    if fault.kind in ("http_status", "maintenance"):
        status = fault.status or (502 if fault.kind == "http_status" else 503)
        return web.Response(text=HTML.format(status=status), status=status, content_type="text/html")
    if fault.kind == "html_200":
        return web.Response(text=HTML.format(status="Maintenance"), content_type="text/html")
    half = text[: len(text) // 2] if fault.kind == "truncated" else ""
    return web.Response(text=half, content_type="application/json")
