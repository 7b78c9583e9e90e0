"""Approvals as people give them: over REST and on the command line, on real processes and the local venue."""

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from temporalio.service import RPCError

from domain.identifiers import order_workflow_id
from embedded.child import free_port
from embedded.stack import StackOptions
from simulator.running import API_KEY, SECRET_KEY
from starter.connection import connect_temporal
from tests.faults.floor import RICH, Floor, live_account, open_stack

pytestmark = pytest.mark.timeout(200)
LIMITS = """[risk]
approval_above_notional = "5000"
[risk.strategies.quick]
approval_above_notional = "1"
approval_expires_s = 2
[risk.accounts.binanceus]
"""
LARGE: dict[str, Any] = {"order_type": "limit", "price": Decimal("61000"), "amount": Decimal("0.1")}
"""6,100 USDT, and it rests."""
JO = {"by": "jo", "because": "within the plan"}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def floor(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Floor]:
    """A stack whose orders above 5,000 USDT need a person."""
    port, control_port = free_port(), free_port()
    account = live_account(tmp_path_factory.mktemp("held"), f"http://127.0.0.1:{port}", (API_KEY, SECRET_KEY))
    config = account["config"]
    config.write_text(config.read_text().replace("[risk]\n", LIMITS))
    held = (word for balance in RICH for word in ("--balance", balance))
    ports = {"simulator": port, "simulator_control": control_port}
    options = StackOptions(**account, ports=ports, simulator_arguments=(*held, "--tick-interval-s", "0.1"))
    async with open_stack(options, f"http://127.0.0.1:{control_port}") as floor:
        await floor.calm()
        await floor.until_reconciled()
        yield floor


async def volex(floor: Floor, *arguments: str, user: str = "ann") -> tuple[int, str, str]:
    """Run a command as somebody does."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "cli.main", *arguments, "--data-dir", str(floor.stack.data.path),
        stdout=PIPE, stderr=PIPE, env={name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
        | {"API_KEY": "test-key", "LOGNAME": user},
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def held(floor: Floor, key: str, **fields: Any) -> dict[str, Any]:
    """Place an order that waits for a person, and wait until one is asked."""
    order = await floor.place(key, **{**LARGE, **fields})
    assert (order["status"], order["lifecycle"]) == ("held", "HELD"), order
    async with asyncio.timeout(20):
        while order["id"] not in {each["order_id"] for each in await approvals(floor)}:
            await asyncio.sleep(0.05)
    return order


async def approvals(floor: Floor, **query: str) -> list[dict[str, Any]]:
    """Return approvals as REST lists them."""
    answer = await floor.rest.get("/approvals", params=query)
    assert answer.status_code == 200, answer.text
    return list(answer.json())


async def decide(floor: Floor, order: dict[str, Any], word: str, **said: Any) -> httpx2.Response:
    """Approve or reject."""
    return await floor.rest.post(f"/orders/binanceus/{order['id']}/{word}", json=said or JO)


async def test_order_above_the_threshold_waits_and_is_placed_once_when_another_person_approves(floor: Floor) -> None:
    body = {"symbol": "BTC/USDT", "side": "buy", "order_type": "limit", "price": 61000, "amount": 0.1}
    placed = await floor.rest.post("/orders", json=body, headers={"Idempotency-Key": "large"})
    order = placed.json()
    assert (placed.status_code, order["status"], order["needs_attention"]) == (202, "held", True)
    assert f"volex approvals approve {order['id']}" in order["next_step"]
    assert order["reason"]["code"] == "APPROVAL_REQUIRED"
    assert order["reason"]["numbers"] == {
        "notional": 6100, "approval_above_notional": 5000, "approval_expires_s": 900,
    }  # fmt: skip
    await held(floor, "large")  # the same key is the same order
    (asked,) = await approvals(floor, exchange="binanceus")
    assert (asked["order_id"], asked["ticket"], asked["decision"]) == (
        order["id"], "BUY 0.1 BTC/USDT @ 61000 LIMIT GTC", None,
    )  # fmt: skip
    amended = await floor.rest.patch(f"/orders/binanceus/{order['id']}", json={"price": 60000})
    assert (amended.status_code, amended.json()["code"]) == (409, "ORDER_NOT_AMENDABLE")
    assert "exactly this ticket" in amended.json()["detail"]
    nobody = await decide(floor, order, "approve", because="quickly")
    assert (nobody.status_code, nobody.json()["code"]) == (403, "FOUR_EYES")
    assert nobody.json()["order"]["status"] == "held"
    other = await decide(floor, order, "approve", **JO, fingerprint="0" * 64)
    assert (other.status_code, other.json()["code"]) == (409, "TICKET_DIFFERS")
    approved = await decide(floor, order, "approve", **JO, fingerprint=asked["fingerprint"])
    told = approved.json()
    assert (approved.status_code, told["decision"], told["status"]) == (200, "approved", "open"), told
    again = await decide(floor, order, "approve")
    assert (again.status_code, again.json()["code"]) == (409, "ORDER_NOT_HELD")
    repeated = await floor.rest.post("/orders", json=body, headers={"Idempotency-Key": "large"})
    assert (repeated.status_code, repeated.json()["status"]) == (201, "open")
    assert await floor.requests(prefix=order["id"]) == 1
    (decided,) = await approvals(floor, status="decided")
    assert (decided["decision"], decided["decided_by"], decided["because"]) == ("approved", "jo", "within the plan")
    story = (await floor.rest.get(f"/orders/binanceus/{order['id']}/explain")).json()["story"]
    assert any("Approved by jo" in chapter["text"] for chapter in story)
    assert (await floor.rest.delete(f"/orders/binanceus/{order['id']}")).json()["status"] == "canceled"


async def test_order_below_the_threshold_waits_for_nobody(floor: Floor) -> None:
    order = await floor.place("small", **{**LARGE, "amount": Decimal("0.01")})
    assert order["status"] == "open"
    assert (await floor.rest.delete(f"/orders/binanceus/{order['id']}")).status_code == 200


async def test_held_order_can_be_canceled_and_rejected(floor: Floor) -> None:
    canceled = await held(floor, "canceled-while-held")
    answer = await floor.rest.delete(f"/orders/binanceus/{canceled['id']}")
    assert (answer.status_code, answer.json()["status"]) == (200, "canceled")
    rejected = await held(floor, "rejected-while-held")
    told = (await decide(floor, rejected, "reject", because="twice the plan")).json()
    assert (told["decision"], told["status"], told["lifecycle"]) == ("rejected", "rejected", "DENIED")
    assert told["reason"]["code"] == "APPROVAL_REJECTED"
    assert await floor.requests(prefix=canceled["id"]) + await floor.requests(prefix=rejected["id"]) == 0
    assert await floor.database.fetchval("SELECT sum(reserved) FROM balances") == 0


async def test_nobody_in_time_expires_the_order(floor: Floor) -> None:
    order = await floor.place("quick", **{**LARGE, "strategy": "quick"})
    assert order["status"] == "held"
    ended = await floor.until_final(order["id"], within_s=30)
    assert (ended["status"], ended["reason"]["code"]) == ("expired", "APPROVAL_EXPIRED")
    late = await decide(floor, order, "approve")
    assert (late.status_code, late.json()["code"]) == (409, "ORDER_CLOSED")


async def test_price_that_moved_beyond_the_limit_denies_at_approval_with_the_numbers(floor: Floor) -> None:
    order = await held(floor, "moved", order_type="market", price=None)
    assert await ask_price(floor) < 62_000  # kept for a second, from later on than the worker's own
    await floor.market(price="2000000", frozen=True)
    try:
        async with asyncio.timeout(30):
            while await ask_price(floor) < 1_000_000:
                await asyncio.sleep(0.1)
        answer = await decide(floor, order, "approve")
        assert (answer.status_code, answer.json()["decision"]) == (200, "denied"), answer.text
    finally:
        await floor.calm()
    ended = await floor.order(order["id"])
    assert (ended["lifecycle"], ended["reason"]["code"]) == ("DENIED", "ORDER_NOTIONAL_ABOVE_LIMIT")
    assert ended["reason"]["numbers"]["notional"] >= 200_000
    assert await floor.requests(prefix=order["id"]) == 0


async def ask_price(floor: Floor) -> float:
    """Return what the REST interface knows of the market."""
    return float((await floor.rest.get("/ticker/binanceus/BTC/USDT")).json()["ask"])


async def test_people_use_the_command_line_and_the_asker_cannot_approve(floor: Floor) -> None:
    code, out, _ = await volex(floor, "order", "place", "BUY", "0.1", "BTC/USDT", "--limit", "61000", "--json")
    order = json.loads(out)
    assert (code, order["status"]) == (4, "held")
    async with asyncio.timeout(20):
        while not await approvals(floor):
            await asyncio.sleep(0.05)
    code, out, _ = await volex(floor, "approvals", "list")
    assert code == 0 and order["id"] in out and "approval_above_notional=5000" in out and "cli:ann" in out
    code, out, _ = await volex(floor, "order", "show", order["id"])
    assert "volex approvals approve" in out
    code, _, err = await volex(floor, "approvals", "approve", order["id"], "--because", "mine")
    assert code == 3 and err.startswith("FOUR_EYES")
    code, out, _ = await volex(floor, "approvals", "approve", order["id"], "--because", "fits", user="Jo")
    assert code == 0 and "cli:Jo approved the order" in out and "ACCEPTED" in out
    code, out, _ = await volex(floor, "approvals", "list", "--status", "decided")
    assert "approved by cli:Jo" in out
    await floor.rest.delete(f"/orders/binanceus/{order['id']}")
    code, out, _ = await volex(floor, "order", "place", "BUY", "0.1", "BTC/USDT", "--limit", "61000", "--json")
    order = json.loads(out)
    code, out, _ = await volex(floor, "approvals", "reject", order["id"], "--because", "a typo", "--by", "ann")
    assert code == 0 and "ann rejected the order" in out


async def test_held_order_survives_its_worker_and_is_placed_once(floor: Floor) -> None:
    order = await held(floor, "killed")
    floor.stack.part("worker").kill()
    answers = await asyncio.gather(*(decide(floor, order, "approve", by=f"p{n}", because="x") for n in range(3)))
    decisions = sorted(answer.json().get("decision") or answer.json()["code"] for answer in answers)
    assert decisions.count("approved") == 1, decisions
    assert (await floor.order(order["id"]))["status"] == "open"
    assert await floor.requests(prefix=order["id"]) == 1
    await floor.rest.delete(f"/orders/binanceus/{order['id']}")


async def test_held_order_survives_the_loss_of_temporals_store_with_its_expiry(floor: Floor) -> None:
    order = await held(floor, "lost")
    (before,) = await approvals(floor)
    server = floor.stack.part("temporal")
    await server.stop()
    for leftover in floor.stack.data.path.glob("temporal.db*"):
        leftover.unlink()
    await server.start()
    client = await connect_temporal(floor.stack.ready["temporal"])
    handle = client.get_workflow_handle(order_workflow_id("binanceus", order["id"]))
    async with asyncio.timeout(90):
        while True:
            try:
                view = await handle.query("view")
                break
            except RPCError:
                await asyncio.sleep(0.2)
    assert view["order"]["status"] == "HELD"
    assert (await approvals(floor))[0] == before
    answer = await decide(floor, order, "approve")
    assert (answer.json()["decision"], answer.json()["status"]) == ("approved", "open"), answer.text
    assert await floor.requests(prefix=order["id"]) == 1
    await floor.rest.delete(f"/orders/binanceus/{order['id']}")
