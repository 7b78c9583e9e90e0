"""Bitget: accounts of the old kind and unified ones, which differ in the names of fields."""

from typing import Final

from exchanges.venue_words import bitget_words
from exchanges.venues.table import EVERY, ClientIds, VenueRules

_MARK = "the venue keeps stops apart, and triggers them by its mark price"

BITGET: Final = VenueRules(
    title="Bitget",
    wire={
        EVERY: {"clientOid": "{id}", "side": "{side}", "qty|size": "{quantity}", "stopLoss|triggerPrice": None},
        "market": {"orderType": "market", "price": None},
        "limit": {"orderType": "limit", "price": "{price}", "timeInForce|force": "gtc"},
        "IOC": {"timeInForce|force": "ioc"},
        "FOK": {"timeInForce|force": "fok"},
        "post-only": {"timeInForce|force": "post_only"},
    },
    notes={"stop": _MARK, "stop-limit": _MARK},
    market_buys_by_quantity=False,  # `qty` of a market buy is in the quote currency, and ccxt gives the quantity
    has_sandbox=True,
    sandbox_note="same host, header `PAPTRADING`",
    client_ids=ClientIds(says="any text; length not documented"),
    lookup_key="clientOrderId",
    lists=("fetch_open_orders", "fetch_canceled_and_closed_orders"),
    filled_keys=("baseVolume", "cumExecQty"),
    answer_keys=("data",),
    words=bitget_words,
    refusals={
        "40762": "INSUFFICIENT_FUNDS",
        "43012": "INSUFFICIENT_FUNDS",
        "40706": "FILTER_FAILED",
        "40808": "FILTER_FAILED",
        "45110": "FILTER_FAILED",
        "45113": "FILTER_FAILED",
        "40006": "CREDENTIALS_REFUSED",
        "40009": "CREDENTIALS_REFUSED",
        "40011": "CREDENTIALS_REFUSED",
        "40012": "CREDENTIALS_REFUSED",
        "40014": "CREDENTIALS_REFUSED",
        "40018": "CREDENTIALS_REFUSED",
        "40037": "CREDENTIALS_REFUSED",
    },
    turned_away={
        "429": "VENUE_RATE_LIMITED",
        "40004": "CLOCK_SKEW",
        "40005": "CLOCK_SKEW",
        "40008": "CLOCK_SKEW",
    },
    bad_credentials=frozenset({"40006", "40009", "40011", "40012", "40014", "40018", "40037"}),
    bad_clock=frozenset({"40004", "40005", "40008"}),
    duplicates=frozenset({"40786", "43118", "45034"}),
    not_found=frozenset({"25204", "40768", "43001"}),
)
