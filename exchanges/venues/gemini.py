"""Gemini."""

from typing import Final

from exchanges.venue_words import gemini_words
from exchanges.venues.table import EVERY, ClientIds, VenueRules

GEMINI: Final = VenueRules(
    title="Gemini",
    wire={
        EVERY: {"client_order_id": "{id}", "side": "{side}", "amount": "{quantity}"},
        "limit": {"type": "exchange limit", "price": "{price}", "options": None, "stop_price": None},
        "IOC": {"options": "immediate-or-cancel"},
        "FOK": {"options": "fill-or-kill"},
        "post-only": {"options": "maker-or-cancel"},
        "stop-limit": {"type": "exchange stop limit", "price": "{price}", "stop_price": "{trigger}", "options": None},
    },
    trigger_key="triggerPrice",
    notes={
        "market": "the venue takes limit orders only",
        "stop": "the venue takes no market order, which a stop becomes",
    },
    has_sandbox=True,
    sandbox_note="api.sandbox.gemini.com",
    client_ids=ClientIds(
        pattern=r"[:\-_.#a-zA-Z0-9]{1,36}", says="1 to 36 of `:-_.#a-zA-Z0-9`", unique="only recommended"
    ),
    lists=("fetch_open_orders",),
    blind_spot="its lists show open orders only",
    cancel_key=None,
    filled_keys=("executed_amount",),
    words=gemini_words,
    refusals={
        "InsufficientFunds": "INSUFFICIENT_FUNDS",
        "InvalidSymbol": "SYMBOL_UNKNOWN",
        "InvalidPrice": "FILTER_FAILED",
        "InvalidQuantity": "FILTER_FAILED",
        "ConflictingOptions": "REQUEST_REFUSED",
        "InvalidOrderType": "REQUEST_REFUSED",
        "InvalidSide": "REQUEST_REFUSED",
        "UnsupportedOption": "REQUEST_REFUSED",
        "MarketNotOpen": "VENUE_REFUSED",
        "InvalidApiKey": "CREDENTIALS_REFUSED",
        "InvalidSignature": "CREDENTIALS_REFUSED",
        "MissingRole": "CREDENTIALS_REFUSED",
    },
    turned_away={
        "RateLimit": "VENUE_RATE_LIMITED",
        "InvalidNonce": "CLOCK_SKEW",
    },
    bad_credentials=frozenset({"InvalidApiKey", "InvalidSignature", "MissingRole"}),
    bad_clock=frozenset({"InvalidNonce"}),
)
