"""What a run does and when, from one number: the tickets, what their callers do next, and the troubles meanwhile."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

AGENTS = ("momentum", "grid", "rebalance", "hedge", "twap", "basis", "scalp", "index")
PRICES = {"BTC/USDT": Decimal(61250), "ETH/USDT": Decimal(3125)}
UNIT = {"BTC/USDT": Decimal("0.005"), "ETH/USDT": Decimal("0.1")}
"""Quantities are small multiples of this: about 300 quote units."""
MAX_NOTIONAL = Decimal(20_000)
"""The account's limit for one order, quote units. A few tickets exceed it on purpose."""
EXPIRES_AFTER_S = (2, 6)


@dataclass(frozen=True)
class Ticket:
    """One intent and what its caller does after placing it.

    `at` is the moment within the load, 0 to 1. `then` is "", "cancel" or "amend", `after_s` later, and
    `when_known` not before the venue is known to have the order. `twice`: the caller sends the same request two times
    at once, as an impatient program does.
    """

    key: str
    at: float
    body: dict[str, Any]
    then: str = ""
    after_s: float = 0.0
    when_known: bool = False
    twice: bool = False
    expires_in_s: float | None = None


@dataclass(frozen=True)
class Trouble:
    """Something that goes wrong at a moment of the load, 0 to 1, and for how long, in seconds."""

    at: float
    kind: str
    seconds: float = 0.0


def tickets(seed: int, count: int) -> list[Ticket]:
    """Return `count` tickets of all kinds, spread evenly over the load."""
    dice = random.Random(f"tickets {seed}")
    return [_ticket(dice, f"c{seed}-{number}", number / count) for number in range(count)]


def _ticket(dice: random.Random, key: str, at: float) -> Ticket:
    symbol, side = dice.choice(list(PRICES)), dice.choice(("buy", "sell"))
    body: dict[str, Any] = {
        "symbol": symbol,
        "side": side,
        "order_type": "market",
        "amount": UNIT[symbol] * dice.randint(1, 6),
        "strategy": dice.choice(AGENTS),
    }
    kind = dice.choices(
        ("market", "crossing", "resting", "canceled", "amended", "expiring", "IOC", "FOK", "stop", "too-big"),
        (30, 12, 18, 12, 8, 6, 5, 3, 3, 3),
    )[0]
    twice, after_s = dice.random() < 0.05, round(dice.uniform(0.0, 4.0), 2)
    expires_in_s = float(dice.randint(*EXPIRES_AFTER_S)) if kind == "expiring" else None
    then = {"canceled": "cancel", "amended": "amend"}.get(kind, "")
    if kind == "too-big":
        body["amount"] = UNIT[symbol] * 200
    elif kind in ("crossing", "IOC", "FOK"):
        body |= {"order_type": "limit", "price": _price(symbol, 30 if side == "buy" else -30)}
        body |= {} if kind == "crossing" else {"time_in_force": kind}
    elif kind == "stop":
        body |= {"order_type": "stop", "stop_price": _price(symbol, 40 if side == "buy" else -40)}
    elif kind != "market":
        # The market swings by 40 basis points: some of these rest for good, others are filled slice by slice.
        distance = dice.randint(10, 60)
        body |= {"order_type": "limit", "price": _price(symbol, -distance if side == "buy" else distance)}
    return Ticket(key, at, body, then=then, after_s=after_s, twice=twice, expires_in_s=expires_in_s)


def _price(symbol: str, basis_points: int) -> Decimal:
    return (PRICES[symbol] * (10_000 + basis_points) / 10_000).quantize(Decimal("0.01"))


def swings(seed: int, count: int) -> list[tuple[str, Decimal]]:
    """Return where the market stands at `count` moments: symbol and price, within 40 basis points of the middle."""
    dice = random.Random(f"market {seed}")
    return [(symbol, _price(symbol, dice.randint(-40, 40))) for symbol in dice.choices(list(PRICES), k=count)]


def kills(seed: int, count: int, workers: Sequence[str]) -> list[Trouble]:
    """Return `count` kills -9 of workers, spread over the load with some jitter."""
    dice = random.Random(f"kills {seed}")
    moments = sorted((number + dice.random()) / max(count, 1) for number in range(count))
    return [Trouble(at, dice.choice(list(workers))) for at in moments]


PER_20_MINUTES = {
    "kill api": (12, (0, 0)),
    "kill postgres": (10, (0, 0)),
    "immediate stop of postgres": (10, (0, 0)),
    "kill temporal": (8, (0, 0)),
    "pause a worker": (24, (3, 6)),
    "pause a worker beyond the fence": (6, (2, 5)),
    "freeze the venue": (6, (2, 5)),
    "maintenance": (6, (0, 0)),
    "ban": (4, (2, 4)),
    "clock ahead": (6, (0, 0)),
    "clock back": (4, (0, 0)),
}
"""How often each happens in 20 minutes of load, and for how many seconds (of the longest pause: beyond the fence)."""


def troubles(seed: int, load_s: float, fence_s: int) -> list[Trouble]:
    """Return the troubles of a load of so many seconds, each kind once at least, in the order of their moments."""
    dice = random.Random(f"troubles {seed}")
    found = []
    for kind, (often, (shortest, longest)) in PER_20_MINUTES.items():
        for _ in range(max(1, round(often * load_s / 1200))):
            seconds = dice.randint(shortest, longest) + (fence_s if kind.endswith("fence") else 0)
            found.append(Trouble(dice.uniform(0.05, 0.9), kind, float(seconds)))
    return sorted(found, key=lambda trouble: trouble.at)


POST, CANCEL, LOOK = ({"method": method, "path": "/order"} for method in ("POST", "DELETE", "GET"))
OPEN, TRADES = {"method": "GET", "path": "/openOrders"}, {"method": "GET", "path": "/myTrades"}
PRICE = {"method": "GET", "path": "/ticker/24hr"}


def weather(probability: float, lag_s: int) -> list[dict[str, Any]]:
    """Return the venue's faults, each at about this probability for each request that it fits.

    `lag_s` is the longest time that the venue hides an order, 2 or more; the account's fence must know it.
    """
    always = {"probability": 1.0}
    submit: list[dict[str, Any]] = [
        # Ids that begin like this meet the worst at once: the answer is lost, and the order is hidden for the longest.
        {"kind": "visibility_lag", "seconds": lag_s, "client_order_id_prefix": "a1", **always},
        {**POST, "kind": "drop_after", "client_order_id_prefix": "a1", **always},
        {"kind": "fill_lag", "seconds": 8, "client_order_id_prefix": "b2", **always},
        {"kind": "visibility_lag", "seconds": 2},
        {"kind": "fill_lag", "seconds": 4},
        {**POST, "kind": "drop_before"},
        {**POST, "kind": "drop_after"},
        {**POST, "kind": "hang", "seconds": 6},
        {**POST, "kind": "hang", "seconds": 6, "accepted": False},
        {**POST, "kind": "delay", "seconds": 1},
        {**POST, "kind": "delay", "seconds": 6},
        {**POST, "kind": "truncated"},
        {**POST, "kind": "cut_short"},
        {**POST, "kind": "empty_200"},
        {**POST, "kind": "html_200"},
        {**POST, "kind": "http_status", "status": 502},
        {**POST, "kind": "http_status", "status": 502, "accepted": False},
        {**POST, "kind": "error"},
        {**POST, "kind": "error", "accepted": False},
        {**POST, "kind": "rate_limit", "seconds": 1},
    ]
    spoilt = ("drop_before", "truncated", "empty_200", "html_200", "http_status")
    reads = [{**where, "kind": kind} for where in (LOOK, OPEN, TRADES, PRICE) for kind in spoilt]
    cancels = [{**CANCEL, "kind": kind} for kind in ("drop_before", "drop_after", "truncated", "html_200", "error")]
    cancels += [{**CANCEL, "kind": "hang", "seconds": 6}, {**CANCEL, "kind": "http_status", "accepted": False}]
    others = [{"kind": "cancel_race", "probability": 0.1}, {"kind": "repeat_trades", "probability": 0.2}]
    return [{"probability": probability, **fault} for fault in (*submit, *cancels, *reads, *others)]
