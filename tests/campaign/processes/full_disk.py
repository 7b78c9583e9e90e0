"""A short phase of its own: the disk under the ledger is full while orders come in, and is freed again.

The ledger's directory is a small tmpfs, which only root can mount. Full, it refuses to extend tables; when the log's
segment ends, the server itself goes down and cannot come up. Nothing may be sent that is not journaled.
"""

import asyncio
import os
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import asyncpg

from tests.campaign.processes import judge, ledgers, schedule
from tests.campaign.processes.callers import Desk
from tests.campaign.processes.settling import settle
from tests.faults.floor import Floor, open_floor

SIZE_MB = 160
"""A new cluster takes 60 MB, and a run of this length not as much again."""
FENCE_S = 7
FULL_S = 12.0
ORDERS = 30
LOAD_S = 18.0
KEY = "disk"


@contextmanager
def small_disk(directory: Path) -> Iterator[None]:
    """Mount a small file system. Raises `OSError` where that is not allowed."""
    directory.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE_MB}m,mode=755", "tmpfs", str(directory)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(done.stderr.strip())
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=False)


def fill(path: Path) -> None:
    """Write zeros until there is no room for another byte."""
    with path.open("wb", buffering=0) as ballast, suppress(OSError):
        for size in (1 << 20, 1 << 12):
            with suppress(OSError):
                while ballast.write(bytes(size)):
                    pass


async def run(seed: int, directory: Path) -> dict[str, Any]:
    """Run it; the report says what became of the orders, or why it was not run."""
    if os.geteuid() != 0:
        return {"not_run": ["only root can mount a small file system"]}
    try:
        with small_disk(directory / "data" / "postgres"):
            return await _run(seed, directory)
    except OSError as error:
        return {"not_run": [str(error)]}


async def _run(seed: int, directory: Path) -> dict[str, Any]:
    ballast = directory / "data" / "postgres" / "ballast"
    async with open_floor(directory, workers=1, fence_s=FENCE_S) as floor:
        await floor.until_reconciled()
        desk = Desk(floor, LOAD_S)
        tickets = schedule.tickets(seed, ORDERS)
        working = asyncio.create_task(desk.work(tickets))
        try:
            await asyncio.sleep(LOAD_S / 6)
            fill(ballast)
            crashed = await _end_the_segment(floor)
            await asyncio.sleep(FULL_S)
        finally:
            ballast.unlink(missing_ok=True)
        await working
        unsettled = await settle(floor, desk, ("worker",))
        books = await ledgers.read(floor.database, floor.venue)
    found = judge.violations(books, fence_s=FENCE_S, max_notional=schedule.MAX_NOTIONAL * 100)
    return {
        "seconds_full": FULL_S,
        "server_crashed": crashed,
        "orders": len(books.orders),
        "endings": dict(Counter(order.status for order in books.orders.values())),
        "denials": books.denials(),
        "orders_at_venue": len(books.books.placed),
        "violations": [*desk.problems, *unsettled, *found],
    }


async def _end_the_segment(floor: Floor) -> bool:
    """Let the server need a new segment of its log, for which there is no room; tell whether it went down."""
    before = floor.stack.part("postgres").pid
    for _ in range(12):
        with suppress(asyncpg.PostgresError, OSError, asyncpg.InterfaceError):
            await floor.database.execute("SELECT pg_switch_wal(); CREATE TABLE IF NOT EXISTS room (n int)")
        await asyncio.sleep(0.2)
        if floor.stack.part("postgres").pid != before or floor.database.is_closed():
            return True
    return False
