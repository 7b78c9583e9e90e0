"""The venue's routes: method, path, who answers, what it weighs, and whether it must be signed."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from simulator import account_endpoints as account
from simulator import order_endpoints as orders
from simulator import public_endpoints as public
from simulator.venue import Venue


@dataclass(frozen=True)
class Route:
    """One call. Weights are those of Binance US; `weight_of_all` is for a call that names no symbol."""

    method: str
    path: str
    endpoint: Callable[[Venue, dict[str, str]], Any]
    weight: int
    weight_of_all: int = 0
    signed: bool = True

    def weighs(self, parameters: dict[str, str]) -> int:
        """Return what a request counts against the limit."""
        return self.weight if "symbol" in parameters else self.weight_of_all or self.weight


def _public(path: str, endpoint: Callable[[Venue, dict[str, str]], Any], weight: int, weight_of_all: int = 0) -> Route:
    return Route("GET", path, endpoint, weight, weight_of_all, signed=False)


ROUTES: tuple[Route, ...] = (
    _public("/api/v3/ping", public.ping, 1),
    _public("/api/v3/time", public.server_time, 1),
    _public("/api/v3/exchangeInfo", public.exchange_info, 10),
    _public("/api/v3/depth", public.depth, 1),
    _public("/api/v3/trades", public.public_trades, 1),
    _public("/api/v3/aggTrades", public.aggregate_trades, 2),
    _public("/api/v3/klines", public.klines, 1),
    _public("/api/v3/ticker/24hr", public.ticker, 1, 40),
    _public("/api/v3/ticker/bookTicker", public.book_ticker, 1, 2),
    _public("/api/v3/ticker/price", public.price_ticker, 1, 2),
    _public("/sapi/v1/system/status", public.system_status, 1),
    Route("GET", "/api/v3/account", account.account, 10),
    Route("GET", "/api/v3/account/commission", account.commission, 20),
    Route("GET", "/api/v3/myTrades", account.my_trades, 10),
    Route("GET", "/api/v3/rateLimit/order", account.order_rate, 20),
    Route("GET", "/sapi/v1/capital/config/getall", account.coins, 1),
    Route("GET", "/sapi/v1/asset/query/trading-fee", account.trading_fees, 1),
    Route("GET", "/sapi/v1/account/apiRestrictions", account.api_restrictions, 1),
    Route("POST", "/api/v3/order", orders.new_order, 1),
    Route("POST", "/api/v3/order/test", orders.test_order, 1),
    Route("POST", "/api/v3/order/cancelReplace", orders.cancel_replace, 1),
    Route("GET", "/api/v3/order", orders.query_order, 2),
    Route("DELETE", "/api/v3/order", orders.cancel_order, 1),
    Route("GET", "/api/v3/openOrders", orders.open_orders, 3, 40),
    Route("DELETE", "/api/v3/openOrders", orders.cancel_all, 1),
    Route("GET", "/api/v3/allOrders", orders.all_orders, 10),
)
