"""A venue's request weight per minute: reads leave a share of it to orders, cancels and look-ups."""

import asyncio
import time
from collections import deque
from typing import Final

RESERVED_SHARE: Final = 0.2
"""Part of the budget that only urgent requests may use, so that reading never keeps an order waiting."""


class WeightBudget:
    """A rolling window of request weight.

    Parameters
    ----------
    limit
        Weight, above 0, that all requests of a window may have together.
    window_s
        Length of the window in seconds.
    """

    def __init__(self, *, limit: float, window_s: float) -> None:
        self._limit = limit
        self._window_s = window_s
        self._spent: deque[tuple[float, float]] = deque()
        self._used = 0.0

    async def spend(self, weight: float, *, urgent: bool) -> None:
        """Wait until the weight is free, then take it. One who gives up waiting has taken nothing."""
        share = self._limit if urgent else self._limit * (1 - RESERVED_SHARE)
        while self._used_now() + min(weight, share) > share:
            await asyncio.sleep(max(self._spent[0][0] + self._window_s - time.monotonic(), 0.001))
        self._spent.append((time.monotonic(), weight))
        self._used += weight

    def _used_now(self) -> float:
        expired_before = time.monotonic() - self._window_s
        while self._spent and self._spent[0][0] <= expired_before:
            self._used -= self._spent.popleft()[1]
        return self._used
