"""The venue's face: Binance spot REST, as far as ccxt's `binanceus` uses it."""

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from simulator.face import Call
from simulator.faults import Fault
from simulator.refusals import Refusal
from simulator.routes import ROUTES, Route
from simulator.venue import Venue


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
        try:
            return await _BinanceCall(venue, request, record, route, parameters, (query, body)).answer()
        finally:
            venue.requests.ended(record)

    return handle


class _BinanceCall(Call):
    """One request in Binance's words."""

    def __init__(
        self,
        venue: Venue,
        request: web.Request,
        record: dict[str, Any],
        route: Route,
        parameters: dict[str, str],
        sent: tuple[str, str],
    ) -> None:
        super().__init__(venue, request, record)
        self._route = route
        self._parameters = parameters
        self._sent = sent

    def admit(self) -> None:
        gate = self.venue.gate
        self.headers = gate.weigh(self._route.weighs(self._parameters))
        if self._route.signed:
            gate.check_signature(self.request.headers.get("X-MBX-APIKEY"), self._sent, self._parameters)
            gate.check_window(self._parameters)

    def admit_late(self) -> None:
        if self._route.signed:
            self.venue.gate.check_window(self._parameters)

    def subject(self) -> dict[str, str]:
        return self.venue.subject(self._parameters)

    def content(self) -> Any:
        return self._route.endpoint(self.venue, self._parameters)

    def success_headers(self) -> dict[str, str]:
        return self.venue.gate.order_headers() if self._route.method == "POST" else {}

    def refused(self, refusal: Refusal) -> tuple[Any, int]:
        return refusal.wire(), refusal.status

    def error(self, fault: Fault) -> tuple[Any, int]:
        return {"code": fault.code, "msg": fault.msg}, 504 if fault.code == -1007 else 400

    def too_many(self, fault: Fault) -> Refusal:
        headers = {"Retry-After": str(int(fault.seconds))}
        return Refusal(-1003, "Too many requests.", status=fault.status or 429, headers=headers)
