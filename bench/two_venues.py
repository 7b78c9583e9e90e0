"""`python -m bench.two_venues`: two venues of different protocols trade at the same time, and one goes down.

Orders go to both over REST at a steady pace. Kraken then hangs for half of the outage and answers 503 for the other
half, while its orders keep coming. Measured is what Binance's orders take before, while and after; counted is, by
Kraken's own ledger, that no order was lost or placed twice. Prints a table, writes bench/results/two_venues.json.
"""

import argparse
import asyncio
import contextlib
import json
import os
import platform
import secrets
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import httpx2

from bench.order import RESULTS, spread
from embedded.child import free_port
from embedded.stack import ALL_PARTS, EmbeddedStack, StackOptions

API_KEY = secrets.token_hex(16)
KEYS = {
    "BINANCEUS_API_KEY": "simulator-key",
    "BINANCEUS_SECRET_KEY": "simulator-secret",
    "KRAKEN_API_KEY": "simulator-key",
    "KRAKEN_SECRET_KEY": "c2ltdWxhdG9yLXNlY3JldC1vZi1rcmFrZW4=",
}
CONFIG = """
dry_run_mode = false
[accounts.binanceus]
exchange = "binanceus"
mode = "sandbox"
credentials = "env"
[accounts.binanceus.ccxt]
enableRateLimit = false
[accounts.binanceus.ccxt.urls.api]
public = "{binance}/api/v3"
private = "{binance}/api/v3"
sapi = "{binance}/sapi/v1"
[accounts.kraken]
exchange = "kraken"
mode = "sandbox"
credentials = "env"
[accounts.kraken.ccxt]
enableRateLimit = false
timeout = 4000
[accounts.kraken.ccxt.urls.api]
public = "{kraken}"
private = "{kraken}"
"""
PRICE = "61250"
FINAL = ("FILLED", "CANCELED", "DENIED", "EXPIRED", "REJECTED")
HANG_S = 6
STREAMS = 2
"""Callers of Binance at a time, each with one order under way."""


class Venues:
    """The stack and the control faces of its two venues."""

    def __init__(self, rest: httpx2.AsyncClient, binance: httpx2.AsyncClient, kraken: httpx2.AsyncClient) -> None:
        self.rest = rest
        self.binance = binance
        self.kraken = kraken
        self.asked_again: Counter[str] = Counter()
        """By account: how often the REST interface answered 5xx, and the order was sent again with the same key."""

    async def place(self, account: str) -> dict[str, Any]:
        """Place a small market order over REST, again with the same key if the answer is lost."""
        body = {"symbol": "BTC/USDT", "side": "buy", "order_type": "market", "amount": 0.001, "exchange": account}
        key = secrets.token_hex(8)
        for _ in range(120):
            with contextlib.suppress(httpx2.TransportError):
                answer = await self.rest.post("/orders", json=body, headers={"Idempotency-Key": key})
                told: dict[str, Any] = answer.json()
                if answer.status_code in (201, 202) or "order" in told:
                    return dict(told.get("order", told))
                if answer.status_code < 500:
                    raise RuntimeError(f"{account} {answer.status_code}: {told}")
                self.asked_again[account] += 1
            await asyncio.sleep(0.5)
        raise RuntimeError(f"{account}: no answer")

    async def order(self, account: str, order_id: str) -> dict[str, Any]:
        """Return an order as REST shows it."""
        answer = await self.rest.get(f"/orders/{account}/{order_id}")
        answer.raise_for_status()
        return dict(answer.json())

    async def kraken_fails(self, kind: str, **details: object) -> None:
        """Let every call of Kraken fail in one way."""
        await self.kraken_recovers()
        (await self.kraken.post("/faults", json={"kind": kind, **details})).raise_for_status()

    async def kraken_recovers(self) -> None:
        """End the outage."""
        (await self.kraken.delete("/faults")).raise_for_status()

    async def orders_at_kraken(self) -> dict[str, int]:
        """Return how many orders each client id made, by Kraken's own ledger."""
        return dict((await self.kraken.get("/client-orders")).json())


@contextlib.asynccontextmanager
async def two_venues(directory: Path) -> AsyncIterator[Venues]:
    """Bring the stack up with both venues, their markets held, both accounts compared with their venues."""
    for folder in (directory, *directory.parents[:3]):
        with contextlib.suppress(PermissionError):
            folder.chmod(folder.stat().st_mode | 0o011)
    names = ("simulator", "simulator_control", "simulator_kraken", "simulator_kraken_control")
    ports = {name: free_port() for name in names}
    config = directory / "volex.toml"
    urls = {name: f"http://127.0.0.1:{ports[port]}" for name, port in (("binance", names[0]), ("kraken", names[2]))}
    config.write_text(CONFIG.format(**urls))
    options = StackOptions(
        data_dir=directory / "data",
        config=config,
        environ={**os.environ, **KEYS, "API_KEY": API_KEY},
        parts=ALL_PARTS | {"simulator-kraken"},
        ports=ports,
        simulator_arguments=("--balance", "USDT=100000000", "--balance", "BTC=1000"),
    )
    headers = {"X-API-Key": API_KEY}
    async with (
        EmbeddedStack(options) as stack,
        httpx2.AsyncClient(base_url=stack.ready["api"], headers=headers, timeout=90) as rest,
        httpx2.AsyncClient(base_url=stack.ready["simulator_control"], timeout=10) as binance,
        httpx2.AsyncClient(base_url=stack.ready["simulator_kraken_control"], timeout=10) as kraken,
    ):
        for venue in (binance, kraken):
            (await venue.post("/market/BTCUSDT", json={"price": PRICE, "frozen": True})).raise_for_status()
        await _until_reconciled(stack.ready["database"])
        yield Venues(rest, binance, kraken)


async def _until_reconciled(database_url: str) -> None:
    connection = await asyncpg.connect(database_url, timeout=10)
    try:
        async with asyncio.timeout(60):
            while await connection.fetchval("SELECT count(*) FROM account_states") < 2:
                await asyncio.sleep(0.05)
    finally:
        await connection.close()


async def trade(venues: Venues, *, seconds: float, pause_s: float) -> tuple[list[float], list[str]]:
    """Send orders to both venues at a steady pace; return the milliseconds of Binance's and the ids of Kraken's.

    Kraken's are not waited for before the next one goes, as other callers would not; all have answered at the end.
    """
    took: list[float] = []
    elsewhere: list[asyncio.Task[dict[str, Any]]] = []
    until = time.perf_counter() + seconds

    async def at_binance() -> None:
        while time.perf_counter() < until:
            began = time.perf_counter()
            order = await venues.place("binanceus")
            took.append((time.perf_counter() - began) * 1000)
            if order["lifecycle"] != "FILLED":
                raise RuntimeError(f"Binance's order ended as {order['lifecycle']}: {order.get('reason')}")
            await asyncio.sleep(pause_s)

    async def at_kraken() -> None:
        while time.perf_counter() < until:
            elsewhere.append(asyncio.create_task(venues.place("kraken")))
            await asyncio.sleep(pause_s * 4)

    async with asyncio.TaskGroup() as group:
        group.create_task(at_kraken())
        for _ in range(STREAMS):
            group.create_task(at_binance())
    return took, [order["id"] for order in await asyncio.gather(*elsewhere)]


async def outage(venues: Venues, *, seconds: float, pause_s: float, accepted: bool) -> tuple[list[float], list[str]]:
    """Trade while Kraken hangs for one half and answers 503 for the other; `accepted`: it carries orders out."""
    took: list[float] = []
    order_ids: list[str] = []
    halves = []
    failures: tuple[tuple[str, dict[str, object]], ...] = (
        ("hang", {"seconds": HANG_S}),
        ("http_status", {"status": 503}),
    )
    async with asyncio.TaskGroup() as group:
        for kind, details in failures:
            await venues.kraken_fails(kind, **details, accepted=accepted)
            halves.append(group.create_task(trade(venues, seconds=seconds / 2, pause_s=pause_s)))
            await asyncio.sleep(seconds / 2)
        await venues.kraken_recovers()
    for times, ids in (half.result() for half in halves):
        took += times
        order_ids += ids
    return took, order_ids


async def until_final(venues: Venues, order_ids: list[str], *, within_s: float) -> list[dict[str, Any]]:
    """Wait until Kraken's orders have ended, and return them."""
    ended = []
    async with asyncio.timeout(within_s):
        for order_id in order_ids:
            while (order := await venues.order("kraken", order_id))["lifecycle"] not in FINAL:
                await asyncio.sleep(0.1)
            ended.append(order)
    return ended


async def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure before, during and after an outage."""
    with tempfile.TemporaryDirectory(prefix="volex-bench-") as folder:
        async with two_venues(Path(folder)) as venues:
            pause_s, seconds = arguments.pause_s, arguments.seconds
            _, order_ids = await trade(venues, seconds=10, pause_s=pause_s)
            took: dict[str, list[float]] = {"before": [], "outage": [], "after": []}
            for _ in range(arguments.rounds):
                for phase, samples in took.items():
                    down = phase == "outage"
                    measured = (
                        outage(venues, seconds=seconds, pause_s=pause_s, accepted=False)
                        if down
                        else trade(venues, seconds=seconds, pause_s=pause_s)
                    )
                    found, ids = await measured
                    samples += found
                    order_ids += ids
                    if down:  # what is in doubt is settled before the next phase, which is to be like the first
                        await until_final(venues, ids, within_s=240)
            ended = await until_final(venues, order_ids, within_s=240)
            made, asked_again = await venues.orders_at_kraken(), dict(venues.asked_again)
    lifecycles = [order["lifecycle"] for order in ended]
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "seconds": seconds,
        "rounds": arguments.rounds,
        "binance_ms": {phase: {"orders": len(samples), **spread(samples)} for phase, samples in took.items()},
        "answered_5xx": asked_again,
        "kraken": {
            "orders": len(ended),
            **{word: lifecycles.count(word) for word in sorted(set(lifecycles))},
            "at_the_venue": sum(made.values()),
            "most_for_one_client_id": max(made.values()),
        },
    }


def main() -> None:
    """Measure, print, and keep the figures."""
    parser = argparse.ArgumentParser(prog="python -m bench.two_venues", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="length of each phase, and of the outage")
    parser.add_argument("--rounds", type=int, default=5, help="outages; a p99 of few orders is that of a few pauses")
    parser.add_argument("--pause-s", type=float, default=0.25, help="of a caller between two orders of Binance")
    figures = asyncio.run(run(parser.parse_args()))
    print(f"{figures['machine']}, {figures['at']}, {figures['rounds']} outages of {figures['seconds']:.0f} s\n")
    print("| Binance's market orders | orders | p50 ms | p99 ms | max ms |\n|---|---|---|---|---|")
    for phase, told in figures["binance_ms"].items():
        print(f"| {phase} | {told['orders']} | {told['p50']} | {told['p99']} | {told['max']} |")
    print(f"\nKraken: {figures['kraken']}; sent again after 5xx of ours: {figures['answered_5xx']}")
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "two_venues.json").write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
