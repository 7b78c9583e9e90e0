"""The control face, on a port of its own: what truly happened, faults, the market and the clock. JSON over HTTP."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from decimal import Decimal
from typing import Any

from aiohttp import web

from simulator.faults import KINDS
from simulator.listing import LISTINGS, text
from simulator.orders import VenueOrder
from simulator.refusals import Refusal
from simulator.venue import Venue


class Skew:
    """How far the venue's clock is ahead, in milliseconds."""

    def __init__(self) -> None:
        self.skew_ms = 0


def build(venue: Venue, skew: Skew) -> web.Application:
    """Make the application."""
    control = _Control(venue, skew)
    app = web.Application(middlewares=[_bad_input])
    app.router.add_get("/health", control.health)
    app.router.add_get("/orders", control.orders)
    app.router.add_get("/fills", control.fills)
    app.router.add_get("/requests", control.requests)
    app.router.add_get("/client-orders", control.client_orders)
    app.router.add_get("/summary", control.summary)
    app.router.add_get("/ledger", control.ledger)
    app.router.add_get("/balances", control.balances)
    app.router.add_post("/balances", control.set_balances)
    app.router.add_get("/faults", control.faults)
    app.router.add_post("/faults", control.add_fault)
    app.router.add_delete("/faults", control.clear_faults)
    app.router.add_post("/market/{symbol}", control.market)
    app.router.add_post("/clock", control.clock)
    app.router.add_post("/tick", control.tick)
    app.router.add_post("/keys", control.keys)
    return app


@web.middleware
async def _bad_input(request: web.Request, handler: Any) -> web.StreamResponse:
    try:
        answer: web.StreamResponse = await handler(request)
    except (ValueError, TypeError, ArithmeticError, KeyError, Refusal) as error:
        return web.json_response({"error": f"{type(error).__name__}: {error}"}, status=400)
    return answer


class _Control:
    def __init__(self, venue: Venue, skew: Skew) -> None:
        self._venue = venue
        self._skew = skew

    async def health(self, request: web.Request) -> web.Response:
        return web.json_response({"status": "ok", "time_ms": self._venue.clock_ms()})

    async def orders(self, request: web.Request) -> web.Response:
        return web.json_response(self._orders())

    async def fills(self, request: web.Request) -> web.Response:
        return web.json_response(self._fills())

    async def requests(self, request: web.Request) -> web.Response:
        return web.json_response(self._venue.requests.all())

    async def client_orders(self, request: web.Request) -> web.Response:
        """Tell how many orders each client id made, over all symbols."""
        return web.json_response(self._per_client_id())

    async def summary(self, request: web.Request) -> web.Response:
        engine = self._venue.engine
        changes = self._venue.requests.changes()
        posts = [entry for entry in changes if entry["method"] == "POST" and "Cancel" not in entry["path"]]
        sent = Counter(entry.get("newClientOrderId", "") for entry in posts)
        return web.json_response(
            {
                "orders": sum(len(orders) for orders in engine.orders.values()),
                "open": sum(len(orders) for orders in engine.open.values()),
                "trades": sum(len(trades) for trades in engine.trades.values()),
                "statuses": Counter(order.status for order in self._all_orders()),
                "posts": len(posts),
                "posts_per_client_order_id_max": max(sent.values(), default=0),
                "orders_per_client_order_id_max": max(self._per_client_id().values(), default=0),
            }
        )

    async def ledger(self, request: web.Request) -> web.Response:
        return web.json_response(
            {"orders": self._orders(), "fills": self._fills(), "requests": self._venue.requests.all()}
        )

    async def balances(self, request: web.Request) -> web.Response:
        held = self._venue.engine.account
        shown = {asset: {"free": text(held.free(asset)), "locked": text(held.locked(asset))} for asset in held.assets()}
        return web.json_response(shown)

    async def set_balances(self, request: web.Request) -> web.Response:
        for asset, amount in (await request.json()).items():
            self._venue.engine.set_balance(asset, Decimal(str(amount)))
        return await self.balances(request)

    async def faults(self, request: web.Request) -> web.Response:
        active = [asdict(fault) for fault in self._venue.faults.faults]
        return web.json_response({"active": active, "kinds": KINDS})

    async def add_fault(self, request: web.Request) -> web.Response:
        return web.json_response(asdict(self._venue.faults.add(await request.json())))

    async def clear_faults(self, request: web.Request) -> web.Response:
        self._venue.faults.faults.clear()
        return web.json_response({"active": []})

    async def market(self, request: web.Request) -> web.Response:
        """Set `price`, `frozen`, `silent_s` or `volatility_bps`, or `fill` an order by its id or client id."""
        symbol = request.match_info["symbol"].replace("-", "").replace("_", "")
        if symbol not in LISTINGS:
            raise ValueError(f"unknown symbol {symbol}; known: {', '.join(LISTINGS)}")
        wanted, market = await request.json(), self._venue.engine.markets[symbol]
        market.frozen = bool(wanted.get("frozen", market.frozen))
        market.volatility_bps = int(wanted.get("volatility_bps", market.volatility_bps))
        market.silent_s = int(wanted.get("silent_s", market.silent_s))
        if "price" in wanted:
            market.set_price(Decimal(str(wanted["price"])))
        if "fill" in wanted:
            fill = wanted["fill"]
            order = self._venue.engine.find(symbol, fill.get("order_id"), fill.get("client_order_id"))
            price = Decimal(str(fill["price"])) if "price" in fill else None
            self._venue.engine.fill_now(order, Decimal(str(fill["quantity"])), price)
        return web.json_response({"symbol": symbol, "price": text(market.price), "frozen": market.frozen})

    async def tick(self, request: web.Request) -> web.Response:
        """Let time pass `count` times at once, 1 if not given; for tests that must not wait."""
        wanted = await request.json() if request.can_read_body else {}
        count = int(wanted.get("count", 1))
        for _ in range(count):
            self._venue.engine.tick()
        return web.json_response({"count": count})

    async def clock(self, request: web.Request) -> web.Response:
        self._skew.skew_ms = int((await request.json())["skew_ms"])
        return web.json_response({"skew_ms": self._skew.skew_ms})

    async def keys(self, request: web.Request) -> web.Response:
        """Take further keys (`add`: secrets by key), take some no more (`revoke`), and say that they `may_withdraw`."""
        wanted, gate = await request.json(), self._venue.gate
        gate.further_keys |= {str(key): str(secret) for key, secret in wanted.get("add", {}).items()}
        gate.revoked = (gate.revoked | set(wanted.get("revoke", ()))) - set(wanted.get("add", {}))
        gate.may_withdraw = bool(wanted.get("may_withdraw", gate.may_withdraw))
        taken = {gate.api_key, *gate.further_keys} - gate.revoked
        return web.json_response({"taken": len(taken), "may_withdraw": gate.may_withdraw})

    def _all_orders(self) -> Iterator[VenueOrder]:
        return (order for orders in self._venue.engine.orders.values() for order in orders)

    def _orders(self) -> list[dict[str, object]]:
        return [order.wire() | {"history": order.history} for order in self._all_orders()]

    def _fills(self) -> list[dict[str, object]]:
        return [
            trade.wire() | {"clientOrderId": order.client_order_id}
            for order in self._all_orders()
            for trade in order.trades
        ]

    def _per_client_id(self) -> dict[str, int]:
        return dict(Counter(order.client_order_id for order in self._all_orders()))
