"""The request weight of a window: never exceeded, and never spent on reads to the last."""

import asyncio
import time

import pytest

from exchanges.weight_budget import RESERVED_SHARE, WeightBudget


async def test_burst_up_to_the_limit_does_not_wait() -> None:
    budget = WeightBudget(limit=100, window_s=60)
    async with asyncio.timeout(1):
        for _ in range(100):
            await budget.spend(1, urgent=True)


async def test_reads_leave_the_reserve_to_orders() -> None:
    budget = WeightBudget(limit=100, window_s=60)
    await budget.spend(100 * (1 - RESERVED_SHARE), urgent=False)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await budget.spend(1, urgent=False)
    async with asyncio.timeout(1):
        for _ in range(20):
            await budget.spend(1, urgent=True)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await budget.spend(1, urgent=True)


async def test_no_window_holds_more_than_the_limit() -> None:
    window_s = 0.2
    budget = WeightBudget(limit=10, window_s=window_s)
    taken: list[float] = []

    async def spend() -> None:
        await budget.spend(1, urgent=True)
        taken.append(time.monotonic())

    await asyncio.gather(*(spend() for _ in range(35)))
    for start in taken:
        assert sum(1 for moment in taken if start <= moment < start + window_s * 0.95) <= 10


async def test_request_heavier_than_the_whole_budget_passes_alone() -> None:
    budget = WeightBudget(limit=10, window_s=0.05)
    async with asyncio.timeout(1):
        await budget.spend(40, urgent=False)
        await budget.spend(40, urgent=False)
