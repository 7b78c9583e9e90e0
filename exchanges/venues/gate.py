"""Gate."""

from typing import Final

from exchanges.venue_words import gate_words
from exchanges.venues.table import EVERY, ClientIds, VenueRules

_ELSEWHERE = "the venue keeps stops apart; the order that one becomes has another id"

GATE: Final = VenueRules(
    title="Gate",
    wire={
        EVERY: {"text": "t-{id}", "side": "{side}", "amount": "{quantity}", "trigger": None},
        "market": {"type": "market", "time_in_force": "ioc", "price": None},
        "limit": {"type": "limit", "price": "{price}", "time_in_force": None},
        "IOC": {"time_in_force": "ioc"},
        "FOK": {"time_in_force": "fok"},
        "post-only": {"time_in_force": "poc"},
    },
    notes={"stop": _ELSEWHERE, "stop-limit": _ELSEWHERE},
    market_buys_by_quantity=False,
    has_sandbox=True,
    sandbox_note="api-testnet.gateapi.io",
    client_ids=ClientIds(pattern=r"[0-9A-Za-z_.-]{1,28}", says="1 to 28 of `0-9A-Za-z_.-` after `t-`", prefix="t-"),
    lookup_key="clientOrderId",
    cancel_key=None,
    filled_keys=("filled_amount",),
    words=gate_words,
    refusals={
        "BALANCE_NOT_ENOUGH": "INSUFFICIENT_FUNDS",
        "INVALID_CURRENCY_PAIR": "SYMBOL_UNKNOWN",
        "AMOUNT_TOO_LITTLE": "FILTER_FAILED",
        "AMOUNT_TOO_MUCH": "FILTER_FAILED",
        "INVALID_PRECISION": "FILTER_FAILED",
        "INVALID_PARAM_VALUE": "REQUEST_REFUSED",
        "POC_FILL_IMMEDIATELY": "POST_ONLY_WOULD_TAKE",
        "FOK_NOT_FILL": "VENUE_REFUSED",
        "TOO_MANY_ORDERS": "VENUE_REFUSED",
        "TRADE_RESTRICTED": "VENUE_REFUSED",
        "FORBIDDEN": "CREDENTIALS_REFUSED",
        "INVALID_CREDENTIALS": "CREDENTIALS_REFUSED",
        "INVALID_KEY": "CREDENTIALS_REFUSED",
        "INVALID_SIGNATURE": "CREDENTIALS_REFUSED",
        "IP_FORBIDDEN": "CREDENTIALS_REFUSED",
        "READ_ONLY": "CREDENTIALS_REFUSED",
    },
    turned_away={
        "TOO_FAST": "VENUE_RATE_LIMITED",
        "TOO_MANY_REQUESTS": "VENUE_RATE_LIMITED",
        "REQUEST_EXPIRED": "CLOCK_SKEW",
    },
    bad_credentials=frozenset(
        {"FORBIDDEN", "INVALID_CREDENTIALS", "INVALID_KEY", "INVALID_SIGNATURE", "IP_FORBIDDEN", "READ_ONLY"}
    ),
    bad_clock=frozenset({"REQUEST_EXPIRED"}),
    duplicates=frozenset({"REPEATED_CREATION"}),
)
