"""A machine is lost with orders at the venue: its backup, taken while they ran, is restored on an empty one."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import pytest

from domain.audit import Verdict
from domain.identifiers import derive_order_id, order_workflow_id
from embedded.child import Child, free_port
from embedded.data_directory import DataDirectory
from embedded.python_parts import Simulator
from embedded.stack import ALL_PARTS, StackOptions
from simulator.running import API_KEY, SECRET_KEY
from starter.replaying import Replay
from storage.archive import SqlArchive
from storage.audit_store import verify
from storage.backup import back_up
from storage.database import open_engine
from tests.faults import audit
from tests.faults.floor import RICH, Floor, figures, live_account, open_stack

pytestmark = pytest.mark.timeout(200)
HOLD = """
CREATE SCHEMA held;
CREATE FUNCTION held.hold() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(7);
    RETURN NEW;
END $$;
CREATE TRIGGER hold BEFORE INSERT ON attempts FOR EACH ROW EXECUTE FUNCTION held.hold();
"""
"""Holds a worker between an order's admission and its journal: the order is at rest, and will be sent."""
WAITS = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"


@contextlib.asynccontextmanager
async def venue_alone(directory: Path) -> AsyncIterator[Simulator]:
    """A local venue that belongs to no stack, and outlives them."""
    arguments = [*(word for held in RICH for word in ("--balance", held)), "--tick-interval-s", "0.1"]
    with DataDirectory(directory) as data:
        simulator = Simulator(data, port=free_port(), control_port=free_port(), arguments=arguments)
        child = await Child.start(simulator.spec())
        try:
            await simulator.until_ready(child)
            yield simulator
        finally:
            await child.stop()


def machine(directory: Path, venue: Simulator) -> StackOptions:
    """A machine of its own: its ledger and its Temporal, at the same venue."""
    directory.mkdir()
    account = live_account(directory, venue.venue_url, (API_KEY, SECRET_KEY), max_notional="20000")
    return StackOptions(**account, parts=ALL_PARTS - {"simulator"})


async def volex(*words: str) -> tuple[int, str]:
    """Run the command; return its exit code and what it printed."""
    environ = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    environ["API_KEY"] = "test-key"
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-m",
        "cli.main",
        *words,
        env=environ,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    told, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode is not None
    return process.returncode, told.decode()


class Orders:
    """The orders of this story, by what became of them."""

    def __init__(self, floor: Floor) -> None:
        self._floor = floor
        self.ended: list[str] = []
        self.resting = ""
        self.partly = ""
        self.at_rest = derive_order_id("binanceus", "at-rest")
        self.in_flight = [derive_order_id("binanceus", f"flight-{number}") for number in range(2)]

    async def begin(self) -> None:
        """Bring orders to every place of their lives that a backup can find them in."""
        floor = self._floor
        ended = [await floor.place(f"market-{number}") for number in range(2)]
        ended.append(await floor.place("too-big", amount=Decimal(1)))
        self.resting = (await floor.place("rest", order_type="limit", price=Decimal("60000")))["id"]
        self.partly = (await floor.place("part", order_type="limit", price=Decimal("60000"), amount=Decimal("0.2")))[
            "id"
        ]
        await floor.market(fill={"client_order_id": self.partly, "quantity": "0.05"})
        canceled = (await floor.place("cancel", order_type="limit", price=Decimal("59000")))["id"]
        (await floor.rest.delete(f"/orders/binanceus/{canceled}")).raise_for_status()
        self.ended = [*(order["id"] for order in ended), canceled]
        for order_id in self.ended:
            await floor.until_final(order_id)
        await floor.until(self.partly, lambda order: bool(order["filled"] == Decimal("0.05")))

    async def back_up_in_the_middle(self, file: Path) -> list[asyncio.Task[dict[str, Any]]]:
        """Take the backup with two orders on their way to the venue, and one that will be sent right after it."""
        floor = self._floor
        await floor.fault("delay", method="POST", path="/order", seconds=1, times=2)
        before = await floor.requests()
        placing = [asyncio.create_task(floor.place(f"flight-{number}")) for number in range(2)]
        await floor.until_requests(before + 2)
        await floor.database.execute(HOLD)
        await floor.database.execute("SELECT pg_advisory_lock(7::bigint)")
        try:
            placing.append(asyncio.create_task(floor.place("at-rest")))
            async with asyncio.timeout(4):
                while not await floor.database.fetchval(WAITS):
                    await asyncio.sleep(0.02)
            await back_up(floor.stack.ready["database"], file)
        finally:
            await floor.database.execute("SELECT pg_advisory_unlock_all()")
        return placing


async def until_archived(floor: Floor, order_ids: list[str]) -> None:
    """Wait until the histories of ended orders are in the ledger."""
    query = "SELECT count(DISTINCT order_id) FROM archived_histories WHERE order_id = ANY ($1)"
    async with asyncio.timeout(30):
        while await floor.database.fetchval(query, order_ids) < len(order_ids):
            await asyncio.sleep(0.1)


async def assert_all_replay(floor: Floor, ended: list[str], running: str) -> None:
    """Replay everything that is archived and, by the command, an order that still runs."""
    where = ("--data-dir", floor.stack.ready["data_dir"])
    by_command = [asyncio.create_task(volex(word, running, *where)) for word in ("replay", "explain")]
    engine = open_engine(floor.stack.ready["database"], application_name="test", pool_size=1)
    try:
        told = [replayed async for replayed in Replay(SqlArchive(engine), None).every()]
    finally:
        await engine.dispose()
    assert {replayed.order_id for replayed in told if replayed.order_id} >= set(ended)
    assert [replayed for replayed in told if replayed.difference is not None] == []
    (code, line), (told_code, story) = await asyncio.gather(*by_command)
    assert (code, line.strip()) == (0, "1 histories replayed, 0 differ.")
    print(story)
    assert told_code == 0 and "leave to send was given" in story and "otherwise: Beyond any of these" in story, story


async def assert_known_and_single(floor: Floor, orders: Orders) -> None:
    """Every order of the backup is as the venue has it, and the venue has it once."""
    for order_id in (*orders.in_flight, orders.at_rest):
        assert (await floor.until_final(order_id))["lifecycle"] == "FILLED"
    await floor.until(orders.partly, lambda order: bool(order["filled"] == Decimal("0.1")))
    books = await audit.read_books(floor.database, floor.venue)
    known = [*orders.ended, orders.resting, orders.partly, *orders.in_flight, orders.at_rest]
    for order_id in known:
        order = await floor.order(order_id)
        audit.assert_order_agrees(order, books)
        assert audit.orders_at_venue(order_id, books) == (0 if order["lifecycle"] == "DENIED" else 1), order


async def until_reported(floor: Floor, venue_order_id: str) -> None:
    """Wait until the order that the backup does not know is a case."""
    query = "SELECT count(*) FROM cases WHERE code = 'ORPHAN_ORDER' AND subject LIKE '%' || $1"
    async with asyncio.timeout(30):
        while not await floor.database.fetchval(query, venue_order_id):
            await asyncio.sleep(0.1)


async def test_backup_of_running_orders_is_restored_on_an_empty_machine(tmp_path: Path) -> None:
    file = tmp_path / "volex.backup"
    async with venue_alone(tmp_path / "venue") as venue:
        async with open_stack(machine(tmp_path / "one", venue), venue.control_url) as floor:
            await floor.calm()
            await floor.until_reconciled()
            orders = Orders(floor)
            await orders.begin()
            earlier = volex("backup", str(tmp_path / "earlier.backup"), "--data-dir", floor.stack.ready["data_dir"])
            (code, told), _ = await asyncio.gather(earlier, until_archived(floor, orders.ended))
            assert code == 0 and "orders" in told, told
            placing = await orders.back_up_in_the_middle(file)
            for order in await asyncio.gather(*placing):
                assert (await floor.until_final(order["id"]))["lifecycle"] == "FILLED"
            lost = await floor.place("after", order_type="limit", price=Decimal("58000"))
            ended = [*orders.ended, *orders.in_flight, orders.at_rest]
            await until_archived(floor, ended)
            await assert_all_replay(floor, ended, orders.resting)
        posts = len([entry for entry in await _requests(venue) if entry["method"] == "POST"])
        second = machine(tmp_path / "two", venue)
        code, told = await volex("restore", str(file), "--data-dir", str(second.data_dir))
        assert code == 0 and "restored; as of" in told, told
        async with open_stack(second, venue.control_url) as floor:
            await floor.market(fill={"client_order_id": orders.partly, "quantity": "0.05"})
            await until_reported(floor, lost["venue_order_id"])
            await assert_known_and_single(floor, orders)
            now = len([entry for entry in await _requests(venue) if entry["method"] == "POST"])
            assert now == posts, "nothing was sent again"
            assert (await floor.place("rest", order_type="limit", price=Decimal("60000")))["id"] == orders.resting
            new = await floor.place("new")
            assert (await floor.until_final(new["id"]))["lifecycle"] == "FILLED"
            assert not (await audited(floor)).found
            kept = await floor.database.fetchval(
                "SELECT count(*) FROM archived_histories WHERE workflow_id = $1",
                order_workflow_id("binanceus", orders.ended[0]),
            )
            figures("restored", {"posts": posts, "bytes": file.stat().st_size, "archived of the first order": kept})
            assert kept == 1


async def audited(floor: Floor) -> Verdict:
    """Verify the audit log over everything."""
    engine = open_engine(floor.stack.ready["database"], application_name="test", pool_size=1)
    try:
        return await verify(engine)
    finally:
        await engine.dispose()


async def _requests(venue: Simulator) -> list[dict[str, Any]]:
    async with httpx2.AsyncClient(base_url=venue.control_url, timeout=10) as client:
        return list((await client.get("/requests")).json())
