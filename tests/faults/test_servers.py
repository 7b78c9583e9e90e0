"""Temporal and Postgres killed with -9 in the middle of orders: the orders go on, once."""

import asyncio
from decimal import Decimal
from pathlib import Path

import pytest

from tests.faults.floor import Floor, open_floor

pytestmark = [pytest.mark.xdist_group("stack"), pytest.mark.timeout(200)]


@pytest.mark.parametrize("server", ["temporal", "postgres"])
async def test_orders_go_on_when_a_server_is_killed(tmp_path: Path, server: str) -> None:
    async with open_floor(tmp_path) as floor:
        resting = await floor.place("rest", order_type="limit", price=Decimal("61000"), amount=Decimal("0.3"))
        partly = await floor.place("part", order_type="limit", price=Decimal("61240"), amount=Decimal("0.2"))
        await floor.market(fill={"client_order_id": partly["id"], "quantity": "0.05"})
        await floor.fault("delay", method="POST", path="/order", seconds=1, times=3)
        under_way = [asyncio.create_task(floor.place(f"way-{number}")) for number in range(3)]
        await _until_on_the_wire(floor, 5)
        floor.stack.part(server).kill()
        placed = await asyncio.gather(*under_way)
        await floor.stack.part(server).until_ready()
        await floor.market(fill={"client_order_id": partly["id"], "quantity": "0.15"})
        ended = [await floor.until_final(order["id"]) for order in (partly, *placed)]
        assert [order["lifecycle"] for order in ended] == ["FILLED"] * 4
        assert (await floor.order(resting["id"]))["lifecycle"] == "ACCEPTED"
        canceled = await floor.rest.delete(f"/orders/binanceus/{resting['id']}")
        assert canceled.json()["lifecycle"] == "CANCELED"
        await floor.assert_the_venue_agrees([*ended, await floor.order(resting["id"])])


async def test_orders_survive_a_restart_of_the_whole_stack(tmp_path: Path) -> None:
    async with open_floor(tmp_path) as floor:
        resting = await floor.place("rest", order_type="limit", price=Decimal("60000"), amount=Decimal("0.2"))
        assert resting["lifecycle"] == "ACCEPTED"
    async with open_floor(tmp_path) as floor:
        again = await floor.place("rest", order_type="limit", price=Decimal("60000"), amount=Decimal("0.2"))
        assert again["id"] == resting["id"]
        await floor.market(fill={"client_order_id": resting["id"], "quantity": "0.2"})
        ended = await floor.until_final(resting["id"])
        assert ended["lifecycle"] == "FILLED"
        await floor.assert_the_venue_agrees([ended])


async def _until_on_the_wire(floor: Floor, count: int) -> None:
    async with asyncio.timeout(20):
        while sum(1 for r in (await floor.venue.get("/requests")).json() if r["method"] == "POST") < count:
            await asyncio.sleep(0.02)
