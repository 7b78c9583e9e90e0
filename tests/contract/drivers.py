"""What the contract suite needs of a venue behind an adapter: to set its market, and to know what truly happened."""

from decimal import Decimal
from typing import Protocol

from domain.ports import Exchange


class VenueDriver(Protocol):
    """One venue with one account that trades BTC/USDT.

    The account holds at least 10 BTC, fewer than 8,000, and at least 100,000 USDT, and has no open orders. Prices are
    whole cents, quantities multiples of 0.001 or finer, and the minimum notional is 5 USDT or less.
    """

    exchange: Exchange
    has_stops: bool
    """Whether stop and stop-limit orders are taken."""
    has_fok: bool
    """Whether fill-or-kill orders are taken."""

    async def set_price(self, price: Decimal) -> None:
        """Put the market at the price and hold it there: asks start at most 1 % above it, bids at most 1 % below.

        Within 1 % of the price, each side offers 5 BTC or more, and fewer than 20 at its best price. Orders of ours
        that the market crosses trade soon, and stop orders that it reaches have been triggered when this returns.
        """

    async def order_count(self, client_order_id: str) -> int:
        """Return how many orders the venue has ever held under the id."""

    async def filled(self, client_order_id: str) -> Decimal:
        """Return what the venue itself has filled under the id, in BTC."""
