"""The kill switch pulled under load, with workers killed and stopped: judged by what reaches the venue."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Self

import httpx2
import pytest
import pytest_asyncio

from domain.identifiers import derive_order_id
from tests.faults.floor import Floor, figures, open_floor
from tests.faults.test_fencing import HELD, HOLDS

pytestmark = pytest.mark.timeout(240)
ORDERS_PER_S = 50
AT_ONCE_MAX = 200
AT_REST_BEFORE = 60
AFTER_S = 2.0
RESTING = {"order_type": "limit", "price": Decimal("59000"), "amount": Decimal("0.01")}
GONE_WITHIN_S = 5.0
PATIENCE_S = 30.0
"""What the test itself bears on a machine that is busy with other things; what was measured is printed."""


@pytest_asyncio.fixture(loop_scope="session")
async def floor(tmp_path: Path) -> AsyncIterator[Floor]:
    """A stack of our own with two workers."""
    async with open_floor(tmp_path, workers=2) as floor:
        await floor.until_reconciled()
        yield floor


async def pulled(floor: Floor, **options: Any) -> tuple[dict[str, Any], float]:
    """Pull the switch of the whole firm; return the answer, and the moment in which it was there, in epoch seconds."""
    body = {"scope": "firm", "reason": "a drill", "by": "ann", **options}
    # A client of its own: that of the load has all its connections in use.
    async with httpx2.AsyncClient(base_url=floor.rest.base_url, headers=floor.rest.headers, timeout=30) as client:
        answer = await client.post("/risk/kill", json=body)
        at = time.time()
    assert answer.status_code == 200, answer.text
    return dict(answer.json()), at


async def posts(floor: Floor) -> list[dict[str, Any]]:
    """Return the requests for new orders that have reached the venue."""
    seen = (await floor.venue.get("/requests")).json()
    return [entry for entry in seen if entry["method"] == "POST" and entry["path"].endswith("/order")]


async def resting_at_venue(floor: Floor) -> int:
    """Return how many orders rest in the venue's own ledger."""
    return int((await floor.venue.get("/summary")).json()["open"])


class Load:
    """Orders at a steady rate, whatever becomes of them."""

    def __init__(self, floor: Floor) -> None:
        self._floor = floor
        self._tasks: list[asyncio.Task[dict[str, Any]]] = []
        self._running = asyncio.create_task(self._run())

    async def _run(self) -> None:
        clock = asyncio.get_running_loop().time
        began = clock()
        while True:
            while sum(not task.done() for task in self._tasks) >= AT_ONCE_MAX:  # a machine that cannot keep up
                await asyncio.sleep(0.02)
            self._tasks.append(asyncio.create_task(self._floor.place(f"load-{len(self._tasks)}", **RESTING)))
            await asyncio.sleep(max(began + len(self._tasks) / ORDERS_PER_S - clock(), 0))

    async def stop(self) -> list[dict[str, Any]]:
        """Send no more, and return what was answered to each."""
        self._running.cancel()
        return await asyncio.gather(*self._tasks)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in (self._running, *self._tasks):
            task.cancel()
        await asyncio.gather(self._running, *self._tasks, return_exceptions=True)


async def test_nothing_reaches_the_venue_from_the_answer_on_and_what_rests_is_gone(floor: Floor) -> None:
    async with Load(floor) as load:
        await until_rest(floor, AT_REST_BEFORE)
        sent, asked_at = await posts(floor), time.time()
        told, answered_at = await pulled(floor, cancel_orders=True)
        rested = await resting_at_venue(floor)
        gone_at = await until_nothing_rests(floor)
        await asyncio.sleep(AFTER_S)
        placed = await load.stop()
    await assert_none_after(floor, answered_at)
    wishes = await floor.database.fetchrow(
        "SELECT min(recorded_at) AS first, max(recorded_at) AS last, count(*) AS wishes FROM order_events"
        " WHERE event_type = 'CANCEL_REQUESTED'"
    )
    figures(
        "kill switch under load",
        {
            "first_cancel_after_s": round(wishes["first"].timestamp() - asked_at, 3),
            "last_cancel_after_s": round(wishes["last"].timestamp() - asked_at, 3),
            "orders_asked_for": len(placed),
            "posts_per_s_before": sum(1 for entry in sent if entry["time_ms"] > (asked_at - 1) * 1000),
            "answered_after_s": round(answered_at - asked_at, 3),
            "in_flight": told["in_flight"],
            "resting_at_the_answer": rested,
            "gone_after_s": round(gone_at - asked_at, 3),
            "gone_within_5_s": gone_at - asked_at <= GONE_WITHIN_S,
        },
    )
    assert rested > 0 and told["unanswered"] == 0
    ended = [await floor.until_final(order["id"]) for order in placed]
    assert {order["lifecycle"] for order in ended} <= {"CANCELED", "DENIED", "REJECTED"}
    assert await resting_at_venue(floor) == 0
    await floor.assert_the_books_close()


@pytest.mark.parametrize(("stopped_s", "sent"), [(1.5, 1), (6.5, 0)])
async def test_worker_that_is_stopped_between_its_last_look_and_the_send_sends_before_the_answer_or_never(
    floor: Floor, stopped_s: float, sent: int
) -> None:
    """It wakes in time, and the answer has waited for it; or it wakes too late, and its gate is shut."""
    await floor.database.execute(HOLDS)
    key = f"stopped-{sent}"
    order_id = derive_order_id("binanceus", key)
    await floor.database.execute("INSERT INTO held VALUES ($1, 'before the send', 1)", order_id)
    await floor.database.execute("SELECT pg_advisory_lock(1)")
    placing = asyncio.create_task(floor.place(key, **RESTING))
    workers = [pid for name in ("worker", "worker-2") if (pid := floor.stack.part(name).pid) is not None]
    try:
        async with asyncio.timeout(4.5):  # the ledger ends a wait for a lock after 5 s
            while not await floor.database.fetchval(HELD):
                await asyncio.sleep(0.02)
        for pid in workers:
            os.kill(pid, signal.SIGSTOP)
        await floor.database.execute("SELECT pg_advisory_unlock_all()")
        async with asyncio.timeout(PATIENCE_S):
            while not await floor.database.fetchval("SELECT count(*) FROM attempts WHERE state = 'LEFT'"):
                await asyncio.sleep(0.01)
        asked_at = time.time()
        pulling = asyncio.create_task(pulled(floor))
        await asyncio.sleep(stopped_s)
        assert pulling.done() is not bool(sent), "it answers when the worker has sent, or can send no more"
    finally:
        await floor.database.execute("SELECT pg_advisory_unlock_all()")
        for pid in workers:
            os.kill(pid, signal.SIGCONT)
    told, answered_at = await asyncio.wait_for(pulling, PATIENCE_S)
    await asyncio.sleep(AFTER_S)
    await assert_none_after(floor, answered_at)
    mine = [entry for entry in await posts(floor) if entry["newClientOrderId"] == order_id]
    assert (told["in_flight"], told["unanswered"], len(mine)) == (1, 1 - sent, sent)
    figures("kill switch and a stopped worker", {"stopped_s": stopped_s, "answered_after_s": answered_at - asked_at})
    placing.cancel()


async def until_rest(floor: Floor, count: int) -> None:
    """Wait until so many orders rest in the venue's own ledger."""
    async with asyncio.timeout(PATIENCE_S * 2):
        while await resting_at_venue(floor) < count:
            await asyncio.sleep(0.05)


async def until_nothing_rests(floor: Floor) -> float:
    """Wait until nothing rests in the venue's own ledger; return when, in epoch seconds."""
    async with asyncio.timeout(PATIENCE_S):
        while await resting_at_venue(floor):
            await asyncio.sleep(0.05)
    return time.time()


async def assert_none_after(floor: Floor, answered_at: float) -> None:
    """Hold the venue's own clock, which is this machine's, against the moment of the answer."""
    late = [entry for entry in await posts(floor) if entry["time_ms"] > answered_at * 1000]
    assert late == [], f"{len(late)} orders reached the venue after the answer"
