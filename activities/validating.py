"""What `validate` finds out at the venue's side. A dry question to the gate asks the same, by the same function."""

import logging
from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Final

from domain.controls import needs_of
from domain.errors import VenueUnavailable
from domain.events import Reason
from domain.exposure import Validated
from domain.instrument import deny, normalize
from domain.limits import Limits
from domain.order import OrderSide, OrderTicket, OrderType
from domain.ports import Exchange
from domain.reports import OrderBook, Ticker

BOOK_DEPTH: Final = 50
"""Levels a side that slippage and depth are measured on."""
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
    normal = normalize(ticket, instrument, now=now)
    if isinstance(normal, Reason):
        return Validated(denial=normal, instrument=instrument)
    reference_price = None
    if ticket.order_type is OrderType.MARKET:
        reference_price = await _reference_price(exchange, ticket)
    market = await _market(exchange, ticket.symbol, limits)
    return Validated(normal=normal, instrument=instrument, reference_price=reference_price, **market)


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


async def _reference_price(exchange: Exchange, ticket: OrderTicket) -> Decimal | None:
    """Return what a market order would trade at: from the ticker, or from the book where there is no ticker."""
    buying = ticket.side is OrderSide.BUY
    try:
        ticker = await exchange.fetch_ticker(ticket.symbol)
    except VenueUnavailable:
        book = await exchange.fetch_order_book(ticket.symbol, depth=5)
        levels = book.asks if buying else book.bids
        return levels[0].price if levels else None
    return (ticker.ask if buying else ticker.bid) or ticker.last
