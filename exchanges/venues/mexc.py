"""MEXC."""

from typing import Final

from exchanges.venues.table import EVERY, ClientIds, VenueRules

_PLAIN = "ccxt hands the trigger through unread: the order would go out as a plain one"

MEXC: Final = VenueRules(
    title="MEXC",
    wire={
        EVERY: {"newClientOrderId": "{id}", "side": "{side}", "quantity": "{quantity}", "stopLossPrice": None},
        "market": {"type": "MARKET", "quoteOrderQty": None, "price": None},
        "limit": {"type": "LIMIT", "price": "{price}"},
        "IOC": {"type": "IMMEDIATE_OR_CANCEL"},
        "FOK": {"type": "FILL_OR_KILL"},
        "post-only": {"type": "LIMIT_MAKER"},
    },
    notes={"stop": _PLAIN, "stop-limit": _PLAIN},
    client_ids=ClientIds(pattern=r"[A-Za-z0-9_-]{1,32}", says="1 to 32 of `A-Za-z0-9_-`"),
    lookup_key="clientOrderId",
    lists=("fetch_open_orders", "fetch_orders"),
    filled_keys=("executedQty",),
)
