"""KuCoin: accounts of the old kind and unified ones, which differ in the names of fields."""

from typing import Final

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
)
