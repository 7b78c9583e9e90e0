"""HTX."""

from typing import Final

from exchanges.venues.table import EVERY, ClientIds, VenueRules

_UNREAD = "ccxt sends no market stop here, and what a waiting stop-limit shows in its look-ups is not documented"

HTX: Final = VenueRules(
    title="HTX",
    wire={
        EVERY: {"client-order-id": "{id}", "amount": "{quantity}", "stop-price": None, "stopLossPrice": None},
        "market": {"type": "{side}-market", "price": None},
        "limit": {"type": "{side}-limit", "price": "{price}"},
        "IOC": {"type": "{side}-ioc"},
        "FOK": {"type": "{side}-limit-fok"},
        "post-only": {"type": "{side}-limit-maker"},
    },
    notes={"stop": _UNREAD, "stop-limit": _UNREAD},
    market_buys_by_quantity=False,
    client_ids=ClientIds(pattern=r"[A-Za-z0-9_-]{1,64}", says="1 to 64 of `A-Za-z0-9_-`", unique="not any more"),
    lookup_key="clientOrderId",
    lists=("fetch_open_orders", "fetch_orders"),
    filled_keys=("field-amount", "filled-amount"),
    book_depths=(5, 10, 20, 150),
)
