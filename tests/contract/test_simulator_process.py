"""The simulated venue as a process: starts, stops in time, ends with its parent, and forgets nothing when killed."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.contract.simulated_account import client

Start = Callable[..., tuple[subprocess.Popen[bytes], dict[str, Any]]]
ROOT = Path(__file__).parents[2]
START_S = 20


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a venue with the given arguments and wait for its ready file."""
    started: list[subprocess.Popen[bytes]] = []

    def begin(*arguments: str) -> tuple[subprocess.Popen[bytes], dict[str, Any]]:
        ready = tmp_path / f"ready-{len(started)}.json"
        argv = [sys.executable, "-P", "-m", "simulator", "--ready-file", str(ready), *arguments]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        started.append(subprocess.Popen(argv, env=environment, stdout=subprocess.DEVNULL))
        wait_for(ready.exists, START_S)
        told: dict[str, Any] = json.loads(ready.read_text())
        assert told["pid"] == started[-1].pid
        return started[-1], told

    yield begin
    for process in started:
        process.kill()
        process.wait()


def wait_for(condition: Callable[[], bool], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def ask(url: str, body: object = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=5) as response:
        return json.load(response)


def test_both_faces_answer_once_ready_and_sigterm_stops_within_a_second_whatever_hangs(start: Start) -> None:
    process, told = start("--balance", "USDT=5", "--tick-interval-s", "0.05")
    assert ask(f"{told['venue']}/api/v3/ping") == {}
    assert ask(f"{told['control']}/balances") == {"USDT": {"free": "5.00000000", "locked": "0.00000000"}}
    ask(f"{told['control']}/faults", {"kind": "hang", "path": "/time", "seconds": 60})

    def hang() -> None:
        with suppress(OSError):
            ask(f"{told['venue']}/api/v3/time")

    hanging = Thread(target=hang)
    hanging.start()
    wait_for(lambda: bool(ask(f"{told['control']}/faults")["active"][0]["hits"]), 5)
    before = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(5) == 0
    assert time.monotonic() - before < 1
    hanging.join(5)


async def test_killed_venue_finds_its_orders_again(start: Start, tmp_path: Path) -> None:
    process, told = start("--data-dir", str(tmp_path / "venue"), "--tick-interval-s", "0")
    api = client(told["venue"])
    try:
        await api.create_order("BTC/USDT", "market", "buy", 0.5)
        placed = await api.create_order("BTC/USDT", "limit", "buy", 0.1, 50_000, {"newClientOrderId": "mine"})
    finally:
        await api.close()
    paths = ("orders", "fills", "balances")
    before = {path: ask(f"{told['control']}/{path}") for path in paths}
    process.kill()
    process.wait()
    _, told = start("--data-dir", str(tmp_path / "venue"), "--tick-interval-s", "0")
    assert {path: ask(f"{told['control']}/{path}") for path in paths} == before
    api = client(told["venue"])
    try:
        assert [order["id"] for order in await api.fetch_open_orders("BTC/USDT")] == [placed["id"]]
    finally:
        await api.close()


def test_venue_ends_when_its_parent_has_gone(start: Start) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as parent:
        process, _ = start("--parent-pid", str(parent.pid))
        assert process.poll() is None
        parent.kill()  # nobody has waited for it yet: it is a zombie, which counts as gone
        assert process.wait(5) == 0
