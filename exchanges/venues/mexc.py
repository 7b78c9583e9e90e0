"""MEXC."""

from typing import Final

from exchanges.venue_words import mexc_words
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
    words=mexc_words,
    refusals={
        "10101": "INSUFFICIENT_FUNDS",
        "30004": "INSUFFICIENT_FUNDS",
        "10007": "SYMBOL_UNKNOWN",
        "30014": "SYMBOL_UNKNOWN",
        "30021": "SYMBOL_UNKNOWN",
        "10096": "FILTER_FAILED",
        "30002": "FILTER_FAILED",
        "30003": "FILTER_FAILED",
        "30087": "FILTER_FAILED",
        "30000": "VENUE_REFUSED",
        "30001": "VENUE_REFUSED",
        "30016": "VENUE_REFUSED",
        "30018": "VENUE_REFUSED",
        "602": "CREDENTIALS_REFUSED",
        "10072": "CREDENTIALS_REFUSED",
        "700001": "CREDENTIALS_REFUSED",
        "700002": "CREDENTIALS_REFUSED",
        "700006": "CREDENTIALS_REFUSED",
        "700007": "CREDENTIALS_REFUSED",
    },
    turned_away={
        "429": "VENUE_RATE_LIMITED",
        "510": "VENUE_RATE_LIMITED",
        "700003": "CLOCK_SKEW",
    },
    bad_credentials=frozenset({"602", "10072", "700001", "700002", "700006", "700007"}),
    bad_clock=frozenset({"700003"}),
    not_found=frozenset({"-2013"}),
)
