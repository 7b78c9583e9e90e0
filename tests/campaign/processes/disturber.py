"""Makes the troubles of a schedule happen, and keeps what was done to whom and when."""

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx2

from tests.campaign.processes.schedule import Trouble
from tests.faults.floor import Floor

COMES_BACK_S = 60
LEAST_LIFE_S = 0.2
"""A worker is let live this long after it polls, or on a slow machine nothing at all would be done."""
MAINTENANCE_REQUESTS = 25
CLOCK_STEPS_MS = {"clock ahead": 1500, "clock back": -800}
"""Forward by any amount is safe. Backward, requests on their way live longer by the step: it must be within the
allowance for the clock, which the account's fence holds."""


@dataclass
class Disturber:
    """What has been done so far. Stops what it started when `work` ends."""

    floor: Floor
    workers: Sequence[str]
    weather: Sequence[dict[str, Any]]
    kills: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    killed_at: list[tuple[datetime, str]] = field(default_factory=list)
    not_run: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._paused: set[str] = set()
        self._skew_ms = 0

    async def begin(self) -> None:
        """Set the venue's faults."""
        for fault in self.weather:
            await self.floor.fault(**fault)

    async def end(self) -> None:
        """Count the faults that struck, and clear them. The venue's clock stays where it is, as clocks do."""
        active = (await self.floor.venue.get("/faults")).json()["active"]
        for fault in active:
            where = f"{fault['method'] or ''} {fault['path'] or ''}".strip() or "order"
            refused = "" if fault["accepted"] else ", not carried out"
            status = f" {fault['status']}" if fault["status"] else ""
            self.faults[f"{fault['kind']}{status}{refused} ({where})"] += fault["hits"]
        await self.floor.venue.delete("/faults")

    async def kill_workers(self, kills: Sequence[Trouble], load_s: float) -> None:
        """Kill workers with -9 at their moments; one that is paused or starting is passed over for another."""
        began = time.monotonic()
        for number, trouble in enumerate(kills):
            await asyncio.sleep(max(0.0, began + trouble.at * load_s - time.monotonic()))
            if time.monotonic() - began > load_s or not await self._kill_one(trouble.kind, began + load_s):
                self.not_run.append(f"{len(kills) - number} of {len(kills)} worker kills: no worker was up in time")
                return

    async def _kill_one(self, preferred: str, deadline: float) -> bool:
        others = [name for name in self.workers if name != preferred]
        while time.monotonic() < deadline:
            for name in (preferred, *others):
                part = self.floor.stack.part(name)
                if part.is_ready and name not in self._paused:
                    pid = part.pid
                    await asyncio.sleep(LEAST_LIFE_S)
                    if part.pid == pid and name not in self._paused:
                        self._kill(name)
                        return True
            await asyncio.sleep(0.05)
        return False

    def _kill(self, name: str) -> None:
        self.floor.stack.part(name).kill()
        kind = "worker" if name.startswith("worker") else name
        self.kills[kind] += 1
        self.killed_at.append((datetime.now(UTC), kind))

    async def trouble(self, troubles: Sequence[Trouble], load_s: float) -> None:
        """Make the other troubles happen at their moments, side by side where they overlap."""
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for trouble in troubles:
                await asyncio.sleep(max(0.0, began + trouble.at * load_s - time.monotonic()))
                group.create_task(self._happen(trouble))

    def _happen(self, trouble: Trouble) -> Coroutine[Any, Any, None]:
        kind = trouble.kind
        if kind in ("kill api", "kill postgres", "kill temporal", "immediate stop of postgres"):
            return self._crash(kind)
        if kind.startswith("pause a worker"):
            return self._pause_worker(kind, trouble.seconds)
        if kind == "freeze the venue":
            return self._freeze_venue(trouble.seconds)
        return self._venue_trouble(kind, trouble.seconds)

    async def _crash(self, kind: str) -> None:
        name = kind.split()[-1]
        part = self.floor.stack.part(name)
        if not await _soon(lambda: part.is_ready and part.pid is not None):
            self.not_run.append(f"one {kind}: it was not up within {COMES_BACK_S} s")
            return
        pid = part.pid
        assert pid is not None
        if kind.startswith("kill"):
            self._kill(name)
        else:
            os.kill(pid, signal.SIGQUIT)
            self.kills["postgres immediate stop"] += 1
            self.killed_at.append((datetime.now(UTC), "postgres immediate stop"))
        async with asyncio.timeout(COMES_BACK_S):
            while part.pid in (None, pid) or not part.is_ready:
                await asyncio.sleep(0.05)

    async def _pause_worker(self, kind: str, seconds: float) -> None:
        """Pause one that works. Another must not be paused meanwhile: two pauses that meet happen in turn."""
        if not await _soon(lambda: self._pausable() is not None):
            self.not_run.append(f"one {kind}: none was up, or another was paused, for {COMES_BACK_S} s")
            return
        name = self._pausable()
        assert name is not None
        pid = self.floor.stack.part(name).pid
        assert pid is not None
        self._paused.add(name)
        self.kills[kind.replace("pause a worker", "worker paused")] += 1
        await self._stopped(pid, seconds)
        self._paused.discard(name)

    def _pausable(self) -> str | None:
        if len(self._paused) + 1 >= len(self.workers):
            return None
        parts = (self.floor.stack.part(name) for name in self.workers if name not in self._paused)
        return next((part.name for part in parts if part.is_ready and part.pid is not None), None)

    async def _freeze_venue(self, seconds: float) -> None:
        pid = self.floor.stack.part("simulator").pid
        if pid is not None:
            self.faults["venue frozen (every request)"] += 1
            await self._stopped(pid, seconds)

    @staticmethod
    async def _stopped(pid: int, seconds: float) -> None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    async def _venue_trouble(self, kind: str, seconds: float) -> None:
        with suppress(httpx2.TimeoutException):  # the venue may be frozen at this moment
            if kind == "maintenance":
                await self.floor.fault("maintenance", times=MAINTENANCE_REQUESTS)
            elif kind == "ban":
                await self.floor.fault("rate_limit", status=418, seconds=seconds, times=2)
            else:
                self._skew_ms += CLOCK_STEPS_MS[kind]
                self.faults[f"{kind} by {abs(CLOCK_STEPS_MS[kind])} ms"] += 1
                await self.floor.venue.post("/clock", json={"skew_ms": self._skew_ms})

    async def move_market(self, swings: Sequence[tuple[str, Decimal]], load_s: float) -> None:
        """Put the market where the schedule says, evenly over the load."""
        for symbol, price in swings:
            with suppress(httpx2.TimeoutException):
                await self.floor.market(symbol.replace("/", ""), price=str(price), frozen=True)
            await asyncio.sleep(load_s / len(swings))


async def _soon(condition: Callable[[], bool]) -> bool:
    """Wait for the condition, for a bounded time; whether it came."""
    deadline = time.monotonic() + COMES_BACK_S
    while not condition():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.05)
    return True
