"""Troubles that meet: each of a schedule's happens, or the report says that it did not."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from tests.campaign.processes import disturber
from tests.campaign.processes.disturber import Disturber
from tests.campaign.processes.schedule import Trouble

NAMES = ("worker", "worker-2")


@pytest.fixture
async def parts() -> AsyncIterator[dict[str, SimpleNamespace]]:
    """Two processes that wait, where a disturber looks for workers."""
    children = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", "input()", stdin=asyncio.subprocess.PIPE)
        for _ in NAMES
    ]
    yield {
        name: SimpleNamespace(name=name, pid=child.pid, is_ready=True)
        for name, child in zip(NAMES, children, strict=True)
    }
    for child in children:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.wait()


def made(parts: dict[str, SimpleNamespace]) -> Disturber:
    floor: Any = SimpleNamespace(stack=SimpleNamespace(part=parts.__getitem__))
    return Disturber(floor, NAMES, ())


async def test_pauses_that_meet_happen_in_turn(parts: dict[str, SimpleNamespace]) -> None:
    under_test, stopped = made(parts), []
    troubles = [Trouble(0.0, "pause a worker", 0.3), Trouble(0.0, "pause a worker beyond the fence", 0.3)]
    happening = asyncio.create_task(under_test.trouble(troubles, 1.0))
    while not happening.done():
        stopped.append(sum(psutil.Process(part.pid).status() == psutil.STATUS_STOPPED for part in parts.values()))
        await asyncio.sleep(0.02)
    await happening
    assert max(stopped) == 1
    assert under_test.kills == {"worker paused": 1, "worker paused beyond the fence": 1}
    assert under_test.not_run == []


async def test_a_pause_that_finds_nobody_up_is_reported(
    parts: dict[str, SimpleNamespace], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disturber, "COMES_BACK_S", 0.2)
    for part in parts.values():
        part.is_ready = False
    under_test = made(parts)
    await under_test.trouble([Trouble(0.0, "pause a worker", 0.1)], 1.0)
    assert under_test.not_run == ["one pause a worker: none was up, or another was paused, for 0.2 s"]
    assert not under_test.kills
