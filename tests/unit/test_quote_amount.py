"""A market order in quote units: what it makes in base units, and what is refused."""

from decimal import Decimal

import pytest

from activities.validating import look_at_venue
from domain.errors import VenueUnavailable
from domain.instrument import NormalTicket, normalize
from domain.order import OrderSide, OrderType
from domain.reports import BookLevel, OrderBook
from tests.factories import NOW, make_instrument, make_ticket
from tests.workflow.scripted_exchange import ScriptedExchange

LEVELS = {"asks": (("100", "2"), ("110", "5")), "bids": (("90", "2"), ("80", "5"))}


class Market(ScriptedExchange):
    """A venue with two levels a side."""

    levels = LEVELS

    async def fetch_order_book(self, symbol: str, *, depth: int) -> OrderBook:
        sides = {
            side: tuple(BookLevel(price=Decimal(price), quantity=Decimal(quantity)) for price, quantity in levels)
            for side, levels in self.levels.items()
        }
        return OrderBook(symbol=symbol, ts_event=NOW, **sides)


@pytest.mark.parametrize(
    ("side", "quote_amount", "quantity"),
    [
        (OrderSide.BUY, "100", "1"),
        (OrderSide.BUY, "310", "3"),
        (OrderSide.BUY, "750", "7"),
        (OrderSide.BUY, "860", "8"),  # more than the book holds: the rest at its last price
        (OrderSide.BUY, "100.009", "1"),  # rounded down to the step
        (OrderSide.SELL, "260", "3"),
    ],
)
async def test_quantity_is_what_the_book_gives_for_the_amount(
    side: OrderSide, quote_amount: str, quantity: str
) -> None:
    ticket = make_ticket(
        side=side, order_type=OrderType.MARKET, price=None, quantity=None, quote_amount=Decimal(quote_amount)
    )
    validated = await look_at_venue(Market(), ticket, limits=(), now=NOW)
    assert validated.normal is not None
    assert (validated.normal.quantity, validated.normal.rounded_from) == (Decimal(quantity), None)


async def test_empty_book_is_no_answer() -> None:
    market = Market()
    market.levels = {"asks": (), "bids": ()}
    ticket = make_ticket(order_type=OrderType.MARKET, price=None, quantity=None, quote_amount=Decimal(100))
    with pytest.raises(VenueUnavailable):
        await look_at_venue(market, ticket, limits=(), now=NOW)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"quote_amount": Decimal(10)}, "QUOTE_AMOUNT_SUPERFLUOUS"),
        ({"quote_amount": Decimal(10), "quantity": None}, "QUOTE_AMOUNT_SUPERFLUOUS"),
        (
            {"quote_amount": Decimal(10), "order_type": OrderType.MARKET, "price": None},
            "QUOTE_AMOUNT_SUPERFLUOUS",
        ),
        ({"quote_amount": Decimal(3), "quantity": None, "order_type": OrderType.MARKET, "price": None}, None),
    ],
)
def test_one_amount_and_only_for_a_market_order(changes: dict[str, object], code: str | None) -> None:
    found = normalize(make_ticket(**changes), make_instrument(min_notional=None), now=NOW, quote_price=Decimal(3))
    if code is None:
        assert isinstance(found, NormalTicket) and found.quantity == 1
    else:
        assert not isinstance(found, NormalTicket) and found.code == code


def test_ticket_without_an_amount_is_none() -> None:
    with pytest.raises(ValueError, match="an order needs a quantity"):
        make_ticket(quantity=None)


def test_tickets_from_before_the_later_fields_keep_their_fingerprints() -> None:
    """The figure was computed by the version before `trigger_by` and `quote_amount`."""
    assert make_ticket().fingerprint() == "126d69d6627c25875c4f0a4adc0cc76de5a24d029fe62ab8d1495dc5f3d5a6a9"
