"""Secrets from Vault, looked for in every place where a secret could turn up: one test for each, over one stack.

Each place is also written to with its protection switched off: then the same look has to find the secret.
"""

import asyncio
import contextlib
import io
import json
import logging
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import psutil
import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry, Counter, generate_latest
from pydantic import BaseModel, SecretStr

import observability.logs
from api.numbers import write_json
from api.problems import problem
from domain.errors import VenueUnavailable
from embedded.child import python_module, without_secrets
from exchanges import verdicts
from observability import traces
from observability.logs import hide, set_up_logs
from simulator.running import API_KEY, SECRET_KEY
from tests.faults.floor import Floor, open_floor
from tests.otlp_receiver import Receiver, receiving
from tests.vault_server import VaultServer
from workflows.temporal_plugin import _CONVERTER

pytestmark = pytest.mark.timeout(200)
CANARIES = ("canary-key-7d1f0a52", "canary-secret-b3e94c66", "canary-passphrase-05af7712")


@dataclass
class Stack:
    """The stack after its orders, and what is not to be found in it."""

    floor: Floor
    secrets: Mapping[str, bytes]
    traces: Receiver

    def assert_clean(self, where: str, content: bytes, *, holds: bytes) -> None:
        """Look for every secret; what must be there has to be found too, or this looks in the wrong place."""
        assert holds in content, f"{where} is not what it should be: {content[:300]!r}"
        assert found_in(content, self.secrets) == [], where


def found_in(content: bytes, secrets: Mapping[str, bytes]) -> list[str]:
    """Return the names of the secrets that the content holds."""
    return [name for name, secret in secrets.items() if secret in content]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory, vault_server: VaultServer) -> AsyncIterator[Stack]:
    """A live account whose keys come from Vault and are rotated to the canaries under orders of every ending."""
    vault = vault_server
    role_id, secret_id = await asyncio.to_thread(vault.make_role, name="canary", token_ttl="600s")
    passphrase = {"passphrase": CANARIES[2]}
    vault.write("api_keys/binanceus", api_key=API_KEY, secret_key=SECRET_KEY, **passphrase)
    vault.write("agents/execution", dry_run_mode="False")
    environ = {"VAULT_ADDR": vault.address, "VAULT_ROLE_ID": role_id, "VAULT_SECRET_ID": secret_id}
    os.environ["CANARY_API_KEY"] = CANARIES[0]  # what somebody has in his shell must not reach foreign servers
    try:
        with receiving() as receiver:
            environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = receiver.address
            async with open_floor(tmp_path_factory.mktemp("canaries"), vault=environ) as floor:
                await floor.until_reconciled()
                vault.write("api_keys/binanceus", api_key=CANARIES[0], secret_key=CANARIES[1], **passphrase)
                keys = {"add": {CANARIES[0]: CANARIES[1]}, "revoke": [API_KEY]}
                (await floor.venue.post("/keys", json=keys)).raise_for_status()
                await floor.place("rotated")
                await floor.place("dear", order_type="limit", price=Decimal("99"), amount=Decimal("1"))
                await floor.fault("drop_after", method="POST", path="/order", times=1)
                doubted = await floor.place("doubted")
                await floor.until_final(doubted["id"])
                secrets = {name: name.encode() for name in (*CANARIES, SECRET_KEY, secret_id, vault.root_token)}
                yield Stack(floor, secrets, receiver)
    finally:
        del os.environ["CANARY_API_KEY"]
        vault.write("agents/execution", dry_run_mode="True")


async def run(stack: Stack, *command: str) -> bytes:
    """Return all that a command of ours prints."""
    words = [*python_module("cli.main"), *command, "--data-dir", str(stack.floor.stack.data.path)]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *words, env=stack.floor.stack.environment, stdout=pipe, stderr=asyncio.subprocess.STDOUT
    )
    told, _ = await asyncio.wait_for(process.communicate(), 60)
    return told


def files(stack: Stack, folder: str) -> bytes:
    """Return what all files of a folder of the stack's data hold."""
    found = sorted(path for path in (stack.floor.stack.data.path).glob(folder) if path.is_file())
    return b"\n".join(path.read_bytes() for path in found)


def processes(stack: Stack) -> Iterator[tuple[str, psutil.Process]]:
    """Yield every process of the stack, the supervisor, which is this test, not among them."""
    for name, pid in stack.floor.stack.ready["pids"].items():
        if name != "supervisor":
            for one in pid if isinstance(pid, list) else [pid]:
                yield name, psutil.Process(one)


async def test_logs(stack: Stack) -> None:
    stack.assert_clean("the logs", files(stack, "logs/*"), holds=b"keys_changed")


async def test_workflow_history(stack: Stack) -> None:
    stack.assert_clean("Temporal's store", files(stack, "temporal*"), holds=b"BTC/USDT")


async def test_database_and_archives_in_it(stack: Stack) -> None:
    database = stack.floor.database
    tables = await database.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    rows = [await database.fetch(f'SELECT t::text AS row FROM "{name}" t') for (name,) in tables]
    ledger = "\n".join(row["row"] for table in rows for row in table).encode()
    stack.assert_clean("the ledger", ledger, holds=b"BTC/USDT")
    stack.assert_clean("the database's files", files(stack, "postgres/**/*"), holds=b"BTC/USDT")


async def test_files_of_the_data_directory(stack: Stack) -> None:
    everything = b"\n".join(files(stack, folder) for folder in ("*", "run/*", "archive*/**/*", "outbox*/**/*"))
    stack.assert_clean("the data directory", everything, holds=b"pids")


async def test_rest_answers_and_errors(stack: Stack) -> None:
    rest = stack.floor.rest
    order = (await rest.get("/orders/binanceus")).json()[0]["id"]
    paths = [path for path, methods in (await rest.get("/openapi.json")).json()["paths"].items() if "get" in methods]
    told = b""
    for path in (*paths, "/orders/nowhere", "/orders/binanceus/x", "/nothing", "/openapi.json", "/docs"):
        filled = path.replace("{exchange}", "binanceus").replace("{order_id}", order).replace("{kind}", "orders")
        answer = await rest.get(
            filled.replace("{symbol}", "BTC/USDT"), params={"year": 2026} if "{kind}" in path else {}
        )
        told += answer.content + str(answer.headers).encode()
    stack.assert_clean("the REST interface", told, holds=order.encode())


async def test_metrics(stack: Stack) -> None:
    stack.assert_clean("the metrics", (await stack.floor.rest.get("/metrics")).content, holds=b"volex_")


async def test_traces(stack: Stack) -> None:
    async with asyncio.timeout(15):
        while b"venue submit" not in b"".join(stack.traces.bodies):
            await asyncio.sleep(0.2)
    stack.assert_clean("the traces", b"".join(stack.traces.bodies), holds=b"venue submit")


async def test_command_line(stack: Stack) -> None:
    commands = (("doctor",), ("accounts", "--json"), ("order", "list"), ("keys", "list", "--all", "--json"))
    told = b"".join(await asyncio.gather(*(run(stack, *command) for command in commands)))
    stack.assert_clean("the command line", told, holds=b"binanceus")


async def test_process_list(stack: Stack) -> None:
    lines = "\n".join(" ".join(process.cmdline()) for _, process in processes(stack)).encode()
    stack.assert_clean("the process list", lines, holds=b"postgres")


async def test_environment_of_children(stack: Stack) -> None:
    """As `docker inspect` and /proc show it. What Vault holds is in nobody's; what our shell holds, in ours alone."""
    secrets = {name: secret for name, secret in stack.secrets.items() if name in CANARIES[1:] or name == SECRET_KEY}
    for name, process in processes(stack):
        environ = json.dumps(process.environ()).encode()
        assert b"PATH" in environ, name
        assert found_in(environ, secrets) == [], name
        if name in ("postgres", "temporal", "simulator"):
            assert found_in(environ, stack.secrets) == [], f"{name} is not ours to tell secrets"


async def test_crash_dumps(stack: Stack) -> None:
    for name, process in processes(stack):
        if name in ("worker", "api"):
            assert process.rlimit(psutil.RLIMIT_CORE) == (0, 0), f"{name} would leave its memory in a core file"
    code = "import faulthandler, os, signal; faulthandler.enable(); "
    code += f"key = {'-'.join(CANARIES[:1])!r}; os.kill(os.getpid(), signal.SIGABRT)"
    crashed = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    stack.assert_clean("a crash's trace", crashed.stderr, holds=b"Fatal Python error")


# The same look at what is written where a protection is off.


class Model(BaseModel):
    key: Any


def _logged(secret: Any) -> bytes:
    stream = io.StringIO()
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    try:
        set_up_logs(stream=stream, as_json=True)
        try:
            raise RuntimeError(f"refused: {secret.get_secret_value() if isinstance(secret, SecretStr) else secret}")
        except RuntimeError:
            logging.getLogger("volex.test").exception("with %s", secret, extra={"facts": {"a": [str(secret)]}})
    finally:
        root.handlers[:] = before
        root.setLevel(level)
    return stream.getvalue().encode()


def _venue_said(secret: Any) -> bytes:
    """What the ledger, histories and REST get of a venue's words that repeat our key."""
    plain = secret.get_secret_value() if isinstance(secret, SecretStr) else secret
    return verdicts.clean(f"no such key {plain} here").encode()


def _counted(secret: Any) -> bytes:
    registry = CollectorRegistry()
    Counter("volex_test", "a test", ["account"], registry=registry).labels(str(secret)).inc()
    return generate_latest(registry)


def _answered(secret: Any) -> bytes:
    return bytes(problem(VenueUnavailable(f"no answer with {secret}")).body) + write_json({"key": str(secret)})


def _in_history(secret: Any) -> bytes:
    payloads = _CONVERTER.payload_converter.to_payloads([Model(key=secret)])
    return b"".join(payload.data for payload in payloads)


def _in_ledger(secret: Any) -> bytes:
    return Model(key=secret).model_dump_json().encode()


def _traced(secret: Any) -> bytes:
    with receiving() as receiver:
        traces.set_up_traces(receiver.address, service="volex-test")
        plain = secret.get_secret_value() if isinstance(secret, SecretStr) else secret
        with contextlib.suppress(VenueUnavailable), traces.request_span("POST", {}):
            raise VenueUnavailable(f"the venue said: {plain}")
        traces.stop_traces()
        return b"".join(receiver.bodies)


def _in_environment(secret: Any) -> bytes:
    environ = {"PATH": "/bin", "X_SECRET_KEY": CANARIES[0], "X_URL": f"postgresql://a:{CANARIES[0]}@b/c"}
    handed_on = without_secrets(environ) if isinstance(secret, SecretStr) else environ
    return subprocess.run(["/usr/bin/env"], env=handed_on, capture_output=True, check=True).stdout


SINKS: Mapping[str, Callable[[Any], bytes]] = {
    "logs": _logged,
    "words of a venue": _venue_said,
    "metrics": _counted,
    "traces": _traced,
    "REST answers and errors": _answered,
    "workflow history": _in_history,
    "ledger": _in_ledger,
    "environment of children": _in_environment,
}


@pytest.fixture
def hidden() -> Iterator[None]:
    """Forget afterwards what was hidden here, for other tests."""
    before = set(observability.logs._hidden)
    yield
    observability.logs._hidden.clear()
    observability.logs._hidden.update(before)


@pytest.mark.parametrize("sink", SINKS)
def test_a_sink_is_clean_with_its_protection_and_not_without(
    sink: str, monkeypatch: pytest.MonkeyPatch, hidden: None
) -> None:
    canary, write = CANARIES[0], SINKS[sink]
    secrets = {canary: canary.encode()}
    hide(canary)
    assert found_in(write(SecretStr(canary)), secrets) == []
    monkeypatch.setattr(observability.logs, "_masked_text", lambda text: text)
    assert found_in(write(canary), secrets) == [canary], "the look would not find it"


def test_a_core_file_would_be_noticed() -> None:
    """Without `keep_no_core` a process keeps the limit it was given, and the look at it tells."""
    code = "import resource, sys; sys.path.insert(0, '.'); {}; print(resource.getrlimit(resource.RLIMIT_CORE)[0])"
    script = (
        "import resource; resource.setrlimit(resource.RLIMIT_CORE, resource.getrlimit(resource.RLIMIT_CORE)[1:] * 2)"
    )
    protection = "from observability.crashes import keep_no_core; keep_no_core()"
    told = [
        subprocess.run(
            [sys.executable, "-c", f"{script}; {code.format(step)}"], capture_output=True, check=True, cwd=Path.cwd()
        ).stdout.strip()
        for step in ("pass", protection)
    ]
    assert told[1] == b"0"
    if told[0] == b"0":
        pytest.skip("the system itself allows no core file here, so that there is nothing to notice")


def test_an_argument_of_a_process_would_be_found() -> None:
    code = "import sys; sys.stdin.read()"
    process = subprocess.Popen([sys.executable, "-c", code, CANARIES[0]], stdin=subprocess.PIPE)
    try:
        line = " ".join(psutil.Process(process.pid).cmdline()).encode()
    finally:
        with contextlib.suppress(OSError):
            process.communicate(b"", timeout=10)
    assert found_in(line, {"canary": CANARIES[0].encode()}) == ["canary"]
