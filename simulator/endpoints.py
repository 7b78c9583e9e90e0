"""Each call of the venue's face: parameters in, what Binance answers out."""

from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any

from simulator.engine import MAKER_RATE, TAKER_RATE
from simulator.listing import LISTINGS, text
from simulator.orders import VenueOrder
from simulator.refusals import Refusal, missing, no_such_order, unknown_order
from simulator.venue import Venue

Answer = Any
Endpoint = Callable[[Venue, dict[str, str]], Answer]
PAGE_MAX = 1000

# Public endpoints.


def _ping(venue: Venue, parameters: dict[str, str]) -> Answer:
    return {}


def _time(venue: Venue, parameters: dict[str, str]) -> Answer:
    return {"serverTime": venue.clock_ms()}


def _exchange_info(venue: Venue, parameters: dict[str, str]) -> Answer:
    limit = {
        "rateLimitType": "REQUEST_WEIGHT",
        "interval": "MINUTE",
        "intervalNum": 1,
        "limit": venue.gate.weight_limit,
    }
    return {
        "timezone": "UTC",
        "serverTime": venue.clock_ms(),
        "rateLimits": [limit],
        "exchangeFilters": [],
        "symbols": [listing.exchange_info() for listing in LISTINGS.values()],
    }


def _depth(venue: Venue, parameters: dict[str, str]) -> Answer:
    market = venue.engine.markets[_symbol(parameters)]
    limit = int(parameters.get("limit", 100))
    levels = {
        "bids": [[text(x.price), text(x.quantity)] for x in market.bids[:limit] if x.quantity > 0],
        "asks": [[text(x.price), text(x.quantity)] for x in market.asks[:limit] if x.quantity > 0],
    }
    return {"lastUpdateId": venue.clock_ms(), **levels}


def _ticker_of(venue: Venue, symbol: str) -> dict[str, object]:
    market = venue.engine.markets[symbol]
    now = venue.clock_ms()
    bid, ask, last = market.bids[0], market.asks[0], text(market.price)
    return {
        "symbol": symbol,
        "priceChange": "0.0",
        "priceChangePercent": "0.0",
        "weightedAvgPrice": last,
        "prevClosePrice": last,
        "lastPrice": last,
        "lastQty": text(market.listing.step),
        "bidPrice": text(bid.price),
        "bidQty": text(bid.quantity),
        "askPrice": text(ask.price),
        "askQty": text(ask.quantity),
        "openPrice": text(market.listing.start),
        "highPrice": text(max(market.price, market.listing.start)),
        "lowPrice": text(min(market.price, market.listing.start)),
        "volume": text(market.volume),
        "quoteVolume": text(market.volume * market.price),
        "openTime": now - 86_400_000,
        "closeTime": now,
        "firstId": 1,
        "lastId": 2,
        "count": 2,
    }


def _ticker(venue: Venue, parameters: dict[str, str]) -> Answer:
    if "symbol" in parameters:
        return _ticker_of(venue, _symbol(parameters))
    return [_ticker_of(venue, symbol) for symbol in LISTINGS]


def _ticker_price(venue: Venue, parameters: dict[str, str]) -> Answer:
    symbol = _symbol(parameters)
    return {"symbol": symbol, "price": text(venue.engine.markets[symbol].price)}


def _public_trades(venue: Venue, parameters: dict[str, str]) -> Answer:
    symbol = _symbol(parameters)
    return [
        {
            "id": trade.trade_id,
            "price": text(trade.price),
            "qty": text(trade.quantity),
            "quoteQty": text(trade.price * trade.quantity),
            "time": trade.time_ms,
            "isBuyerMaker": trade.is_buyer and trade.is_maker,
            "isBestMatch": True,
        }
        for trade in venue.engine.trades[symbol][-int(parameters.get("limit", 500)) :]
    ]


# Signed endpoints.


def _account(venue: Venue, parameters: dict[str, str]) -> Answer:
    engine = venue.engine
    rates = {"maker": str(MAKER_RATE), "taker": str(TAKER_RATE), "buyer": "0", "seller": "0"}
    balances = [
        {"asset": asset, "free": text(engine.free[asset]), "locked": text(engine.locked.get(asset, Decimal(0)))}
        for asset in sorted(engine.free)
    ]
    return {
        "makerCommission": 8,
        "takerCommission": 10,
        "buyerCommission": 0,
        "sellerCommission": 0,
        "commissionRates": rates,
        "canTrade": True,
        "canWithdraw": False,
        "canDeposit": False,
        "updateTime": venue.clock_ms(),
        "accountType": "SPOT",
        "balances": balances,
        "permissions": ["SPOT"],
        "uid": 1,
    }


def _new_order(venue: Venue, parameters: dict[str, str]) -> Answer:
    order = _place(venue, parameters)
    kind = parameters.get("newOrderRespType") or ("ACK" if order.stop_price else "FULL")
    return order.new_order_answer(kind)


def _place(venue: Venue, parameters: dict[str, str]) -> VenueOrder:
    symbol, kind = _symbol(parameters), _required(parameters, "type")
    needs_price = kind in ("LIMIT", "LIMIT_MAKER", "STOP_LOSS_LIMIT")
    price = _decimal(parameters, "price") if needs_price else None
    stop_price = _decimal(parameters, "stopPrice") if kind.startswith("STOP_LOSS") else None
    if kind == "MARKET" and "quoteOrderQty" in parameters:
        listing, market = LISTINGS[symbol], venue.engine.markets[symbol]
        quantity = _decimal(parameters, "quoteOrderQty") / market.asks[0].price // listing.step * listing.step
    else:
        quantity = _decimal(parameters, "quantity")
    side = _required(parameters, "side")
    if side not in ("BUY", "SELL"):
        raise Refusal(-1117, "Invalid side.")
    client_order_id = parameters.get("newClientOrderId") or f"web_{venue.clock_ms()}_{len(venue.requests)}"
    order = venue.engine.place(
        symbol=symbol,
        side=side,
        kind=kind,
        quantity=quantity,
        price=price,
        stop_price=stop_price,
        time_in_force=parameters.get("timeInForce", "GTC"),
        client_order_id=client_order_id,
    )
    _hide_if_told(venue, order, parameters)
    return order


def _hide_if_told(venue: Venue, order: VenueOrder, parameters: dict[str, str]) -> None:
    now, key = venue.clock_ms(), (order.symbol, order.order_id)
    lag = venue.faults.strike("POST", "/api/v3/order", parameters, "visibility_lag")
    if lag is not None:
        venue.hidden_until_ms[key] = now + int(lag.seconds * 1000)
    lag = venue.faults.strike("POST", "/api/v3/order", parameters, "fill_lag")
    if lag is not None:
        venue.trades_hidden_until_ms[key] = now + int(lag.seconds * 1000)


def _query_order(venue: Venue, parameters: dict[str, str]) -> Answer:
    order = _named(venue, parameters)
    if not venue.shown(order):
        raise no_such_order()
    return order.wire()


def _cancel_order(venue: Venue, parameters: dict[str, str]) -> Answer:
    try:
        order = _named(venue, parameters)
    except Refusal:
        raise unknown_order() from None
    if not venue.shown(order):
        raise unknown_order()
    if order.is_open and venue.faults.strike("DELETE", "/api/v3/order", parameters, "cancel_race"):
        venue.engine.fill_now(order, order.left)
    return venue.engine.cancel(order).wire() | {"origClientOrderId": order.client_order_id}


def _cancel_replace(venue: Venue, parameters: dict[str, str]) -> Answer:
    named = {"symbol": parameters.get("symbol", ""), "origClientOrderId": parameters.get("cancelOrigClientOrderId", "")}
    if "cancelOrderId" in parameters:
        named["orderId"] = parameters["cancelOrderId"]
    canceled = _cancel_order(venue, named)
    return {
        "cancelResult": "SUCCESS",
        "newOrderResult": "SUCCESS",
        "cancelResponse": canceled,
        "newOrderResponse": _new_order(venue, parameters),
    }


def _open_orders(venue: Venue, parameters: dict[str, str]) -> Answer:
    symbol = parameters.get("symbol")
    return [
        order.wire() for order in venue.engine.open.values() if symbol in (None, order.symbol) and venue.shown(order)
    ]


def _cancel_all(venue: Venue, parameters: dict[str, str]) -> Answer:
    symbol = _symbol(parameters)
    orders = [order for order in venue.engine.open.values() if order.symbol == symbol]
    if not orders:
        raise unknown_order()
    return [venue.engine.cancel(order).wire() for order in orders]


def _all_orders(venue: Venue, parameters: dict[str, str]) -> Answer:
    symbol = _symbol(parameters)
    start, first = int(parameters.get("startTime", 0)), int(parameters.get("orderId", 0))
    found = [
        order.wire()
        for (owner, number), order in sorted(venue.engine.orders.items())
        if owner == symbol and number >= first and order.time_ms >= start and venue.shown(order)
    ]
    limit = min(int(parameters.get("limit", 500)), PAGE_MAX)
    return found[:limit] if first or start else found[-limit:]


def _my_trades(venue: Venue, parameters: dict[str, str]) -> Answer:
    symbol = _symbol(parameters)
    start, first = int(parameters.get("startTime", 0)), int(parameters.get("fromId", 0))
    end = int(parameters.get("endTime", 1 << 62))
    order_id = int(parameters.get("orderId", 0))
    now = venue.clock_ms()
    found = [
        trade.wire()
        for trade in venue.engine.trades[symbol]
        if trade.trade_id >= first
        and start <= trade.time_ms <= end
        and order_id in (0, trade.order_id)
        and venue.trades_hidden_until_ms.get((symbol, trade.order_id), 0) <= now
    ]
    limit = min(int(parameters.get("limit", 500)), PAGE_MAX)
    page = found[:limit] if "fromId" in parameters or start else found[-limit:]
    if venue.faults.strike("GET", "/api/v3/myTrades", parameters, "repeat_trades"):
        page = [*reversed(page), *page]
    return page


def _order_rate(venue: Venue, parameters: dict[str, str]) -> Answer:
    return [{"rateLimitType": "ORDERS", "interval": "DAY", "intervalNum": 1, "limit": 200_000, "count": 0}]


def _nothing(venue: Venue, parameters: dict[str, str]) -> Answer:
    return []


def _test_order(venue: Venue, parameters: dict[str, str]) -> Answer:
    _symbol(parameters)
    return {}


def _named(venue: Venue, parameters: dict[str, str]) -> VenueOrder:
    symbol = _symbol(parameters)
    order_id, client_order_id = parameters.get("orderId"), parameters.get("origClientOrderId")
    if not order_id and not client_order_id:
        raise Refusal(-1102, "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!")
    return venue.engine.find(symbol, int(order_id) if order_id else None, client_order_id)


def _required(parameters: dict[str, str], name: str) -> str:
    if not parameters.get(name):
        raise missing(name)
    return parameters[name]


def _symbol(parameters: dict[str, str]) -> str:
    symbol = _required(parameters, "symbol")
    if symbol not in LISTINGS:
        raise Refusal(-1121, "Invalid symbol.")
    return symbol


def _decimal(parameters: dict[str, str], name: str) -> Decimal:
    written = _required(parameters, name)
    try:
        value = Decimal(written)
    except InvalidOperation:
        raise Refusal(-1100, f"Illegal characters found in parameter '{name}'.") from None
    if not value.is_finite() or value <= 0:
        raise Refusal(-1100, f"Illegal characters found in parameter '{name}'.")
    places = value.as_tuple().exponent
    if isinstance(places, int) and places < -8 and value != value.quantize(Decimal("0.00000001")):
        raise Refusal(-1111, "Precision is over the maximum defined for this asset.")
    return value


ROUTES: tuple[tuple[str, str, Endpoint, int, bool], ...] = (
    ("GET", "/api/v3/ping", _ping, 1, False),
    ("GET", "/api/v3/time", _time, 1, False),
    ("GET", "/api/v3/exchangeInfo", _exchange_info, 10, False),
    ("GET", "/api/v3/depth", _depth, 1, False),
    ("GET", "/api/v3/trades", _public_trades, 1, False),
    ("GET", "/api/v3/ticker/24hr", _ticker, 1, False),
    ("GET", "/api/v3/ticker/bookTicker", _ticker, 1, False),
    ("GET", "/api/v3/ticker/price", _ticker_price, 1, False),
    ("GET", "/api/v3/account", _account, 10, True),
    ("POST", "/api/v3/order", _new_order, 1, True),
    ("POST", "/api/v3/order/test", _test_order, 1, True),
    ("POST", "/api/v3/order/cancelReplace", _cancel_replace, 1, True),
    ("GET", "/api/v3/order", _query_order, 2, True),
    ("DELETE", "/api/v3/order", _cancel_order, 1, True),
    ("GET", "/api/v3/openOrders", _open_orders, 3, True),
    ("DELETE", "/api/v3/openOrders", _cancel_all, 1, True),
    ("GET", "/api/v3/allOrders", _all_orders, 10, True),
    ("GET", "/api/v3/myTrades", _my_trades, 10, True),
    ("GET", "/api/v3/rateLimit/order", _order_rate, 20, True),
    ("GET", "/sapi/v1/capital/config/getall", _nothing, 1, True),
    ("GET", "/sapi/v1/asset/query/trading-fee", _nothing, 1, True),
)
