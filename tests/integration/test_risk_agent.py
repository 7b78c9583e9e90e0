"""The external risk agent over real HTTP: every answer, every way of giving none, and what stands on record of it."""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from aiohttp import web
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.testing import ActivityEnvironment

from activities.calls import RiskCall
from activities.ledger_activities import LedgerActivities
from domain.limits import Limits, LimitSet
from domain.order import OrderRequest
from domain.ports import Admission
from domain.risk import Answer, Decision, Finding
from domain.risk_agent import AgentQuestion, question_of
from embedded.stack import EmbeddedStack, StackOptions
from risk_agent import HttpRiskAgent
from storage import limit_sets
from storage.admission import Findings
from storage.database import in_transaction
from storage.order_store import SqlOrderStore
from tests.factories import NOW, make_request, make_terms, make_validated
from tests.integration.storage.conftest import ACCOUNT, BEFORE, balance
from tests.risk_agent_server import SECRET, AgentServer, saying, signed

TIMEOUT_MS = 400
"""How long an agent is waited for that will not answer in time."""
PATIENCE_MS = 5000
"""How long one is waited for that will: a machine that is busy with other things is no silent agent."""


async def late(request: web.Request, body: bytes) -> web.StreamResponse:
    """An agent that answers after the time limit."""
    await asyncio.sleep(TIMEOUT_MS * 3 / 1000)
    return await saying("allow")(request, body)


async def drips(request: web.Request, body: bytes) -> web.StreamResponse:
    """An agent whose answer never ends, a byte at a time: no single read is late."""
    answer = web.StreamResponse()
    await answer.prepare(request)
    for _ in range(60):
        await answer.write(b" ")
        await asyncio.sleep(TIMEOUT_MS / 4000)
    return answer


async def forged(request: web.Request, body: bytes) -> web.StreamResponse:
    """An answer by somebody who does not know the secret."""
    return signed(request.headers["X-Volex-Nonce"], b'{"answer": "allow"}', secret="somebody else's secret")


async def replayed(request: web.Request, body: bytes) -> web.StreamResponse:
    """An answer that was given to another question."""
    return signed("0" * 32, b'{"answer": "allow"}')


async def bare(request: web.Request, body: bytes) -> web.StreamResponse:
    """An answer without a signature."""
    return web.json_response({"answer": "allow"})


async def changed(request: web.Request, body: bytes) -> web.StreamResponse:
    """A denial whose body became another on its way."""
    answer = signed(request.headers["X-Volex-Nonce"], b'{"answer": "deny"}')
    answer.body = b'{"answer":"allow"}'
    return answer


async def elsewhere(request: web.Request, body: bytes) -> web.StreamResponse:
    """An agent that points to another address."""
    raise web.HTTPTemporaryRedirect("/elsewhere")


async def endless(request: web.Request, body: bytes) -> web.StreamResponse:
    """An answer of a megabyte."""
    return signed(request.headers["X-Volex-Nonce"], b'{"answer": "allow"' + b" " * 1_000_000 + b"}")


async def garbage(request: web.Request, body: bytes) -> web.StreamResponse:
    """Signed words that are no answer."""
    return signed(request.headers["X-Volex-Nonce"], b"\xff<html>allow</html>")


async def broken(request: web.Request, body: bytes) -> web.StreamResponse:
    """An agent that hangs up."""
    assert request.transport is not None
    request.transport.close()
    return web.Response()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def served() -> AsyncIterator[AgentServer]:
    """The server, on a port of its own."""
    async with AgentServer().serving() as server:
        yield server


@pytest_asyncio.fixture(loop_scope="session")
async def agent(served: AgentServer) -> AsyncIterator[AgentServer]:
    """The server as it is in the beginning."""
    served.reply, served.refused = saying("allow"), 0
    served.asked.clear()
    yield served


def timeout_ms(agent: AgentServer) -> int:
    """Return the time limit for the way in which the agent answers."""
    return TIMEOUT_MS if agent.reply in (late, drips) else PATIENCE_MS


async def ask(agent: AgentServer, *, secret: str = SECRET, shadow: bool = False, **limits: str) -> Finding:
    """Ask it about an order that our own limits let pass."""
    asking = HttpRiskAgent(agent.url, SecretStr(secret), timeout_ms=timeout_ms(agent), shadow=shadow)
    try:
        return await asking.ask(question())
    finally:
        await asking.close()


def question() -> AgentQuestion:
    """What is asked."""
    request = make_request()
    found = question_of(request, make_validated(request), Decision(answer=Answer.ALLOW), make_terms(ACCOUNT))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("word", "answer", "code"),
    [
        ("allow", Answer.ALLOW, "RISK_AGENT_ALLOWED"),
        ("deny", Answer.DENY, "RISK_AGENT_DENIED"),
        ("hold", Answer.HOLD, "RISK_AGENT_ASKS_PERSON"),
    ],
)
async def test_word_of_the_agent_is_a_finding_with_its_reason(agent, word, answer, code):
    agent.reply = saying(word, reason="thin\nmarket \x1b[31m" + "x" * 500, reference="case 7", more="is not read")
    found = await ask(agent)
    assert (found.answer, found.code, found.limit) == (answer, code, "risk_agent")
    assert found.numbers["reference"] == "case 7"
    assert found.numbers["reason"].startswith("thin market  [31mxxx") and len(found.numbers["reason"]) == 200
    assert int(found.numbers["took_ms"]) < PATIENCE_MS


async def test_question_has_the_order_and_its_figures_and_its_id_as_the_key(agent):
    await ask(agent)
    (asked,) = agent.asked
    assert (asked["order_id"], asked["key"], asked["account"], asked["mode"]) == (
        make_request().order_id, make_request().order_id, ACCOUNT, "sandbox",
    )  # fmt: skip
    assert (asked["price"], asked["notional"], asked["normal"]["quantity"]) == ("100", "10", "0.1")
    assert SECRET not in json.dumps(asked)
    await ask(agent)
    assert agent.asked[0]["nonce"] != agent.asked[1]["nonce"]


@pytest.mark.parametrize(
    ("reply", "cause"),
    [
        (late, "TIMEOUT"),
        (drips, "TIMEOUT"),
        (forged, "SIGNATURE_WRONG"),
        (replayed, "SIGNATURE_WRONG"),
        (bare, "SIGNATURE_WRONG"),
        (changed, "SIGNATURE_WRONG"),
        (elsewhere, "STATUS_307"),
        (endless, "TOO_LONG"),
        (garbage, "UNREADABLE"),
        (saying("perhaps"), "UNREADABLE"),
        (broken, "RemoteProtocolError"),
    ],
)
async def test_what_is_no_answer_is_unavailable_within_the_time_limit(agent, reply, cause):
    agent.reply = reply
    began = time.monotonic()
    found = await ask(agent)
    assert time.monotonic() - began < timeout_ms(agent) / 1000 + 3
    assert (found.answer, found.code, found.numbers["cause"]) == (Answer.UNAVAILABLE, "RISK_AGENT_UNAVAILABLE", cause)


async def test_agent_with_another_secret_refuses_us_and_that_is_no_answer(agent):
    found = await ask(agent, secret="a secret of somebody else")
    assert (found.numbers["cause"], agent.refused, agent.asked) == ("STATUS_403", 1, [])


async def test_agent_that_is_away_is_unavailable(agent):
    gone = HttpRiskAgent("http://127.0.0.1:9/ask", SecretStr(SECRET), timeout_ms=TIMEOUT_MS)
    found = await gone.ask(question())
    await gone.close()
    assert (found.answer, found.numbers["cause"]) == (Answer.UNAVAILABLE, "ConnectError")


# In the gate, on the real ledger.


class Gate:
    """The step `risk_check` with the real ledger and the agent."""

    def __init__(self, engine: AsyncEngine, agent: AgentServer) -> None:
        self.engine, self.agent, self.store = engine, agent, SqlOrderStore(engine)

    async def fund(self, total: str = "1000") -> None:
        """Let the venue tell a balance."""
        await self.store.record_balances(ACCOUNT, [balance("USDT", total)], asked_at=BEFORE)

    async def limit(self, **limits: Any) -> None:
        """Let limits hold."""
        own = LimitSet(accounts=Limits(**limits))
        told = {"source": "operator", "changed_by": "test", "because": "a test", "now": NOW}
        await in_transaction(self.engine, lambda connection: limit_sets.add(connection, own, **told))

    async def check(self, request: OrderRequest, *, scopes: tuple[str, ...] = (), shadow: bool = False) -> Admission:
        """Run the step once."""
        wait_ms = timeout_ms(self.agent)
        asking = HttpRiskAgent(self.agent.url, SecretStr(SECRET), timeout_ms=wait_ms, scopes=scopes, shadow=shadow)
        terms = {ACCOUNT: make_terms(ACCOUNT)}
        step = LedgerActivities(self.store, terms=terms, clock=lambda: NOW, agent=asking).risk_check
        try:
            call = RiskCall(request=request, validated=make_validated(request))
            admission: Admission = await ActivityEnvironment().run(step, call)
            return admission
        finally:
            await asking.close()

    async def evidence(self, request: OrderRequest) -> tuple[Finding, ...]:
        """Return what stands with the decision's fact."""
        async with self.engine.connect() as connection:
            query = text("SELECT evidence::text FROM order_events WHERE order_id = :order_id AND seq = 1")
            document = (await connection.execute(query, {"order_id": request.order_id})).scalar_one()
        return Findings.model_validate_json(document).root


@pytest_asyncio.fixture(loop_scope="session")
async def gate(engine: AsyncEngine, agent: AgentServer) -> Gate:
    """A funded account behind limits and the agent."""
    gate = Gate(engine, agent)
    await gate.fund()
    await gate.limit(max_order_notional="50", max_open_orders=1)
    return gate


async def test_agent_denies_what_our_limits_allow_and_both_are_on_record(gate, agent):
    agent.reply = saying("deny", reason="no trades before the election")
    request = make_request()
    admission = await gate.check(request)
    assert (admission.answer, admission.order.status) == (Answer.DENY, "DENIED")
    assert admission.reason.code == "RISK_AGENT_DENIED"
    assert admission.reason.numbers["reason"] == "no trades before the election"
    told = {finding.limit: finding.answer for finding in await gate.evidence(request)}
    assert told == {"max_order_notional": "ALLOW", "max_open_orders": "ALLOW", "risk_agent": "DENY"}
    assert [finding["limit"] for finding in agent.asked[0]["findings"]] == ["max_order_notional", "max_open_orders"]


async def test_agent_that_allows_leaves_its_word_on_record(gate, agent):
    request = make_request()
    assert (await gate.check(request)).answer is Answer.ALLOW
    assert (await gate.evidence(request))[-1].code == "RISK_AGENT_ALLOWED"


async def test_agent_is_not_asked_about_what_our_limits_deny(gate, agent):
    admission = await gate.check(make_request(quantity="0.6"))
    assert (admission.answer, admission.reason.code, agent.asked) == (Answer.DENY, "ORDER_NOTIONAL_ABOVE_LIMIT", [])


async def test_agent_cannot_allow_what_filled_up_while_it_thought(gate, agent):
    other = make_request("other")

    async def slow(request: web.Request, body: bytes) -> web.StreamResponse:
        await gate.store.admit(other, make_validated(other), terms=make_terms(ACCOUNT), now=NOW)
        return await saying("allow")(request, body)

    agent.reply = slow
    admission = await gate.check(make_request())
    assert (admission.answer, admission.reason.code) == (Answer.DENY, "OPEN_ORDERS_ABOVE_LIMIT")


async def test_agent_that_holds_lets_the_order_wait_with_its_reservation(gate, agent):
    agent.reply = saying("hold", reason="ask Jo")
    admission = await gate.check(make_request())
    assert (admission.answer, admission.order.status) == (Answer.HOLD, "HELD")
    assert admission.reason.code == "RISK_AGENT_ASKS_PERSON"


async def test_silent_agent_leaves_nothing_behind_and_is_asked_again(gate, agent):
    agent.reply = late
    request = make_request()
    silent = await gate.check(request)
    assert (silent.answer, silent.reason.code) == (Answer.UNAVAILABLE, "RISK_AGENT_UNAVAILABLE")
    agent.reply = saying("allow")
    assert (await gate.check(request)).answer is Answer.ALLOW
    assert len(agent.asked) == 2 and agent.asked[0]["key"] == agent.asked[1]["key"]


async def test_order_that_is_recorded_is_not_asked_about_again(gate, agent):
    request = make_request()
    first = await gate.check(request)
    agent.reply = saying("deny")
    assert (await gate.check(request)).order == first.order
    assert len(agent.asked) == 1


async def test_shadow_agent_is_recorded_and_does_not_hold(gate, agent):
    agent.reply = saying("deny", reason="a trial")
    request = make_request()
    assert (await gate.check(request, shadow=True)).answer is Answer.ALLOW
    finding = (await gate.evidence(request))[-1]
    assert (finding.code, finding.shadow, finding.numbers["reason"]) == ("RISK_AGENT_DENIED", True, "a trial")


async def test_agent_is_asked_about_orders_of_its_scopes_alone(gate, agent):
    await gate.check(make_request("mine"), scopes=("strategy:grid", "symbol:ETH/USDT"))
    assert agent.asked == []
    await gate.limit(max_open_orders=2)
    await gate.check(make_request("yours", strategy="grid"), scopes=("strategy:grid",))
    assert len(agent.asked) == 1


# On the whole stack.


async def test_order_over_rest_is_denied_by_the_agent_and_its_word_is_in_the_story(agent, tmp_path_factory):
    folder: Path = tmp_path_factory.mktemp("agent")
    for parent in (folder, *folder.parents[:3]):
        parent.chmod(parent.stat().st_mode | 0o001)
    environ = {"PATH": os.environ["PATH"], "RISK__AGENT__URL": agent.url, "RISK__AGENT__SECRET": SECRET}
    order = {"symbol": "BTC/USDT", "side": "buy", "order_type": "limit", "amount": 0.001, "price": 50000}
    async with (
        EmbeddedStack(StackOptions(data_dir=folder / "data", environ=environ)) as stack,
        httpx2.AsyncClient(base_url=stack.ready["api"], timeout=70) as rest,
    ):
        agent.reply = saying("deny", reason="not today")
        denied = await rest.post("/orders", json=order)
        assert (denied.status_code, denied.json()["code"]) == (422, "RISK_AGENT_DENIED"), denied.text
        assert denied.json()["numbers"]["reason"] == "not today"
        agent.reply = late
        silent = asyncio.create_task(rest.post("/orders", json=order))
        async with asyncio.timeout(30):
            while len(agent.asked) < 3:
                await asyncio.sleep(0.05)
        agent.reply = saying("allow")
        placed = await silent
        assert placed.status_code == 201, placed.text
        asked = await rest.post("/orders/validate", json=order)
        assert asked.json()["not_asked"] == ["risk_agent"]
        logs = "".join(path.read_text(errors="replace") for path in (folder / "data").rglob("*.log"))
        assert SECRET not in logs
