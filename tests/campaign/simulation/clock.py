"""An event loop on virtual time: it never waits, it jumps to the next timer. Single thread, no wall clock."""

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context
from datetime import UTC, datetime, timedelta
from typing import Any

EPOCH = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
"""Where virtual time begins."""
_EPOCH_NS = int(EPOCH.timestamp()) * 1_000_000_000
COMPACT_ABOVE = 4_096


class Handle:
    """One call to come. `cancel` forgets it; it stays where it stands until its turn."""

    __slots__ = ("args", "callback", "context", "when")

    def __init__(self, callback: Callable[..., object], args: tuple[Any, ...], context: Context | None) -> None:
        self.callback: Callable[..., object] | None = callback
        self.args = args
        self.context = context
        self.when = 0.0

    def cancel(self) -> None:
        """Forget the call."""
        self.callback = None
        self.args = ()
        self.context = None

    def cancelled(self) -> bool:
        """Tell whether it was forgotten."""
        return self.callback is None


class VirtualLoop(asyncio.AbstractEventLoop):
    """What asyncio's tasks, futures and timers need of a loop, and nothing else."""

    def __init__(self) -> None:
        self._ready: deque[Handle] = deque()
        self._timers: list[tuple[float, int, Handle]] = []
        self._now = 0.0
        self._number = 0
        self.failures: list[str] = []

    # What asyncio asks for.

    def time(self) -> float:
        """Return the virtual seconds since the beginning."""
        return self._now

    def call_soon(self, callback: Any, *args: Any, context: Context | None = None) -> Any:
        """Run it in this moment, after what is due already."""
        handle = Handle(callback, args, context)
        self._ready.append(handle)
        return handle

    def call_later(self, delay: float, callback: Any, *args: Any, context: Context | None = None) -> Any:
        """Run it after so many virtual seconds."""
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(self, when: float, callback: Any, *args: Any, context: Context | None = None) -> Any:
        """Run it at this virtual time; at one time, in the order of asking."""
        handle = Handle(callback, args, context)
        handle.when = when
        self._number += 1
        heapq.heappush(self._timers, (when, self._number, handle))
        return handle

    def create_future(self) -> "asyncio.Future[Any]":
        """Make a future of this loop."""
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, *, name: str | None = None, context: Context | None = None) -> Any:
        """Make a task of this loop."""
        return asyncio.Task(coro, loop=self, name=name, context=context)

    def get_debug(self) -> bool:
        """Say no."""
        return False

    def is_running(self) -> bool:
        """Say yes."""
        return True

    def is_closed(self) -> bool:
        """Say no."""
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Keep what nobody caught: the judge wants to know."""
        self.failures.append(f"{context.get('message')}: {context.get('exception')!r}")

    # What the simulation asks for.

    def utc(self) -> datetime:
        """Return the virtual time as a date."""
        return EPOCH + timedelta(seconds=self._now)

    def time_ns(self) -> int:
        """Return the virtual time since 1970 in nanoseconds."""
        return _EPOCH_NS + int(self._now * 1e9)

    async def pause(self, seconds: float) -> None:
        """Wait for so many virtual seconds; the leanest sleep there is."""
        waiter = asyncio.Future(loop=self)
        self.call_later(seconds, _wake, waiter)
        await waiter

    def run(self, until: float, done: Callable[[], bool]) -> None:
        """Run until nothing is left, the time is reached, or `done` says so (asked whenever time moves on)."""
        ready, timers = self._ready, self._timers
        asyncio._set_running_loop(self)
        try:
            while True:
                while ready:
                    handle = ready.popleft()
                    callback = handle.callback
                    if callback is None:
                        continue
                    if handle.context is None:
                        callback(*handle.args)
                    else:
                        handle.context.run(callback, *handle.args)
                while timers and timers[0][2].callback is None:
                    heapq.heappop(timers)
                if not timers or done():
                    return
                when = timers[0][0]
                if when > until:
                    self._now = until
                    return
                if when > self._now:
                    self._now = when
                while timers and timers[0][0] <= when:
                    ready.append(heapq.heappop(timers)[2])
                if len(timers) > COMPACT_ABOVE:
                    self._compact()
        finally:
            asyncio._set_running_loop(None)

    def spawn(self, coroutine: Coroutine[Any, Any, Any], context: Context | None = None) -> "asyncio.Task[Any]":
        """Start a task."""
        return asyncio.Task(coroutine, loop=self, context=context)

    def drop(self) -> None:
        """Cancel every task that is left, and let each come to its end."""
        asyncio._set_running_loop(self)
        try:
            for task in asyncio.all_tasks(self):
                task.cancel()
        finally:
            asyncio._set_running_loop(None)
        self._timers.clear()
        self.run(self._now, lambda: False)
        self._timers.clear()
        self._ready.clear()

    def _compact(self) -> None:
        live = [entry for entry in self._timers if entry[2].callback is not None]
        if len(live) < len(self._timers) // 2:
            self._timers[:] = live
            heapq.heapify(self._timers)


def _wake(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)
