"""The queue before a venue, in virtual time: who goes first, and that a fleet never spends more than there is."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import pytest

from domain.errors import RateLimited, StoreUnavailable
from domain.rate_budget import UNIT, Ask, Budget, Count, Pause, Priority, Shared, Told, settle
from exchanges.rate_queue import RequestQueue
from exchanges.rate_turns import OrderTurns, current_turn
from tests.campaign.simulation.clock import VirtualLoop

WEIGHT = Budget(name="weight", limit=1200 * UNIT, window_ms=60_000)
ORDERS = Budget(name="orders-10s", limit=100 * UNIT, window_ms=10_000, only_orders=True)
ORDER = {"weight": UNIT, "orders-10s": UNIT}
READ = {"weight": UNIT}


class Ledger:
    """The shared rows in memory, with the loop's clock; it can be unreachable."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self.rows: dict[str, Shared] = {}
        self.budgets: dict[str, Budget] = {}
        self.paused_until = 0.0
        self.is_down = False
        self.words = 0

    async def settle(self, account: str, holder: str, asks: Sequence[Ask]) -> Told:
        await self._reached()
        self.words += 1
        leases = {}
        for one in asks:
            name = one.budget.name
            self.budgets[name] = one.budget
            row = self.rows.get(name, Shared())
            self.rows[name], leases[name] = settle(row, one, holder=holder, now_ms=int(self._loop.time() * 1000))
        return Told(leases=leases, pause=await self.pause_left(account))

    async def pause(self, account: str, *, for_ms: int, why: str, told_by: str) -> None:
        await self._reached()
        self.paused_until = self._loop.time() + for_ms / 1000

    async def pause_left(self, account: str) -> Pause | None:
        await self._reached()
        left_ms = int((self.paused_until - self._loop.time()) * 1000)
        return Pause(left_ms=left_ms, why="told by another") if left_ms > 0 else None

    async def counts(self, account: str) -> Sequence[Count]:
        now_ms = int(self._loop.time() * 1000)
        return [
            Count(name=name, limit=budget.limit, window_ms=budget.window_ms, used=self.rows[name].counting(now_ms))
            for name, budget in self.budgets.items()
        ]

    async def _reached(self) -> None:
        await asyncio.sleep(0.002)
        if self.is_down:
            raise StoreUnavailable("down")


class Fleet:
    """Workers with a queue each, and the venue's record of what arrived when."""

    def __init__(self, *, workers: int = 1, budgets: Sequence[Budget] = (WEIGHT, ORDERS), shared: bool = True) -> None:
        self.loop = VirtualLoop()
        self.ledger = Ledger(self.loop)
        ledger = self.ledger if shared else None
        self.queues = [
            RequestQueue("main", holder=f"w{n}", budgets=budgets, ledger=ledger, clock=self.loop.time)
            for n in range(workers)
        ]
        self.arrived: list[tuple[float, str]] = []

    async def request(
        self, name: str, costs: Mapping[str, int], priority: Priority, *, worker: int = 0, lane: str = ""
    ) -> None:
        permit = await self.queues[worker].acquire(costs, priority=priority, lane=lane)
        await asyncio.sleep(0.02)
        self.arrived.append((self.loop.time(), name))
        await asyncio.sleep(0.02)
        permit.settle(spent=True)

    def run(self, story: Callable[[], Awaitable[Any]], *, until: float = 600) -> None:
        task = asyncio.Task(story(), loop=self.loop)  # type: ignore[arg-type]  # an async function's awaitable
        self.loop.run(until, task.done)
        task.result()
        assert not self.loop.failures

    def most_within(self, window_s: float, kind: str = "") -> int:
        times = [at for at, name in self.arrived if name.startswith(kind)]
        return max(sum(1 for at in times if start <= at < start + window_s) for start in times)


async def several(count: int, width: int, request: Callable[[int], Awaitable[None]]) -> None:
    """Make so many requests, so many of them at a time."""
    places = asyncio.Semaphore(width)

    async def one(number: int) -> None:
        async with places:
            await request(number)

    await asyncio.gather(*(one(number) for number in range(count)))


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_burst_of_orders_never_passes_what_a_window_allows(workers: int) -> None:
    fleet = Fleet(workers=workers)
    order = lambda n: fleet.request("order", ORDER, Priority.SUBMIT, worker=n % workers)  # noqa: E731
    fleet.run(lambda: several(450, 150, order))
    assert len(fleet.arrived) == 450
    assert fleet.most_within(10) <= 100
    assert fleet.loop.time() < 60, "the budget is used well"
    assert fleet.ledger.words < 450


def test_weight_of_all_requests_stays_below_the_venues() -> None:
    fleet = Fleet(workers=2)
    read = lambda n: fleet.request("read", {"weight": 10 * UNIT}, Priority.READ, worker=n % 2)  # noqa: E731
    fleet.run(lambda: several(270, 50, read))
    assert 80 < fleet.most_within(60) <= 90, "three quarters are for reads"


def test_cancels_never_wait_behind_orders_and_orders_not_behind_reads() -> None:
    fleet = Fleet(workers=2)
    waits: list[float] = []

    async def cancel(number: int) -> None:
        began = fleet.loop.time()
        await fleet.request("cancel", READ, Priority.CANCEL, worker=number % 2)
        waits.append(fleet.loop.time() - began)

    async def story() -> None:
        orders = [fleet.request(f"order{n}", ORDER, Priority.SUBMIT, worker=n % 2) for n in range(300)]
        reads = [fleet.request("read", READ, Priority.READ, worker=n % 2) for n in range(100)]
        working = [asyncio.ensure_future(one) for one in (*reads, *orders)]
        for number in range(40):
            await asyncio.sleep(0.5)
            await cancel(number)
        await asyncio.gather(*working)

    fleet.run(story)
    assert max(waits) < 0.2
    reads = [at for at, name in fleet.arrived if name == "read"]
    assert max(reads) < 5, "reads need nothing of what the orders lack"


def test_when_weight_is_short_orders_go_before_reads_and_cancels_before_both() -> None:
    fleet = Fleet(budgets=[Budget(name="weight", limit=10 * UNIT, window_ms=1000)], shared=False)

    async def story() -> None:
        working = [asyncio.ensure_future(fleet.request("first", READ, Priority.CANCEL)) for _ in range(10)]
        await asyncio.sleep(0.001)
        for kind, priority in (("3", Priority.READ), ("2", Priority.SUBMIT), ("1", Priority.CANCEL)):
            working += [asyncio.ensure_future(fleet.request(kind, READ, priority)) for _ in range(8)]
        await asyncio.gather(*working)

    fleet.run(story)
    order = [name for _, name in fleet.arrived[10:]]
    assert order == sorted(order)


def test_strategies_take_turns() -> None:
    fleet = Fleet(budgets=[Budget(name="orders-10s", limit=2 * UNIT, window_ms=1000, only_orders=True)])

    async def story() -> None:
        cost = {"orders-10s": UNIT}
        burst = [fleet.request("burst", cost, Priority.SUBMIT, lane="burst") for _ in range(40)]
        working = [asyncio.ensure_future(one) for one in burst]
        await asyncio.sleep(0.5)
        calm = [fleet.request("calm", cost, Priority.SUBMIT, lane="calm") for _ in range(5)]
        working += [asyncio.ensure_future(one) for one in calm]
        await asyncio.gather(*working)

    fleet.run(story)
    names = [name for _, name in fleet.arrived]
    assert names.index("calm") <= 4
    assert max(n for n, name in enumerate(names) if name == "calm") <= 14


def test_single_request_asks_the_ledger_for_nothing_but_pauses() -> None:
    fleet = Fleet()

    async def story() -> None:
        await fleet.request("order", ORDER, Priority.SUBMIT)
        await asyncio.sleep(5)
        before = fleet.ledger.words
        began = fleet.loop.time()
        permit = await fleet.queues[0].acquire(ORDER, priority=Priority.SUBMIT)
        assert fleet.ledger.words == before
        assert fleet.loop.time() - began < 0.003, "one look at the pause"
        permit.settle(spent=True)
        await asyncio.sleep(0.02)
        began = fleet.loop.time()
        permit = await fleet.queues[0].acquire(ORDER, priority=Priority.SUBMIT)
        assert fleet.loop.time() == began, "none at all right after"
        permit.settle(spent=False)

    fleet.run(story)


def test_pause_told_to_one_stops_all_before_their_next_request() -> None:
    fleet = Fleet(workers=2)

    async def story() -> None:
        fleet.queues[0].pause(7, "HTTP 429")
        with pytest.raises(RateLimited):
            await fleet.queues[0].acquire(READ, priority=Priority.CANCEL)
        await asyncio.sleep(0.01)
        for priority in Priority:
            with pytest.raises(RateLimited) as refusal:
                await fleet.queues[1].acquire(READ, priority=priority)
            assert 6 <= int(refusal.value.numbers["retry_after_s"]) <= 8
        await asyncio.sleep(7.1)
        await fleet.request("read", READ, Priority.READ, worker=1)

    fleet.run(story)


def test_pause_turns_those_who_wait_away() -> None:
    fleet = Fleet(budgets=[ORDERS])

    async def story() -> None:
        orders = [fleet.request("order", {"orders-10s": UNIT}, Priority.SUBMIT) for _ in range(150)]
        working = [asyncio.ensure_future(one) for one in orders]
        await asyncio.sleep(1)
        fleet.queues[0].pause(30, "HTTP 418")
        outcomes = await asyncio.gather(*working, return_exceptions=True)
        assert sum(isinstance(outcome, RateLimited) for outcome in outcomes) == 50
        assert fleet.loop.time() < 2

    fleet.run(story)


def test_without_the_ledger_the_last_lease_serves_and_never_more_than_the_whole() -> None:
    fleet = Fleet(workers=2, budgets=[WEIGHT])

    async def story() -> None:
        for worker in (0, 1):
            await fleet.request("before", READ, Priority.SUBMIT, worker=worker)
        await asyncio.sleep(3)
        fleet.ledger.is_down = True
        await asyncio.wait(
            [asyncio.ensure_future(fleet.request("down", READ, Priority.SUBMIT, worker=n % 2)) for n in range(300)],
            timeout=200,
        )
        assert 60 <= fleet.most_within(60, "down") <= 120
        fleet.ledger.is_down = False
        await asyncio.sleep(2)
        assert sum(name == "down" for _, name in fleet.arrived) == 300
        assert fleet.most_within(60) <= 1200

    fleet.run(story)


def test_counts_are_the_fleets_and_without_the_ledger_this_process_s_own() -> None:
    fleet = Fleet(workers=2, budgets=[ORDERS])

    async def story() -> None:
        for worker in (0, 1):
            await fleet.request("order", {"orders-10s": UNIT}, Priority.SUBMIT, worker=worker)
        await asyncio.sleep(2)
        (count,) = await fleet.queues[0].counts()
        assert (count.name, count.limit, count.used) == ("orders-10s", 100 * UNIT, 12 * UNIT), (
            "2 spent, 5 leased to each"
        )

    fleet.run(story)
    alone = Fleet(shared=False)
    alone.run(lambda: alone.request("order", ORDER, Priority.SUBMIT))
    assert {purse.count(alone.loop.time()).used for purse in alone.queues[0].purses.values()} == {UNIT}


def test_one_who_gives_up_has_taken_nothing() -> None:
    fleet = Fleet(budgets=[Budget(name="weight", limit=10 * UNIT, window_ms=1000)], shared=False)

    async def story() -> None:
        permits = [await fleet.queues[0].acquire(READ, priority=Priority.CANCEL) for _ in range(10)]
        for _ in range(3):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await fleet.queues[0].acquire(READ, priority=Priority.CANCEL)
        for permit in permits:
            permit.settle(spent=False)
            permit.settle(spent=True)
        for _ in range(10):
            await fleet.queues[0].acquire(READ, priority=Priority.CANCEL)

    fleet.run(story)


def test_too_many_that_wait_are_turned_away() -> None:
    fleet = Fleet(budgets=[Budget(name="weight", limit=UNIT, window_ms=60_000)])

    async def story() -> None:
        reads = [asyncio.ensure_future(fleet.queues[0].acquire(READ, priority=Priority.READ)) for _ in range(120)]
        await asyncio.sleep(0.1)
        refused = [read for read in reads if read.done() and isinstance(read.exception(), RateLimited)]
        assert len(refused) == 20
        for read in reads:
            read.cancel()
        await asyncio.gather(*reads, return_exceptions=True)

    fleet.run(story)


def test_venue_without_bursts_gets_its_requests_spaced() -> None:
    loop = VirtualLoop()
    queue = RequestQueue("main", budgets=[WEIGHT], spacing_s=0.1, clock=loop.time)
    times: list[float] = []

    async def story() -> None:
        for _ in range(5):
            permit = await queue.acquire({"weight": 2 * UNIT}, priority=Priority.READ)
            times.append(loop.time())
            permit.settle(spent=True)

    task = asyncio.Task(story(), loop=loop)
    loop.run(10, task.done)
    task.result()
    assert [round(at, 3) for at in times] == [0.0, 0.2, 0.4, 0.6, 0.8]


def test_orders_whose_turn_is_far_are_told_when_to_come_back_and_all_get_through() -> None:
    """As workflows do it: who is sent away waits elsewhere, and returns."""
    fleet = Fleet(workers=2)
    turns = [OrderTurns(queue, clock=fleet.loop.time) for queue in fleet.queues]
    rounds: list[int] = []

    async def order(number: int) -> None:
        tries = 0
        while True:
            tries += 1
            try:
                async with turns[number % 2].turn(f"s{number % 3}"):
                    permit = current_turn()
                    assert permit is not None and current_turn() is None
                    await asyncio.sleep(0.03)
                    fleet.arrived.append((fleet.loop.time(), "order"))
                    permit.settle(spent=True)
                rounds.append(tries)
                return
            except RateLimited as refusal:
                await asyncio.sleep(int(refusal.numbers["retry_after_s"]))

    async def story() -> None:
        await asyncio.gather(*(order(number) for number in range(500)))

    fleet.run(story)
    print(fleet.loop.time(), sum(rounds) / len(rounds), max(rounds))
    assert fleet.most_within(10) <= 100
    assert fleet.loop.time() < 90
    assert sum(rounds) / len(rounds) < 4
