"""Why an order ends at the last check before the venue: nothing of it has left, and nothing will."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

REFUSED_UNSENT: Final[Mapping[str, str]] = MappingProxyType(
    {
        "VENUE_NOT_SUPPORTED": "no orders are sent to this venue",
        "ORDER_TYPE_NOT_SUPPORTED": "the venue, or ccxt, does not take this order as it is meant",
        "PRICES_CONTRADICT_TYPE": "prices and order type do not fit together",
        "CLIENT_ORDER_ID_NOT_TAKEN": "the venue takes no such client order id",
        "CLIENT_ORDER_ID_NOT_CARRIED": "the request did not hold our client order id",
        "FIGURE_NOT_CARRIED": "the request did not hold the order's quantity or price, or would have rounded it",
        "TRIGGER_NOT_CARRIED": "the request did not hold the stop's trigger price",
        "ORDER_TYPE_NOT_CARRIED": "the request did not hold what makes the order its type, IOC, FOK or post-only",
        "SECOND_REQUEST": "ccxt would have sent the order in more than one request",
        "REFUSED_LOCALLY": "ccxt refused the order before it made a request",
        "ADAPTER_FAILED": "the order could not be written down for the venue",
    }
)
"""Meaning by the code of the reason. Such an order shows as rejected; it was never at the venue."""
