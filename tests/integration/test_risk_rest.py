"""The gate as operators use it, over REST and on the command line, on the whole stack."""

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import pytest
import pytest_asyncio

from embedded.stack import EmbeddedStack, StackOptions

pytestmark = pytest.mark.timeout(200)
COMMAND_TIMEOUT_S = 60
ORDER = {"symbol": "BTC/USDT", "side": "buy", "order_type": "limit", "amount": 0.001, "price": 50000}


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    def told(self) -> Any:
        """Return its output as JSON."""
        return json.loads(self.out)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedStack]:
    """The whole stack, with a paper account at the local venue."""
    folder: Path = tmp_path_factory.mktemp("risk")
    for parent in (folder, *folder.parents[:3]):
        parent.chmod(parent.stat().st_mode | 0o001)
    async with EmbeddedStack(StackOptions(data_dir=folder / "data", environ={"PATH": os.environ["PATH"]})) as stack:
        yield stack


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def rest(stack: EmbeddedStack) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of the REST interface, once the account was compared with its venue."""
    async with httpx2.AsyncClient(base_url=stack.ready["api"], timeout=70) as client:
        reconciled = await client.post("/exchanges/binanceus/reconcile")
        assert reconciled.status_code == 200, reconciled.text
        yield client


@pytest_asyncio.fixture(autouse=True, loop_scope="session")
async def as_before(rest: httpx2.AsyncClient) -> AsyncIterator[None]:
    """Take the limits that a test sets away again."""
    yield
    for scope, limits in (await rest.get("/risk/limits")).json()["scopes"].items():
        await change(rest, scope, **dict.fromkeys(limits))


async def change(rest: httpx2.AsyncClient, scope: str, **limits: Any) -> httpx2.Response:
    """Change limits."""
    return await rest.patch("/risk/limits", json={"scope": scope, "limits": limits, "because": "a test"})


async def volex(stack: EmbeddedStack, *arguments: str) -> Ended:
    """Run a command as a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "cli.main", *arguments, "--data-dir", str(stack.data.path), stdout=PIPE, stderr=PIPE,
        env={"PATH": os.environ["PATH"], "USER": "ann", "LOGNAME": "ann"},
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), COMMAND_TIMEOUT_S)
    assert process.returncode is not None
    return Ended(process.returncode, out.decode(), err.decode())


async def test_question_is_answered_with_every_finding_and_places_nothing(rest):
    before = (await rest.get("/orders/binanceus")).json()
    response = await rest.post("/orders/validate", json={**ORDER, "amount": 0.0010000009})
    told = response.json()
    assert response.status_code == 200, response.text
    assert (told["answer"], told["reason"], told["order"]) == ("ALLOW", None, None)
    assert (told["amount"], told["rounded_from"], told["price"], told["measured_at"]) == (
        0.001, 0.0010000009, 50000, 50000,
    )  # fmt: skip
    assert told["reservation"] == {"currency": "USDT", "amount": 50}
    (finding,) = told["findings"]
    assert (finding["limit"], finding["scope"], finding["answer"]) == (
        "max_order_notional", "account:binanceus", "ALLOW",
    )  # fmt: skip
    assert finding["numbers"] == {"notional": 50, "max_order_notional": 100000}
    assert (await rest.get("/orders/binanceus")).json() == before


@pytest.mark.parametrize(
    ("change", "answer", "code"),
    [
        ({"amount": 3}, "DENY", "ORDER_NOTIONAL_ABOVE_LIMIT"),
        ({"amount": 0.00001}, "DENY", "NOTIONAL_BELOW_MINIMUM"),
        ({"price": 50000.001}, "DENY", "PRICE_OFF_TICK"),
        ({"side": "sell", "amount": 2, "price": 49000}, "ALLOW", None),
        ({"side": "sell", "amount": 999, "price": 60}, "DENY", "BALANCE_INSUFFICIENT"),
        ({"order_type": "market", "price": None}, "ALLOW", None),
    ],
)
async def test_answer_is_the_one_that_the_order_would_get(rest, change, answer, code):
    response = await rest.post("/orders/validate", json={**ORDER, **change})
    told = response.json()
    assert response.status_code == 200, response.text
    assert told["answer"] == answer, told
    assert (told["reason"] or {}).get("code") == code
    if answer == "DENY":
        really = await rest.post("/orders", json={**ORDER, **change})
        assert (really.status_code, really.json()["code"]) == (422, code)
        assert really.json()["numbers"] == told["reason"]["numbers"]


@pytest.mark.parametrize(
    "body", [{**ORDER, "amount": "1"}, {**ORDER, "exchange": "binanse"}, {**ORDER, "symbol": "BTC/USTD"}, {"x": 1}]
)
async def test_question_that_cannot_be_read_is_refused_as_the_order_would_be(rest, body):
    asked, placed = await rest.post("/orders/validate", json=body), await rest.post("/orders", json=body)
    assert (asked.status_code, asked.json()["code"]) == (422, placed.json()["code"])


async def test_question_for_somebody_is_measured_by_his_limits(rest):
    await change(rest, "key:cli:ann", max_order_notional=10)
    body = {**ORDER, "requested_by": "cli:ann"}
    assert (await rest.post("/risk/simulate", json=body)).json()["answer"] == "DENY"
    assert (await rest.post("/risk/simulate", json={**ORDER, "requested_by": "bob"})).json()["answer"] == "ALLOW"


async def test_change_is_answered_with_what_it_does_and_counts_at_once(rest):
    response = await change(rest, "account:binanceus", max_order_notional=49.5, max_position_quantity={"BTC/USDT": 3})
    told = response.json()
    assert response.status_code == 200, response.text
    assert told["effect"] == "tightens"
    assert {(made["limit"], made["before"], made["after"]) for made in told["changes"]} == {
        ("max_order_notional", "100000", "49.5"),
        ("max_position_quantity", None, "BTC/USDT=3"),
    }
    placed = await rest.post("/orders", json=ORDER)
    assert placed.json()["code"] == "ORDER_NOTIONAL_ABOVE_LIMIT"
    holds = (await rest.get("/risk/limits")).json()
    assert holds["version"] == told["version"] and holds["source"] == "operator"
    assert holds["scopes"]["account:binanceus"]["max_order_notional"] == 49.5
    back = (await change(rest, "account:binanceus", max_order_notional=None)).json()
    assert back["effect"] == "loosens"


@pytest.mark.parametrize(
    ("scope", "limits", "status", "told"),
    [
        ("firm", {"max_ordr_notional": 1}, 422, "did you mean max_order_notional"),
        ("frim", {"max_open_orders": 1}, 422, "did you mean firm"),
        ("account:binanseus", {"max_open_orders": 1}, 404, "binanceus"),
        ("firm", {"max_open_orders": -1}, 422, "max_open_orders"),
        ("firm", {}, 422, "limits"),
    ],
)
async def test_change_that_cannot_be_is_refused_and_names_the_nearest(rest, scope, limits, status, told):
    response = await change(rest, scope, **limits)
    assert response.status_code == status, response.text
    assert told in response.text


async def test_versions_page_newest_first_with_what_each_changed(rest):
    for cap in (5, 4, 6):
        await change(rest, "firm", max_open_orders=cap)
    first = await rest.get("/risk/limits/versions", params={"limit": 2})
    assert [version["effect"] for version in first.json()] == ["loosens", "tightens"]
    assert first.json()[0]["changes"] == [
        {"scope": "firm", "limit": "max_open_orders", "before": "4", "after": "6", "effect": "loosens"}
    ]
    following = await rest.get(first.headers["link"].partition(">")[0].lstrip("<"))
    assert following.json()[0]["version"] == first.json()[1]["version"] - 1
    everything = await rest.get("/risk/limits/versions")
    assert "link" not in everything.headers
    assert everything.json()[-1]["source"] == "file"


async def test_use_of_limits_shows_what_orders_take_and_give_back(rest):
    await change(rest, "account:binanceus", max_position_quantity={"BTC/USDT": 3.217}, max_open_orders=7)

    async def uses() -> dict[str, Any]:
        (scope,) = (await rest.get("/risk/exposures", params={"scope": "account:binanceus"})).json()
        return {use["limit"]: use["used"] for use in scope["limits"]}

    empty = await uses()
    order = (await rest.post("/orders", json=ORDER)).json()
    taken = await uses()
    assert taken["max_open_orders"] == empty["max_open_orders"] + 1
    assert taken["max_position_quantity"] == pytest.approx(empty["max_position_quantity"] + 0.001)
    await rest.delete(f"/orders/binanceus/{order['id']}")
    assert await uses() == empty
    page = await rest.get("/risk/exposures", params={"limit": 1})
    assert page.json()[0]["scope"] == "account:binanceus" and "after=account" in page.headers["link"]


async def test_audit_finds_every_scope_to_be_the_sum_of_its_facts(rest, stack):
    await rest.post("/orders", json={**ORDER, "order_type": "market", "price": None, "strategy": "grid"})
    assert (await rest.get("/risk/audit")).json() == {"consistent": True, "differences": []}
    assert (await volex(stack, "risk", "audit")).code == 0


async def test_other_limits_are_tried_on_the_orders_of_the_past(rest, stack, tmp_path):
    order = (await rest.post("/orders", json={**ORDER, "amount": 0.002})).json()
    await rest.delete(f"/orders/binanceus/{order['id']}")
    told = (await rest.post("/risk/try", json={"risk": {"max_order_notional": 99}})).json()
    verdict = next(verdict for verdict in told["verdicts"] if verdict["id"] == order["id"])
    assert (verdict["outcome"], verdict["limit"], verdict["numbers"]["notional"]) == (
        "would be denied", "max_order_notional", 100,
    )  # fmt: skip
    assert told["orders"] == told["unchanged"] + len(told["verdicts"])
    file = tmp_path / "tighter.toml"
    file.write_text('[risk]\nmax_order_notional = "99"\n')
    ended = await volex(stack, "risk", "try", str(file), "--since", "2h")
    assert ended.code == 0 and order["id"] in ended.out and "would be denied" in ended.out
    wrong = await rest.post("/risk/try", json={"risk": {"max_order_notionl": 99}})
    assert wrong.status_code == 422 and "max_order_notional" in wrong.text


async def test_commands_set_show_simulate_and_tell_the_history(rest, stack):
    made = await volex(stack, "risk", "set", "account:binanceus", "max_order_notional=40",
                       "max_position_quantity.BTC/USDT=2", "--because", "a calm day")  # fmt: skip
    assert made.code == 0 and "tightened" in made.out, made
    shown = await volex(stack, "risk", "show", "--scope", "account:binanceus")
    assert "cli:ann" in shown.out and "a calm day" in shown.out and "max_position_quantity" in shown.out
    asked = await volex(stack, "risk", "simulate", "BUY", "0.001", "BTC/USDT", "--limit", "50000", "--json")
    assert (asked.code, asked.told()["reason"]["code"]) == (3, "ORDER_NOTIONAL_ABOVE_LIMIT")
    fits = await volex(stack, "risk", "simulate", "BUY", "0.0005", "BTC/USDT", "--limit", "50000")
    assert fits.code == 0 and fits.out.startswith("ALLOW")
    assert "It would reserve 25 USDT" in fits.out
    gone = await volex(stack, "risk", "unset", "account:binanceus", "max_order_notional", "--because", "over")
    assert gone.code == 0 and "LOOSENED" in gone.out
    history = await volex(stack, "risk", "history", "--limit", "2")
    assert "max_order_notional: 40 -> 100000" in history.out and "over" in history.out
    wrong = await volex(stack, "risk", "set", "firm", "max_opn_orders=1", "--because", "a slip")
    assert wrong.code == 2 and "max_open_orders" in wrong.err
