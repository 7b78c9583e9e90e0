"""An order's turn before it is journaled: what waits for a venue's budget is not signed, and not counted as an attempt.

An order whose turn is far is sent away with the time to come back, so that it waits in its workflow, where a cancel
reaches it at once, and keeps no place of the worker.
"""

import math
import time
from asyncio import timeout
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Final

from domain.errors import RateLimited
from domain.rate_budget import UNIT, Priority
from exchanges.rate_queue import Permit, RequestQueue

TURN_PATIENCE_S: Final = 2.0
"""An order waits this long in its worker; a wish to cancel it waits as long."""
AHEAD_MAX: Final = 20
"""Orders of one strategy that wait in one worker."""
CROWD_MAX: Final = 100
"""Beyond so many in all, one of each strategy: a worker runs a hundred steps at a time, and cancels need places."""

_TURN: ContextVar[Permit | None] = ContextVar("rate_turn", default=None)


def current_turn() -> Permit | None:
    """Return the turn that this order has, once: a second request of it has none."""
    permit = _TURN.get()
    if permit is None or permit.used:
        return None
    permit.used = True
    return permit


class OrderTurns:
    """Gives orders their turns in a queue. Strategies take turns with one another."""

    def __init__(self, queue: RequestQueue, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._queue = queue
        self._clock = clock
        self._costs = {
            name: UNIT
            for name, purse in queue.purses.items()
            if purse.budget.only_orders or name in ("weight", "requests")
        }
        self._slots: dict[str, float] = {}
        """By strategy, the moment for which the last order that was sent away was told to come back."""

    @asynccontextmanager
    async def turn(self, strategy: str | None) -> AsyncIterator[None]:
        """Wait for an order's turn, and keep it while inside: one order may be sent then.

        Raises `RateLimited` with the seconds to come back in, when it is far.
        """
        permit = await self._permit(strategy or "")
        token = _TURN.set(permit)
        try:
            yield
        finally:
            _TURN.reset(token)
            permit.settle(spent=False)  # changes nothing where a request has taken it

    async def _permit(self, lane: str) -> Permit:
        if not self._costs:
            await self._queue.raise_if_paused()
            return Permit(self._queue, {})
        if not self._is_far(lane):
            try:
                async with timeout(TURN_PATIENCE_S):
                    return await self._queue.acquire(self._costs, priority=Priority.SUBMIT, lane=lane)
            except TimeoutError:
                pass
        raise RateLimited("the venue's budget of orders is spent", retry_after_s=self._come_back_in_s(lane))

    def _is_far(self, lane: str) -> bool:
        ahead = self._queue.waiting_in(Priority.SUBMIT, lane)
        if ahead >= AHEAD_MAX or (ahead and self._queue.waiting(Priority.SUBMIT) >= CROWD_MAX):
            return True
        return self._queue.wait_s(self._costs, Priority.SUBMIT) > TURN_PATIENCE_S

    def _come_back_in_s(self, lane: str) -> int:
        """Spread those that are sent away over the time that the budget needs for them."""
        now = self._clock()
        self._slots = {name: slot for name, slot in self._slots.items() if slot > now}
        lanes = len(self._slots.keys() | {lane})
        begin = now + max(self._queue.wait_s(self._costs, Priority.SUBMIT), 0.0)
        slot = max(self._slots.get(lane, begin), begin) + lanes / self._orders_per_s()
        self._slots[lane] = slot
        return max(math.ceil(slot - now), 1)

    def _orders_per_s(self) -> float:
        purses = [self._queue.purses[name] for name in self._costs]
        return min(
            purse.budget.ceiling(Priority.SUBMIT) / UNIT * 1000 / purse.budget.window_ms / (purse.rivals + 1)
            for purse in purses
        )
