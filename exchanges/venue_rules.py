"""The rules of a venue by its ccxt id, and where its order types are worked. The tables are in `exchanges/venues`.

A venue without a table can be read and traded on paper. With real money it needs the account's `allow_generic`; then
it takes market and limit orders only, its refusals are never proof, and "not found" never is either.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from domain.order import OrderSide, OrderType
from domain.placement import Placement
from exchanges.venues import VENUES
from exchanges.venues.table import CLOCK_ALLOWANCE_S, ORDER_DEADLINE_S, VISIBILITY_LAG_S, VenueRules

SEND_WITHIN_S: Final = 5
"""An order that has not left this long after it was journaled is not sent: the market has moved on."""
GENERIC: Final = VenueRules(title="any other ccxt id", blind_spot="what its look-ups show has not been studied")
"""What holds for a venue without a table."""
_SENT_WHEN_TRIGGERED: Final[Mapping[OrderType, OrderType]] = MappingProxyType(
    {OrderType.STOP: OrderType.MARKET, OrderType.STOP_LIMIT: OrderType.LIMIT}
)
"""What a stop held by us becomes at its trigger."""


def venue_rules(exchange: str) -> VenueRules:
    """Return the rules of a ccxt id; cautious ones for a venue that has no table."""
    return VENUES.get(exchange, GENERIC)


def placement(
    exchange: str, order_type: OrderType, side: OrderSide | None = None, *, holds_stops: bool = False
) -> Placement:
    """Say where this order type is worked on orders that really go to the venue of this ccxt id.

    A stop that the venue does not take as one is held by us, where the order it becomes can be sent.

    Parameters
    ----------
    side
        Where it is given, a market buy is refused at venues that take none by quantity.
    holds_stops
        Whether the account wants stops held also where the venue has its own.
    """
    rules, becomes = venue_rules(exchange), _SENT_WHEN_TRIGGERED.get(order_type)
    wants_held = holds_stops and becomes is not None
    if str(order_type) in rules.shapes and _can_be_sent(rules, order_type, side) and not wants_held:
        return Placement.NATIVE
    held = becomes is not None and str(becomes) in rules.shapes and _can_be_sent(rules, becomes, side)
    return Placement.HELD if held else Placement.REFUSED


def _can_be_sent(rules: VenueRules, order_type: OrderType, side: OrderSide | None) -> bool:
    spends = order_type is OrderType.MARKET and side is OrderSide.BUY
    return rules.market_buys_by_quantity or not spends


def listed_venues() -> tuple[str, ...]:
    """Return the ccxt ids that have a table."""
    return tuple(VENUES)


__all__ = [
    "CLOCK_ALLOWANCE_S",
    "GENERIC",
    "ORDER_DEADLINE_S",
    "SEND_WITHIN_S",
    "VISIBILITY_LAG_S",
    "VenueRules",
    "listed_venues",
    "placement",
    "venue_rules",
]
