"""An old and a new build of the worker side by side: orders of both ages finish, and no caller notices."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client

from domain.identifiers import order_workflow_id
from embedded.child import Child, python_module
from embedded.python_parts import WorkerProcess
from embedded.stack import ALL_PARTS
from starter.builds import builds, promote
from starter.connection import connect_temporal
from starter.replaying import Replay, Replayed
from storage.archive import SqlArchive
from storage.database import open_engine
from tests.faults.floor import Floor, figures, open_floor
from tests.faults.next_build import NEXT, PATCH
from workflows.registry import WORKFLOWS

pytestmark = pytest.mark.timeout(200)
OLD, NEW = "2026.11.1", "2026.11.2"
PLACING_MAX_S = 3.0
"""The longest that a caller may wait while the builds change: a step of the old one that was under way is given up
after the heartbeat."""


@contextlib.asynccontextmanager
async def worker_of(floor: Floor, number: int, build_id: str, module: str) -> AsyncIterator[Child]:
    """A worker of a build, beside the stack's own parts."""
    data = floor.stack.data
    process = WorkerProcess(
        number,
        environment={**floor.stack.environment, "WORKER__BUILD_ID": build_id, "PYTHONPATH": str(Path.cwd())},
        log_path=data.log_path(f"worker-{build_id}"),
        run_dir=data.run,
        graceful_s=5,
    )
    child = await Child.start(replace(process.spec(), argv=python_module(module)))
    try:
        await process.until_ready(child)
        yield child
    finally:
        await child.stop()


async def traffic(floor: Floor, placed: list[dict[str, Any]], stop: asyncio.Event) -> float:
    """Place market orders one after the other; return how many seconds the slowest answer took."""
    slowest = 0.0
    while not stop.is_set():
        began = time.monotonic()
        placed.append(await floor.place(f"traffic-{len(placed)}"))
        slowest = max(slowest, time.monotonic() - began)
        await asyncio.sleep(0.1)
    return slowest


async def replayed(floor: Floor, workflows: tuple[type, ...]) -> list[Replayed]:
    """Run a build's code over everything that is archived."""
    engine = open_engine(floor.stack.ready["database"], application_name="test", pool_size=1)
    try:
        return [one async for one in Replay(SqlArchive(engine), None, workflows=workflows).every()]
    finally:
        await engine.dispose()


async def until_archived(floor: Floor, count: int) -> None:
    """Wait until so many orders are archived."""
    async with asyncio.timeout(40):
        while await floor.database.fetchval("SELECT count(DISTINCT order_id) FROM archived_histories") < count:
            await asyncio.sleep(0.1)


async def steps_by_build(client: Client, order_id: str) -> tuple[list[str], bool]:
    """Return which build took each workflow task of an order, and whether one of them took the new step."""
    history = await client.get_workflow_handle(order_workflow_id("binanceus", order_id)).fetch_history()
    done = [event.workflow_task_completed_event_attributes for event in history.events]
    markers = [str(event.marker_recorded_event_attributes.details) for event in history.events]
    return [one.deployment_version.build_id for one in done if one.deployment_version.build_id], PATCH in str(markers)


def differing(told: list[Replayed]) -> set[str | None]:
    """Return the orders whose history a build would lead otherwise."""
    return {one.order_id for one in told if one.difference is not None}


async def test_orders_of_both_ages_finish_while_the_builds_change(tmp_path: Path) -> None:
    async with (
        open_floor(tmp_path, parts=ALL_PARTS - {"worker"}) as floor,
        worker_of(floor, 2, NEW, "tests.faults.next_build"),
    ):
        client = await connect_temporal(floor.stack.ready["temporal"])
        placed: list[dict[str, Any]] = []
        stop = asyncio.Event()
        async with worker_of(floor, 1, OLD, "worker"):
            await promote(client, OLD)
            await floor.until_reconciled()
            resting = [
                await floor.place(f"rest-{number}", order_type="limit", price=Decimal("60000")) for number in range(3)
            ]
            await floor.market(fill={"client_order_id": resting[0]["id"], "quantity": "0.01"})
            await floor.until_final(resting[0]["id"])
            await until_archived(floor, 1)
            before = await replayed(floor, NEXT)
            assert before and not differing(before), "the gate that the new build passes before it is promoted"
            placing = asyncio.create_task(traffic(floor, placed, stop))
            await until_archived(floor, 4)
            await promote(client, NEW)
            since = len(placed)
            while len(placed) < since + 10:
                await asyncio.sleep(0.05)
        stop.set()
        slowest = await placing
        await floor.market(fill={"client_order_id": resting[1]["id"], "quantity": "0.01"})
        (await floor.rest.delete(f"/orders/binanceus/{resting[2]['id']}")).raise_for_status()
        orders = [await floor.until_final(order["id"]) for order in (*resting, *placed)]
        assert {order["lifecycle"] for order in orders[3:]} == {"FILLED"}
        assert [order["lifecycle"] for order in orders[:3]] == ["FILLED", "FILLED", "CANCELED"]
        await floor.assert_the_venue_agrees(orders)
        await until_archived(floor, len(orders))
        states = {build.build_id: build.state for build in await builds(client)}
        assert states[NEW] == "current" and states[OLD] in ("draining", "drained")
        found = {order["id"]: await steps_by_build(client, order["id"]) for order in orders}
        taken = {order_id: by for order_id, (by, _) in found.items()}
        with_new_step = {order_id for order_id, (_, has_new_step) in found.items() if has_new_step}
        assert set(taken[resting[0]["id"]]) == {OLD} and set(taken[placed[-1]["id"]]) == {NEW}
        moved = taken[resting[1]["id"]]
        assert moved == sorted(moved) and set(moved) == {OLD, NEW}, "an order moves once, and never back"
        assert all(by == sorted(by) for by in taken.values()), taken
        assert {resting[1]["id"], resting[2]["id"], placed[-1]["id"]} <= with_new_step
        assert differing(await replayed(floor, NEXT)) == set()
        others = differing(await replayed(floor, WORKFLOWS))
        assert others == with_new_step, "the old build sees the step that it has not"
        assert slowest < PLACING_MAX_S
        figures("builds changed", {"orders": len(orders), "slowest_s": round(slowest, 2), "moved": moved})
