"""The venue's face: Binance spot REST, as far as ccxt's `binanceus` uses it."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from simulator.endpoints import ROUTES, Endpoint
from simulator.faults import Fault
from simulator.refusals import Refusal
from simulator.venue import Venue

HTML = "<html><body><h1>502 Bad Gateway</h1></body></html>"


def build(venue: Venue) -> web.Application:
    """Make the application."""
    app = web.Application(client_max_size=1 << 20)
    for method, path, endpoint, weight, signed in ROUTES:
        app.router.add_route(method, path, _handler(venue, endpoint, weight, signed))
    return app


def _handler(
    venue: Venue, endpoint: Endpoint, weight: int, signed: bool
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handle(request: web.Request) -> web.StreamResponse:
        body = (await request.read()).decode()
        parameters = dict(
            parse_qsl(request.query_string, keep_blank_values=True) + parse_qsl(body, keep_blank_values=True)
        )
        record = _record(venue, request, parameters)
        try:
            headers = venue.gate.weigh(weight)
            if signed:
                sent = request.query_string + body
                venue.gate.check_signature(request.headers.get("X-MBX-APIKEY"), sent, parameters)
                venue.gate.check_window(parameters)
            struck = venue.faults.strike(request.method, request.path, parameters, *_WHOLE_ANSWER)
            if struck is not None and struck.kind in ("drop_before", "delay"):
                if struck.kind == "drop_before":
                    return _cut(request, record)
                await asyncio.sleep(struck.seconds)
                venue.gate.check_window(parameters)
            if struck is not None and not struck.accepted and struck.kind in ("error", "http_status"):
                return _spoilt_answer(struck, "", record)
            answer = json.dumps(endpoint(venue, parameters), separators=(",", ":"))
            record["accepted"] = True
            if struck is not None and struck.kind != "delay":
                return await _struck_answer(request, struck, answer, record)
        except Refusal as refusal:
            record["refused"] = refusal.code
            text_body = json.dumps({"code": refusal.code, "msg": refusal.message})
            return web.Response(
                text=text_body, status=refusal.status, headers=refusal.headers, content_type="application/json"
            )
        record["delivered"] = True
        return web.Response(text=answer, headers=headers, content_type="application/json")

    return handle


_WHOLE_ANSWER = (
    "drop_before",
    "drop_after",
    "hang",
    "delay",
    "http_status",
    "error",
    "truncated",
    "empty_200",
    "html_200",
)


async def _struck_answer(request: web.Request, fault: Fault, answer: str, record: dict[str, Any]) -> web.StreamResponse:
    if fault.kind == "hang":
        await asyncio.sleep(fault.seconds)
        return _cut(request, record)
    if fault.kind == "drop_after":
        return _cut(request, record)
    return _spoilt_answer(fault, answer, record)


def _spoilt_answer(fault: Fault, answer: str, record: dict[str, Any]) -> web.StreamResponse:
    record["spoilt"] = fault.kind
    if fault.kind == "http_status":
        return web.Response(text=HTML, status=fault.status, content_type="text/html")
    if fault.kind == "html_200":
        return web.Response(text=HTML, content_type="text/html")
    if fault.kind == "empty_200":
        return web.Response(text="", content_type="application/json")
    if fault.kind == "truncated":
        return web.Response(text=answer[: len(answer) // 2], content_type="application/json")
    return web.json_response({"code": fault.code, "msg": fault.msg}, status=504 if fault.code == -1007 else 400)


def _cut(request: web.Request, record: dict[str, Any]) -> web.StreamResponse:
    record["cut"] = True
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


def _record(venue: Venue, request: web.Request, parameters: dict[str, str]) -> dict[str, Any]:
    record: dict[str, Any] = {
        "method": request.method,
        "path": request.path,
        "time_ms": venue.clock_ms(),
        "accepted": False,
        "delivered": False,
    }
    for name in (
        "symbol",
        "newClientOrderId",
        "origClientOrderId",
        "orderId",
        "timestamp",
        "side",
        "quantity",
        "price",
    ):
        if name in parameters:
            record[name] = parameters[name]
    if request.method != "GET" or request.path.endswith(("/order", "/allOrders", "/myTrades", "/openOrders")):
        venue.requests.append(record)
    return record
