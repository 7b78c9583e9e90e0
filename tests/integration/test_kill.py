"""The kill switch and the dead-man switch as people and agents use them: REST, command line, a Temporal signal."""

import asyncio
import json
import os
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any, NamedTuple

import pytest
import pytest_asyncio

from domain.identifiers import reconciler_workflow_id
from starter.connection import connect_temporal
from tests.alert_receiver import SECRET, Receiver
from tests.faults.floor import Floor, open_floor
from tests.integration.test_reconciler import LIMIT
from workflows.messages import EngageKill

pytestmark = pytest.mark.timeout(200)
COMMAND_TIMEOUT_S = 90
WITHIN_S = 30
ACCOUNT_SCOPE = "account:binanceus"


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def receiver() -> AsyncIterator[Receiver]:
    """Where the stack's alerts are told."""
    async with Receiver().serving() as serving:
        yield serving


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def floor(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> AsyncIterator[Floor]:
    """A stack of our own, with one worker that tells its alerts."""
    environ = {"NOTIFY__WEBHOOK_URL": receiver.url.get_secret_value(), "NOTIFY__WEBHOOK_SECRET": SECRET}
    async with open_floor(tmp_path_factory.mktemp("kill"), environ=environ) as floor:
        await floor.until_reconciled()
        yield floor


@pytest_asyncio.fixture(autouse=True, loop_scope="session")
async def lifted(floor: Floor) -> AsyncIterator[None]:
    """Lift what a test has left on."""
    yield
    for switch in (await floor.rest.get("/risk/kill")).json():
        await lift(floor, switch["scope"])
    for deadman in (await floor.rest.get("/risk/deadman")).json():
        await floor.rest.post("/risk/deadman/disarm", json={"scope": deadman["scope"]})


async def lift(floor: Floor, scope: str) -> None:
    """Lift in two steps."""
    asked = await floor.rest.post("/risk/kill/lift", json={"scope": scope, "because": "the test is over"})
    assert asked.status_code == 202, asked.text
    lifted = await floor.rest.post("/risk/kill/lift", json={"scope": scope, "confirm": asked.json()["confirm"]})
    assert lifted.status_code == 200, lifted.text


async def engage(floor: Floor, scope: str = "firm", **options: Any) -> dict[str, Any]:
    """Pull the switch."""
    answer = await floor.rest.post("/risk/kill", json={"scope": scope, "reason": "a drill", **options})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def volex(floor: Floor, *arguments: str) -> Ended:
    """Run a command as a process of its own, with the REST interface's key."""
    environment = {"PATH": os.environ["PATH"], "API_KEY": "test-key", "USER": "ann"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "cli.main", *arguments, "--data-dir", str(floor.stack.data.path),
        stdout=PIPE, stderr=PIPE, env={**environment, "PYTHONPATH": os.environ.get("PYTHONPATH", "")},
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), COMMAND_TIMEOUT_S)
    assert process.returncode is not None
    return Ended(process.returncode, out.decode(), err.decode())


async def events(floor: Floor) -> list[tuple[str, str]]:
    """Return what happened to the switches, newest first, and to which."""
    return [(event["kind"], event["scope"]) for event in (await floor.rest.get("/risk/kill/history")).json()]


async def until_event(floor: Floor, kind: str, scope: str) -> dict[str, Any]:
    """Wait until the history has such an entry on top of the last `ENGAGED` one; return it."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            for event in (await floor.rest.get("/risk/kill/history?limit=10")).json():
                if (event["kind"], event["scope"]) == (kind, scope):
                    return dict(event)
            await asyncio.sleep(0.1)


async def test_a_switch_is_told_to_people_while_it_is_on_and_when_it_is_lifted(
    floor: Floor, receiver: Receiver
) -> None:
    receiver.status = 503
    await engage(floor, "strategy:told")
    async with asyncio.timeout(WITHIN_S):
        while not await floor.database.fetchval("SELECT attempts FROM alert_deliveries WHERE last_error IS NOT NULL"):
            await asyncio.sleep(0.05)
    floor.stack.part("worker").kill()
    receiver.status = 200
    await lift(floor, "strategy:told")
    wanted = [("KILL_SWITCH_ON", "firing"), ("KILL_SWITCH_ON", "resolved")]
    async with asyncio.timeout(WITHIN_S):
        while [told for told in receiver.alerts() if told in wanted] != wanted:
            await asyncio.sleep(0.05)


async def test_switch_denies_until_it_is_lifted_in_two_steps(floor: Floor) -> None:
    told = await engage(floor, "strategy:momentum", by="ann")
    assert (told["fresh"], told["code"], told["engaged_by"], told["in_flight"]) == (True, "MANUAL", "ann", 0)
    assert [switch["scope"] for switch in (await floor.rest.get("/risk/kill")).json()] == ["strategy:momentum"]
    assert not (await engage(floor, "strategy:momentum"))["fresh"]
    stopped = await floor.place("stopped", **LIMIT, strategy="momentum")
    assert stopped["lifecycle"] == "DENIED" and "a drill" in stopped["reason"]["text"]
    assert (await floor.place("another", **LIMIT, strategy="carry"))["lifecycle"] == "ACCEPTED"
    for body, code in (
        ({"scope": "strategy:momentum", "confirm": "000000"}, "KILL_LIFT_NOT_CONFIRMED"),
        ({"scope": "strategy:carry", "because": "over"}, "KILL_SWITCH_NOT_ON"),
        ({"scope": "strategy:momentum"}, "REQUEST_INVALID"),
    ):
        assert (await floor.rest.post("/risk/kill/lift", json=body)).json()["code"] == code
    await lift(floor, "strategy:momentum")
    assert (await floor.rest.get("/risk/kill")).json() == []
    assert (await floor.place("goes-again", **LIMIT, strategy="momentum"))["lifecycle"] == "ACCEPTED"
    assert (await events(floor))[:3] == [
        ("LIFTED", "strategy:momentum"), ("LIFT_ASKED", "strategy:momentum"), ("ENGAGED", "strategy:momentum"),
    ]  # fmt: skip


async def test_switch_that_cancels_leaves_nothing_of_its_scope_at_the_venue(floor: Floor) -> None:
    mine = [await floor.place(f"mine-{number}", **LIMIT, strategy="momentum") for number in range(5)]
    other = await floor.place("other", **LIMIT, strategy="carry")
    await engage(floor, "strategy:momentum", cancel_orders=True)
    ended = [await floor.until_final(order["id"], WITHIN_S) for order in mine]
    assert [order["lifecycle"] for order in ended] == ["CANCELED"] * 5
    assert {order["reason"]["code"] for order in ended} == {"KILL_SWITCH"}
    assert (await floor.order(other["id"]))["lifecycle"] == "ACCEPTED"
    await until_event(floor, "SWEPT", "strategy:momentum")
    assert (await floor.rest.delete(f"/orders/binanceus/{other['id']}")).json()["lifecycle"] == "CANCELED"


async def test_cancels_pass_while_the_switch_is_on_and_amendments_do_not(floor: Floor) -> None:
    order = await floor.place("rests", **LIMIT)
    await engage(floor, "symbol:BTC/USDT")
    amended = await floor.rest.patch(f"/orders/binanceus/{order['id']}", json={"price": 58000})
    assert amended.json()["code"] == "ORDER_NOT_AMENDABLE"
    assert (await floor.rest.delete(f"/orders/binanceus/{order['id']}")).json()["lifecycle"] == "CANCELED"


async def test_order_in_doubt_keeps_the_wish_and_is_canceled_once_it_is_known(floor: Floor) -> None:
    await floor.fault("hang", method="POST", path="/order", seconds=3, times=1)
    placing = asyncio.create_task(floor.place("doubtful", **LIMIT, strategy="doubt"))
    await floor.until_requests(await floor.requests() + 1)
    await engage(floor, "strategy:doubt", cancel_orders=True)
    order = await floor.until_final((await placing)["id"], 60)
    assert order["lifecycle"] == "CANCELED"


async def test_positions_are_closed_by_orders_that_pass_the_switch(floor: Floor) -> None:
    await floor.place("bought", amount=Decimal("0.05"))
    held = next(each for each in (await floor.rest.get("/positions/binanceus")).json() if each["amount"])
    assert held["symbol"] == "BTC/USDT"
    await engage(floor, ACCOUNT_SCOPE, flatten=True)
    assert (await floor.place("too-late", **LIMIT))["lifecycle"] == "DENIED"
    flattened = await until_event(floor, "FLATTENED", ACCOUNT_SCOPE)
    assert flattened["why"] == "positions are closed", flattened
    assert [each for each in (await floor.rest.get("/positions/binanceus")).json() if each["amount"]] == []


async def test_what_cannot_be_asked_is_a_problem(floor: Floor) -> None:
    for body in (
        {"scope": "global", "reason": "x"},
        {"scope": "settings", "reason": "x"},
        {"scope": "firm"},
        {"scope": "firm", "reason": ""},
        {"scope": "key:desk", "reason": "x", "flatten": True},
        {"scope": "firm", "reason": "x", "cancel_orders": "yes"},
    ):
        answer = await floor.rest.post("/risk/kill", json=body)
        assert (answer.status_code, answer.json()["code"]) == (422, "REQUEST_INVALID"), body
    for timeout_s in (0, 1.5, 86_401, "30"):
        answer = await floor.rest.post("/risk/deadman", json={"scope": "firm", "timeout_s": timeout_s})
        assert (answer.status_code, answer.json()["code"]) == (422, "REQUEST_INVALID"), timeout_s
    nowhere = {"scope": "account:nowhere", "reason": "x"}
    assert (await floor.rest.post("/risk/kill", json=nowhere)).json()["code"] == "ACCOUNT_UNKNOWN"
    beat = await floor.rest.post("/risk/deadman/beat", json={"scope": "key:nobody"})
    assert (beat.status_code, beat.json()["code"]) == (404, "DEADMAN_NOT_ARMED")
    assert (await floor.rest.get("/risk/kill", headers={"X-API-Key": "wrong"})).status_code == 401
    assert (await floor.rest.get("/risk/kill")).json() == []


async def test_signal_of_the_reconciler_pulls_the_switch(floor: Floor) -> None:
    client = await connect_temporal(floor.stack.ready["temporal"])
    handle = client.get_workflow_handle(reconciler_workflow_id("binanceus"))
    await handle.signal("kill", EngageKill(scope=ACCOUNT_SCOPE, reason="from the Web UI", by="ops"))
    async with asyncio.timeout(WITHIN_S):
        while not (found := (await floor.rest.get("/risk/kill")).json()):
            await asyncio.sleep(0.05)
    assert [(switch["scope"], switch["engaged_by"]) for switch in found] == [(ACCOUNT_SCOPE, "ops")]


async def test_silent_agents_orders_are_canceled_until_it_beats_again(floor: Floor) -> None:
    scope = {"scope": "strategy:agent"}
    armed = await floor.rest.post("/risk/deadman", json={**scope, "timeout_s": 2})
    assert armed.status_code == 200, armed.text
    order = await floor.place("of-the-agent", **LIMIT, strategy="agent")
    other = await floor.place("of-another", **LIMIT, strategy="carry")
    until = time.monotonic() + 4
    while time.monotonic() < until:
        assert (await floor.rest.post("/risk/deadman/beat", json=scope)).json()["fired_at"] is None
        await asyncio.sleep(0.3)
    assert (await floor.order(order["id"]))["lifecycle"] == "ACCEPTED", "it was heard of all the time"
    ended = await floor.until_final(order["id"], WITHIN_S)
    assert ended["lifecycle"] == "CANCELED" and "no heartbeat for 2 s" in ended["reason"]["text"]
    assert (await floor.order(other["id"]))["lifecycle"] == "ACCEPTED"
    [fired] = [each for each in (await floor.rest.get("/risk/deadman")).json() if each["scope"] == "strategy:agent"]
    assert fired["fired_at"] is not None
    assert (await floor.rest.post("/risk/deadman/beat", json=scope)).json()["fired_at"] is None
    again = await floor.place("of-the-agent-again", **LIMIT, strategy="agent")
    assert again["lifecycle"] == "ACCEPTED"
    assert ("DEADMAN_FIRED", "strategy:agent") in await events(floor)


async def test_deadman_may_pull_the_kill_switch(floor: Floor) -> None:
    body = {"scope": "strategy:strict", "timeout_s": 1, "stop_admission": True}
    assert (await floor.rest.post("/risk/deadman", json=body)).status_code == 200
    async with asyncio.timeout(WITHIN_S):
        while not (found := (await floor.rest.get("/risk/kill")).json()):
            await asyncio.sleep(0.05)
    assert [(switch["scope"], switch["code"]) for switch in found] == [("strategy:strict", "DEADMAN")]
    assert (await floor.place("strict", **LIMIT, strategy="strict"))["lifecycle"] == "DENIED"


async def test_commands(floor: Floor) -> None:
    on = await volex(floor, "kill", "on", "--scope", "key:desk", "--reason", "a drill", "--cancel-orders")
    assert (on.code, on.err) == (0, ""), on
    assert "The kill switch of key:desk is on: a drill (cli:ann)" in on.out
    listed = await volex(floor, "kill", "list")
    assert listed.code == 0 and "key:desk" in listed.out and "a drill" in listed.out
    wrong = await volex(floor, "kill", "lift", "--scope", "key:desk", "--confirm", "000000")
    assert wrong.code == 3 and "KILL_LIFT_NOT_CONFIRMED" in wrong.err
    asked = await volex(floor, "kill", "lift", "--scope", "key:desk", "--because", "over", "--json")
    code = json.loads(asked.out)["confirm"]
    lifted = await volex(floor, "kill", "lift", "--scope", "key:desk", "--confirm", code)
    assert lifted.code == 0 and "asked for by cli:ann" in lifted.out
    assert (await volex(floor, "kill", "lift", "--scope", "key:desk", "--because", "again")).code == 3
    assert (await volex(floor, "kill", "lift", "--scope", "key:desk")).code == 2
    history = await volex(floor, "kill", "history", "--limit", "3")
    assert history.code == 0 and "LIFT_ASKED" in history.out
    armed = await volex(floor, "deadman", "arm", "--scope", "key:desk", "--timeout-s", "600")
    assert armed.code == 0 and "key:desk" in armed.out
    assert (await volex(floor, "deadman", "beat", "--scope", "key:desk")).code == 0
    assert "key:desk" in (await volex(floor, "deadman", "list")).out
    assert (await volex(floor, "deadman", "disarm", "--scope", "key:desk")).code == 0
    assert (await volex(floor, "deadman", "beat", "--scope", "key:desk")).code == 3
    assert "No dead-man switch" in (await volex(floor, "deadman", "list")).out
