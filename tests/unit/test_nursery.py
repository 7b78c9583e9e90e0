"""Programs forked from the nursery: as if started by themselves, ended with it, started without it too."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from embedded.child import Child, ChildSpec, python_module
from embedded.nursery import Nursery

PROGRAM = """
import gc, json, os, random, signal, sys, time

def main():
    match sys.argv[1]:
        case "tell":
            print("told on standard output", flush=True)
            with open(sys.argv[2], "w") as report:
                json.dump(facts(), report)
        case "sleep":
            time.sleep(60)
        case "exit":
            sys.exit(int(sys.argv[2]))
        case "complain":
            sys.exit("a complaint")
        case "fail":
            raise LookupError("a defect")

def facts():
    os.umask(mask := os.umask(0))
    handlers = {n.name: str(signal.getsignal(n)) for n in signal.Signals}
    return {
        "environ": dict(os.environ), "umask": mask, "handlers": {n: h.split(" at ")[0] for n, h in handlers.items()},
        "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
        "leads its session": os.getsid(0) == os.getpid(), "folder": os.getcwd(), "arguments": sys.argv[2:],
        "descriptors": {n: os.readlink(p) for n in range(64) if os.path.exists(p := f"/proc/self/fd/{n}")},
        "collects garbage": gc.isenabled(), "path": sys.path, "program": sys.argv[0],
        "shown": open("/proc/self/cmdline").read().rstrip(chr(0)), "chance": random.random(), "parent": os.getppid(),
    }

if __name__ == "__main__":
    main()
"""
TIMEOUT_S = 30


def spec(folder: Path, *arguments: str, **environ: str) -> ChildSpec:
    """Return how the program above is run."""
    return ChildSpec(
        name="grown",
        argv=[*python_module("grown"), *arguments],
        log_path=folder / "logs" / "grown.log",
        env={"PYTHONPATH": str(folder), **environ},
        orphan_signal=signal.SIGKILL,
    )


def nursery_of(folder: Path) -> Nursery:
    """Return a nursery that finds the program."""
    (folder / "grown.py").write_text(PROGRAM)
    environment = {"PYTHONPATH": str(folder)}
    return Nursery(environment=environment, log_path=folder / "logs" / "nursery.log", changed=lambda: None)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the program of the shared nursery lies."""
    return tmp_path_factory.mktemp("nursery")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def nursery(folder: Path) -> AsyncIterator[Nursery]:
    """A nursery that tests share which leave it alive."""
    made = nursery_of(folder)
    yield made
    await made.stop()


async def ended(child: Child) -> int:
    """Return the exit code."""
    return await asyncio.wait_for(child.wait(), TIMEOUT_S)


async def test_forked_program_finds_what_one_started_by_itself_finds(nursery: Nursery, folder: Path) -> None:
    told = []
    for start in (Child.start, nursery.start_child, nursery.start_child):
        child = await start(spec(folder, "tell", str(folder / "facts.json"), ONLY_HERE="ünïcode\n\udc80", HOME="/else"))
        assert await ended(child) == 0
        told.append(json.loads((folder / "facts.json").read_text()))
    alone, forked, again = told
    assert forked["environ"]["ONLY_HERE"] == "ünïcode\n\udc80"
    assert (folder / "logs" / "grown.log").read_text().splitlines() == ["told on standard output"] * 3
    assert {forked.pop("parent"), again.pop("parent")} == {nursery.pid} != {alone.pop("parent")}
    assert len({facts.pop("chance") for facts in told}) == 3
    # The nursery's command line is shorter than this program's long arguments: what fits is shown.
    assert alone.pop("shown").startswith(forked.pop("shown"))
    assert forked == alone


@pytest.mark.parametrize(
    ("arguments", "code", "logged"),
    [
        (["exit", "0"], 0, ""),
        (["exit", "3"], 3, ""),
        (["complain"], 1, "a complaint"),
        (["fail"], 1, "LookupError: a defect"),
    ],
)
async def test_exit_code_is_reported(nursery: Nursery, folder: Path, arguments, code, logged) -> None:
    child = await nursery.start_child(spec(folder, *arguments))
    assert await ended(child) == code == child.returncode
    assert logged in (folder / "logs" / "grown.log").read_text()


async def test_killed_and_stopped_programs_tell_the_signal(nursery: Nursery, folder: Path) -> None:
    killed, stopped = [await nursery.start_child(spec(folder, "sleep")) for _ in range(2)]
    assert killed.returncode is None
    assert psutil.Process(killed.pid).ppid() == nursery.pid
    killed.kill()
    await asyncio.wait_for(stopped.stop(), TIMEOUT_S)
    assert (await ended(killed), stopped.returncode) == (-signal.SIGKILL, -signal.SIGTERM)
    killed.kill()
    assert not any(psutil.pid_exists(child.pid) for child in (killed, stopped))


async def test_program_that_nobody_waits_for_any_more_is_killed(tmp_path: Path) -> None:
    nursery = nursery_of(tmp_path)
    try:
        await nursery.start()
        asked = asyncio.create_task(nursery.start_child(spec(tmp_path, "sleep")))
        await asyncio.sleep(0)
        asked.cancel()
        wanted = await nursery.start_child(spec(tmp_path, "sleep"))
        async with asyncio.timeout(TIMEOUT_S):
            while [child.pid for child in psutil.Process(nursery.pid).children()] != [wanted.pid]:
                await asyncio.sleep(0.01)
    finally:
        await nursery.stop()
    assert await ended(wanted) == -signal.SIGKILL


async def test_killed_nursery_takes_its_programs_along_and_is_replaced(tmp_path: Path) -> None:
    nursery = nursery_of(tmp_path)
    try:
        first = await nursery.start_child(spec(tmp_path, "sleep"))
        old = psutil.Process(nursery.pid)
        old.kill()
        assert await ended(first) == -signal.SIGKILL
        assert not psutil.pid_exists(first.pid) or psutil.Process(first.pid).status() == psutil.STATUS_ZOMBIE
        second = await nursery.start_child(spec(tmp_path, "sleep"))
        assert psutil.Process(second.pid).ppid() == nursery.pid != old.pid
    finally:
        await nursery.stop()
    assert nursery.pid is None


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("temporalio.py", "raise ImportError('broken')", "ended with code 1"),
        ("sitecustomize.py", "import sys, threading, time\nif 'embedded.nursery_process' in sys.orig_argv:"
         "\n  threading.Thread(target=time.sleep, args=[60], daemon=True).start()", "has 2 threads"),
    ],
)  # fmt: skip
async def test_programs_start_by_themselves_where_forking_cannot_be(
    tmp_path: Path, capsys, caplog, name, text, why
) -> None:
    (tmp_path / name).write_text(text)
    nursery = nursery_of(tmp_path)
    try:
        for _ in range(2):
            report = tmp_path / "facts.json"
            child = await nursery.start_child(spec(tmp_path, "tell", str(report)))
            assert await ended(child) == 0
            assert json.loads(report.read_text())["parent"] == psutil.Process().pid
    finally:
        await nursery.stop()
    assert why in capsys.readouterr().out + caplog.text
