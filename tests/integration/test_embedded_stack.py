"""The embedded stack on real Postgres and Temporal: it starts, mends itself, stops, and leaves nothing behind."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import pytest

from embedded.stack import ALL_PARTS, EmbeddedStack, StackOptions
from embedded.temporal_server import SEARCH_ATTRIBUTES
from workflows import search_attributes

SERVERS = frozenset({"postgres", "temporal"})
STOP_TIMEOUT_S = 25
START_TIMEOUT_S = 60
UP = """
import asyncio, sys
from pathlib import Path
from cli.stack import run_stack
from embedded.stack import StackOptions
parts = frozenset(sys.argv[3].split(","))
options = StackOptions(data_dir=Path(sys.argv[1]), ready_file=Path(sys.argv[2]), parts=parts)
sys.exit(asyncio.run(run_stack(options)))
"""


def until(condition: Callable[[], Any], *, timeout_s: float) -> Any:
    """Return the condition's first true answer within the time."""
    deadline = time.monotonic() + timeout_s
    while not (answer := condition()):
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.02)
    return answer


def told(ready_file: Path) -> dict[str, Any] | None:
    """Return what the ready file says; None while there is none."""
    return json.loads(ready_file.read_text()) if ready_file.exists() else None


def runs(pid: int) -> bool:
    """Tell whether the process exists and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def listens(address: str) -> bool:
    """Tell whether somebody takes connections at host:port."""
    host, _, port = address.rpartition("/")[2].rpartition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


class Supervisor:
    """A supervisor in a process of its own."""

    def __init__(self, folder: Path, parts: frozenset[str] = SERVERS) -> None:
        self.data_dir = folder / "data"
        self.ready_file = folder / "ready.json"
        self._command = [sys.executable, "-c", UP, str(self.data_dir), str(self.ready_file), ",".join(parts)]
        self.process: subprocess.Popen[str] | None = None

    def up(self) -> dict[str, Any]:
        """Start it and return what the ready file says."""
        self.ready_file.unlink(missing_ok=True)
        self.process = subprocess.Popen(self._command, text=True, start_new_session=True)
        ready: dict[str, Any] = until(lambda: self._told_or_failed(), timeout_s=START_TIMEOUT_S)
        return ready

    def _told_or_failed(self) -> dict[str, Any] | None:
        assert self.process is not None
        assert self.process.poll() is None, f"the supervisor ended with code {self.process.returncode}"
        return told(self.ready_file)

    def end(self, number: signal.Signals) -> int:
        """Send it a signal and return its exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(STOP_TIMEOUT_S)


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    """A supervisor of the two servers that is stopped at the end."""
    made = Supervisor(tmp_path)
    yield made
    if made.process is not None and made.process.poll() is None:
        made.end(signal.SIGTERM)


def test_search_attributes_are_those_of_the_workflows():
    assert set(SEARCH_ATTRIBUTES) == {key.name for key in search_attributes.ALL}


async def test_killed_server_comes_back_on_its_port_with_its_data(tmp_path):
    ready_file = tmp_path / "ready.json"
    options = StackOptions(data_dir=tmp_path / "data", ready_file=ready_file, parts=SERVERS, environ={})
    async with EmbeddedStack(options) as stack:
        before = stack.ready
        assert told(ready_file) == before
        assert ready_file.stat().st_mode & 0o077 == 0
        connection = await asyncpg.connect(before["database"])
        await connection.execute("CREATE TABLE kept AS SELECT 1 AS one")
        await connection.close()
        for name in ("postgres", "temporal"):
            stack.part(name).kill()
            await stack.part(name).until_ready()
        after = stack.ready
        assert told(ready_file) == after
        assert {key: after[key] for key in ("database", "temporal", "ui")} == {
            key: before[key] for key in ("database", "temporal", "ui")
        }
        for name in ("postgres", "temporal"):
            assert after["pids"][name] != before["pids"][name]
        connection = await asyncpg.connect(after["database"])
        assert await connection.fetchval("SELECT one FROM kept") == 1
        assert await connection.fetchval("SELECT count(*) FROM alembic_version") == 1
        await connection.close()
    assert not ready_file.exists()
    assert not any(runs(after["pids"][name]) for name in ("postgres", "temporal"))


async def test_part_that_cannot_start_is_named_and_the_others_are_stopped(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ports = {"postgres": taken.getsockname()[1]}
        stack = EmbeddedStack(StackOptions(data_dir=tmp_path / "data", parts=SERVERS, ports=ports, environ={}))
        with pytest.raises(RuntimeError, match=r"postgres .*see .*postgres\.log"):
            await stack.__aenter__()
    assert stack.part("temporal").pid is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_stops_everything_in_time(supervisor, number):
    ready = supervisor.up()
    assert supervisor.end(number) == 0
    assert not any(runs(ready["pids"][name]) for name in SERVERS)
    assert not listens(ready["temporal"])
    assert not supervisor.ready_file.exists()


def test_signal_while_starting_leaves_nothing_running(supervisor):
    supervisor.process = subprocess.Popen(supervisor._command, text=True, start_new_session=True)
    children = supervisor.data_dir / "run" / "children.json"
    pids = until(lambda: children.exists() and json.loads(children.read_text()), timeout_s=START_TIMEOUT_S)
    assert supervisor.end(signal.SIGTERM) == 0
    assert not any(runs(int(pid)) for pid in pids)


async def test_start_right_after_the_supervisor_was_killed_finds_the_data_and_no_orphan(supervisor):
    ready = supervisor.up()
    connection = await asyncpg.connect(ready["database"])
    await connection.execute("CREATE TABLE kept AS SELECT 1 AS one")
    supervisor.end(signal.SIGKILL)
    again = supervisor.up()
    assert not any(runs(ready["pids"][name]) for name in SERVERS)
    until(lambda: not any(listens(ready[name]) for name in ("temporal", "ui")), timeout_s=10)
    connection = await asyncpg.connect(again["database"])
    assert await connection.fetchval("SELECT one FROM kept") == 1
    await connection.close()


def test_orphans_end_by_themselves(supervisor):
    ready = supervisor.up()
    supervisor.end(signal.SIGKILL)
    until(lambda: not any(runs(ready["pids"][name]) for name in SERVERS), timeout_s=10)


def _pids(ready: dict[str, Any]) -> set[int]:
    """Return the processes of our own programs that a nursery's end takes along, and the nursery."""
    return {ready["pids"]["nursery"], ready["pids"]["api"], *ready["pids"]["worker"]}


def test_forked_programs_come_back_and_end_with_the_nursery_and_with_the_supervisor(tmp_path):
    supervisor = Supervisor(tmp_path, ALL_PARTS)
    ready = supervisor.up()
    try:
        [worker], nursery = ready["pids"]["worker"], ready["pids"]["nursery"]
        assert {psutil.Process(pid).ppid() for pid in _pids(ready) - {nursery}} == {nursery}

        os.kill(worker, signal.SIGKILL)
        after = until(lambda: (new := supervisor._told_or_failed()) != ready and new, timeout_s=START_TIMEOUT_S)
        [successor] = after["pids"]["worker"]
        assert successor != worker
        assert psutil.Process(successor).ppid() == nursery
        assert {**after, "pids": None} == {**ready, "pids": None}

        os.kill(nursery, signal.SIGKILL)
        renewed = until(
            lambda: (new := supervisor._told_or_failed()) and not _pids(new) & _pids(after) and new,
            timeout_s=START_TIMEOUT_S,
        )
        assert not any(runs(pid) for pid in _pids(after))
        assert listens(renewed["api"])
        assert renewed["api"] == ready["api"]
        assert {psutil.Process(pid).ppid() for pid in _pids(renewed)} == {
            renewed["pids"]["nursery"],
            renewed["pids"]["supervisor"],
        }
        remembered = json.loads((supervisor.data_dir / "run" / "children.json").read_text())
        assert {str(pid) for pid in _pids(renewed)} <= remembered.keys()
    finally:
        supervisor.end(signal.SIGKILL)
    # A killed process can be a zombie a moment before its last thread lets go of the port.
    until(lambda: not any(runs(pid) for pid in _pids(renewed)) and not listens(ready["api"]), timeout_s=10)


def _volex_up(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cli.main", "up", *arguments],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=START_TIMEOUT_S,
        check=False,
    )


def test_second_stack_on_the_same_folder_is_refused_and_names_the_first(supervisor):
    supervisor.up()
    assert supervisor.process is not None
    refused = _volex_up("--data-dir", str(supervisor.data_dir))
    assert refused.returncode == 2
    assert f"in use by the stack with pid {supervisor.process.pid}" in refused.stderr
    assert told(supervisor.ready_file) is not None


@pytest.mark.parametrize(
    ("text", "environ", "problem"),
    [
        ("dry_run = true", {}, "unknown key dry_run"),
        ("[accounts", {}, "volex.toml"),
        ("", {"API_HOST": "0.0.0.0"}, "needs an API key"),
        ("[risk]\nmax_order_notional = 0.5", {}, "write money as text"),
    ],
)
def test_bad_settings_are_one_line_before_anything_starts(tmp_path, text, environ, problem):
    config = tmp_path / "volex.toml"
    config.write_text(text)
    data_dir = tmp_path / "data"
    refused = _volex_up("--data-dir", str(data_dir), "--config", str(config), **environ)
    assert refused.returncode == 2
    assert problem in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1
    assert not data_dir.exists()
