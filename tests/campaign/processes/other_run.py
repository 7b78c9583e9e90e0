"""Tickets against the second venue, with the only worker killed every two seconds.

`python -m tests.campaign.processes.other_run --seed 1 --tickets 500 --out other.json`
"""

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from embedded.child import Child, ChildSpec, answers, free_port, until
from embedded.stack import ALL_PARTS, StackOptions
from tests.campaign.processes import judge, ledgers
from tests.campaign.processes.callers import Desk
from tests.campaign.processes.disturber import Disturber
from tests.campaign.processes.machine import machine
from tests.campaign.processes.schedule import AGENTS, PRICES, UNIT, Ticket, Trouble
from tests.campaign.processes.settling import settle
from tests.faults.floor import live_account, open_stack

KILL_EVERY_S = 2
PER_SECOND = 3
FENCE_S = 10
"""Binance's window of 5 s, the 2 s for which this venue hides orders, and its clock."""
MAX_NOTIONAL = Decimal(20_000)
KEYS = ("other-key", "other-secret")


def tickets(seed: int, count: int) -> list[Ticket]:
    """Return `count` tickets that all reach the venue: market, crossing and resting limit orders, some canceled."""
    dice = random.Random(f"other {seed}")
    made = []
    for number in range(count):
        symbol, side = dice.choice(list(PRICES)), dice.choice(("buy", "sell"))
        body: dict[str, Any] = {"symbol": symbol, "side": side, "order_type": "market", "strategy": dice.choice(AGENTS)}
        body["amount"] = UNIT[symbol] * dice.randint(1, 6)
        kind = dice.choices(("market", "crossing", "resting", "canceled"), (4, 2, 3, 1))[0]
        if kind != "market":
            better = Decimal("1.003" if (side == "buy") == (kind == "crossing") else "0.997")
            body |= {"order_type": "limit", "price": (PRICES[symbol] * better).quantize(Decimal("0.01"))}
        then = "cancel" if kind == "canceled" else ""
        twice = dice.random() < 0.05
        made.append(Ticket(f"o{seed}-{number}", number / count, body, then=then, when_known=True, twice=twice))
    return made


def _venue(directory: Path, port: int, seed: int, probability: float) -> ChildSpec:
    argv = [sys.executable, "-m", "tests.campaign.processes.other_venue", "--port", str(port), "--seed", str(seed)]
    argv += ["--probability", str(probability)]
    return ChildSpec(name="other venue", argv=argv, log_path=directory / "other-venue.log")


async def run(seed: int, count: int, directory: Path, probability: float = 0.02) -> dict[str, Any]:
    """Run it in a directory, and return the report."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    venue = await Child.start(_venue(directory, port, seed, probability))
    try:

        async def up() -> bool:
            return await answers(f"{url}/struck") is not None

        await until(up, child=venue, timeout_s=30)
        account = live_account(directory, url, KEYS, fence_s=FENCE_S, max_notional=str(MAX_NOTIONAL))
        return await _run(seed, count, StackOptions(**account, parts=ALL_PARTS - {"simulator"}), url)
    finally:
        await venue.stop()


async def _run(seed: int, count: int, options: StackOptions, url: str) -> dict[str, Any]:
    started, began, load_s = datetime.now(UTC), time.monotonic(), count / PER_SECOND
    async with open_stack(options, url) as floor:
        await floor.until_reconciled()
        desk, disturber = Desk(floor, load_s), Disturber(floor, ("worker",), ())
        killing = asyncio.create_task(disturber.kill_workers(_kills(load_s), load_s))
        try:
            await desk.work(tickets(seed, count))
        finally:
            killing.cancel()
            await asyncio.gather(killing, return_exceptions=True)
        struck = (await floor.venue.get("/struck")).json()
        await floor.venue.post("/calm")
        unsettled = await settle(floor, desk, ("worker",))
        books = await ledgers.read(floor.database, floor.venue)
    found = judge.violations(books, fence_s=FENCE_S, max_notional=MAX_NOTIONAL)
    recovery = judge.recovery(books, disturber.killed_at)
    return {
        "tier": 2,
        "venue": "the second one",
        "seed": seed,
        "machine": machine(),
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - began, 1),
        "orders": len(books.orders),
        "endings": dict(Counter(order.status for order in books.orders.values())),
        "denials": books.denials(),
        "cases": dict(books.cases),
        "attempts": dict(Counter(str(order.document.get("attempt", 0)) for order in books.orders.values())),
        "orders_at_venue": len(books.books.placed),
        "trades": len(books.books.traded),
        "kills": dict(disturber.kills),
        "faults": struck,
        "violations": [*desk.problems, *unsettled, *found, *_exactly_one(count, books)],
        "recovery_s": recovery.get("worker", {}),
        "not_run": disturber.not_run,
    }


def _exactly_one(count: int, books: ledgers.Ledgers) -> list[str]:
    """Every one of these tickets is meant to reach the venue: none may be lost on the way, or denied for an outage."""
    at_venue, orders = len(books.books.placed), len(books.orders)
    told = f"{count} tickets became {orders} orders, {at_venue} of them at the venue; denied: {books.denials()}"
    return [] if count == orders == at_venue else [told]


def _kills(load_s: float) -> list[Trouble]:
    moments = int(load_s // KILL_EVERY_S)
    return [Trouble((number + 1) * KILL_EVERY_S / load_s, "worker") for number in range(moments)]


def main(argv: Sequence[str] | None = None) -> int:
    """Run it and write its report; 1 when a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=int(time.time()) % 100_000)
    parser.add_argument("--tickets", type=int, default=500)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="volex-other-") as directory:
        report = asyncio.run(run(given.seed, given.tickets, Path(directory)))
    text = json.dumps(report, indent=2, default=str)
    if given.out is not None:
        given.out.write_text(text + "\n", "utf-8")
    print(text)
    return 1 if report["violations"] else 0


if __name__ == "__main__":
    sys.exit(main())
