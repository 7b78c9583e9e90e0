"""How a run comes to rest: faults off, what rests is canceled, and everything must be over within a bound."""

import asyncio
import time
from collections.abc import Sequence

from temporalio.client import Client

from tests.campaign.processes.callers import Desk
from tests.faults import audit
from tests.faults.floor import Floor
from workflows.messages import ORDER_WORKFLOW

WORKERS = ("worker", "worker-2")
SETTLE_S = 180
"""How long everything may take to come to rest once the faults are off."""


async def settle(floor: Floor, desk: Desk, workers: Sequence[str] = WORKERS, within_s: float = SETTLE_S) -> list[str]:
    """Let everything come to rest with the faults off, cancel what rests; return what does not end."""
    names = ("postgres", "temporal", "api", *workers)
    await asyncio.wait_for(asyncio.gather(*(floor.stack.part(name).until_ready() for name in names)), 90)
    await floor.open_database()
    deadline, canceled = time.monotonic() + within_s, set[str]()
    while time.monotonic() < deadline:
        rows = await floor.database.fetch("SELECT order_id, status FROM orders WHERE is_open")
        resting = {row["order_id"] for row in rows if row["status"] in ("ACCEPTED", "PARTIALLY_FILLED")}
        await asyncio.gather(*(desk.cancel(order_id) for order_id in resting - canceled))
        canceled |= resting
        if not rows and not await _unfinished(floor):
            return []
        await asyncio.sleep(0.5)
    return await _unfinished(floor)


async def _unfinished(floor: Floor) -> list[str]:
    """Return what is not over: open ends in the ledger, and workflows that still run."""
    left = [
        f"{row['order_id']} is stuck in {row['status']}"
        for row in await floor.database.fetch("SELECT order_id, status FROM orders WHERE is_open")
    ]
    left += await audit.open_ends(floor.database, floor.venue)
    client = await Client.connect(floor.stack.ready["temporal"])
    query = f"WorkflowType = '{ORDER_WORKFLOW}' AND ExecutionStatus = 'Running'"
    running = [execution.id async for execution in client.list_workflows(query)]
    return left + [f"the workflow {name} still runs" for name in running]
