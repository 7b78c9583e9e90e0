"""`python -m bench.gate`: what the gate takes on a full ledger: `store.admit` on the embedded Postgres.

100,000 orders are in the ledger, 200 of them open, and typical limits hold. Twenty callers ask at an agent's pace: one
order a second each, which together is what a whole stack on two cores can place (`bench.order`); then five a second
each; then as fast as they can. Prints a table with the machine beside it. Every loop is bounded.
"""

import argparse
import asyncio
import json
import os
import platform
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from bench.grown import ACCOUNT, STRATEGIES, TERMS, grow, request, validated
from domain.limits import Limits, LimitSet
from embedded.child import Child, free_port
from embedded.postgres_server import PostgresServer
from storage import limit_sets
from storage.database import in_transaction, open_engine
from storage.migrate import upgrade
from storage.order_store import SqlOrderStore

P50_MS, P99_MS = 5.0, 25.0
PRESSED = 5
"""How much faster than their pace the callers ask in the second measurement."""
LIMITS = LimitSet(
    by_scope={
        f"account:{ACCOUNT}": Limits(
            max_order_notional=Decimal(50_000),
            max_position_quantity={"BTC/USDT": Decimal(100_000)},
            max_position_notional=Decimal(10**9),
            max_open_orders=1_000_000,
            max_orders_per_minute=100_000,
            max_daily_loss=Decimal(10**7),
            duplicate_window_s=2,
        )
    }
)


@asynccontextmanager
async def ledger() -> AsyncIterator[AsyncEngine]:
    """Run the embedded Postgres with an empty ledger."""
    with tempfile.TemporaryDirectory(prefix="volex-gate-") as folder:
        directory = Path(folder)
        directory.chmod(0o711)
        server = PostgresServer(directory / "postgres", port=free_port(), log_path=directory / "postgres.log")
        server.prepare()
        child = await Child.start(server.spec())
        try:
            await server.until_ready(child)
            await upgrade(server.url())
            engine = open_engine(server.url(), application_name="bench", pool_size=20)
            yield engine
            await engine.dispose()
        finally:
            await child.stop()


class Bench:
    """Agents that place orders, each unlike the last."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._store = SqlOrderStore(engine)
        self._number = 0
        self.answers: Counter[str] = Counter()

    async def admit(self, caller: int) -> float:
        """Pass the gate once; return the milliseconds it took."""
        self._number += 1
        price = Decimal(60_000) - Decimal(self._number) / 100
        asked = request(f"bench-{self._number}", price=price, strategy=STRATEGIES[caller % 2])
        found, now = validated(asked), datetime.now(UTC)
        began = time.perf_counter()
        told = await self._store.admit(asked, found, terms=TERMS, now=now)
        took = (time.perf_counter() - began) * 1000
        self.answers[told.reason.code if told.reason is not None else str(told.answer)] += 1
        return took

    async def paced(self, callers: int, per_s: float, seconds: float) -> list[float]:
        """Let callers ask at their pace, whatever the answers take; return the milliseconds of each."""
        dice = random.Random(0)
        samples: list[float] = []

        async def call(caller: int) -> None:
            due = time.perf_counter() + dice.uniform(0, 1 / per_s)
            ends = due + seconds
            while due < ends:
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                samples.append(await self.admit(caller))
                due += dice.uniform(0.5, 1.5) / per_s

        await asyncio.gather(*(call(number) for number in range(callers)))
        return samples

    async def closed(self, callers: int, seconds: float) -> float:
        """Let callers ask again as soon as they are answered; return the admissions per second."""
        ends, count = time.perf_counter() + seconds, 0

        async def call(caller: int) -> None:
            nonlocal count
            while time.perf_counter() < ends:
                await self.admit(caller)
                count += 1

        began = time.perf_counter()
        await asyncio.gather(*(call(number) for number in range(callers)))
        return count / (time.perf_counter() - began)


def statements(engine: AsyncEngine) -> Counter[str]:
    """Count what is sent to the database, by its first words."""
    sent: Counter[str] = Counter()

    @event.listens_for(engine.sync_engine, "before_cursor_execute")
    def count(_: Any, __: Any, statement: str, *___: Any) -> None:
        sent[" ".join(statement.split())[:60]] += 1

    return sent


async def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Fill a ledger, measure, stop."""
    async with ledger() as engine:
        began = time.monotonic()
        await grow(engine, ended=arguments.orders, still_open=200)
        told: dict[str, Any] = {"source": "operator", "changed_by": "bench", "because": "a bench"}
        now = datetime.now(UTC)
        await in_transaction(engine, lambda connection: limit_sets.add(connection, LIMITS, **told, now=now))
        grown_s = time.monotonic() - began
        bench = Bench(engine)
        await bench.paced(arguments.callers, arguments.rate, 2)  # connections, caches
        sent = statements(engine)
        alone = [await bench.admit(0) for _ in range(100)]
        each = {words: round(count / 100, 1) for words, count in sent.items()}
        paced = await bench.paced(arguments.callers, arguments.rate, arguments.seconds)
        pressed = await bench.paced(arguments.callers, PRESSED * arguments.rate, arguments.seconds)
        throughput = await bench.closed(arguments.callers, arguments.seconds / 2)
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{machine}, load {os.getloadavg()[0]:.1f}",
        "orders_in_ledger": arguments.orders + 200,
        "grown_s": round(grown_s, 1),
        "alone_ms": spread(alone),
        "paced_ms": spread(paced),
        "paced_per_s": round(len(paced) / arguments.seconds, 1),
        "pressed_ms": spread(pressed),
        "pressed_per_s": round(len(pressed) / arguments.seconds, 1),
        "closed_per_s": round(throughput, 1),
        "answers": dict(bench.answers),
        "statements": each,
    }


def spread(samples: list[float]) -> dict[str, float]:
    """Return median, p99 and maximum, in the unit of the samples."""
    ordered = sorted(samples)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    return {"p50": round(statistics.median(ordered), 2), "p99": round(p99, 2), "max": round(ordered[-1], 2)}


def table(figures: dict[str, Any]) -> str:
    """Write the figures beside their budgets."""
    paced, alone = figures["paced_ms"], figures["alone_ms"]
    rows = [
        ("admission", "p50, ms", "p99, ms", "max, ms", "a second"),
        (f"paced (budget {P50_MS:g} / {P99_MS:g})", *paced.values(), figures["paced_per_s"]),
        (f"{PRESSED} times as often", *figures["pressed_ms"].values(), figures["pressed_per_s"]),
        ("one caller alone", *alone.values(), ""),
        ("as fast as they can", "", "", "", figures["closed_per_s"]),
    ]
    lines = [f"| {' | '.join(str(cell) for cell in row)} |" for row in rows]
    lines.insert(1, "|---|---|---|---|---|")
    head = f"{figures['machine']}, {figures['at']}, {figures['orders_in_ledger']} orders in the ledger"
    told = f"answers {figures['answers']}, {sum(figures['statements'].values()):g} statements each"
    return "\n".join([head, "", *lines, "", told])


def main() -> int:
    """Measure and print; 1 when a budget is missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.gate", description=__doc__)
    parser.add_argument("--orders", type=int, default=100_000, help="orders in the ledger that have ended")
    parser.add_argument("--callers", type=int, default=20)
    parser.add_argument("--rate", type=float, default=1.0, help="orders a second of each caller")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--json", action="store_true", help="print all figures")
    arguments = parser.parse_args()
    figures = asyncio.run(run(arguments))
    print(json.dumps(figures, indent=1) if arguments.json else table(figures))
    return int(figures["paced_ms"]["p50"] > P50_MS or figures["paced_ms"]["p99"] > P99_MS)


if __name__ == "__main__":
    sys.exit(main())
