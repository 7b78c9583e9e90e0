"""Ledger, Temporal and venue disagree: orders without a workflow, strangers at the venue, lost stores."""

import asyncio
import hashlib
import hmac
import shutil
import subprocess
import time
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import asyncpg
import httpx2
import pytest
import pytest_asyncio
from temporalio.client import Client

from domain.comparison import Reconciled
from domain.identifiers import derive_client_order_id, derive_order_id, order_workflow_id
from simulator.running import API_KEY, SECRET_KEY
from starter.connection import connect_temporal
from starter.feeds import reconcile_now
from tests.faults.floor import Floor, open_floor

pytestmark = pytest.mark.timeout(200)
LIMIT: dict[str, Any] = {"order_type": "limit", "price": Decimal("61000"), "amount": Decimal("0.1")}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def floor(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Floor]:
    """A stack whose stores are lost and restored here: nobody else's."""
    async with open_floor(tmp_path_factory.mktemp("lost")) as floor:
        await floor.until_reconciled()
        yield floor


async def temporal(floor: Floor) -> Client:
    return await connect_temporal(floor.stack.ready["temporal"])


async def reconcile(floor: Floor) -> Reconciled:
    return await reconcile_now(await temporal(floor), "binanceus", why="a test")


async def cases(floor: Floor, code: str) -> list[asyncpg.Record]:
    return await floor.database.fetch("SELECT * FROM cases WHERE code = $1 ORDER BY case_id", code)


async def order_of_a_stranger(floor: Floor) -> None:
    """Place an order with the account's own keys, past the execution agent."""
    query = {
        "symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.01", "price": "60000",
        "timestamp": str(int(time.time() * 1000)),
    }  # fmt: skip
    text = urlencode(query)
    signature = hmac.new(SECRET_KEY.encode(), text.encode(), hashlib.sha256).hexdigest()
    url = f"{floor.stack.ready['simulator']}/api/v3/order?{text}&signature={signature}"
    async with httpx2.AsyncClient(headers={"X-MBX-APIKEY": API_KEY}) as account:
        (await account.post(url)).raise_for_status()


async def fill(floor: Floor, order: dict[str, Any]) -> None:
    await floor.market(fill={"client_order_id": order["client_order_id"], "quantity": str(order["amount"])})


async def test_order_whose_workflow_was_terminated_is_adopted_and_ends(floor: Floor) -> None:
    order = await floor.place("terminated", **LIMIT)
    client = await temporal(floor)
    await client.get_workflow_handle(order_workflow_id("binanceus", order["id"])).terminate("a test")
    found = await reconcile(floor)
    assert order["id"] in found.adopted
    assert (await reconcile(floor)).adopted == ()
    await fill(floor, order)
    ended = await floor.until_final(order["id"])
    assert (ended["lifecycle"], ended["attempts"]) == ("FILLED", 1)
    await floor.assert_the_venue_agrees([ended])


async def test_losing_temporals_whole_store_under_load_loses_no_order(floor: Floor) -> None:
    resting = [await floor.place(f"lost-{number}", **LIMIT) for number in range(8)]
    placing = [asyncio.create_task(floor.place(f"load-{number}", amount=Decimal("0.01"))) for number in range(12)]
    await floor.until_requests(3, prefix="")
    part = floor.stack.part("temporal")
    await part.stop()
    for leftover in floor.stack.data.path.glob("temporal.db*"):
        leftover.unlink()
    await part.start()
    await fill(floor, resting[0])
    placed = await asyncio.gather(*placing)
    ended = [await floor.until_final(order["id"]) for order in [*placed, resting[0]]]
    assert {order["lifecycle"] for order in ended} == {"FILLED"}
    found = await reconcile(floor)
    assert found.unfinished >= 7
    running = [execution async for execution in (await temporal(floor)).list_workflows("WorkflowType = 'order'")]
    assert {order["id"] for order in resting[1:]} <= {execution.id[-16:] for execution in running}
    for order in resting[1:]:
        await floor.rest.delete(f"/orders/binanceus/{order['id']}")
    canceled = [await floor.until_final(order["id"]) for order in resting[1:]]
    assert {order["lifecycle"] for order in canceled} == {"CANCELED"}
    await floor.assert_the_venue_agrees([*ended, *canceled])


async def restore_after(floor: Floor, copy: Path, happen: Any) -> Any:
    """Copy the ledger's files, let something happen, and put the copy in its place."""
    postgres, files = floor.stack.part("postgres"), floor.stack.data.path / "postgres"
    await postgres.stop()
    await asyncio.to_thread(subprocess.run, ["cp", "-a", files, copy], check=True)  # with owners, unlike shutil
    await postgres.start()
    await floor.open_database()
    happened = await happen()
    await postgres.stop()
    shutil.rmtree(files)
    await asyncio.to_thread(subprocess.run, ["cp", "-a", copy, files], check=True)
    await postgres.start()
    await floor.open_database()
    return happened


async def test_ledger_restored_to_an_earlier_moment_is_found_and_repaired(floor: Floor, tmp_path: Path) -> None:
    before = await floor.place("before", **LIMIT)

    async def happen() -> dict[str, dict[str, Any]]:
        await fill(floor, before)
        return {
            "before": await floor.until_final(before["id"]),
            "filled": await floor.until_final((await floor.place("lost-market"))["id"]),
            "resting": await floor.place("lost-resting", **LIMIT),
            "denied": await floor.place("lost-denied", amount=Decimal(90000)),
        }

    happened = await restore_after(floor, tmp_path / "copy", happen)
    ended = {name: await floor.until_final(happened[name]["id"]) for name in ("before", "filled")}
    for name, order in ended.items():
        for field in ("lifecycle", "filled", "cost", "fees", "attempts"):
            assert order[field] == happened[name][field], (name, field)
    resting = await floor.until(happened["resting"]["id"], lambda order: order["lifecycle"] == "ACCEPTED")
    await floor.assert_the_venue_agrees([*ended.values(), resting])
    [case] = await cases(floor, "LEDGER_RESTORED")
    assert case["closed_at"] is None
    again = await floor.place("lost-market")
    assert again["id"] == ended["filled"]["id"], "the same key is the same order, also after its row was lost"
    await floor.rest.delete(f"/orders/binanceus/{resting['id']}")
    assert (await floor.until_final(resting["id"]))["lifecycle"] == "CANCELED"
    denied = await floor.order(happened["denied"]["id"])
    assert (denied["lifecycle"], denied["reason"]) == ("DENIED", happened["denied"]["reason"])


async def test_order_whose_send_was_forgotten_with_the_ledger_is_not_sent_again(floor: Floor, tmp_path: Path) -> None:
    order_id = derive_order_id("binanceus", "forgotten")
    second = derive_client_order_id(order_id, attempt=2)
    post = {"method": "POST", "path": "/order", "times": 1}
    await floor.fault("rate_limit", **post, client_order_id_prefix=order_id, seconds=6)
    await floor.fault("hang", **post, client_order_id_prefix=second, seconds=60)
    placing = asyncio.create_task(floor.place("forgotten"))
    await floor.until_requests(1, prefix=order_id)
    await floor.until(order_id, lambda order: order["lifecycle"] == "INITIALIZED" and order["attempts"] == 1)

    async def happen() -> None:
        await floor.until_requests(1, prefix=second)
        await until_beats(floor, 3)
        floor.stack.part("worker").kill()

    await restore_after(floor, tmp_path / "copy", happen)
    ended = await floor.until_final(order_id)
    await placing
    assert (ended["lifecycle"], ended["attempts"]) == ("FILLED", 2)
    assert await floor.requests(prefix=second) == 1
    await floor.venue.delete("/faults")
    await floor.assert_the_venue_agrees([ended])


async def until_beats(floor: Floor, count: int) -> None:
    """Wait until the feed has gone round so often that Temporal has heard of the last but one."""
    query = "SELECT beat FROM account_states"
    since = await floor.database.fetchval(query)
    async with asyncio.timeout(20):
        while await floor.database.fetchval(query) < since + count:
            await asyncio.sleep(0.05)


async def test_order_at_the_venue_that_is_not_ours_is_reported_once_and_left_alone(floor: Floor) -> None:
    cancels = await floor.requests(method="DELETE")
    await order_of_a_stranger(floor)
    first, second = await reconcile(floor), await reconcile(floor)
    # A comparison of the start may come first; it is reported once, whichever saw it.
    assert {case.split(" ")[0] for case in first.cases} <= {"ORPHAN_ORDER"} and len(first.cases) <= 1
    assert second.cases == ()
    [case] = await cases(floor, "ORPHAN_ORDER")
    assert (case["closed_at"], case["order_id"]) == (None, None)
    summary = (await floor.venue.get("/summary")).json()
    assert summary["open"] == 1, "it is still open: nobody touched it"
    assert await floor.requests(method="DELETE") == cancels
