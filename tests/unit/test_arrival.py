"""The arrival price: what was asked for the order anyway is kept with it, and nothing more is asked."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest

from activities.validating import look_at_venue
from domain.errors import VenueUnavailable
from domain.limits import Limits
from domain.order import OrderSide, OrderType
from domain.reports import BookLevel, OrderBook, Ticker
from tests.factories import NOW, make_ticket
from tests.workflow.scripted_exchange import ScriptedExchange

BID, ASK, LAST = Decimal("99.9"), Decimal("100.1"), Decimal("100.05")


class Market(ScriptedExchange):
    """A venue that writes down what it was asked."""

    def __init__(self, *, tells_ticker: bool = True, sides: Sequence[str] = ("bids", "asks")) -> None:
        super().__init__()
        self.asked: list[str] = []
        self._tells_ticker = tells_ticker
        self._sides = sides

    async def fetch_ticker(self, symbol: str) -> Ticker:
        self.asked.append("ticker")
        if not self._tells_ticker:
            raise VenueUnavailable("no ticker")
        return Ticker(symbol=symbol, bid=BID, ask=ASK, last=LAST, ts_event=NOW)

    async def fetch_order_book(self, symbol: str, *, depth: int) -> OrderBook:
        self.asked.append("book")
        levels = {
            side: (BookLevel(price=price, quantity=Decimal(5)),) if side in self._sides else ()
            for side, price in (("bids", BID), ("asks", ASK))
        }
        return OrderBook(symbol=symbol, ts_event=NOW, **levels)


MARKET: dict[str, Any] = {"order_type": OrderType.MARKET, "price": None}
PRICED = Limits(max_price_deviation=Decimal("0.5"))


@pytest.mark.parametrize(
    ("ticket", "limits", "asked"),
    [
        (MARKET, Limits(), ["ticker"]),
        ({}, Limits(), []),
        ({}, PRICED, ["ticker"]),
        ({}, Limits(max_slippage=Decimal("0.5")), ["book"]),
    ],
)
async def test_the_market_is_kept_where_it_was_asked_for_and_not_asked_where_it_was_not(
    ticket: dict[str, Any], limits: Limits, asked: list[str]
) -> None:
    market = Market()
    validated = await look_at_venue(market, make_ticket(**ticket), limits=[limits], now=NOW)
    assert market.asked == asked
    if not asked:
        assert validated.arrival is None
        return
    arrival = validated.arrival
    assert arrival is not None
    assert (arrival.bid, arrival.ask, arrival.source, arrival.told_at) == (BID, ASK, "quote", NOW)
    assert arrival.last == (LAST if "ticker" in asked else None)


@pytest.mark.parametrize(
    ("sides", "bid", "ask", "reference"), [(("bids", "asks"), BID, ASK, ASK), (("bids",), BID, None, None)]
)
async def test_the_book_stands_in_for_a_ticker(
    sides: Sequence[str], bid: Decimal | None, ask: Decimal | None, reference: Decimal | None
) -> None:
    market = Market(tells_ticker=False, sides=sides)
    validated = await look_at_venue(market, make_ticket(side=OrderSide.BUY, **MARKET), limits=(), now=NOW)
    assert (market.asked, validated.reference_price) == (["ticker", "book"], reference)
    assert validated.arrival is not None
    assert (validated.arrival.bid, validated.arrival.ask, validated.arrival.last) == (bid, ask, None)
