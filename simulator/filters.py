"""The filters of a symbol, checked in the order in which `exchangeInfo` lists them."""

from decimal import Decimal

from simulator.listing import MAX_NOTIONAL, PERCENT_DOWN, PERCENT_UP, Listing
from simulator.market import Market
from simulator.orders import Ticket
from simulator.refusals import filter_failure, market_closed, type_not_taken, would_trigger


def check(ticket: Ticket, *, listing: Listing, market: Market, open_orders: int) -> None:
    """Check a ticket; `open_orders` is how many the symbol has. Raises `Refusal` with the filter's name."""
    if not listing.trading:
        raise market_closed()
    if ticket.type not in listing.order_types:
        raise type_not_taken(ticket.type)
    for value in (ticket.price, ticket.stop_price):
        if value and (value < (listing.min_price or listing.tick) or value > listing.max_price or value % listing.tick):
            raise filter_failure("PRICE_FILTER")
    if ticket.price and not market.price * PERCENT_DOWN <= ticket.price <= market.price * PERCENT_UP:
        raise filter_failure("PERCENT_PRICE_BY_SIDE")
    quantity = ticket.quantity
    if not ticket.quote_quantity and (
        quantity < listing.min_qty or quantity > listing.max_qty or quantity % listing.step
    ):
        raise filter_failure("LOT_SIZE")
    notional = ticket.quote_quantity or quantity * (ticket.price or market.price)
    if notional < listing.min_notional or (ticket.price and notional > MAX_NOTIONAL):
        raise filter_failure("NOTIONAL")
    if open_orders >= listing.max_orders:
        raise filter_failure("MAX_NUM_ORDERS")
    if ticket.stop_price and _is_reached(ticket.side, ticket.stop_price, market.price):
        raise would_trigger()


def _is_reached(side: str, stop_price: Decimal, price: Decimal) -> bool:
    return price >= stop_price if side == "BUY" else price <= stop_price
