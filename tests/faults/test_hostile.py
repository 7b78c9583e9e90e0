"""Hostile requests against the running stack: no crash, no effect, no secret; and each protection is missed when off.

A slice of `python -m tests.campaign hostile`, with a fresh seed each time; VOLEX_CAMPAIGN_SEED repeats it.
"""

import asyncio
import contextlib
import json
import os
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

import api.callers
import api.numbers
import api.problems
from api.app import create_app
from api.serving import options_of
from domain.api_keys import Caller
from embedded.child import free_port
from settings import load_settings
from simulator.running import SECRET_KEY
from tests.campaign.hostile.run import run
from tests.faults.floor import Floor

pytestmark = pytest.mark.timeout(200)
REQUESTS = 400


@pytest.fixture
def seed() -> int:
    """Return the run's seed, printed."""
    seed = int(os.environ.get("VOLEX_CAMPAIGN_SEED") or time.time() % 100_000)
    print(f"\nVOLEX_CAMPAIGN_SEED={seed}")
    return seed


async def test_hostile_requests_crash_nothing_change_nothing_and_see_no_secret(floor: Floor, seed: int) -> None:
    await floor.until_reconciled()
    report = await run(floor, seed=seed, count=REQUESTS, patience_s=1.0)
    print(json.dumps(report))
    assert not report["violations"], f"seed {seed}:\n" + "\n".join(report["violations"])
    assert report["requests"] > REQUESTS * 0.9
    assert {"200", "400", "401", "403", "404", "405", "415", "422"} <= report["statuses"].keys()


def _no_key_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async def anybody(self: object, shown: bytes) -> Caller:
        return Caller()

    monkeypatch.setattr(api.callers.KeyDesk, "caller", anybody)


def _no_scope_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api.callers.Caller, "may", lambda self, scope: True)
    monkeypatch.setattr(api.callers.Caller, "check_account", lambda self, account: None)


def _revoked_keys_count(monkeypatch: pytest.MonkeyPatch) -> None:
    def lenient(shown: bytes, keys: Any, *, now: Any) -> Caller:
        return Caller(name="revoked", key_id="0" * 8)

    monkeypatch.setattr(api.callers, "find", lenient)


def _bodies_are_read_carelessly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.context.read_json", lambda body: json.loads(body))


def _errors_tell_all(monkeypatch: pytest.MonkeyPatch) -> None:
    told = api.problems.problem_response

    def telling(status: int, **fields: Any) -> Any:
        return told(status, **{**fields, "detail": f"{fields['detail']} (signed with {SECRET_KEY})"})

    monkeypatch.setattr(api.problems, "problem_response", telling)


def _traces_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    told = api.problems.problem_response

    def telling(status: int, **fields: Any) -> Any:
        return told(status, **{**fields, "detail": 'Traceback (most recent call last):\n File "/api/app.py"'})

    monkeypatch.setattr(api.problems, "problem_response", telling)


VARIANTS = {
    "no key is asked for": (_no_key_is_asked_for, "without rights, "),
    "no scope is asked for": (_no_scope_is_asked_for, "without rights, "),
    "revoked keys count": (_revoked_keys_count, "without rights, "),
    "bodies are read carelessly": (_bodies_are_read_carelessly, "status 500"),
    "errors tell all": (_errors_tell_all, "shows the venue's secret"),
    "traces are shown": (_traces_are_shown, "shows its insides"),
}


@pytest.mark.parametrize("name", VARIANTS)
async def test_a_protection_that_is_switched_off_is_missed(
    floor: Floor, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    switch_off, expected = VARIANTS[name]
    async with _own_interface(floor, monkeypatch, switch_off) as url:
        report = await run(floor, seed=11, count=120, share_of_document=0.0, api_url=url, patience_s=0.5)
    print(json.dumps(report))
    assert any(violation.startswith(expected) for violation in report["violations"]), report


@contextlib.asynccontextmanager
async def _own_interface(
    floor: Floor, monkeypatch: pytest.MonkeyPatch, switch_off: Callable[[pytest.MonkeyPatch], None]
) -> AsyncIterator[str]:
    """Serve one more REST interface of the floor's stack, with a protection switched off, from this process."""
    port = free_port()
    settings = load_settings(floor.stack.environment).model_copy(update={"api_port": port})
    switch_off(monkeypatch)
    app = create_app(settings)

    async def quiet(scope: Scope, receive: Receive, send: Send) -> None:
        with contextlib.suppress(Exception):  # the answer has been sent; uvicorn would log the crash
            await app(scope, receive, send)

    server = uvicorn.Server(uvicorn.Config(quiet, **options_of(settings)))
    running = asyncio.create_task(server._serve())
    try:
        while not server.started:
            assert not running.done(), running
            await asyncio.sleep(0.02)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await running
