"""What `validate` finds out at the venue's side. A dry question to the gate asks the same, by the same function."""

import logging
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from domain.controls import needs_of
from domain.errors import VenueUnavailable
from domain.events import Arrival, Reason
from domain.exposure import Validated
from domain.instrument import deny, normalize
from domain.limits import Limits
from domain.numbers import add, divide_to_scale, multiply, subtract
from domain.order import OrderSide, OrderTicket, OrderType
from domain.placement import Placement
from domain.ports import Exchange
from domain.reports import OrderBook, Ticker
from domain.triggers import TriggerBy, is_met, middle

BOOK_DEPTH: Final = 50
"""Levels a side that slippage and depth are measured on."""
TICKER_STANDS: Final = timedelta(seconds=10)
log = logging.getLogger("volex.validate")


async def look_at_venue(
    exchange: Exchange, ticket: OrderTicket, *, limits: Iterable[Limits], now: datetime
) -> Validated:
    """Fit the ticket to the venue's rules, and find what it would cost now. Nothing is recorded.

    Parameters
    ----------
    limits
        Those that hold for the order: they say which market data are asked for.

    Raises
    ------
    VenueUnavailable
        When the venue tells neither its rules nor a price; and its like.
    """
    instrument = (await exchange.instruments()).get(ticket.symbol)
    if instrument is None:
        return Validated(denial=deny("SYMBOL_UNKNOWN", f"the venue does not list {ticket.symbol}"))
    if not instrument.active:
        return Validated(denial=deny("SYMBOL_NOT_TRADING", f"{ticket.symbol} is not trading now"))
    quote_price = await _price_for(exchange, ticket) if ticket.quote_amount is not None else None
    normal = normalize(ticket, instrument, now=now, quote_price=quote_price)
    if isinstance(normal, Reason):
        return Validated(denial=normal, instrument=instrument)
    reference_price, seen = None, None
    if ticket.order_type is OrderType.MARKET:
        seen = await _seen_by(exchange, ticket.symbol)
        reference_price = _reference_price(seen, ticket.side)
    market = await _market(exchange, ticket.symbol, limits)
    told = [word for word in (seen, market.get("ticker"), market.get("book")) if word is not None]
    arrival = _arrival(told[0], now) if told else None
    validated = Validated(
        normal=normal, instrument=instrument, reference_price=reference_price, arrival=arrival, **market
    )
    return await _placed(exchange, ticket, validated, now=now)


async def _placed(exchange: Exchange, ticket: OrderTicket, validated: Validated, *, now: datetime) -> Validated:
    """Say where the order is worked. A stop that we hold must not have met its trigger already, as at a venue.

    Venues trigger their own stops by the last price; those that go by another one are held by us everywhere.
    """
    placement = exchange.placement(ticket.order_type, ticket.side)
    lacks = validated.instrument.lacks if validated.instrument is not None else ()
    if placement is Placement.NATIVE and (ticket.trigger_by is not TriggerBy.LAST or ticket.order_type in lacks):
        placement = Placement.HELD if ticket.trigger_price is not None else Placement.REFUSED
    refused = [str(ticket.order_type)] if placement is Placement.REFUSED else []
    refused += [word for word in ticket.conditions() if word in lacks]
    if refused:
        text = f"the venue takes no {refused[0]} order of this side and symbol as it is meant"
        denial = deny("ORDER_TYPE_NOT_SUPPORTED", text, order=refused[0])
        return Validated(denial=denial, instrument=validated.instrument)
    if placement is not Placement.HELD or ticket.trigger_price is None:
        return validated.model_copy(update={"placement": placement})
    ticker = await exchange.fetch_ticker(ticket.symbol)
    if ticket.trigger_by is TriggerBy.LAST:
        price = ticker.last
    else:
        price = middle(ticker.bid, ticker.ask) if ticker.bid is not None and ticker.ask is not None else None
    buying = ticket.side is OrderSide.BUY
    if price is not None and is_met(is_buy=buying, trigger_price=ticket.trigger_price, price=price):
        text = f"the {ticket.trigger_by} price has met the trigger already"
        denial = deny("TRIGGER_PRICE_PASSED", text, trigger_price=ticket.trigger_price, market_price=price)
        return Validated(denial=denial, instrument=validated.instrument)
    found = {"placement": placement, "watch_since": _watch_since(ticker, now), "arrival": _arrival(ticker, now)}
    return validated.model_copy(update=found)


def _watch_since(ticker: Ticker, now: datetime) -> datetime:
    """Return the venue's time of the prices that we saw: what trades from then on counts, what traded before does not.

    A word that is older than a few seconds, as in a market where nothing is traded, is not gone back to.
    """
    moment = max(ticker.ts_event, now - TICKER_STANDS)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


async def _market(exchange: Exchange, symbol: str, limits: Iterable[Limits]) -> Mapping[str, Ticker | OrderBook]:
    """Return the market data that a limit of the order needs; what the venue does not give is left out."""
    needs = needs_of(limits)
    market: dict[str, Ticker | OrderBook] = {}
    try:
        if needs.ticker:
            market["ticker"] = await exchange.fetch_ticker(symbol)
        if needs.book:
            market["book"] = await exchange.fetch_order_book(symbol, depth=BOOK_DEPTH)
    except VenueUnavailable as error:
        log.info("market_data_missing", extra={"symbol": symbol, "code": error.code})
    return market


async def _price_for(exchange: Exchange, ticket: OrderTicket) -> Decimal:
    """Return what a base unit costs, or brings in, on average for the ticket's amount in quote units.

    By the order book as it is now; what it does not hold is counted at its last price. Raises `VenueUnavailable` when
    it holds nothing.
    """
    book = await exchange.fetch_order_book(ticket.symbol, depth=BOOK_DEPTH)
    levels = book.asks if ticket.side is OrderSide.BUY else book.bids
    left, quantity = ticket.quote_amount or Decimal(0), Decimal(0)
    for level in levels:
        worth = multiply(level.price, level.quantity)
        if worth >= left or level is levels[-1]:
            quantity = add(quantity, divide_to_scale(left, level.price))
            break
        left, quantity = subtract(left, worth), add(quantity, level.quantity)
    if not quantity:
        raise VenueUnavailable(f"the order book of {ticket.symbol} is empty on that side")
    return divide_to_scale(ticket.quote_amount or Decimal(0), quantity)


async def _seen_by(exchange: Exchange, symbol: str) -> Ticker | OrderBook:
    """Return what a market order would meet: the ticker, or the book where there is no ticker."""
    try:
        return await exchange.fetch_ticker(symbol)
    except VenueUnavailable:
        return await exchange.fetch_order_book(symbol, depth=5)


def _reference_price(seen: Ticker | OrderBook, side: OrderSide) -> Decimal | None:
    """Return what a market order would trade at."""
    buying = side is OrderSide.BUY
    if isinstance(seen, Ticker):
        return (seen.ask if buying else seen.bid) or seen.last
    levels = seen.asks if buying else seen.bids
    return levels[0].price if levels else None


def _arrival(seen: Ticker | OrderBook, now: datetime) -> Arrival:
    """Return the market as the order met it, of what was asked for the order anyway."""
    if isinstance(seen, Ticker):
        return Arrival(bid=seen.bid, ask=seen.ask, last=seen.last, told_at=now, source="quote")
    bid, ask = (levels[0].price if levels else None for levels in (seen.bids, seen.asks))
    return Arrival(bid=bid, ask=ask, told_at=now, source="quote")
