"""A worker that is stopped between journal and send, outlives its order's takeover, and wakes: it sends nothing.

Triggers of the test's own hold the worker inside its transaction at the very moment; there it gets SIGSTOP, and the
hold is let go. The ledger carries out what it was asked, and the worker learns of it only when it wakes.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from typing import Any

import pytest
import pytest_asyncio

from domain.identifiers import derive_order_id
from tests.faults import audit
from tests.faults.floor import Floor, figures, open_floor

pytestmark = pytest.mark.timeout(200)
MOMENTS = ("before the journal", "before the last look", "before the send")
HOLDS = """
CREATE TABLE held (order_id text, moment text, lock bigint);
CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(lock) FROM held WHERE order_id = NEW.order_id AND moment = TG_ARGV[0];
    RETURN NEW;
END $$;
CREATE TRIGGER before_journal BEFORE INSERT ON attempts
    FOR EACH ROW EXECUTE FUNCTION hold('before the journal');
CREATE TRIGGER before_last_look BEFORE UPDATE OF state ON attempts
    FOR EACH ROW WHEN (NEW.state = 'LEFT') EXECUTE FUNCTION hold('before the last look');
CREATE CONSTRAINT TRIGGER before_send AFTER UPDATE OF state ON attempts DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.state = 'LEFT') EXECUTE FUNCTION hold('before the send');
"""
"""The last one holds the commit of the last look: whoever wakes there has leave to send, given long ago."""
HELD = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def pair(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Floor]:
    """A stack with two workers of one account, and the holds in its ledger."""
    async with open_floor(tmp_path_factory.mktemp("fencing"), workers=2) as floor:
        await floor.database.execute(HOLDS)
        yield floor


class Ghost:
    """The first worker, stopped at the three moments of three orders while the second one takes over."""

    def __init__(self, floor: Floor, label: str) -> None:
        self._floor = floor
        self._label = label
        self.ids = {moment: derive_order_id("binanceus", self._key(moment)) for moment in MOMENTS}
        self._placing: list[asyncio.Task[dict[str, Any]]] = []
        pid = floor.stack.part("worker").pid
        assert pid is not None
        self._pid = pid

    def _key(self, moment: str) -> str:
        return f"{self._label}-{moment.replace(' ', '-')}"

    async def stop(self) -> None:
        """Lead it to the three moments, alone, and stop it there; the other worker starts."""
        floor, database = self._floor, self._floor.database
        await floor.stack.part("worker-2").stop()
        for lock, (moment, order_id) in enumerate(self.ids.items(), start=1):
            await database.execute("INSERT INTO held VALUES ($1, $2, $3)", order_id, moment, lock)
            await database.execute("SELECT pg_advisory_lock($1::bigint)", lock)
        self._placing = [asyncio.create_task(floor.place(self._key(moment))) for moment in MOMENTS]
        try:
            async with asyncio.timeout(4.5):  # the ledger ends a wait for a lock after 5 s
                while await database.fetchval(HELD) < len(MOMENTS):
                    await asyncio.sleep(0.02)
            os.kill(self._pid, signal.SIGSTOP)
        finally:
            await database.execute("SELECT pg_advisory_unlock_all()")
        await floor.stack.part("worker-2").start()

    async def wake(self) -> list[dict[str, Any]]:
        """Let it run on, give it something to do alone as a sign that it does, and return the three orders."""
        os.kill(self._pid, signal.SIGCONT)
        await self._floor.stack.part("worker-2").stop()
        alive = await self._floor.place(f"{self._label}-alive")
        await self._floor.until_final(alive["id"])
        await asyncio.gather(*self._placing)
        ended = [await self._floor.until_final(order_id) for order_id in self.ids.values()]
        assert self._floor.stack.part("worker").pid == self._pid, "it is the one that was stopped"
        await self._floor.stack.part("worker-2").start()
        return [*ended, alive]

    async def until(self, moment: str, reached: Callable[[dict[str, Any]], bool]) -> None:
        """Wait until the other worker has brought an order so far."""
        await self._floor.until(self.ids[moment], reached, within_s=60)


def _ended(order: dict[str, Any]) -> bool:
    return bool(order["lifecycle"] == "FILLED")


def _in_doubt(order: dict[str, Any]) -> bool:
    return bool(order["lifecycle"] == "IN_DOUBT")


async def _sent_by(floor: Floor, order_id: str) -> dict[int, tuple[str, bool]]:
    """Return, by number of the attempt, which worker journaled it and whether a request of it reached the venue."""
    books = await audit.read_books(floor.database, floor.venue)
    sent = {entry["newClientOrderId"] for entry in books.posts}
    return {
        row["attempt"]: (row["worker"].rpartition("#")[2], row["client_order_id"] in sent)
        for row in books.attempts
        if row["order_id"] == order_id
    }


async def _assert_books(floor: Floor, orders: list[dict[str, Any]]) -> int:
    assert [order["lifecycle"] for order in orders] == ["FILLED"] * len(orders)
    assert sum(order["filled"] for order in orders) == Decimal("0.01") * len(orders)
    resent = await floor.assert_the_venue_agrees(orders)
    await floor.assert_the_books_close()
    return resent


async def test_a_worker_stopped_beyond_heartbeat_and_fence_wakes_and_sends_nothing(pair: Floor) -> None:
    ghost = Ghost(pair, "fence")
    await ghost.stop()
    for moment in MOMENTS:
        await ghost.until(moment, _ended)
    orders = await ghost.wake()
    resent = await _assert_books(pair, orders)
    sent = {moment: await _sent_by(pair, order_id) for moment, order_id in ghost.ids.items()}
    figures("stopped beyond the fence", {"attempts": sent, "sent anew after the fence": resent})
    # Its transaction was taken back, so the other worker journaled the first attempt itself.
    assert sent["before the journal"] == {1: ("2", True)}
    assert sent["before the last look"] == {1: ("1", False), 2: ("2", True)}
    assert sent["before the send"] == {1: ("1", False), 2: ("2", True)}
    assert resent == 1


async def test_a_worker_that_wakes_while_its_order_is_in_doubt_sends_nothing_twice(pair: Floor) -> None:
    """It may still send, if its leave is not too old: then the doubt ends with that order, and with no other."""
    ghost = Ghost(pair, "doubt")
    await ghost.stop()
    await ghost.until("before the send", _in_doubt)
    orders = await ghost.wake()
    await _assert_books(pair, orders)
    sent = {moment: await _sent_by(pair, order_id) for moment, order_id in ghost.ids.items()}
    figures("stopped beyond the heartbeat", {"attempts": sent})
    for moment, attempts in sent.items():
        assert [is_sent for _, is_sent in attempts.values()].count(True) == 1, (moment, attempts)
