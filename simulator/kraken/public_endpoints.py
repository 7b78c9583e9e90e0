"""Kraken's calls that need no key: what is listed, and the market."""

from datetime import UTC, datetime
from typing import Any

from simulator.kraken.arguments import number, required
from simulator.kraken.names import ASSETS, PAIRS, Pair, asset_id, pair_named
from simulator.kraken.shown import cut_to
from simulator.listing import ASSET_PRECISION, LISTINGS, text
from simulator.market import Level
from simulator.tape import PRINTS_KEPT
from simulator.venue import Venue

Answer = Any


def server_time(venue: Venue, arguments: dict[str, str]) -> Answer:
    """Tell the venue's time, in whole seconds."""
    seconds = venue.clock_ms() // 1000
    return {"unixtime": seconds, "rfc1123": f"{datetime.fromtimestamp(seconds, UTC):%a, %d %b %y %H:%M:%S +0000}"}


def system_status(venue: Venue, arguments: dict[str, str]) -> Answer:
    """Tell that the venue works."""
    now = datetime.fromtimestamp(venue.clock_ms() // 1000, UTC)
    return {"status": "online", "timestamp": f"{now:%Y-%m-%dT%H:%M:%SZ}"}


def assets(venue: Venue, arguments: dict[str, str]) -> Answer:
    """Tell the assets."""
    names = sorted({name for listing in LISTINGS.values() for name in (listing.base, listing.quote)})
    return {
        asset_id(name): {
            "aclass": "currency",
            "altname": ASSETS.get(name, (name, name))[1],
            "decimals": ASSET_PRECISION,
            "display_decimals": 5,
            "status": "enabled",
        }
        for name in names
    }


def asset_pairs(venue: Venue, arguments: dict[str, str]) -> Answer:
    """Tell the pairs with their limits and fees."""
    return {pair.pair_id: _pair(venue, pair) for pair in _asked(arguments)}


def ticker(venue: Venue, arguments: dict[str, str]) -> Answer:
    """Show a day's figures."""
    return {pair.pair_id: _ticker(venue, pair) for pair in _asked(arguments)}


def depth(venue: Venue, arguments: dict[str, str]) -> Answer:
    """Show the book."""
    pair, count = pair_named(required(arguments, "pair")), int(number(arguments, "count", 100))
    market, now_s = venue.engine.markets[pair.listing.symbol], venue.clock_ms() // 1000

    def shown(levels: list[Level]) -> list[list[object]]:
        left = [level for level in levels[:count] if level.quantity > 0]
        return [[cut_to(level.price, pair.price_decimals), text(level.quantity), now_s] for level in left]

    return {pair.pair_id: {"asks": shown(market.asks), "bids": shown(market.bids)}}


def public_trades(venue: Venue, arguments: dict[str, str]) -> Answer:
    """Show the symbol's public trades after a moment, the first of them; without one, those since the start."""
    pair, count = pair_named(required(arguments, "pair")), int(number(arguments, "count", 1000))
    since = number(arguments, "since", 0)
    since_ns = since if since > 1e15 else since * 1e9
    tape = venue.engine.markets[pair.listing.symbol].tape
    found = [trade for trade in tape.latest(PRINTS_KEPT) if trade.time_ms * 1_000_000 > since_ns][: max(count, 1)]
    rows = [
        [
            text(trade.price),
            text(trade.quantity),
            trade.time_ms / 1000,
            "b",
            "l",
            "",
            trade.trade_id,
        ]
        for trade in found
    ]
    last_ms = found[-1].time_ms if found else venue.clock_ms()
    return {pair.pair_id: rows, "last": str(last_ms * 1_000_000)}


def _asked(arguments: dict[str, str]) -> list[Pair]:
    names = arguments.get("pair")
    return [pair_named(name) for name in names.split(",")] if names else list(PAIRS.values())


def _pair(venue: Venue, pair: Pair) -> dict[str, object]:
    listing = pair.listing
    return {
        "altname": pair.altname,
        "wsname": pair.wsname,
        "aclass_base": "currency",
        "base": asset_id(listing.base),
        "aclass_quote": "currency",
        "quote": asset_id(listing.quote),
        "lot": "unit",
        "cost_decimals": ASSET_PRECISION,
        "pair_decimals": pair.price_decimals,
        "lot_decimals": pair.lot_decimals,
        "lot_multiplier": 1,
        "leverage_buy": [],
        "leverage_sell": [],
        "fees": [[0, float(venue.engine.taker_rate * 100)]],
        "fees_maker": [[0, float(venue.engine.maker_rate * 100)]],
        "fee_volume_currency": "ZUSD",
        "margin_call": 80,
        "margin_stop": 40,
        "ordermin": str(listing.min_qty),
        "costmin": str(listing.min_notional),
        "tick_size": str(listing.tick),
        "status": "online" if listing.trading else "cancel_only",
    }


def _ticker(venue: Venue, pair: Pair) -> dict[str, object]:
    market, trades = venue.engine.markets[pair.listing.symbol], len(venue.engine.trades[pair.listing.symbol])

    def best(levels: list[Level]) -> list[str]:
        level = next((level for level in levels if level.quantity > 0), levels[0])
        return [cut_to(level.price, pair.price_decimals), "1", text(level.quantity)]

    last, volume = cut_to(market.price, pair.price_decimals), text(market.volume)
    low, high = (cut_to(bound, pair.price_decimals) for bound in (market.low, market.high))
    return {
        "a": best(market.asks),
        "b": best(market.bids),
        "c": [last, text(pair.listing.step)],
        "v": [volume, volume],
        "p": [last, last],
        "t": [trades, trades],
        "l": [low, low],
        "h": [high, high],
        "o": cut_to(pair.listing.start, pair.price_decimals),
    }
