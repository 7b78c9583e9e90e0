"""Kraken."""

from typing import Final

from exchanges.venue_words import kraken_page, kraken_words
from exchanges.venues.table import EVERY, ClientIds, VenueRules

KRAKEN: Final = VenueRules(
    title="Kraken",
    config={
        # A counter of at most 15 that falls by one in 3 s; ccxt's cost of a call is its seconds.
        "rateLimiterAlgorithm": "rollingWindow",
        "rollingWindowSize": 45_000.0,
    },
    wire={
        EVERY: {"cl_ord_id": "{id}", "type": "{side}", "volume": "{quantity}", "deadline": "*"},
        "market": {"ordertype": "market", "price": None},
        "limit": {"ordertype": "limit", "price": "{price}", "timeinforce": None, "oflags": None},
        "IOC": {"timeinforce": "IOC"},
        "post-only": {"oflags": "post"},
        "stop": {"ordertype": "stop-loss", "price": "{trigger}", "price2": None},
        "stop-limit": {"ordertype": "stop-loss-limit", "price": "{trigger}", "price2": "{price}"},
    },
    notes={"FOK": "Kraken's REST interface knows GTC, IOC and GTD only"},
    client_ids=ClientIds(pattern=r"[!-~]{1,18}", says="a UUID, or up to 18 of ASCII", unique="open orders only"),
    list_key="clientOrderId",
    filled_keys=("vol_exec",),
    answer_keys=("result",),
    page_of=kraken_page,
    deadline_key="deadline",
    clock_step_ms=1000,
    counts_nonces=True,
    order_trades=False,  # ccxt's batch of trade ids ends with an empty one when their number divides by 20
    words=kraken_words,
    refusals={
        "EOrder:Insufficient funds": "INSUFFICIENT_FUNDS",
        "EOrder:Order minimum not met": "FILTER_FAILED",
        "EOrder:Cost minimum not met": "FILTER_FAILED",
        "EOrder:Tick size check failed": "FILTER_FAILED",
        "EOrder:Invalid price": "FILTER_FAILED",
        "EOrder:Post only order": "POST_ONLY_WOULD_TAKE",
        "EOrder:Orders limit exceeded": "VENUE_REFUSED",
        "EQuery:Unknown asset pair": "SYMBOL_UNKNOWN",
        "EGeneral:Invalid arguments": "REQUEST_REFUSED",
        "EGeneral:Permission denied": "CREDENTIALS_REFUSED",
        "EAPI:Invalid key": "CREDENTIALS_REFUSED",
        "EAPI:Invalid signature": "CREDENTIALS_REFUSED",
    },
    turned_away={
        "EAPI:Rate limit exceeded": "VENUE_RATE_LIMITED",
        "EOrder:Rate limit exceeded": "VENUE_RATE_LIMITED",
        "EAPI:Invalid nonce": "CLOCK_SKEW",
    },
    bad_credentials=frozenset({"EAPI:Invalid key", "EAPI:Invalid signature", "EGeneral:Permission denied"}),
)
