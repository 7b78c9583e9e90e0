"""HTX."""

from typing import Final

from exchanges.venue_words import htx_words
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
    words=htx_words,
    refusals={
        "account-frozen-balance-insufficient-error": "INSUFFICIENT_FUNDS",
        "base-symbol-error": "SYMBOL_UNKNOWN",
        "base-symbol-trade-disabled": "SYMBOL_UNKNOWN",
        "invalid-amount": "FILTER_FAILED",
        "order-invalid-price": "FILTER_FAILED",
        "order-limitorder-amount-max-error": "FILTER_FAILED",
        "order-limitorder-amount-min-error": "FILTER_FAILED",
        "order-limitorder-price-buy-max-error": "FILTER_FAILED",
        "order-limitorder-price-buy-min-error": "FILTER_FAILED",
        "order-limitorder-price-max-error": "FILTER_FAILED",
        "order-limitorder-price-min-error": "FILTER_FAILED",
        "order-limitorder-price-sell-max-error": "FILTER_FAILED",
        "order-limitorder-price-sell-min-error": "FILTER_FAILED",
        "order-marketorder-amount-min-error": "FILTER_FAILED",
        "order-orderprice-precision-error": "FILTER_FAILED",
        "order-value-min-error": "FILTER_FAILED",
        "order-holding-limit-failed": "VENUE_REFUSED",
        "api-signature-check-failed": "CREDENTIALS_REFUSED",
        "api-signature-not-valid": "CREDENTIALS_REFUSED",
    },
    turned_away={
        "base-request-exceed-frequency-limit": "VENUE_RATE_LIMITED",
        "rate-too-many-requests": "VENUE_RATE_LIMITED",
    },
    bad_credentials=frozenset({"api-signature-check-failed", "api-signature-not-valid"}),
)
