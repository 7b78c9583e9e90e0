"""The `volex` commands as a user runs them, each a process of its own, on the whole stack."""

import asyncio
import contextlib
import json
import os
import re
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import pytest
import pytest_asyncio

from embedded.stack import EmbeddedStack, StackOptions

COMMAND_TIMEOUT_S = 60
RESTING = ("order", "place", "BUY", "0.001", "BTC/USDT", "--limit", "50000")


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    def told(self) -> Any:
        """Return its output as JSON."""
        return json.loads(self.out)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def data_dir(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Path]:
    """The data directory of a stack that runs."""
    folder: Path = tmp_path_factory.mktemp("cli")
    for parent in (folder, *folder.parents[:3]):
        parent.chmod(parent.stat().st_mode | 0o001)
    async with EmbeddedStack(StackOptions(data_dir=folder / "data", environ={"PATH": os.environ["PATH"]})):
        yield folder / "data"


async def start(data_dir: Path, *arguments: str, **environ: str) -> Process:
    """Start a command in an empty folder, with an environment that knows nothing of the stack."""
    return await asyncio.create_subprocess_exec(
        str(Path(sys.executable).parent / "volex"), *arguments, "--data-dir", str(data_dir),
        stdout=PIPE, stderr=PIPE, cwd=data_dir.parent, env={"PATH": os.environ["PATH"], **environ},
    )  # fmt: skip


async def end_of(process: Process) -> Ended:
    """Wait for its end."""
    out, err = await asyncio.wait_for(process.communicate(), COMMAND_TIMEOUT_S)
    assert process.returncode is not None
    return Ended(process.returncode, out.decode(), err.decode())


async def volex(data_dir: Path, *arguments: str, **environ: str) -> Ended:
    """Run a command."""
    return await end_of(await start(data_dir, *arguments, **environ))


async def test_market_order_is_placed_once_under_its_key(data_dir):
    command = ("order", "place", "buy", "0.001", "BTC/USDT", "--key", "first", "--wait", "final", "--json")
    first, again = await volex(data_dir, *command), await volex(data_dir, *command)
    assert (first.code, first.told()["status"], first.told()["filled"]) == (0, "closed", 0.001)
    assert again.told()["id"] == first.told()["id"]
    other = await volex(data_dir, *command[:3], "0.002", *command[4:])
    assert (other.code, other.told()["code"]) == (3, "IDEMPOTENCY_KEY_REUSED")
    assert other.told()["numbers"]["order_id"] == first.told()["id"]


async def test_resting_order_is_listed_amended_watched_and_canceled(data_dir):
    placed = (await volex(data_dir, *RESTING, "--strategy", "grid", "--json")).told()
    order_id = placed["id"]
    listed = (await volex(data_dir, "order", "list", "--status", "open", "--json")).told()
    assert order_id in {order["id"] for order in listed}
    assert order_id in (await volex(data_dir, "order", "list")).out
    watching = await start(data_dir, "order", "watch", order_id, "--json")
    assert watching.stdout is not None
    seen = [json.loads(await asyncio.wait_for(watching.stdout.readline(), COMMAND_TIMEOUT_S))]
    amended = await volex(data_dir, "order", "amend", order_id, "--price", "50001")
    assert (amended.code, "now @ 50001" in amended.out) == (0, True)
    canceled = await volex(data_dir, "order", "cancel", order_id, "--because", "test")
    assert canceled.code == 0 and "CANCELED" in canceled.out
    end = await end_of(watching)
    seen += [json.loads(line) for line in end.out.splitlines()]
    assert (end.code, seen[0]["status"], seen[-1]["status"]) == (0, "open", "canceled")
    shown = await volex(data_dir, "order", "show", order_id)
    assert re.search(r"strategy +grid", shown.out) and "test (cli)" in shown.out
    late = await volex(data_dir, "order", "cancel", order_id)
    assert (late.code, late.out) == (3, "") and late.err.startswith("ORDER_CLOSED")


async def test_denied_order_ends_with_code_3_and_its_numbers(data_dir):
    denied = await volex(data_dir, "order", "place", "BUY", "0.00001", "BTC/USDT")
    assert denied.code == 3
    assert "NOTIONAL_BELOW_MINIMUM" in denied.out and "min_notional=5" in denied.out
    unknown = await volex(data_dir, *RESTING, "--account", "binanecus", "--json")
    assert (unknown.code, unknown.told()["code"]) == (2, "ACCOUNT_UNKNOWN")


async def test_end_that_does_not_come_in_time_is_not_decided(data_dir):
    waited = await volex(data_dir, *RESTING, "--wait", "final", "--timeout-s", "3", "--json")
    assert (waited.code, waited.told()["status"]) == (4, "open")
    assert (await volex(data_dir, "order", "cancel", waited.told()["id"])).code == 0


async def test_interrupted_wait_names_the_order_that_lives_on(data_dir):
    waiting = await start(data_dir, *RESTING, "--wait", "final", "--strategy", "interrupted")
    async with asyncio.timeout(COMMAND_TIMEOUT_S):
        while not (listed := await _placed_by(data_dir, "interrupted")):
            await asyncio.sleep(0.1)
    waiting.send_signal(signal.SIGINT)
    end = await end_of(waiting)
    assert end.code not in (0, 1) and "Traceback" not in end.err
    assert f"volex order show {listed[0]}" in end.err
    assert (await volex(data_dir, "order", "cancel", listed[0])).code == 0


async def _placed_by(data_dir: Path, strategy: str) -> list[str]:
    listed = (await volex(data_dir, "order", "list", "--status", "open", "--json")).told()
    return [order["id"] for order in listed if order.get("strategy") == strategy]


async def test_account_and_market_are_shown(data_dir):
    assert (await volex(data_dir, "order", "place", "buy", "0.01", "BTC/USDT", "--wait", "final")).code == 0
    one = await volex(data_dir, "balance", "--currency", "USDT", "--json")
    assert (one.code, one.told()["currency"]) == (0, "USDT")
    assert "USDT" in (await volex(data_dir, "balance", "binanceus")).out
    assert "BTC/USDT" in (await volex(data_dir, "ticker", "BTC/USDT")).out
    assert (await volex(data_dir, "positions", "--json")).told()[0]["symbol"] == "BTC/USDT"
    assert (await volex(data_dir, "exchanges", "--json")).told()[0]["status"] == "ok"
    assert (await volex(data_dir, "health", "--json")).told()["status"] == "healthy"
    wrong = await volex(data_dir, "ticker", "BTC/USTD")
    assert wrong.code == 2 and "BTC/USDT" in wrong.err
    problem = await volex(data_dir, "balance", "nowhere", "--json")
    assert (problem.code, problem.told()["code"]) == (2, "ACCOUNT_UNKNOWN")


async def test_audit_of_the_whole_stack_is_intact_until_a_row_is_changed_and_then_names_it(data_dir):
    """Everything that the tests before have done is verified; the checkpoints are those that the worker made."""
    order_id = (
        await volex(data_dir, "order", "place", "buy", "0.001", "BTC/USDT", "--wait", "final", "--json")
    ).told()["id"]
    async with asyncio.timeout(60):
        while (end := await volex(data_dir, "audit", "verify", "--json")).told()["last_checkpoint"] is None:
            assert end.code == 0, end.out
            await asyncio.sleep(1)
    told = end.told()
    assert (end.code, told["intact"], told["found"]) == (0, True, [])
    kept = told["last_checkpoint"]["hash"]
    assert (await volex(data_dir, "audit", "verify", "--expect", kept)).out.startswith("Intact: ")
    assert (await volex(data_dir, "audit", "verify", "--expect", "ab" * 32)).code == 1
    assert (await volex(data_dir, "audit", "verify", "--expect", "none")).code == 2
    async with changed(data_dir, "UPDATE fills SET last_px = last_px {} 1 WHERE order_id = $1", order_id):
        of_order = await volex(data_dir, "audit", "verify", "--order", order_id)
        whole = await volex(data_dir, "audit", "verify", "--json")
    assert (of_order.code, whole.code) == (1, 1) and order_id in of_order.out
    (found,) = whole.told()["found"]
    assert (found["kind"], found["table"], found["chain"]) == ("changed", "fills", f"order:binanceus/{order_id}")
    assert (await volex(data_dir, "audit", "verify")).code == 0


@contextlib.asynccontextmanager
async def changed(data_dir: Path, statement: str, order_id: str) -> AsyncIterator[None]:
    """Change rows past the triggers, as the database's owner can, and change them back."""
    ready = json.loads((data_dir / "run" / "ready.json").read_text("utf-8"))
    connection = await asyncpg.connect(ready["database"])
    await connection.execute("SET session_replication_role = replica")
    await connection.execute(statement.format("+"), order_id)
    try:
        yield
    finally:
        await connection.execute(statement.format("-"), order_id)
        await connection.close()


async def test_doctor_finds_nothing_wrong_with_the_stack(data_dir):
    end = await volex(data_dir, "doctor", "--json")
    assert {finding["state"] for finding in end.told()} == {"ok"}
    checks = " ".join(finding["check"] for finding in end.told())
    for part in ("temporal", "workers", "search attributes", "database", "REST", "venue", "clock", "keys"):
        assert part in checks
    assert end.code == 0


async def test_what_is_not_reachable_ends_with_code_5_and_what_to_do(data_dir, tmp_path):
    nowhere = {"TEMPORAL_ADDRESS": "127.0.0.1:1", "API_PORT": "1", "DATABASE_URL": "postgresql://u:p@127.0.0.1:1/x"}
    for command in (("order", "list"), RESTING, ("balance",)):
        end = await volex(data_dir, *command, **nowhere)
        assert (end.code, end.out) == (5, "")
        assert "TEMPORAL_ADDRESS" in end.err or "volex up" in end.err
        assert "Traceback" not in end.err
    settings = tmp_path / "volex.toml"
    settings.write_text("dry_run_mod = true\n")
    end = await volex(data_dir, "doctor", "--json", VOLEX_CONFIG=str(settings))
    assert (end.code, end.told()[0]["state"]) == (2, "failing") and "dry_run_mode" in end.told()[0]["what_to_do"]
