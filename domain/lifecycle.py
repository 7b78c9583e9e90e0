"""The life of an order as one table. Read this first.

`TRANSITIONS` is keyed on (status, event type). A pair that is not in it cannot happen, and `next_status` raises.
INITIALIZED means "recorded, and nothing of ours is at the venue": an order comes back to it when an attempt is
proven never to have been placed, or when its old attempt is proven gone before a replacement is sent. A stop that we
hold waits in it for its trigger: HELD is for orders that wait for a person.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from domain.errors import InvalidTransition


class OrderStatus(StrEnum):
    """Where an order stands. The names are FIX's and Nautilus'."""

    INITIALIZED = "INITIALIZED"
    DENIED = "DENIED"
    HELD = "HELD"
    SUBMITTED = "SUBMITTED"
    IN_DOUBT = "IN_DOUBT"
    ACCEPTED = "ACCEPTED"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    PENDING_CANCEL = "PENDING_CANCEL"
    FILLED = "FILLED"
    CANCELED = "CANCELED"
    EXPIRED = "EXPIRED"
    REJECTED = "REJECTED"


class OrderEventType(StrEnum):
    """Why an order changed. Each is one fact of ours, recorded once."""

    ADMITTED = "ADMITTED"
    DENIED = "DENIED"
    HELD = "HELD"
    TRIGGERED = "TRIGGERED"
    SUBMITTED = "SUBMITTED"
    NOT_SENT = "NOT_SENT"
    SUBMIT_UNKNOWN = "SUBMIT_UNKNOWN"
    NEVER_PLACED = "NEVER_PLACED"
    RESOLVED = "RESOLVED"
    ACCEPTED = "ACCEPTED"
    REJECTED = "REJECTED"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    FILLED = "FILLED"
    CANCEL_REQUESTED = "CANCEL_REQUESTED"
    AMEND_REQUESTED = "AMEND_REQUESTED"
    REPLACED = "REPLACED"
    CANCELED = "CANCELED"
    EXPIRED = "EXPIRED"
    FINALIZED = "FINALIZED"


S, E = OrderStatus, OrderEventType

TRANSITIONS: Final[Mapping[tuple[OrderStatus, OrderEventType], OrderStatus]] = MappingProxyType(
    {
        (S.INITIALIZED, E.ADMITTED): S.INITIALIZED,
        (S.INITIALIZED, E.DENIED): S.DENIED,
        (S.INITIALIZED, E.HELD): S.HELD,
        (S.INITIALIZED, E.TRIGGERED): S.INITIALIZED,  # a stop held by us: its price has come, it may be sent now
        (S.INITIALIZED, E.SUBMITTED): S.SUBMITTED,  # the attempt is journaled; bytes may leave from here on
        (S.INITIALIZED, E.REJECTED): S.REJECTED,  # refused before bytes left, for example by the adapter's own checks
        (S.INITIALIZED, E.CANCEL_REQUESTED): S.INITIALIZED,
        (S.INITIALIZED, E.CANCELED): S.CANCELED,  # asked for before anything was sent
        (S.INITIALIZED, E.EXPIRED): S.EXPIRED,
        (S.INITIALIZED, E.PARTIALLY_FILLED): S.INITIALIZED,  # a late trade of an attempt that was replaced
        (S.INITIALIZED, E.FILLED): S.FILLED,  # likewise, and it completes the order before the next attempt
        (S.HELD, E.ADMITTED): S.INITIALIZED,  # approved: risk was checked again
        (S.HELD, E.DENIED): S.DENIED,
        (S.HELD, E.CANCELED): S.CANCELED,
        (S.HELD, E.EXPIRED): S.EXPIRED,
        (S.SUBMITTED, E.NOT_SENT): S.INITIALIZED,  # proven: no byte left this machine and none can any more
        (S.SUBMITTED, E.SUBMIT_UNKNOWN): S.IN_DOUBT,  # the venue may or may not hold the order
        (S.SUBMITTED, E.ACCEPTED): S.ACCEPTED,
        (S.SUBMITTED, E.REJECTED): S.REJECTED,
        (S.SUBMITTED, E.PARTIALLY_FILLED): S.PARTIALLY_FILLED,  # the fill can outrun the accept
        (S.SUBMITTED, E.FILLED): S.FILLED,
        (S.SUBMITTED, E.CANCEL_REQUESTED): S.SUBMITTED,  # kept, and carried out once the order is known
        (S.SUBMITTED, E.CANCELED): S.CANCELED,
        (S.SUBMITTED, E.EXPIRED): S.EXPIRED,  # an IOC or FOK remainder in the venue's first answer
        # Either the venue's time fence has passed and nothing was found, or a person decided so.
        (S.IN_DOUBT, E.NEVER_PLACED): S.INITIALIZED,
        (S.IN_DOUBT, E.RESOLVED): S.IN_DOUBT,  # a person named the venue's order; its facts follow at once
        (S.IN_DOUBT, E.ACCEPTED): S.ACCEPTED,  # found
        (S.IN_DOUBT, E.REJECTED): S.REJECTED,
        (S.IN_DOUBT, E.PARTIALLY_FILLED): S.PARTIALLY_FILLED,
        (S.IN_DOUBT, E.FILLED): S.FILLED,
        (S.IN_DOUBT, E.CANCEL_REQUESTED): S.IN_DOUBT,  # kept, and carried out once the order is known
        (S.IN_DOUBT, E.CANCELED): S.CANCELED,
        (S.IN_DOUBT, E.EXPIRED): S.EXPIRED,
        (S.ACCEPTED, E.PARTIALLY_FILLED): S.PARTIALLY_FILLED,
        (S.ACCEPTED, E.FILLED): S.FILLED,
        (S.ACCEPTED, E.REJECTED): S.REJECTED,  # some venues accept first and reject at their matching engine
        (S.ACCEPTED, E.CANCEL_REQUESTED): S.PENDING_CANCEL,
        (S.ACCEPTED, E.AMEND_REQUESTED): S.PENDING_CANCEL,  # cancel-replace: the old attempt goes first
        (S.ACCEPTED, E.CANCELED): S.CANCELED,
        (S.ACCEPTED, E.EXPIRED): S.EXPIRED,
        (S.PARTIALLY_FILLED, E.PARTIALLY_FILLED): S.PARTIALLY_FILLED,
        (S.PARTIALLY_FILLED, E.FILLED): S.FILLED,
        (S.PARTIALLY_FILLED, E.CANCEL_REQUESTED): S.PENDING_CANCEL,
        (S.PARTIALLY_FILLED, E.AMEND_REQUESTED): S.PENDING_CANCEL,
        (S.PARTIALLY_FILLED, E.CANCELED): S.CANCELED,
        (S.PARTIALLY_FILLED, E.EXPIRED): S.EXPIRED,
        (S.PENDING_CANCEL, E.CANCEL_REQUESTED): S.PENDING_CANCEL,
        (S.PENDING_CANCEL, E.PARTIALLY_FILLED): S.PENDING_CANCEL,  # filled a little more before the cancel arrived
        (S.PENDING_CANCEL, E.FILLED): S.FILLED,  # the venue filled it before our cancel arrived
        (S.PENDING_CANCEL, E.REJECTED): S.REJECTED,  # rejected at the matching engine before our cancel arrived
        (S.PENDING_CANCEL, E.CANCELED): S.CANCELED,
        (S.PENDING_CANCEL, E.EXPIRED): S.EXPIRED,
        (S.PENDING_CANCEL, E.REPLACED): S.INITIALIZED,  # the old attempt is proven gone; the next may be journaled
        (S.CANCELED, E.PARTIALLY_FILLED): S.CANCELED,  # a late trade of an order that was canceled
        (S.CANCELED, E.FILLED): S.FILLED,  # a late trade that completes it
        (S.EXPIRED, E.PARTIALLY_FILLED): S.EXPIRED,
        (S.EXPIRED, E.FILLED): S.FILLED,
        (S.FILLED, E.FILLED): S.FILLED,  # a trade beyond the quantity: recorded in full, and a case is opened
        (S.DENIED, E.FINALIZED): S.DENIED,
        (S.FILLED, E.FINALIZED): S.FILLED,
        (S.CANCELED, E.FINALIZED): S.CANCELED,
        (S.EXPIRED, E.FINALIZED): S.EXPIRED,
        (S.REJECTED, E.FINALIZED): S.REJECTED,
    }
)

TERMINAL: Final = frozenset({S.DENIED, S.FILLED, S.CANCELED, S.EXPIRED, S.REJECTED})
AT_VENUE: Final = frozenset({S.SUBMITTED, S.IN_DOUBT, S.ACCEPTED, S.PARTIALLY_FILLED, S.PENDING_CANCEL})
"""Statuses in which the venue holds, or may hold, an open order of ours."""
AMENDABLE: Final = frozenset({S.ACCEPTED, S.PARTIALLY_FILLED})


def next_status(status: OrderStatus, event_type: OrderEventType) -> OrderStatus:
    """Return the status after the event.

    Raises
    ------
    InvalidTransition
        When the table has no row for the pair: a bug of ours, never weather.
    """
    try:
        return TRANSITIONS[status, event_type]
    except KeyError:
        raise InvalidTransition(f"{status} does not take {event_type}") from None
