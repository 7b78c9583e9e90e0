"""Keeps one part running: a child that dies is started again at once; while it fails to start, the pauses grow.

One that was killed from outside did not fail, whether it had served or was still starting.
"""

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from embedded.child import Child, ChildSpec
from observability.logs import get_logger

_FIRST_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 30.0
_KILLS_FORGIVEN: Final = 5
"""Kills in a row, before it ever served, that cost no pause; with more, the killer may be a system out of memory."""
log = get_logger("volex.stack")


class Part(Protocol):
    """How a part is run and how it tells that it is ready."""

    @property
    def name(self) -> str:
        """Its name: in the log, and of its log file."""

    def spec(self) -> ChildSpec:
        """Return how it is run; asked anew at every start."""

    async def until_ready(self, child: Child) -> None:
        """Wait until it serves. Raises `RuntimeError` when it does not."""


class Supervised:
    """A part and its present child. `changed` is called when a child has been started, and again when it serves.

    Parameters
    ----------
    start_child
        How a child is started.
    """

    def __init__(
        self,
        part: Part,
        *,
        changed: Callable[[], None],
        start_child: Callable[[ChildSpec], Awaitable[Child]] = Child.start,
    ) -> None:
        self._part = part
        self._changed = changed
        self._start_child = start_child
        self._child: Child | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()

    @property
    def name(self) -> str:
        """The part's name."""
        return self._part.name

    @property
    def pid(self) -> int | None:
        """The child's process id; `None` when none runs."""
        child = self._child
        return child.pid if child is not None and child.returncode is None else None

    @property
    def is_ready(self) -> bool:
        """Whether the present child serves."""
        return self._ready.is_set()

    async def start(self) -> None:
        """Start the part and wait until it serves; from then on it is kept running. Raises `RuntimeError`."""
        await self._launch()
        self._keeper = asyncio.create_task(self._keep(), name=f"keep {self.name}")

    async def stop(self) -> None:
        """Stop the part and leave it stopped. Never raises for what the child does."""
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
            self._keeper = None
        self._ready.clear()
        if self._child is not None:
            await self._child.stop()

    def kill(self) -> None:
        """Kill the child with SIGKILL, as a crash would; it is started again."""
        if self._child is not None and self.pid is not None:
            self._ready.clear()
            self._child.kill()

    async def restart(self) -> None:
        """Stop the part cleanly and start it again. Raises `RuntimeError` when it does not come back."""
        await self.stop()
        await self.start()

    async def until_ready(self) -> None:
        """Wait until the present child serves; after `kill()`, the next one."""
        await self._ready.wait()

    async def _launch(self) -> None:
        self._ready.clear()
        self._child = await self._start_child(self._part.spec())
        self._changed()
        await self._part.until_ready(self._child)
        self._ready.set()
        self._changed()

    async def _keep(self) -> None:
        pause_s, kills = 0.0, 0
        while self._child is not None:
            code = await self._child.wait()
            self._ready.clear()
            log.warning("part ended, starting it again", part=self.name, exit_code=code, pause_s=pause_s)
            await asyncio.sleep(pause_s)
            try:
                await self._launch()
            except (RuntimeError, OSError) as error:
                log.warning("part did not start", part=self.name, problem=str(error))
                if self._child.returncode == -signal.SIGKILL and kills < _KILLS_FORGIVEN:
                    kills += 1
                else:
                    pause_s = min(max(2 * pause_s, _FIRST_PAUSE_S), _LONGEST_PAUSE_S)
                # A child that hangs before it is ready is ended, so that the loop comes round to the next one.
                await self._child.stop()
            else:
                pause_s, kills = 0.0, 0
                log.info("part is back", part=self.name, pid=self.pid)
