"""The fleet's budgets in the real ledger: shared by all, exact under contention, and pauses that everybody sees."""

import asyncio

from sqlalchemy.ext.asyncio import AsyncEngine

from domain.rate_budget import UNIT, Ask, Budget, Priority
from storage.rate_ledger import SqlRateLedger
from tests.integration.storage.conftest import Rows

WEIGHT = Budget(name="weight", limit=1200 * UNIT, window_ms=60_000)
ORDERS = Budget(name="orders-10s", limit=100 * UNIT, window_ms=10_000, only_orders=True)


def ask(budget: Budget, *, wants: int, spent: int = 0) -> Ask:
    return Ask(budget=budget, spent=spent * UNIT, wants=wants * UNIT, least=UNIT, priority=Priority.SUBMIT)


async def test_many_holders_at_once_never_lease_more_than_the_whole(engine: AsyncEngine) -> None:
    ledger = SqlRateLedger(engine)

    async def worker(number: int) -> int:
        spent = 0
        for _ in range(5):
            told = await ledger.settle("main", f"w{number}", [ask(ORDERS, wants=9, spent=spent), ask(WEIGHT, wants=9)])
            spent = told.leases["orders-10s"].amount // UNIT
        await ledger.settle("main", f"w{number}", [ask(ORDERS, wants=0, spent=spent)])
        return spent

    await asyncio.gather(*(worker(number) for number in range(8)))
    counts = {count.name: count.used for count in await ledger.counts("main")}
    assert counts["orders-10s"] == 100 * UNIT, "all is spent, and nothing beyond"
    assert counts["weight"] == 72 * UNIT
    assert await ledger.counts("another") == []


async def test_pause_is_seen_by_all_of_the_account_and_only_a_longer_one_replaces_it(engine: AsyncEngine) -> None:
    ledger, another = SqlRateLedger(engine), SqlRateLedger(engine)
    assert await another.pause_left("main") is None
    await ledger.pause("main", for_ms=60_000, why="HTTP 418", told_by="w1")
    await ledger.pause("main", for_ms=1_000, why="HTTP 429", told_by="w2")
    pause = await another.pause_left("main")
    assert pause is not None and 55_000 < pause.left_ms <= 60_000 and pause.why == "HTTP 418"
    told = await another.settle("main", "w2", [ask(WEIGHT, wants=1)])
    assert told.pause is not None and told.pause.why == "HTTP 418"
    assert await another.pause_left("other") is None


async def test_pause_ends(engine: AsyncEngine) -> None:
    ledger = SqlRateLedger(engine)
    await ledger.pause("main", for_ms=50, why="HTTP 429", told_by="w1")
    async with asyncio.timeout(5):
        while await ledger.pause_left("main") is not None:
            await asyncio.sleep(0.02)


async def test_row_tells_the_budget_beside_what_counts(engine: AsyncEngine, rows: Rows) -> None:
    await SqlRateLedger(engine).settle("main", "w1", [ask(ORDERS, wants=3)])
    (row,) = await rows("SELECT budget, whole, window_ms, document FROM rate_budgets")
    assert (row.budget, row.whole, row.window_ms) == ("orders-10s", 100_000, 10_000)
    assert row.document["leases"]["w1"]["amount"] == 3_000
