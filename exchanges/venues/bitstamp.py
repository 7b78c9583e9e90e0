"""Bitstamp."""

from typing import Final

from exchanges.venues.table import EVERY, ClientIds, VenueRules

_PLAIN = "ccxt hands it through unread: the order would go out as a plain one"

BITSTAMP: Final = VenueRules(
    title="Bitstamp",
    wire={
        EVERY: {"client_order_id": "{id}", "amount": "{quantity}", "stopLossPrice": None},
        "market": {"path": "/{side}/market/", "price": None},
        "limit": {"path": "/v2/{side}/", "price": "{price}"},
    },
    notes=dict.fromkeys(("IOC", "FOK", "post-only", "stop", "stop-limit"), _PLAIN),
    client_ids=ClientIds(says="any text", unique="all orders, by the venue's code 400.019"),
    lookup_key="clientOrderId",
    lists=("fetch_open_orders",),
    # By our id, ccxt would send an empty order id beside it: we look first, and cancel by the venue's.
    cancel_key=None,
)
