"""Bitget: accounts of the old kind and unified ones, which differ in the names of fields."""

from typing import Final

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
)
