"""`python -m bench.burst`: a burst of orders against a venue that allows few, two workers, and cancels in its middle.

Real processes: the embedded stack and the simulator, which counts as Binance US does: 100 orders in 10 s, 1,200 weight
a minute, 429 to who goes over, 418 to who goes on. Prints what the venue saw. Takes about a minute and a half.
"""

import argparse
import asyncio
import contextlib
import json
import os
import secrets
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from embedded.child import free_port
from embedded.stack import EmbeddedStack, StackOptions

RESULTS = Path(__file__).parent / "results"
API_KEY = secrets.token_hex(16)
CONFIG = """
dry_run_mode = false
[accounts.binanceus]
exchange = "binanceus"
mode = "sandbox"
credentials = "env"
[accounts.binanceus.ccxt.options]
orderLimits = [[{orders}, {window_s}]]
[accounts.binanceus.ccxt.urls.api]
public = "{venue}/api/v3"
private = "{venue}/api/v3"
sapi = "{venue}/sapi/v1"
"""
FINAL = ("FILLED", "CANCELED", "DENIED", "EXPIRED", "REJECTED")


@dataclass(frozen=True)
class Plan:
    """The burst, and what the venue allows: `orders` in `window_s` seconds, `weight` in a minute."""

    tickets: int = 500
    orders: int = 100
    window_s: int = 10
    weight: int = 1200
    cancels: int = 20
    workers: int = 2
    within_s: float = 150


class Burst:
    """One run, seen from the caller's side and from the venue's."""

    def __init__(self, plan: Plan, rest: httpx2.AsyncClient, venue: httpx2.AsyncClient) -> None:
        self._plan = plan
        self._rest = rest
        self._venue = venue
        self._places = asyncio.Semaphore(50)
        self.refusals: Counter[str] = Counter()

    async def ready(self) -> None:
        """Wait until the account takes orders: its first reconciliation has passed."""
        async with asyncio.timeout(60):
            while (await self._place("ready", order_type="market")).get("lifecycle") != "FILLED":
                await asyncio.sleep(0.2)

    async def _place(self, key: str, **fields: Any) -> dict[str, Any]:
        body = {"symbol": "BTC/USDT", "side": "buy", "amount": 0.001, **fields}
        async with self._places, asyncio.timeout(self._plan.within_s):
            while True:  # with its key an order is placed once, however often it is asked for
                answer = await self._rest.post("/orders?timeout_s=10", json=body, headers={"Idempotency-Key": key})
                if answer.status_code < 500:
                    break
                self.refusals[answer.json()["code"]] += 1
                await asyncio.sleep(0.5)
        told: dict[str, Any] = answer.json()
        return told.get("order", told)

    async def run(self) -> dict[str, Any]:
        """Let orders rest, then send the burst and cancel them in its middle; return what the venue saw."""
        plan = self._plan
        resting = [
            await self._place(f"rest-{n}", order_type="limit", price=50_000, strategy="rests")
            for n in range(plan.cancels)
        ]
        calm = await self._cancel_each(resting[: plan.cancels // 2], over_s=1)
        began_ms = time.time() * 1000
        tickets = [
            asyncio.create_task(self._place(f"burst-{n}", order_type="market", strategy=f"s{n % 3}"))
            for n in range(plan.tickets)
        ]
        waits = await self._cancel_each(resting[plan.cancels // 2 :], over_s=plan.window_s * 2)
        ids = [ticket["id"] for ticket in await asyncio.gather(*tickets)]
        await self._until_filled(ids)
        status = (await self._rest.get("/exchanges/binanceus/status")).json()
        took = {
            "cancels before it": calm,
            "cancels in the burst": waits,
            "orders of the burst": await self._waits(ids, began_ms),
        }
        return {
            **await self._seen(ids, resting, began_ms),
            "ms_to_the_venue": {name: _spread(values) for name, values in took.items()},
            "rate_budgets": status["rate_budgets"],
        }

    async def _cancel_each(self, resting: Sequence[dict[str, Any]], *, over_s: float) -> dict[str, float]:
        """Cancel one after the other; return after how many milliseconds each request was at the venue."""
        asked = {}
        for order in resting:
            await asyncio.sleep(over_s / len(resting))
            asked[order["id"]] = time.time() * 1000
            while (answer := await self._rest.delete(f"/orders/binanceus/{order['id']}")).status_code >= 500:
                self.refusals[f"cancel: {answer.json()['code']}"] += 1
            answer.raise_for_status()
        arrived = {
            entry.get("origClientOrderId") or entry.get("orderId"): entry["time_ms"]
            for entry in reversed(await self._requests())
            if entry["method"] == "DELETE"
        }
        return {
            order["id"]: (arrived.get(order["id"]) or arrived[str(order["venue_order_id"])]) - asked[order["id"]]
            for order in resting
        }

    async def _until_filled(self, ids: Sequence[str]) -> None:
        async with asyncio.timeout(self._plan.within_s):
            while not set(ids) <= await self._placed():
                await asyncio.sleep(0.5)
            for order_id in ids:
                while (order := (await self._rest.get(f"/orders/binanceus/{order_id}")).json())[
                    "lifecycle"
                ] != "FILLED":
                    assert order["lifecycle"] not in FINAL, f"{order_id}: {order}"
                    await asyncio.sleep(0.2)

    async def _placed(self) -> set[str]:
        requests = await self._requests()
        return {entry["newClientOrderId"] for entry in requests if entry["method"] == "POST" and entry["accepted"]}

    async def _waits(self, ids: Sequence[str], began_ms: float) -> dict[str, float]:
        posts = [entry for entry in await self._requests() if entry["method"] == "POST" and entry["accepted"]]
        waits = {entry["newClientOrderId"]: entry["time_ms"] - began_ms for entry in posts}
        return {order_id: waits[order_id] for order_id in ids}

    async def _requests(self) -> list[dict[str, Any]]:
        seen: list[dict[str, Any]] = (await self._venue.get("/requests")).json()
        return seen

    async def _seen(self, ids: Sequence[str], resting: Sequence[dict[str, Any]], began_ms: float) -> dict[str, Any]:
        requests = await self._requests()
        statuses = Counter(entry.get("status") for entry in requests)
        posts = [entry for entry in requests if entry["method"] == "POST"]
        times = [entry["time_ms"] for entry in posts if entry["accepted"]]
        window_ms = self._plan.window_s * 1000
        return {
            "tickets": len(ids),
            "placed": len(set(ids) & {entry["newClientOrderId"] for entry in posts if entry["accepted"]}),
            "posts": len(posts),
            "status_429": statuses[429],
            "status_418": statuses[418],
            "most_orders_in_any_window": max(sum(1 for t in times if s <= t < s + window_ms) for s in times),
            "took_s": round((max(times) - began_ms) / 1000, 1),
            "canceled": len(resting),
            "asked_again": dict(self.refusals),
        }


def _spread(waits: dict[str, float]) -> dict[str, int]:
    ordered = sorted(waits.values())
    return {"p50": round(ordered[len(ordered) // 2]), "max": round(ordered[-1])}


async def run_burst(directory: Path, plan: Plan) -> dict[str, Any]:
    """Bring stack and venue up in the directory, run the plan, stop."""
    directory.chmod(0o711)
    port, control = free_port(), free_port()
    config = directory / "volex.toml"
    config.write_text(CONFIG.format(venue=f"http://127.0.0.1:{port}", orders=plan.orders, window_s=plan.window_s))
    keys = {"BINANCEUS_API_KEY": "simulator-key", "BINANCEUS_SECRET_KEY": "simulator-secret"}
    limits = ("--weight-limit", str(plan.weight), "--orders-in-window", f"{plan.orders}/{plan.window_s}")
    options = StackOptions(
        data_dir=directory / "data",
        config=config,
        workers=plan.workers,
        environ={**os.environ, **keys, "API_KEY": API_KEY},
        ports={"simulator": port, "simulator_control": control},
        simulator_arguments=("--balance", "USDT=100000000", "--balance", "BTC=1000", *limits),
    )
    async with contextlib.AsyncExitStack() as stack:
        ready = (await stack.enter_async_context(EmbeddedStack(options))).ready
        rest = httpx2.AsyncClient(base_url=ready["api"], headers={"X-API-Key": API_KEY}, timeout=90)
        venue = httpx2.AsyncClient(base_url=f"http://127.0.0.1:{control}", timeout=30)
        burst = Burst(plan, await stack.enter_async_context(rest), await stack.enter_async_context(venue))
        await burst.ready()
        return await burst.run()


def main() -> None:
    """Run, print, keep the figures. Exit code 1 when the venue had to say 418, or 429 more than once."""
    parser = argparse.ArgumentParser(prog="python -m bench.burst", description=__doc__)
    for name, value in vars(Plan()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    plan = Plan(**vars(parser.parse_args()))
    with tempfile.TemporaryDirectory(prefix="volex-burst-") as folder:
        figures = asyncio.run(run_burst(Path(folder), plan))
    print(json.dumps(figures, indent=2))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "burst.json").write_text(json.dumps(figures, indent=2) + "\n")
    if figures["status_418"] or figures["status_429"] > 1:
        sys.exit(1)


if __name__ == "__main__":
    main()
