"""How soon a part is started again: at once after a kill, later and later when it ends by itself before it serves."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from embedded import supervised
from embedded.child import Child, ChildSpec, until
from embedded.supervised import Supervised

TIMEOUT_S = 30
ENDED = "part ended, starting it again"


class Part:
    """Serves in its first life, later only if told."""

    name = "part"

    def __init__(self, folder: Path, later: str, *, serves_later: bool) -> None:
        self._log_path = folder / "part.log"
        self._later = later
        self._serves_later = serves_later
        self.pids: list[int] = []

    def spec(self) -> ChildSpec:
        """Return a shell that waits, or what was given for later lives."""
        command = self._later if self.pids else "exec sleep 60"
        return ChildSpec(name=self.name, argv=["/bin/sh", "-c", command], log_path=self._log_path)

    async def until_ready(self, child: Child) -> None:
        """Be ready at once, or never."""
        self.pids.append(child.pid)

        async def serves() -> bool:
            return self._serves_later or len(self.pids) == 1

        await until(serves, child=child, timeout_s=TIMEOUT_S)


@contextlib.asynccontextmanager
async def kept(part: Part) -> AsyncIterator[Supervised]:
    """Keep the part running, and stop it at the end."""
    keeper = Supervised(part, changed=lambda: None)
    await keeper.start()
    try:
        async with asyncio.timeout(TIMEOUT_S):
            yield keeper
    finally:
        await keeper.stop()


async def pauses_after_kills(part: Part, kills: int) -> list[float]:
    """Kill each life of the part by its pid, and return the pauses before the next."""
    with capture_logs() as logs:
        async with kept(part):
            for number in range(kills):
                while len(part.pids) <= number:
                    await asyncio.sleep(0.005)
                os.kill(part.pids[number], signal.SIGKILL)
            while len(part.pids) <= kills:
                await asyncio.sleep(0.005)
    return [line["pause_s"] for line in logs if line["event"] == ENDED]


@pytest.mark.parametrize("serves_later", [True, False])
async def test_killed_part_is_started_again_at_once(tmp_path: Path, serves_later: bool) -> None:
    part = Part(tmp_path, "exec sleep 60", serves_later=serves_later)
    assert await pauses_after_kills(part, 6) == [0.0] * 6


async def test_part_killed_again_and_again_before_it_serves_is_paused_in_the_end(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(supervised, "_KILLS_FORGIVEN", 1)
    part = Part(tmp_path, "exec sleep 60", serves_later=False)
    assert await pauses_after_kills(part, 3) == [0.0, 0.0, 0.5]


async def test_part_that_ends_by_itself_before_it_serves_is_paused_longer_and_longer(tmp_path: Path) -> None:
    part = Part(tmp_path, "exit 1", serves_later=False)
    with capture_logs() as logs:
        async with kept(part):
            os.kill(part.pids[0], signal.SIGKILL)
            while len(part.pids) < 4:
                await asyncio.sleep(0.01)
    assert [line["pause_s"] for line in logs if line["event"] == ENDED][:3] == [0.0, 0.5, 1.0]
