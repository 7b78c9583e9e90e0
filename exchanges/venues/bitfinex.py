"""Bitfinex."""

from typing import Final

from exchanges.venues.table import ClientIds, Precision, VenueRules

BITFINEX: Final = VenueRules(
    title="Bitfinex",
    takes_orders=False,
    precision=Precision.DIGITS,
    notes={
        "orders": "it knows an order by a whole number below 2^45, into which our id does not fit: a lost answer could "
        "not be resolved"
    },
    client_ids=ClientIds(pattern=r"[0-9]{1,14}", says="a whole number below 2^45", unique="one UTC day, not enforced"),
    cancel_key=None,
    book_depths=(1, 25, 100),
)
