"""Every other part killed with -9 in the middle of orders: the orders go on, once."""

import asyncio
import os
import signal
from decimal import Decimal
from pathlib import Path

import pytest

from starter.client import ExecutionClient
from starter.failures import EngineUnavailable
from tests.faults.floor import Floor, open_floor

pytestmark = pytest.mark.timeout(200)
PARTS = [("temporal",), ("postgres",), ("simulator",), ("temporal", "postgres", "worker", "api")]


async def test_orders_go_on_whatever_is_killed_and_restarted(tmp_path: Path) -> None:
    async with open_floor(tmp_path) as floor:
        for round_number, parts in enumerate(PARTS):
            await _kill_in_the_middle(floor, parts, f"r{round_number}")
        await floor.assert_the_books_close()
        resting = await floor.place("rest", order_type="limit", price=Decimal("60000"), amount=Decimal("0.2"))
        assert resting["lifecycle"] == "ACCEPTED"
    async with open_floor(tmp_path) as floor:
        again = await floor.place("rest", order_type="limit", price=Decimal("60000"), amount=Decimal("0.2"))
        assert again["id"] == resting["id"]
        await floor.market(fill={"client_order_id": resting["id"], "quantity": "0.2"})
        ended = await floor.until_final(resting["id"])
        assert ended["lifecycle"] == "FILLED"
        await floor.assert_the_venue_agrees([ended])
        await floor.assert_the_books_close()


async def test_cancel_that_no_worker_took_survives_the_death_of_temporal(tmp_path: Path) -> None:
    """An update that waits for a worker is in Temporal's memory alone: what we call "asked for" must be on its disk."""
    async with open_floor(tmp_path) as floor:
        client = await ExecutionClient.connect(floor.stack.ready["temporal"])
        resting = await floor.place("rest", order_type="limit", price=Decimal("59000"), amount=Decimal("0.3"))
        worker = floor.stack.part("worker").pid
        assert worker is not None
        os.kill(worker, signal.SIGSTOP)
        await client.cancel_order(resting["id"], account="binanceus", timeout_s=1)
        with pytest.raises(EngineUnavailable, match="whether the order is amended is not known"):
            await client.amend_order(resting["id"], account="binanceus", price=Decimal("59001"), timeout_s=1)
        for part in ("temporal", "worker"):  # the worker too: it may hold the task that brought the update
            floor.stack.part(part).kill()
        for part in ("temporal", "worker"):
            await asyncio.wait_for(floor.stack.part(part).until_ready(), 60)
        ended = await floor.until_final(resting["id"], within_s=30)
        assert (ended["lifecycle"], ended["price"]) == ("CANCELED", Decimal("59000"))
        await floor.assert_the_venue_agrees([ended])
        await floor.assert_the_books_close()


async def _kill_in_the_middle(floor: Floor, parts: tuple[str, ...], label: str) -> None:
    """Kill the parts with a submit in flight, one order at rest and one filled in part."""
    resting = await floor.place(f"{label}-rest", order_type="limit", price=Decimal("59000"), amount=Decimal("0.3"))
    partly = await floor.place(f"{label}-part", order_type="limit", price=Decimal("59000"), amount=Decimal("0.2"))
    await floor.market(fill={"client_order_id": partly["id"], "quantity": "0.05"})
    await floor.fault("delay", method="POST", path="/order", seconds=1, times=3)
    before = await floor.requests()
    under_way = [asyncio.create_task(floor.place(f"{label}-{number}")) for number in range(3)]
    await floor.until_requests(before + 3)
    for part in parts:
        floor.stack.part(part).kill()
    for part in parts:
        await asyncio.wait_for(floor.stack.part(part).until_ready(), 60)
    if "postgres" in parts:
        await floor.open_database()
    if "simulator" in parts:
        await floor.calm()
    placed = await asyncio.gather(*under_way)
    await floor.market(fill={"client_order_id": partly["id"], "quantity": "0.15"})
    ended = [await floor.until_final(order["id"]) for order in (partly, *placed)]
    assert [order["lifecycle"] for order in ended] == ["FILLED"] * 4, label
    assert (await floor.order(resting["id"]))["lifecycle"] == "ACCEPTED"
    canceled = await floor.rest.delete(f"/orders/binanceus/{resting['id']}")
    assert canceled.json()["lifecycle"] == "CANCELED"
    await floor.assert_the_venue_agrees([*ended, await floor.order(resting["id"])])
