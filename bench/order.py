"""`python -m bench.order`: latency and throughput of market orders, product and floor in turns, on the embedded stack.

Prints a table and writes bench/results/order.json, with the machine beside the figures. Every loop is bounded.
"""

import argparse
import asyncio
import json
import os
import platform
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
from temporalio.client import Client, WithStartWorkflowOperation
from temporalio.common import WorkflowIDConflictPolicy

from bench.floor_workflow import ORDERS_QUEUE, FloorWorkflow
from domain.identifiers import order_workflow_id
from embedded.child import Child, ChildSpec, free_port
from embedded.stack import EmbeddedStack, StackOptions
from starter.connection import connect_temporal

RESULTS = Path(__file__).parent / "results"
API_KEY = secrets.token_hex(16)
CONFIG = """
dry_run_mode = false
[accounts.binanceus]
exchange = "binanceus"
mode = "sandbox"
credentials = "env"
[accounts.binanceus.ccxt]
enableRateLimit = false  # the local venue has no limit; Binance US would allow 1,200 weight a minute
[accounts.binanceus.ccxt.urls.api]
public = "{venue}/api/v3"
private = "{venue}/api/v3"
sapi = "{venue}/sapi/v1"
"""

Place = Callable[[], Awaitable[str]]


class Bench:
    """One run: both subjects on the same servers."""

    def __init__(self, client: Client, http: httpx2.AsyncClient) -> None:
        self._client = client
        self._http = http
        self.order_ids: list[str] = []

    async def product(self) -> str:
        """Place a market order over REST and take the answer: filled."""
        body = {"symbol": "BTC/USDT", "side": "buy", "order_type": "market", "amount": 0.001}
        answer = await self._http.post("/orders", json=body)
        told: dict[str, Any] = answer.json()
        if answer.status_code != 201 or told["lifecycle"] != "FILLED":
            raise RuntimeError(f"{answer.status_code}: {told}")
        self.order_ids.append(told["id"])
        return str(told["id"])

    async def floor(self) -> str:
        """Start the bare workflow and take its answer."""
        name = "f" + secrets.token_hex(7)
        start = WithStartWorkflowOperation(
            FloorWorkflow.run,
            name,
            id=f"floor-{name}",
            task_queue=ORDERS_QUEUE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        )
        return await self._client.execute_update_with_start_workflow(
            FloorWorkflow.place, start_workflow_operation=start, id="place"
        )


async def one_at_a_time(place: Place, count: int) -> list[float]:
    """Return the milliseconds of each of `count` placings."""
    took = []
    for _ in range(count):
        began = time.perf_counter()
        await place()
        took.append((time.perf_counter() - began) * 1000)
    return took


async def many_at_a_time(place: Place, count: int, *, width: int) -> float:
    """Return placings per second with `width` under way."""
    gate = asyncio.Semaphore(width)

    async def gated() -> None:
        async with gate:
            await place()

    began = time.perf_counter()
    await asyncio.gather(*(gated() for _ in range(count)))
    return count / (time.perf_counter() - began)


async def reads(http: httpx2.AsyncClient, order_id: str, count: int) -> dict[str, list[float]]:
    """Return the milliseconds of reads."""
    paths = {
        "order": f"/orders/binanceus/{order_id}",
        "orders": "/orders/binanceus?limit=50",
        "positions": "/positions/binanceus",
        "balance": "/balance/binanceus",
        "health": "/health",
    }
    took: dict[str, list[float]] = {}
    for name, path in paths.items():
        samples = []
        for _ in range(count):
            began = time.perf_counter()
            answer = await http.get(path)
            answer.raise_for_status()
            samples.append((time.perf_counter() - began) * 1000)
        took[name] = samples
    return took


def spread(samples: list[float]) -> dict[str, float]:
    """Return median, p99 and maximum, in the unit of the samples."""
    ordered = sorted(samples)
    return {
        "p50": round(statistics.median(ordered), 1),
        "p99": round(ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))], 1),
        "max": round(ordered[-1], 1),
    }


async def measure(stack: EmbeddedStack, arguments: argparse.Namespace) -> dict[str, Any]:
    """Run everything once, product and floor in turns so that a drifting machine hits both."""
    client = await connect_temporal(stack.ready["temporal"])
    headers = {"X-API-Key": API_KEY}
    async with httpx2.AsyncClient(base_url=stack.ready["api"], headers=headers, timeout=60) as http:
        bench = Bench(client, http)
        await one_at_a_time(bench.product, 20)
        await one_at_a_time(bench.floor, 20)
        product, floor = [], []
        for _ in range(arguments.rounds):
            product += await one_at_a_time(bench.product, arguments.latency_orders // arguments.rounds)
            floor += await one_at_a_time(bench.floor, arguments.latency_orders // arguments.rounds)
        rates: dict[str, list[float]] = {"product": [], "floor": []}
        for _ in range(arguments.rounds):
            rates["product"].append(await many_at_a_time(bench.product, arguments.orders, width=50))
            rates["floor"].append(await many_at_a_time(bench.floor, arguments.orders, width=50))
        handle = client.get_workflow_handle(order_workflow_id("binanceus", bench.order_ids[0]))
        await handle.result()
        events = len((await handle.fetch_history()).events)
        read = await reads(http, bench.order_ids[0], arguments.reads)
    return {
        "latency_ms": {"product": spread(product), "floor": spread(floor)},
        "orders_per_s": {name: round(statistics.median(values), 1) for name, values in rates.items()},
        "events_per_market_order": events,
        "reads_ms": {name: spread(samples) for name, samples in read.items()},
        "orders_in_ledger": len(bench.order_ids),
    }


async def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Bring the stack and the floor's worker up, measure, stop."""
    with tempfile.TemporaryDirectory(prefix="volex-bench-") as folder:
        directory = Path(folder)
        directory.chmod(0o711)
        port = free_port()
        config = directory / "volex.toml"
        config.write_text(CONFIG.format(venue=f"http://127.0.0.1:{port}"))
        keys = {"BINANCEUS_API_KEY": "simulator-key", "BINANCEUS_SECRET_KEY": "simulator-secret"}
        environ = {**os.environ, **keys, "API_KEY": API_KEY}
        options = StackOptions(
            data_dir=directory / "data",
            config=config,
            environ=environ,
            ports={"simulator": port},
            simulator_arguments=("--balance", "USDT=100000000", "--balance", "BTC=1000"),
        )
        async with EmbeddedStack(options) as stack:
            ready = directory / "floor.ready"
            floor = await Child.start(
                ChildSpec(
                    name="floor",
                    argv=[
                        sys.executable,
                        "-m",
                        "bench.floor",
                        stack.ready["temporal"],
                        stack.ready["simulator"],
                        str(ready),
                    ],
                    log_path=directory / "floor.log",
                    env=keys,
                )
            )
            try:
                async with asyncio.timeout(30):
                    while not ready.exists():
                        await asyncio.sleep(0.05)
                figures = await measure(stack, arguments)
            finally:
                await floor.stop()
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    return {"at": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine, **figures}


def table(figures: dict[str, Any]) -> str:
    """Write the figures beside their budgets."""
    latency, rate = figures["latency_ms"], figures["orders_per_s"]
    ratio = latency["product"]["p50"] / latency["floor"]["p50"]
    slowest = max(figures["reads_ms"].values(), key=lambda entry: entry["p99"])
    rows = [
        ("what", "product", "floor", "budget"),
        (
            "market order p50, ms",
            latency["product"]["p50"],
            latency["floor"]["p50"],
            f"<= 1.25 x floor (is {ratio:.2f})",
        ),
        ("market order p99, ms", latency["product"]["p99"], latency["floor"]["p99"], "< 500"),
        (
            "orders/s, 50 at a time",
            rate["product"],
            rate["floor"],
            f">= 0.8 x floor (is {rate['product'] / rate['floor']:.2f})",
        ),
        ("events per market order", figures["events_per_market_order"], "", "<= 31"),
        ("slowest read p99, ms", slowest["p99"], "", "< 50"),
        ("slowest read max, ms", max(entry["max"] for entry in figures["reads_ms"].values()), "", "< 200"),
    ]
    lines = [f"| {' | '.join(str(cell) for cell in row)} |" for row in rows]
    lines.insert(1, "|---|---|---|---|")
    return "\n".join([f"{figures['machine']}, {figures['at']}", "", *lines])


def main() -> None:
    """Measure, print, and keep the figures."""
    parser = argparse.ArgumentParser(prog="python -m bench.order", description=__doc__)
    parser.add_argument("--latency-orders", type=int, default=150, help="orders one at a time, of each subject")
    parser.add_argument("--orders", type=int, default=200, help="orders 50 at a time, of each subject and round")
    parser.add_argument("--rounds", type=int, default=3, help="turns of product and floor")
    parser.add_argument("--reads", type=int, default=100, help="calls of each read")
    arguments = parser.parse_args()
    figures = asyncio.run(run(arguments))
    print(table(figures))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "order.json").write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
