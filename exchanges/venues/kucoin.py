"""KuCoin: accounts of the old kind and unified ones, which differ in the names of fields."""

from typing import Final

from exchanges.venue_words import kucoin_words
from exchanges.venues.table import EVERY, ClientIds, VenueRules

_ELSEWHERE = "the venue keeps stops apart, and a look-up by our id shows active orders only"

KUCOIN: Final = VenueRules(
    title="KuCoin",
    wire={
        EVERY: {"clientOid": "{id}", "side": "{side}", "size": "{quantity}", "stopPrice": None},
        "market": {"type|orderType": "market", "funds": None, "price": None},
        "limit": {"type|orderType": "limit", "price": "{price}", "timeInForce": None, "postOnly": None},
        "IOC": {"timeInForce": "IOC"},
        "FOK": {"timeInForce": "FOK"},
        "post-only": {"postOnly": "true"},
    },
    notes={"stop": _ELSEWHERE, "stop-limit": _ELSEWHERE},
    client_ids=ClientIds(pattern=r"[A-Za-z0-9_-]{1,40}", says="1 to 40 of `A-Za-z0-9_-`"),
    filled_keys=("dealSize", "filledSize"),
    answer_keys=("data",),
    book_depths=(20, 100),
    words=kucoin_words,
    refusals={
        "200004": "INSUFFICIENT_FUNDS",
        "126013": "INSUFFICIENT_FUNDS",
        "400600": "SYMBOL_UNKNOWN",
        "126003": "FILTER_FAILED",
        "126029": "FILTER_FAILED",
        "126030": "FILTER_FAILED",
        "400370": "FILTER_FAILED",
        "400760": "FILTER_FAILED",
        "600101": "FILTER_FAILED",
        "400200": "VENUE_REFUSED",
        "400001": "CREDENTIALS_REFUSED",
        "400003": "CREDENTIALS_REFUSED",
        "400004": "CREDENTIALS_REFUSED",
        "400005": "CREDENTIALS_REFUSED",
        "400006": "CREDENTIALS_REFUSED",
        "400007": "CREDENTIALS_REFUSED",
    },
    turned_away={
        "429000": "VENUE_RATE_LIMITED",
        "400002": "CLOCK_SKEW",
    },
    bad_credentials=frozenset({"400001", "400003", "400004", "400005", "400006", "400007"}),
    bad_clock=frozenset({"400002"}),
    duplicates=frozenset({"126033", "126044"}),
)
