"""Signed calls that show the account: balances, trades, rates and limits."""

from decimal import Decimal
from typing import Any

from simulator.gate import ORDER_INTERVALS
from simulator.listing import text
from simulator.order_endpoints import page_length, window
from simulator.parameters import integer, symbol_of
from simulator.refusals import Refusal
from simulator.venue import Venue

Answer = Any


def account(venue: Venue, parameters: dict[str, str]) -> Answer:
    """Show balances."""
    engine = venue.engine
    held = engine.account
    return {
        "makerCommission": int(engine.maker_rate * 10_000),
        "takerCommission": int(engine.taker_rate * 10_000),
        "buyerCommission": 0,
        "sellerCommission": 0,
        "commissionRates": _rates(venue),
        "canTrade": True,
        "canWithdraw": False,
        "canDeposit": False,
        "updateTime": venue.clock_ms(),
        "accountType": "SPOT",
        "balances": [
            {"asset": asset, "free": text(held.free(asset)), "locked": text(held.locked(asset))}
            for asset in held.assets()
        ],
        "permissions": ["SPOT"],
        "uid": 1,
    }


def commission(venue: Venue, parameters: dict[str, str]) -> Answer:
    """Show what trading a symbol costs."""
    nothing = dict.fromkeys(_rates(venue), text(Decimal(0)))
    return {
        "symbol": symbol_of(parameters),
        "standardCommission": _rates(venue),
        "taxCommission": nothing,
        "discount": {"enabledForAccount": False, "enabledForSymbol": False, "discountAsset": "BNB", "discount": "0"},
    }


def my_trades(venue: Venue, parameters: dict[str, str]) -> Answer:
    """Show the account's trades of a symbol."""
    symbol = symbol_of(parameters)
    if "fromId" in parameters and ("startTime" in parameters or "endTime" in parameters):
        raise Refusal(-1128, "Combination of optional parameters invalid.")
    start, end = window(parameters)
    first, order_id = integer(parameters, "fromId", 0), integer(parameters, "orderId", 0)
    now = venue.clock_ms()
    found = [
        trade
        for trade in venue.engine.trades[symbol][max(first - 1, 0) :]
        if start <= trade.time_ms <= end and order_id in (0, trade.order_id) and venue.trade_shown(trade, now)
    ]
    limit = page_length(parameters)
    page = [trade.wire() for trade in (found[:limit] if "fromId" in parameters or start else found[-limit:])]
    if venue.faults.strike("GET", "/api/v3/myTrades", parameters, ("repeat_trades",)):
        page = [*reversed(page), *page]
    return page


def order_rate(venue: Venue, parameters: dict[str, str]) -> Answer:
    """Show how many orders were placed."""
    ten_s, day = (venue.gate.orders_placed(length_ms) for length_ms in ORDER_INTERVALS.values())
    limits = {"rateLimitType": "ORDERS", "limit": 1_000_000}
    return [
        {**limits, "interval": "SECOND", "intervalNum": 10, "count": ten_s},
        {**limits, "interval": "DAY", "intervalNum": 1, "count": day},
    ]


def coins(venue: Venue, parameters: dict[str, str]) -> Answer:
    """Show the assets; they come from nowhere and go nowhere, so none has a network."""
    held = venue.engine.account
    return [
        {
            "coin": asset,
            "name": asset,
            "free": text(held.free(asset)),
            "locked": text(held.locked(asset)),
            "trading": True,
            "depositAllEnable": False,
            "withdrawAllEnable": False,
            "isLegalMoney": asset == "USD",
            "networkList": [],
        }
        for asset in held.assets()
    ]


def api_restrictions(venue: Venue, parameters: dict[str, str]) -> Answer:
    """Show what the key may do."""
    return {
        "ipRestrict": False,
        "createTime": venue.clock_ms(),
        "enableReading": True,
        "enableSpotAndMarginTrading": True,
        "enableWithdrawals": venue.gate.may_withdraw,
        "enableInternalTransfer": False,
        "enableMargin": False,
        "enableFutures": False,
        "permitsUniversalTransfer": False,
        "enableVanillaOptions": False,
    }


def trading_fees(venue: Venue, parameters: dict[str, str]) -> Answer:
    """Show what trading each symbol costs."""
    rates = {"makerCommission": str(venue.engine.maker_rate), "takerCommission": str(venue.engine.taker_rate)}
    return [{"symbol": symbol, **rates} for symbol in venue.engine.markets]


def _rates(venue: Venue) -> dict[str, str]:
    rates = {"maker": venue.engine.maker_rate, "taker": venue.engine.taker_rate}
    return {name: text(rate) for name, rate in rates.items()} | {"buyer": text(Decimal(0)), "seller": text(Decimal(0))}
