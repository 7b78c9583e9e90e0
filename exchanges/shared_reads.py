"""One request for many who ask the same at the same time."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class SharedReads(Generic[Key, Value]):
    """Reads by key, each at most once at a time, and kept for `fresh_s` seconds. Failures are not kept.

    There are as many entries as there are keys, so keys must come from a bounded set.
    """

    def __init__(self, read: Callable[[Key], Awaitable[Value]], *, fresh_s: float) -> None:
        self._read = read
        self._fresh_s = fresh_s
        self._kept: dict[Key, tuple[float, Value]] = {}
        self._running: dict[Key, asyncio.Task[Value]] = {}

    async def get(self, key: Key) -> Value:
        """Return the value, at most `fresh_s` old. Raises what the read raises."""
        kept = self._kept.get(key)
        if kept is not None and time.monotonic() - kept[0] <= self._fresh_s:
            return kept[1]
        task = self._running.get(key)
        if task is None:
            task = asyncio.create_task(self._run(key))
            self._running[key] = task
            task.add_done_callback(lambda done: self._finished(key, done))
        # One who gives up must not take the answer from the others.
        return await asyncio.shield(task)

    async def _run(self, key: Key) -> Value:
        started = time.monotonic()
        value = await self._read(key)
        self._kept[key] = (started, value)
        return value

    def _finished(self, key: Key, task: "asyncio.Task[Value]") -> None:
        self._running.pop(key, None)
        if not task.cancelled():
            task.exception()  # retrieved here, in case that everybody has given up
