"""Cases and comparisons as people see them: over REST, on the command line, and by the client library."""

import asyncio
import json
import os
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import pytest
import pytest_asyncio

from domain.errors import CaseClosed, CaseNotFound, InvalidRequest
from domain.identifiers import order_workflow_id
from starter.client import ExecutionClient
from starter.connection import connect_temporal
from starter.failures import EngineUnavailable
from tests.faults.floor import Floor, open_floor
from tests.integration.test_reconciler import LIMIT, fill, order_of_a_stranger

pytestmark = pytest.mark.timeout(200)
COMMAND_TIMEOUT_S = 90


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def floor(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Floor]:
    """A stack of our own: it gets orphans, and loses Temporal's store."""
    async with open_floor(tmp_path_factory.mktemp("cases")) as floor:
        await floor.until_reconciled()
        yield floor


@pytest_asyncio.fixture(loop_scope="session")
async def client(floor: Floor) -> ExecutionClient:
    """The client library, without a ledger."""
    return ExecutionClient(await connect_temporal(floor.stack.ready["temporal"]))


async def volex(floor: Floor, *arguments: str) -> Ended:
    """Run a command as a process of its own, with the REST interface's key."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "cli.main", *arguments, "--data-dir", str(floor.stack.data.path),
        stdout=PIPE, stderr=PIPE, env={"PATH": os.environ["PATH"], "API_KEY": "test-key", "USER": "ann"},
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), COMMAND_TIMEOUT_S)
    assert process.returncode is not None
    return Ended(process.returncode, out.decode(), err.decode())


async def open_case(floor: Floor) -> dict[str, Any]:
    """Let a stranger place an order on the account, compare, and return the one open case that this makes.

    The comparison at its interval may be the first to see the order, so the case itself is looked for.
    """
    before = {case["id"] for case in (await floor.rest.get("/cases/binanceus")).json()}
    await order_of_a_stranger(floor)
    found = await floor.rest.post("/exchanges/binanceus/reconcile")
    assert found.status_code == 200, found.text
    assert {case.split(" ")[0] for case in found.json()["cases"]} <= {"ORPHAN_ORDER"}
    [case] = [each for each in (await floor.rest.get("/cases/binanceus?open=true")).json() if each["id"] not in before]
    return dict(case)


async def test_orphan_is_listed_with_its_evidence_and_closed_once_over_rest(floor: Floor) -> None:
    case = await open_case(floor)
    assert (case["code"], case["order_id"], case["closed_at"]) == ("ORPHAN_ORDER", None, None)
    assert case["subject"] == f"order BTC/USDT {case['numbers']['venue_order_id']}"
    assert (case["numbers"]["quantity"], case["numbers"]["price"]) == (0.01, 60000)
    close = f"/cases/binanceus/{case['id']}/close"
    closed = await floor.rest.post(close, json={"because": "the treasury desk placed it"})
    assert closed.status_code == 200, closed.text
    assert closed.json()["resolution"] == "closed by rest: the treasury desk placed it"
    again = await floor.rest.post(close, json={"because": "the treasury desk placed it"})
    assert (again.status_code, again.json()["code"]) == (409, "CASE_CLOSED")
    assert again.json()["numbers"]["resolution"] == "closed by rest: the treasury desk placed it"
    assert case["id"] not in [each["id"] for each in (await floor.rest.get("/cases/binanceus?open=true")).json()]
    assert case["id"] in [each["id"] for each in (await floor.rest.get("/cases/binanceus?open=false")).json()]
    assert (await floor.rest.post("/exchanges/binanceus/reconcile")).json()["cases"] == [], "it is reported once"


async def test_cases_are_paged_newest_first(floor: Floor) -> None:
    ids = [(await open_case(floor))["id"] for _ in range(2)]
    first = await floor.rest.get("/cases/binanceus?limit=1")
    assert [case["id"] for case in first.json()] == [ids[1]]
    following = first.headers["link"].partition(">")[0].removeprefix("<")
    assert [case["id"] for case in (await floor.rest.get(following)).json()] == [ids[0]]


async def test_what_cannot_be_closed_is_a_problem(floor: Floor) -> None:
    word = {"because": "looked"}
    for number in ("999999", "0", "-1", "x", "9" * 19, "9" * 40, "٣"):
        answer = await floor.rest.post(f"/cases/binanceus/{number}/close", json=word)
        assert (answer.status_code, answer.json()["code"]) == (404, "CASE_NOT_FOUND"), number
    for body in ({}, {"because": ""}, {"because": "x" * 201}, {"because": "a\nb"}, {**word, "by": "me"}):
        answer = await floor.rest.post("/cases/binanceus/1/close", json=body)
        assert (answer.status_code, answer.json()["code"]) == (422, "REQUEST_INVALID"), body
    assert (await floor.rest.post("/cases/binanceus/1/close", content=b"{")).status_code == 400
    assert (await floor.rest.post("/cases/nowhere/1/close", json=word)).json()["code"] == "ACCOUNT_UNKNOWN"
    assert (await floor.rest.post("/exchanges/nowhere/reconcile")).status_code == 404


async def test_reading_and_closing_need_the_key(floor: Floor) -> None:
    for method, path in (
        ("GET", "/cases/binanceus"),
        ("POST", "/cases/binanceus/1/close"),
        ("POST", "/exchanges/binanceus/reconcile"),
    ):
        answer = await floor.rest.request(method, path, headers={"X-API-Key": "wrong"})
        assert answer.status_code == 401, path


async def test_status_tells_when_the_account_was_compared(floor: Floor) -> None:
    found = (await floor.rest.post("/exchanges/binanceus/reconcile")).json()
    told = (await floor.rest.get("/exchanges/binanceus/status")).json()
    assert told["reconciled_at"] >= found["began_at"]


async def test_order_shows_no_more_that_it_needs_attention_with_its_last_case(
    floor: Floor, client: ExecutionClient
) -> None:
    order = await floor.place("marked", **LIMIT)
    insert = "INSERT INTO cases (account, subject, order_id, code, reason) VALUES ('binanceus', $1, $2, $3, $4)"
    for code in ("TRADES_MISSING", "OVERFILL"):
        reason = json.dumps({"code": code, "text": "a test"})
        await floor.database.execute(insert, order["id"], order["id"], code, reason)
    mark = "UPDATE orders SET document = jsonb_set(document, '{needs_attention}', 'true') WHERE order_id = $1"
    await floor.database.execute(mark, order["id"])
    numbers = [case["id"] for case in (await floor.rest.get("/cases/binanceus?open=true&limit=2")).json()]
    for number, still_marked in zip(numbers, (True, False), strict=True):
        assert (await floor.order(order["id"]))["needs_attention"]
        closed = await client.close_case("binanceus", number, because="looked into", closed_by="ann")
        assert closed.order_id == order["id"] and closed.resolution == "closed by ann: looked into"
        assert (await floor.order(order["id"]))["needs_attention"] is still_marked
    await floor.rest.delete(f"/orders/binanceus/{order['id']}")
    assert (await floor.until_final(order["id"]))["lifecycle"] == "CANCELED"


async def test_client_library_fails_with_errors_of_ours(floor: Floor, client: ExecutionClient) -> None:
    with pytest.raises(CaseNotFound):
        await client.close_case("binanceus", 10**6, because="no such case")
    for wrong in ({"case_id": 1, "because": ""}, {"case_id": 2**63, "because": "x"}):
        with pytest.raises(InvalidRequest):
            await client.close_case("binanceus", **wrong)
    with pytest.raises(InvalidRequest):
        await client.reconcile("no such name")
    with pytest.raises(EngineUnavailable, match="no reconciler runs for account nowhere"):
        await client.reconcile("nowhere")
    began = time.monotonic()
    nowhere = await ExecutionClient.connect("127.0.0.1:1", lazy=True)
    with pytest.raises(EngineUnavailable):
        await nowhere.reconcile("binanceus", timeout_s=1)
    assert time.monotonic() - began < 5


async def test_commands_compare_list_and_close(floor: Floor) -> None:
    await order_of_a_stranger(floor)
    compared = await volex(floor, "reconcile")
    assert compared.code == 0, compared.err
    assert "CASE OPENED  binanceus: ORPHAN_ORDER order BTC/USDT" in compared.out
    quiet = await volex(floor, "reconcile", "--account", "binanceus", "--json")
    [told] = json.loads(quiet.out)
    assert (quiet.code, told["exchange"], told["cases"]) == (0, "binanceus", [])
    listed = await volex(floor, "cases", "--json")
    case = json.loads(listed.out)[0]
    assert (listed.code, case["code"]) == (0, "ORPHAN_ORDER")
    assert "none of" not in (shown := await volex(floor, "cases")).out and str(case["id"]) in shown.out
    doctor = await volex(floor, "doctor", "--json")
    [warned] = [finding for finding in json.loads(doctor.out) if finding["check"] == "cases of binanceus"]
    assert warned["state"] == "warning" and "volex cases" in warned["what_to_do"]
    close = ("case", "close", str(case["id"]), "--because")
    closed = await volex(floor, *close, "known to us")
    assert (closed.code, "closed by cli:ann: known to us" in closed.out) == (0, True)
    again = await volex(floor, *close, "known to us")
    assert (again.code, again.out) == (3, "") and again.err.startswith("CASE_CLOSED")
    assert "known to us" in (await volex(floor, "cases", "--all")).out
    missing = await volex(floor, "case", "close", "999999", "--because", "x", "--json")
    assert (missing.code, json.loads(missing.out)["code"]) == (3, "CASE_NOT_FOUND")
    unknown = await volex(floor, "reconcile", "--account", "binanecus", "--json")
    assert (unknown.code, json.loads(unknown.out)["code"]) == (2, "ACCOUNT_UNKNOWN")


async def test_case_closed_before_raises_with_what_was_said(floor: Floor, client: ExecutionClient) -> None:
    number = (await open_case(floor))["id"]
    await client.close_case("binanceus", number, because="first")
    with pytest.raises(CaseClosed) as refused:
        await client.close_case("binanceus", number, because="second")
    assert refused.value.numbers["resolution"] == "closed by anonymous: first"


async def test_without_a_worker_a_comparison_ends_within_its_bound(floor: Floor, client: ExecutionClient) -> None:
    worker = floor.stack.part("worker")
    await worker.stop()
    try:
        for ask in (client.reconcile, client.recover):
            with pytest.raises(EngineUnavailable, match="was not answered for in 2 s"):
                await ask("binanceus", timeout_s=2)
    finally:
        await worker.start()
    assert (await client.reconcile("binanceus")).account == "binanceus"


async def test_recover_gives_every_order_its_workflow_back_after_temporals_store_is_lost(floor: Floor) -> None:
    resting = [await floor.place(f"recovered-{number}", **LIMIT) for number in range(5)]
    part = floor.stack.part("temporal")
    await part.stop()
    for leftover in floor.stack.data.path.glob("temporal.db*"):
        leftover.unlink()
    await part.start()
    recovered = await volex(floor, "recover", "--json")
    assert recovered.code == 0, recovered.err
    [told] = json.loads(recovered.out)
    assert (told["exchange"], told["unfinished"], told["adopted_in_all"]) == ("binanceus", 5, 5)
    temporal = await connect_temporal(floor.stack.ready["temporal"])
    for order in resting:
        described = await temporal.get_workflow_handle(order_workflow_id("binanceus", order["id"])).describe()
        assert described.status is not None and described.status.name == "RUNNING"
    for order in resting:
        await fill(floor, order)
    ended = [await floor.until_final(order["id"]) for order in resting]
    assert {(order["lifecycle"], order["attempts"]) for order in ended} == {("FILLED", 1)}
    again = await volex(floor, "recover")
    assert (again.code, "adopted in all" in again.out) == (0, True)
