"""OKX."""

from typing import Final

from exchanges.venue_words import okx_words
from exchanges.venues.table import EVERY, ClientIds, VenueRules

_ELSEWHERE = "the venue keeps stops apart: other end points, and a new order id when one triggers"

OKX: Final = VenueRules(
    title="OKX",
    wire={
        EVERY: {"clOrdId": "{id}", "side": "{side}", "sz": "{quantity}", "tgtCcy": "base_ccy", "tdMode": "cash"},
        "market": {"ordType": "market", "px": None},
        "limit": {"ordType": "limit", "px": "{price}"},
        "IOC": {"ordType": "ioc"},
        "FOK": {"ordType": "fok"},
        "post-only": {"ordType": "post_only"},
    },
    notes={"stop": _ELSEWHERE, "stop-limit": _ELSEWHERE},
    has_sandbox=True,
    sandbox_note="same host, header `x-simulated-trading`",
    client_ids=ClientIds(
        pattern=r"[A-Za-z0-9]{1,32}", says="1 to 32 letters and digits", unique="not for ever: the latest is shown"
    ),
    lookup_key="clientOrderId",
    lists=("fetch_open_orders", "fetch_closed_orders", "fetch_canceled_orders"),
    filled_keys=("accFillSz",),
    answer_keys=("data",),
    words=okx_words,
    refusals={
        "51001": "SYMBOL_UNKNOWN",
        "51006": "FILTER_FAILED",
        "51008": "INSUFFICIENT_FUNDS",
        "51020": "FILTER_FAILED",
        "51121": "FILTER_FAILED",
        "50105": "CREDENTIALS_REFUSED",
        "50111": "CREDENTIALS_REFUSED",
        "50113": "CREDENTIALS_REFUSED",
    },
    turned_away={"50011": "VENUE_RATE_LIMITED", "50061": "VENUE_RATE_LIMITED", "50102": "CLOCK_SKEW"},
    duplicates=frozenset({"51016"}),
    not_found=frozenset({"51603"}),
    bad_credentials=frozenset({"50105", "50111", "50113"}),
    bad_clock=frozenset({"50102"}),
)
