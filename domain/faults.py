"""Which orders failed: ended with nothing filled for lack of an answer, or for a fault of ours.

They are what the error rate counts. A denial by a limit, a rejection by the venue's rules, a cancel and an expiry are
what was asked for.
"""

from typing import Final

from domain.denials import DENIALS
from domain.errors import (
    ClockSkew,
    CredentialsRefused,
    CredentialsUnavailable,
    RateLimited,
    StoreUnavailable,
    VenueUnavailable,
)
from domain.lifecycle import OrderStatus
from domain.order import Order
from domain.rate_budget import TURN_AWAITED
from domain.unsent import REFUSED_UNSENT

_WEATHER: Final = (
    ClockSkew,
    CredentialsRefused,
    CredentialsUnavailable,
    RateLimited,
    StoreUnavailable,
    VenueUnavailable,
)
_NO_FAULTS: Final = frozenset({"VENUE_NOT_SUPPORTED", "ORDER_TYPE_NOT_SUPPORTED", "PRICES_CONTRADICT_TYPE"})
"""Orders that do not fit the venue are refused, and that is right."""
FAULTS: Final = frozenset(
    {
        *(error.code for error in _WEATHER),
        *(denial.code for denial in DENIALS.values() if denial.unavailable),
        *(REFUSED_UNSENT.keys() - _NO_FAULTS),
        *("ATTEMPTS_USED_UP", "LAST_LOOK_FAILED", "NEVER_PLACED", "OUTCOME_UNKNOWN", "RATE_BUDGET_SPENT"),
        *("RISK_UNAVAILABLE", "SENDER_LOST", "TOO_LATE_TO_SEND", "VENUE_UNREACHABLE", TURN_AWAITED),
    }
)
"""Codes of the reasons."""


def fault_of(order: Order) -> str | None:
    """Return the code of what an order failed for; `None` for one that did not fail."""
    if order.status not in (OrderStatus.DENIED, OrderStatus.REJECTED) or order.cum_qty > 0 or order.reason is None:
        return None
    return order.reason.code if order.reason.code in FAULTS else None
