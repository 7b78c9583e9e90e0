"""Crypto.com."""

from typing import Final

from exchanges.venues.table import EVERY, ClientIds, VenueRules

_ELSEWHERE = "the venue keeps stops apart from its other orders"

CRYPTOCOM: Final = VenueRules(
    title="Crypto.com",
    wire={
        EVERY: {
            "client_oid": "{id}",
            "side": "{side}",
            "quantity": "{quantity}",
            "spot_margin": "SPOT",
            "ref_price": None,
        },
        "market": {"type": "MARKET", "price": None, "notional": None},
        "limit": {"type": "LIMIT", "price": "{price}", "exec_inst": None, "time_in_force": None},
        "IOC": {"time_in_force": "IMMEDIATE_OR_CANCEL"},
        "FOK": {"time_in_force": "FILL_OR_KILL"},
        "post-only": {"exec_inst": "POST_ONLY", "time_in_force": "GOOD_TILL_CANCEL"},
    },
    notes={"stop": _ELSEWHERE, "stop-limit": _ELSEWHERE},
    has_sandbox=True,
    sandbox_note="uat-api.3ona.co",
    client_ids=ClientIds(pattern=r"[!-~]{1,36}", says="up to 36 of ASCII"),
    create_key="client_oid",
    lists=("fetch_open_orders", "fetch_orders"),
    cancel_key=None,
    filled_keys=("cumulative_quantity",),
    answer_keys=("result",),
)
