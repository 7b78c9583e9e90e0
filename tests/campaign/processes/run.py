"""Tier 2 of the campaign: real processes under load, killed, paused and lied to, then judged by the venue's ledger.

`python -m tests.campaign.processes.run --seed 1 --orders 3000 --kills 500 --minutes 20 --out tier2.json`
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.campaign.processes import full_disk, judge, ledgers, other_run, schedule
from tests.campaign.processes.callers import Desk
from tests.campaign.processes.disturber import Disturber
from tests.campaign.processes.machine import machine
from tests.campaign.processes.settling import SETTLE_S, WORKERS, settle
from tests.faults import audit
from tests.faults.floor import open_floor

BALANCES = ("USDT=400000", "BTC=6", "ETH=120")
"""Scarce enough that the agents compete for them."""
LAG_S = 10
WINDOW_S, CLOCK_S = 5, 3
"""The venue's window for a signed request; and what its clock may be off, its steps backward included."""


@dataclass(frozen=True)
class Plan:
    """One run. `minutes` is the load and the settling together; `lag_s` is the venue's longest visibility lag."""

    seed: int
    orders: int
    kills: int
    minutes: float
    probability: float = 0.02
    lag_s: int = LAG_S

    @property
    def load_s(self) -> float:
        """Seconds of load."""
        return self.minutes * 60 - min(SETTLE_S, self.minutes * 15)

    @property
    def fence_s(self) -> int:
        """The time fence that follows from how this venue behaves, in seconds."""
        return WINDOW_S + CLOCK_S + self.lag_s


async def run(plan: Plan, directory: Path) -> dict[str, Any]:
    """Run it in a directory, and return the report."""
    started, began = datetime.now(UTC), time.monotonic()
    async with open_floor(
        directory,
        workers=len(WORKERS),
        fence_s=plan.fence_s,
        max_notional=str(schedule.MAX_NOTIONAL),
        balances=BALANCES,
    ) as floor:
        await floor.until_reconciled()
        desk = Desk(floor, plan.load_s)
        disturber = Disturber(floor, WORKERS, schedule.weather(plan.probability, plan.lag_s))
        await _load(plan, desk, disturber)
        load_s = time.monotonic() - began
        unsettled = await settle(floor, desk)
        books = await ledgers.read(floor.database, floor.venue)
        began_with = {asset: Decimal(amount) for asset, amount in (told.split("=") for told in BALANCES)}
        unsettled += await audit.position_differences(floor.database, floor.venue, began_with=began_with)
    found = judge.violations(books, fence_s=plan.fence_s, max_notional=schedule.MAX_NOTIONAL)
    recovery = judge.recovery(books, disturber.killed_at)
    kinds = Counter(fact.kind for order in books.orders.values() for fact in order.facts)
    return {
        "tier": 2,
        "seed": plan.seed,
        "machine": machine(),
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - began, 1),
        "load_seconds": round(load_s, 1),
        "orders": len(books.orders),
        "endings": dict(Counter(order.status for order in books.orders.values())),
        "denials": books.denials(),
        "cases": dict(books.cases),
        "attempts": dict(Counter(str(order.document.get("attempt", 0)) for order in books.orders.values())),
        "facts": dict(kinds),
        "orders_at_venue": len(books.books.placed),
        "trades": len(books.books.traded),
        "repeated_requests": desk.repeats,
        "kills": dict(disturber.kills),
        "faults": {kind: hits for kind, hits in sorted(disturber.faults.items()) if hits},
        "violations": [*desk.problems, *unsettled, *_unknown(desk, books), *found],
        "recovery_s": recovery.get("worker", {}),
        "recovery_by_kind_s": recovery,
        "not_run": disturber.not_run,
    }


async def _load(plan: Plan, desk: Desk, disturber: Disturber) -> None:
    load_s = plan.load_s
    await disturber.begin()
    troubles = schedule.troubles(plan.seed, load_s, plan.fence_s)
    async with asyncio.TaskGroup() as group:
        group.create_task(disturber.kill_workers(schedule.kills(plan.seed, plan.kills, WORKERS), load_s))
        group.create_task(disturber.trouble(troubles, load_s))
        group.create_task(disturber.move_market(schedule.swings(plan.seed, int(load_s / 1.5)), load_s))
        group.create_task(desk.work(schedule.tickets(plan.seed, plan.orders)))
    await disturber.end()


def _unknown(desk: Desk, books: ledgers.Ledgers) -> list[str]:
    """Return the orders that a caller was told of and that are not on record."""
    return [f"{key} was told {order_id}, and it is not on record" for key, order_id in desk.keys.items()
            if order_id not in books.orders]  # fmt: skip


def _add(report: dict[str, Any], name: str, phase: dict[str, Any]) -> None:
    """Add a phase of its own to the report: its violations count like all others."""
    report[name] = phase
    report["violations"] += [f"{name}: {text}" for text in phase.get("violations", ())]
    report["not_run"] += [f"{name}: {text}" for text in phase.get("not_run", ())]
    if phase.get("orders"):
        report["phases"] = [*report.get("phases", ()), name]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the tier and write its report; 1 when a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=int(time.time()) % 100_000)
    parser.add_argument("--orders", type=int, default=3000)
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--other-tickets", type=int, default=500, help="tickets for the second venue")
    parser.add_argument("--out", "--save", dest="out", type=Path)
    given = parser.parse_args(argv)
    print(f"tier 2, seed {given.seed}", file=sys.stderr)
    plan = Plan(given.seed, given.orders, given.kills, given.minutes)
    with tempfile.TemporaryDirectory(prefix="volex-tier2-") as directory:
        report = asyncio.run(run(plan, Path(directory)))
    with tempfile.TemporaryDirectory(prefix="volex-disk-") as directory:
        _add(report, "full_disk", asyncio.run(full_disk.run(given.seed, Path(directory))))
    with tempfile.TemporaryDirectory(prefix="volex-other-") as directory:
        other = asyncio.run(other_run.run(given.seed, given.other_tickets, Path(directory)))
        _add(report, "second_venue", other)
    text = json.dumps(report, indent=2, default=str)
    if given.out is not None:
        given.out.write_text(text + "\n", "utf-8")
    print(text)
    return 1 if report["violations"] else 0


if __name__ == "__main__":
    sys.exit(main())
