"""Calls that need no key: what is listed, and the market."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from simulator.listing import LISTINGS, text
from simulator.market import CANDLE_MS, Candle, Level
from simulator.parameters import integer, required, symbol_of
from simulator.refusals import Refusal
from simulator.venue import Venue

Answer = Any
AGGREGATES_MAX = 1000
DAY_MS = 86_400_000
INTERVALS_MINUTES = {"1m": 1, "3m": 3, "5m": 5, "15m": 15, "30m": 30, "1h": 60, "4h": 240, "1d": 1440}


def ping(venue: Venue, parameters: dict[str, str]) -> Answer:
    """Answer nothing."""
    return {}


def server_time(venue: Venue, parameters: dict[str, str]) -> Answer:
    """Tell the venue's time."""
    return {"serverTime": venue.clock_ms()}


def exchange_info(venue: Venue, parameters: dict[str, str]) -> Answer:
    """Tell limits and listings."""
    listings = [LISTINGS[symbol_of(parameters)]] if "symbol" in parameters else LISTINGS.values()
    limit = {
        "rateLimitType": "REQUEST_WEIGHT",
        "interval": "MINUTE",
        "intervalNum": 1,
        "limit": venue.gate.weight_limit,
    }
    orders = [
        {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": length_ms // 1000, "limit": number}
        for length_ms, number in venue.gate.order_limits.items()
    ]
    return {
        "timezone": "UTC",
        "serverTime": venue.clock_ms(),
        "rateLimits": [limit, *orders],
        "exchangeFilters": [],
        "symbols": [listing.exchange_info() for listing in listings],
    }


def depth(venue: Venue, parameters: dict[str, str]) -> Answer:
    """Show the book."""
    market, limit = venue.engine.markets[symbol_of(parameters)], integer(parameters, "limit", 100)

    def shown(levels: list[Level]) -> list[list[str]]:
        return [[text(level.price), text(level.quantity)] for level in levels[:limit] if level.quantity > 0]

    return {"lastUpdateId": venue.clock_ms(), "bids": shown(market.bids), "asks": shown(market.asks)}


def ticker(venue: Venue, parameters: dict[str, str]) -> Answer:
    """Show a day's figures."""
    return _of_one_or_all(_ticker_of, venue, parameters)


def book_ticker(venue: Venue, parameters: dict[str, str]) -> Answer:
    """Show the best prices."""
    return _of_one_or_all(_best_of, venue, parameters)


def price_ticker(venue: Venue, parameters: dict[str, str]) -> Answer:
    """Show the last price."""
    return _of_one_or_all(_price_of, venue, parameters)


def public_trades(venue: Venue, parameters: dict[str, str]) -> Answer:
    """Show the latest trades; those of this account are the only ones that the venue tells."""
    trades = venue.engine.trades[symbol_of(parameters)]
    return [
        {
            "id": trade.trade_id,
            "price": text(trade.price),
            "qty": text(trade.quantity),
            "quoteQty": text(trade.cost),
            "time": trade.time_ms,
            "isBuyerMaker": trade.is_buyer == trade.is_maker,
            "isBestMatch": True,
        }
        for trade in trades[-max(integer(parameters, "limit", 500), 1) :]
    ]


def aggregate_trades(venue: Venue, parameters: dict[str, str]) -> Answer:
    """Show the symbol's public trades: from an id on, of a stretch of time, or the latest."""
    tape = venue.engine.markets[symbol_of(parameters)].tape
    limit = min(max(integer(parameters, "limit", 500), 1), AGGREGATES_MAX)
    if "fromId" in parameters:
        prints = tape.from_id(integer(parameters, "fromId", 0), limit)
    elif "startTime" in parameters or "endTime" in parameters:
        start, end = integer(parameters, "startTime", 0), integer(parameters, "endTime", 1 << 62)
        prints = tape.between(start, end, limit)
    else:
        prints = tape.latest(limit)
    return [
        {
            "a": entry.trade_id,
            "p": text(entry.price),
            "q": text(entry.quantity),
            "f": entry.trade_id,
            "l": entry.trade_id,
            "T": entry.time_ms,
            "m": False,
            "M": True,
        }
        for entry in prints
    ]


def klines(venue: Venue, parameters: dict[str, str]) -> Answer:
    """Show candles since the venue's start."""
    market, interval = venue.engine.markets[symbol_of(parameters)], required(parameters, "interval")
    if interval not in INTERVALS_MINUTES:
        raise Refusal(-1120, "Invalid interval.")
    length_ms = INTERVALS_MINUTES[interval] * CANDLE_MS
    groups: dict[int, list[Candle]] = {}
    for candle in market.candles:
        groups.setdefault(candle.open_ms // length_ms * length_ms, []).append(candle)
    start, end = integer(parameters, "startTime", 0), integer(parameters, "endTime", 1 << 62)
    rows = [_row(open_ms, length_ms, group) for open_ms, group in groups.items() if start <= open_ms <= end]
    limit = max(integer(parameters, "limit", 500), 1)
    return rows[:limit] if start else rows[-limit:]


def system_status(venue: Venue, parameters: dict[str, str]) -> Answer:
    """Tell that the venue works."""
    return {"status": 0, "msg": "normal"}


def _of_one_or_all(shown: Any, venue: Venue, parameters: dict[str, str]) -> Answer:
    if "symbol" in parameters:
        return shown(venue, symbol_of(parameters))
    return [shown(venue, symbol) for symbol in LISTINGS]


def _price_of(venue: Venue, symbol: str) -> dict[str, object]:
    return {"symbol": symbol, "price": text(venue.engine.markets[symbol].price)}


def _best_of(venue: Venue, symbol: str) -> dict[str, object]:
    market = venue.engine.markets[symbol]
    bid, ask = _first_left(market.bids), _first_left(market.asks)
    return {
        "symbol": symbol,
        "bidPrice": text(bid.price),
        "bidQty": text(bid.quantity),
        "askPrice": text(ask.price),
        "askQty": text(ask.quantity),
    }


def _first_left(levels: Iterable[Level]) -> Level:
    return next((level for level in levels if level.quantity > 0), next(iter(levels)))


def _ticker_of(venue: Venue, symbol: str) -> dict[str, object]:
    market = venue.engine.markets[symbol]
    now = venue.clock_ms() - market.silent_s * 1000
    start, last = market.listing.start, text(market.price)
    change = market.price - start
    return {
        **_best_of(venue, symbol),
        "priceChange": text(change),
        "priceChangePercent": format(change / start * 100, ".3f"),
        "weightedAvgPrice": last,
        "prevClosePrice": last,
        "lastPrice": last,
        "lastQty": text(market.listing.step),
        "openPrice": text(start),
        "highPrice": text(max(market.high, market.price)),
        "lowPrice": text(min(market.low, market.price)),
        "volume": text(market.volume),
        "quoteVolume": text(market.volume * market.price),
        "openTime": now - DAY_MS,
        "closeTime": now,
        "firstId": 1,
        "lastId": len(venue.engine.trades[symbol]),
        "count": len(venue.engine.trades[symbol]),
    }


def _row(open_ms: int, length_ms: int, candles: list[Candle]) -> list[object]:
    volume = sum((candle.volume for candle in candles), Decimal(0))
    return [
        open_ms,
        text(candles[0].open),
        text(max(candle.high for candle in candles)),
        text(min(candle.low for candle in candles)),
        text(candles[-1].close),
        text(volume),
        open_ms + length_ms - 1,
        text(volume * candles[-1].close),
        len(candles),
        text(volume / 2),
        text(volume / 2 * candles[-1].close),
        "0",
    ]
