"""Gate."""

from typing import Final

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
)
