"""Coinbase Advanced."""

from typing import Final

from exchanges.venue_words import coinbase_words
from exchanges.venues.table import EVERY, ClientIds, VenueRules

_PRICED = {"base_size": "{quantity}", "limit_price": "{price}"}

COINBASE: Final = VenueRules(
    title="Coinbase",
    wire={
        EVERY: {"client_order_id": "{id}", "side": "{side}"},
        "market": {"market_market_ioc": "*", "base_size": "{quantity}", "quote_size": None},
        "limit": {"limit_limit_gtc": "*", **_PRICED, "post_only": "false", "stop_price": None},
        "IOC": {"limit_limit_gtc": None, "sor_limit_ioc": "*", "post_only": None},
        "FOK": {"limit_limit_gtc": None, "limit_limit_fok": "*", "post_only": None},
        "post-only": {"post_only": "true"},
        "stop-limit": {
            "stop_limit_stop_limit_gtc": "*",
            **_PRICED,
            "stop_price": "{trigger}",
            "stop_direction": "STOP_DIRECTION_STOP_{direction}",
        },
    },
    notes={"stop": "the venue has stops with a limit price only"},
    market_buys_by_quantity=False,
    client_ids=ClientIds(says="any text", unique="all orders: the first one is given back"),
    create_key="client_order_id",
    lists=("fetch_orders",),
    cancel_key=None,
    filled_keys=("filled_size",),
    open_words=frozenset({"PENDING", "QUEUED", "CANCEL_QUEUED"}),
    words=coinbase_words,
    refusals={
        "INSUFFICIENT_FUND": "INSUFFICIENT_FUNDS",
        "INVALID_LIMIT_PRICE_POST_ONLY": "POST_ONLY_WOULD_TAKE",
        "INVALID_PRICE_PRECISION": "FILTER_FAILED",
        "INVALID_SIZE_PRECISION": "FILTER_FAILED",
        "UNSUPPORTED_ORDER_CONFIGURATION": "REQUEST_REFUSED",
    },
    duplicates=frozenset({"DUPLICATE_CLIENT_ORDER_ID"}),
)
