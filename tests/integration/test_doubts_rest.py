"""Orders in doubt as people see and decide them: REST and the command line, on real processes and the local venue."""

import asyncio
import json
import os
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Callable
from itertools import count
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from domain.identifiers import derive_order_id
from embedded.child import free_port
from embedded.stack import EmbeddedStack, StackOptions
from simulator.running import API_KEY, SECRET_KEY

CONFIG = """
dry_run_mode = false
[accounts.binanceus]
exchange = "binanceus"
mode = "live"
credentials = "env"
time_fence_s = "never"
[accounts.binanceus.ccxt]
enableRateLimit = false
timeout = 4000
[accounts.binanceus.ccxt.urls.api]
public = "{venue}/api/v3"
private = "{venue}/api/v3"
sapi = "{venue}/sapi/v1"
"""
RESTING = {"symbol": "BTC/USDT", "side": "buy", "order_type": "limit", "amount": 0.001, "price": 50000}
WHY = {"because": "their support says so"}
NOT_THERE = "Order does not exist."
_keys = count(1)


class House:
    """The stack whose account has no time fence, seen by its callers and by its venue."""

    def __init__(self, stack: EmbeddedStack, rest: httpx2.AsyncClient, venue: httpx2.AsyncClient) -> None:
        self.stack, self.rest, self.venue = stack, rest, venue

    async def doubtful(self, *, arrives: bool, **fields: Any) -> dict[str, Any]:
        """Place an order whose answer is lost, and that the venue does not show by our id."""
        key = f"doubt-{next(_keys)}"
        faults: list[dict[str, Any]] = [{"kind": "drop_before", "method": "POST", "path": "/order", "times": 1}]
        if arrives:
            ours = {"client_order_id_prefix": derive_order_id("binanceus", key)}
            faults = [
                {"kind": "drop_after", "method": "POST", "path": "/order", "times": 1},
                {"kind": "error", "method": "GET", "path": "/order", "code": -2013, "msg": NOT_THERE, **ours},
            ]
        for fault in faults:
            (await self.venue.post("/faults", json=fault)).raise_for_status()
        placed = await self.rest.post("/orders", json={**RESTING, **fields}, headers={"Idempotency-Key": key})
        assert (placed.status_code, placed.json()["status"]) == (202, "in_doubt"), placed.text
        return await self.until(placed.json()["id"], lambda order: order["last_looked_at"] is not None)

    async def order(self, order_id: str) -> dict[str, Any]:
        """Return an order as REST shows it."""
        return dict((await self.rest.get(f"/orders/binanceus/{order_id}")).json())

    async def until(self, order_id: str, reached: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait until an order is as wanted."""
        deadline = time.monotonic() + 60
        while not reached(order := await self.order(order_id)):
            assert time.monotonic() < deadline, order
            await asyncio.sleep(0.2)
        return order

    async def decide(self, order_id: str, **decision: Any) -> httpx2.Response:
        """Decide."""
        return await self.rest.post(f"/orders/binanceus/{order_id}/resolve", json={**WHY, **decision})

    async def at_venue(self, client_order_id: str) -> list[dict[str, Any]]:
        """Return what truly is at the venue under a client order id."""
        return [o for o in (await self.venue.get("/orders")).json() if o["clientOrderId"] == client_order_id]

    async def volex(self, *arguments: str) -> tuple[int, str, str]:
        """Run a command as a user does."""
        process = await asyncio.create_subprocess_exec(
            *(str(Path(sys.executable).parent / "volex"), *arguments, "--data-dir", str(self.stack.data.path)),
            stdout=PIPE, stderr=PIPE, cwd=self.stack.data.path.parent,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": os.environ.get("PYTHONPATH", "")},
        )  # fmt: skip
        out, err = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """The whole stack, with a live account at the local venue that has no time fence."""
    folder: Path = tmp_path_factory.mktemp("doubts")
    for parent in (folder, *folder.parents[:3]):
        parent.chmod(parent.stat().st_mode | 0o001)
    port = free_port()
    (folder / "volex.toml").write_text(CONFIG.format(venue=f"http://127.0.0.1:{port}"))
    keys = {"API_KEY": "test-key", "BINANCEUS_API_KEY": API_KEY, "BINANCEUS_SECRET_KEY": SECRET_KEY}
    options = StackOptions(
        data_dir=folder / "data", config=folder / "volex.toml", ports={"simulator": port},
        environ={**os.environ, **keys},
    )  # fmt: skip
    async with (
        EmbeddedStack(options) as stack,
        httpx2.AsyncClient(base_url=stack.ready["api"], headers={"X-API-Key": "test-key"}, timeout=60) as rest,
        httpx2.AsyncClient(base_url=stack.ready["simulator_control"], timeout=10) as venue,
    ):
        (await venue.post("/market/BTCUSDT", json={"price": "61250", "frozen": True})).raise_for_status()
        yield House(stack, rest, venue)


async def test_doubt_is_shown_listed_and_ended_by_the_venues_order_id(house: House) -> None:
    order = await house.doubtful(arrives=True)
    assert order["in_doubt_since"] <= order["last_looked_at"] and order["fence_ends_at"] is None
    assert f"volex order resolve {order['id']}" in order["next_step"]
    listed = (await house.rest.get("/orders/binanceus?status=in_doubt")).json()
    assert order["id"] in {entry["id"] for entry in listed}
    (truth,) = await house.at_venue(order["id"])
    wrong = await house.decide(order["id"], placed="999999")
    assert (wrong.status_code, wrong.json()["code"]) == (422, "DECISION_CONTRADICTED")
    assert wrong.json()["numbers"]["venue_order_id"] == 999999
    assert wrong.json()["order"]["status"] == "in_doubt"
    code, out, _ = await house.volex("order", "list", "--status", "in_doubt")
    assert code == 0 and order["id"] in out and "IN_DOUBT since" in out
    shown = await house.volex("order", "show", order["id"])
    assert "volex order resolve" in shown[1] and "last look" in shown[1]
    code, out, err = await house.volex(
        "order", "resolve", order["id"], "--placed", "999998", "--because", "typed wrong"
    )
    assert (code, out) == (3, "") and err.startswith("DECISION_CONTRADICTED")
    seen_at = (await house.order(order["id"]))["last_looked_at"]
    await house.until(order["id"], lambda order: order["last_looked_at"] != seen_at)
    await house.venue.delete("/faults")  # right after a look: the next one comes in seconds, the decision before it
    decided = await house.decide(order["id"], placed=str(truth["orderId"]), requested_by="jo")
    assert decided.status_code == 200, decided.text
    told = decided.json()
    assert (told["resolution"], told["status"]) == ("adopted", "open")
    assert (told["venue_order_id"], told["in_doubt_since"]) == (str(truth["orderId"]), None)
    facts = (await house.rest.get(f"/orders/binanceus/{order['id']}/events")).json()
    (decision,) = [fact for fact in facts if fact["type"] == "RESOLVED"]
    assert (decision["requested_by"], decision["reason"]["code"]) == ("jo", "DECIDED_BY_PERSON")
    assert (await house.rest.delete(f"/orders/binanceus/{order['id']}")).json()["status"] == "canceled"


async def test_decided_never_placed_is_sent_anew_or_given_up_as_the_ticket_says(house: House) -> None:
    again = await house.doubtful(arrives=False)
    answer = await house.decide(again["id"], never_placed=True)
    told = answer.json()
    assert (answer.status_code, told["resolution"], told["status"]) == (200, "never_placed", "open")
    assert told["attempts"] == 2 and len(await house.at_venue(told["client_order_id"])) == 1
    late = await house.decide(again["id"], never_placed=True)
    assert (late.status_code, late.json()["code"]) == (409, "ORDER_NOT_IN_DOUBT")
    given_up = await house.doubtful(arrives=False, on_never_placed="give_up")
    code, out, _ = await house.volex(
        "order", "resolve", given_up["id"], "--never-placed", "--because", "nothing there", "--json"
    )
    told = json.loads(out)
    assert (code, told["resolution"], told["status"], told["attempts"]) == (0, "never_placed", "rejected", 1)
    story = (await house.rest.get(f"/orders/binanceus/{given_up['id']}/explain")).json()
    assert any("decided that the venue never had the order" in chapter["text"] for chapter in story["story"])


async def test_cancel_in_doubt_is_kept_and_an_amendment_refused(house: House) -> None:
    order = await house.doubtful(arrives=False)
    path = f"/orders/binanceus/{order['id']}"
    amended = await house.rest.patch(path, json={"price": 50001})
    assert (amended.status_code, amended.json()["code"]) == (409, "ORDER_NOT_AMENDABLE")
    assert "not known" in amended.json()["detail"]
    canceled = await house.rest.delete(path)
    told = canceled.json()
    assert (canceled.status_code, told["status"], told["cancel_requested"]) == (202, "in_doubt", True)
    code, out, _ = await house.volex("order", "cancel", order["id"])
    assert code == 4 and "carried out once the order is known" in out
    decided = await house.decide(order["id"], never_placed=True)
    assert (decided.json()["status"], decided.json()["attempts"]) == ("canceled", 1)


async def test_venue_that_does_not_answer_refuses_the_decision(house: House) -> None:
    order = await house.doubtful(arrives=False)
    (await house.venue.post("/faults", json={"kind": "http_status", "status": 502, "method": "GET"})).raise_for_status()
    try:
        refused = await house.decide(order["id"], never_placed=True)
    finally:
        await house.venue.delete("/faults")
    assert (refused.status_code, refused.json()["code"]) == (503, "VENUE_UNAVAILABLE")
    assert (await house.order(order["id"]))["status"] == "in_doubt"
    assert (await house.decide(order["id"], never_placed=True)).status_code == 200


@pytest.mark.parametrize("body", [{}, {"never_placed": False}, {"placed": "1", "never_placed": True}, {"placed": 1}])
async def test_body_that_decides_nothing_is_a_problem(house: House, body: dict[str, Any]) -> None:
    answer = await house.decide("aaaaaaaaaaaaaaaa", **body)
    assert (answer.status_code, answer.json()["code"]) == (422, "REQUEST_INVALID")


async def test_doubt_of_half_a_minute_is_a_case_until_it_is_decided(house: House) -> None:
    order = await house.doubtful(arrives=False)
    deadline = time.monotonic() + 50
    while not await _open_cases(house, order["id"]):
        assert time.monotonic() < deadline, "no alert came"
        await asyncio.sleep(0.5)
    assert (await house.decide(order["id"], never_placed=True)).status_code == 200
    deadline = time.monotonic() + 15
    while await _open_cases(house, order["id"]):
        assert time.monotonic() < deadline, "the case stays open"
        await asyncio.sleep(0.5)


async def _open_cases(house: House, order_id: str) -> int:
    open_ones = (await house.rest.get("/cases/binanceus?open=true")).json()
    return sum(1 for case in open_ones if (case["order_id"], case["code"]) == (order_id, "IN_DOUBT"))
