"""Bybit."""

from typing import Final

from exchanges.venue_words import bybit_words
from exchanges.venues.table import EVERY, ClientIds, VenueRules

_REDUCES = "ccxt marks spot stops as reduce-only orders of another list"

BYBIT: Final = VenueRules(
    title="Bybit",
    wire={
        EVERY: {
            "orderLinkId": "{id}",
            "side": "{side}",
            "category": "spot",
            "qty": "{quantity}",
            "triggerPrice": None,
            "reduceOnly": None,
        },
        # Without its unit, the quantity of a market buy is what is spent.
        "market": {"orderType": "Market", "marketUnit": "baseCoin"},
        "limit": {"orderType": "Limit", "price": "{price}", "timeInForce": None},
        "IOC": {"timeInForce": "IOC"},
        "FOK": {"timeInForce": "FOK"},
        "post-only": {"timeInForce": "PostOnly"},
    },
    send={"market": {"marketUnit": "baseCoin"}},  # ccxt leaves it out for accounts that it takes for old ones
    notes={"stop": _REDUCES, "stop-limit": _REDUCES},
    has_sandbox=True,
    sandbox_note="api-testnet.bybit.com",
    client_ids=ClientIds(pattern=r"[A-Za-z0-9_-]{1,36}", says="1 to 36 of `A-Za-z0-9_-`", unique="not documented"),
    lookup_key="orderLinkId",
    lists=("fetch_open_orders", "fetch_canceled_and_closed_orders"),
    list_key="orderLinkId",
    lookup_extra={"acknowledged": True},
    cancel_key="orderLinkId",
    empty_id=None,
    filled_keys=("cumExecQty",),
    answer_keys=("result",),
    words=bybit_words,
    refusals={
        "170121": "SYMBOL_UNKNOWN",
        "170131": "INSUFFICIENT_FUNDS",
        "170136": "FILTER_FAILED",
        "170137": "FILTER_FAILED",
        "170140": "FILTER_FAILED",
        "10003": "CREDENTIALS_REFUSED",
        "10004": "CREDENTIALS_REFUSED",
        "10005": "CREDENTIALS_REFUSED",
    },
    turned_away={"10006": "VENUE_RATE_LIMITED", "10018": "VENUE_RATE_LIMITED", "10002": "CLOCK_SKEW"},
    duplicates=frozenset({"110072", "170141", "12141", "10014"}),
    bad_credentials=frozenset({"10003", "10004", "10005"}),
    bad_clock=frozenset({"10002"}),
)
