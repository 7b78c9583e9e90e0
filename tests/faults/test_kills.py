"""Workers killed with -9 under load, and what the venue's own ledger says afterwards."""

import asyncio
import time
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.faults.floor import Floor, figures, open_floor

pytestmark = [pytest.mark.xdist_group("stack"), pytest.mark.timeout(280)]
ORDERS = 200
AT_ONCE = 20
KILL_EVERY_S = 3


async def _kill_workers(floor: Floor, stop: asyncio.Event) -> int:
    kills = 0
    while not stop.is_set():
        try:
            await asyncio.wait_for(stop.wait(), KILL_EVERY_S)
        except TimeoutError:
            floor.stack.part("worker").kill()
            kills += 1
    return kills


def _ticket(number: int) -> dict[str, Any]:
    if number % 4 == 0:
        return {"order_type": "limit", "price": Decimal("61260"), "amount": Decimal("0.02")}
    if number % 4 == 1:
        return {"side": "sell", "amount": Decimal("0.01")}
    if number % 4 == 2:
        return {"order_type": "limit", "price": Decimal("61250"), "amount": Decimal("0.03")}
    return {"amount": Decimal("0.015")}


async def test_two_hundred_orders_survive_a_worker_killed_every_three_seconds(tmp_path: Path) -> None:
    async with open_floor(tmp_path) as floor:
        gate, stop = asyncio.Semaphore(AT_ONCE), asyncio.Event()

        async def one(number: int) -> dict[str, Any]:
            async with gate:
                placed = await floor.place(f"kill-{number}", **_ticket(number))
                return await floor.until_final(placed["id"], within_s=150)

        began = time.monotonic()
        killing = asyncio.create_task(_kill_workers(floor, stop))
        orders = await asyncio.gather(*(one(number) for number in range(ORDERS)))
        stop.set()
        kills = await killing
        figures(
            "kill -9 of the only worker",
            {
                "orders": len(orders),
                "kills": kills,
                "seconds": round(time.monotonic() - began, 1),
                "endings": Counter(order["lifecycle"] for order in orders),
                "attempts": Counter(order["attempts"] for order in orders),
            },
        )
        assert kills >= 5
        assert len({order["id"] for order in orders}) == ORDERS
        assert all(order["lifecycle"] == "FILLED" for order in orders)
        await floor.assert_the_venue_agrees(orders)


async def test_orders_move_again_within_seconds_after_a_kill(tmp_path: Path) -> None:
    async with open_floor(tmp_path, workers=2) as floor:
        took = []
        for number in range(10):
            name = "worker" if number % 2 else "worker-2"
            await floor.fault("delay", method="POST", path="/order", seconds=0.5, times=4)
            placing = [asyncio.create_task(floor.place(f"move-{number}-{n}")) for n in range(4)]
            await asyncio.sleep(0)
            await _until_on_the_wire(floor, 4 * (number + 1))
            killed_at = time.monotonic()
            floor.stack.part(name).kill()
            placed = await asyncio.gather(*placing)
            for order in placed:
                await floor.until_final(order["id"])
                took.append(time.monotonic() - killed_at)
            await floor.stack.part(name).until_ready()
        took.sort()
        p95 = took[int(len(took) * 0.95) - 1]
        figures(
            "orders end after a kill, s", {"n": len(took), "p50": round(took[len(took) // 2], 2), "p95": round(p95, 2)}
        )
        assert p95 < 5
        orders = [await floor.order(order_id) for order_id in await _all_ids(floor)]
        await floor.assert_the_venue_agrees(orders)


async def _until_on_the_wire(floor: Floor, count: int) -> None:
    async with asyncio.timeout(20):
        while sum(1 for r in (await floor.venue.get("/requests")).json() if r["method"] == "POST") < count:
            await asyncio.sleep(0.02)


async def _all_ids(floor: Floor) -> list[str]:
    return [order["id"] for order in (await floor.rest.get("/orders/binanceus?limit=500")).json()]
