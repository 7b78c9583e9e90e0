"""Kraken's face of the venue: routes, what they cost, and the frame of every answer."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from simulator.face import Call
from simulator.faults import Fault
from simulator.kraken import private_endpoints as private
from simulator.kraken import public_endpoints as public
from simulator.kraken.arguments import check_deadline
from simulator.kraken.gate import KrakenGate
from simulator.kraken.names import pair_named
from simulator.kraken.words import words_of
from simulator.refusals import Refusal
from simulator.venue import Venue

Endpoint = Callable[..., Any]


@dataclass(frozen=True)
class Route:
    """One call. `cost` is what it adds to the call counter, for signed calls."""

    name: str
    endpoint: Endpoint
    cost: float = 1
    signed: bool = True
    changes: bool = False
    """Whether it places or cancels; then faults that act inside it are matched too."""

    @property
    def path(self) -> str:
        """Where it is called."""
        return f"/0/{'private' if self.signed else 'public'}/{self.name}"


ROUTES = (
    Route("Time", public.server_time, signed=False),
    Route("SystemStatus", public.system_status, signed=False),
    Route("Assets", public.assets, signed=False),
    Route("AssetPairs", public.asset_pairs, signed=False),
    Route("Ticker", public.ticker, signed=False),
    Route("Depth", public.depth, signed=False),
    Route("Trades", public.public_trades, signed=False),
    Route("Balance", private.balance),
    Route("BalanceEx", private.extended_balance),
    Route("QueryOrders", private.query_orders),
    Route("OpenOrders", private.open_orders),
    Route("ClosedOrders", private.closed_orders),
    Route("TradesHistory", private.trades_history, cost=2),
    Route("QueryTrades", private.query_trades),
    Route("CancelAll", private.cancel_all, changes=True),
    Route("AddOrder", private.add_order, cost=0, changes=True),
    Route("CancelOrder", private.cancel_order, cost=0, changes=True),
)


def build(venue: Venue, gate: KrakenGate) -> web.Application:
    """Make the application."""
    app = web.Application(client_max_size=1 << 20)
    for route in ROUTES:
        app.router.add_route("POST" if route.signed else "GET", route.path, partial(_handle, venue, gate, route))
    return app


async def _handle(venue: Venue, gate: KrakenGate, route: Route, request: web.Request) -> web.StreamResponse:
    body = (await request.read()).decode(errors="replace")
    arguments = _arguments(request, body)
    asked = _asked(venue, route, arguments)
    record = venue.requests.arrived(
        method="POST" if route.signed else "GET",
        path=route.path,
        parameters=asked,
        time_ms=venue.clock_ms(),
        changes=route.changes,
    )
    call = _KrakenCall(venue, request, record, gate, route, arguments, asked, body)
    try:
        return await call.answer()
    finally:
        venue.requests.ended(record)


def _arguments(request: web.Request, body: str) -> dict[str, str]:
    if request.content_type == "application/json" and body:
        try:
            document = json.loads(body)
        except ValueError:
            return {}
        return {name: str(value) for name, value in document.items()} if isinstance(document, dict) else {}
    query = request.raw_path.partition("?")[2]
    return dict(parse_qsl(query, keep_blank_values=True) + parse_qsl(body, keep_blank_values=True))


def _asked(venue: Venue, route: Route, arguments: Mapping[str, str]) -> dict[str, str]:
    """Return the request by the names that faults and the record of requests know."""
    asked: dict[str, str] = {}
    if "pair" in arguments:
        try:
            asked["symbol"] = pair_named(arguments["pair"]).listing.symbol
        except Refusal:
            asked["symbol"] = arguments["pair"]
    taken = {"volume": "quantity", "price": "price", "ordertype": "type", "nonce": "timestamp"}
    asked |= {to: arguments[name] for name, to in taken.items() if name in arguments}
    if route.name == "AddOrder":
        asked |= {"side": arguments.get("type", "").upper(), "newClientOrderId": arguments.get("cl_ord_id", "")}
        return asked
    if arguments.get("cl_ord_id"):
        asked["origClientOrderId"] = arguments["cl_ord_id"]
    if arguments.get("txid"):
        asked["orderId"] = arguments["txid"]
        try:
            named = private.to_cancel(venue, dict(arguments)) if route.name == "CancelOrder" else []
        except Refusal:
            named = []
        if named:
            asked |= {"symbol": named[0].symbol, "side": named[0].side, "origClientOrderId": named[0].client_order_id}
    return asked


class _KrakenCall(Call):
    """One request in Kraken's words."""

    def __init__(
        self,
        venue: Venue,
        request: web.Request,
        record: dict[str, Any],
        gate: KrakenGate,
        route: Route,
        arguments: dict[str, str],
        asked: dict[str, str],
        body: str,
    ) -> None:
        super().__init__(venue, request, record)
        self._gate = gate
        self._route = route
        self._arguments = arguments
        self._asked = asked
        self._body = body

    def admit(self) -> None:
        route = self._route
        if not route.signed:
            return
        headers = self.request.headers
        self._gate.check(
            key=headers.get("API-Key"),
            signature=headers.get("API-Sign"),
            path=route.path,
            nonce=self._arguments.get("nonce", ""),
            body=self._body,
        )
        if route.cost:
            self._gate.count(route.cost)
        if route.name == "AddOrder":
            self._gate.count_order()
            check_deadline(self._arguments, self.venue.clock_ms(), on_arrival=True)
        elif route.name == "CancelOrder":
            for order in private.to_cancel(self.venue, self._arguments):
                self._gate.count_order(canceled_age_s=(self.venue.clock_ms() - order.time_ms) / 1000)

    def admit_late(self) -> None:
        """Nothing: the deadline is looked at again where the order is matched."""

    def subject(self) -> dict[str, str]:
        return self._asked

    def content(self) -> Any:
        further = (self._asked,) if self._route.name in ("AddOrder", "CancelOrder") else ()
        return {"error": [], "result": self._route.endpoint(self.venue, self._arguments, *further)}

    def refused(self, refusal: Refusal) -> tuple[Any, int]:
        return {"error": [words_of(refusal)]}, 200

    def error(self, fault: Fault) -> tuple[Any, int]:
        words = fault.msg if fault.msg.startswith("E") else "EService:Timeout"
        return {"error": [words]}, 200

    def too_many(self, fault: Fault) -> Refusal:
        return Refusal(0, "EAPI:Rate limit exceeded")
