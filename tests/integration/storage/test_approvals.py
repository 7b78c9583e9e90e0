"""Approvals in the ledger: asked once, decided once, by another person, for that ticket alone, and checked again."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.testing import ActivityEnvironment

from activities.approval_activities import ApprovalActivities
from activities.calls import ApproveCall
from domain.approvals import Approval, ApprovalEnding, ApprovalWord, Decided
from domain.errors import FourEyes, TicketDiffers
from domain.instrument import deny
from domain.lifecycle import OrderEventType, OrderStatus
from domain.order import Order, OrderRequest, OrderType, TradingMode
from domain.reports import Ticker
from domain.risk import Answer, Finding
from domain.risk_agent import AgentQuestion, AgentVerdict, AgentWord, word_finding
from storage.approvals import SqlApprovalStore
from storage.order_reader import SqlOrderReader
from storage.restoring import SqlLedgerRepairStore
from tests.factories import NOW, make_request, make_terms, make_validated
from tests.integration.storage.conftest import ACCOUNT, Life, Rows

JO = ApprovalWord(by="jo", because="within the plan")
SOON = NOW + timedelta(minutes=5)
ABOVE_ONE = {"approval_above_notional": "1"}
LATE = NOW + timedelta(seconds=900)
WORKING = "SELECT working_buy, buy_notional, open_orders FROM exposures WHERE scope = 'sandbox/account:binanceus'"
RESERVED = "SELECT reserved FROM balances WHERE asset = 'USDT'"


def make_ticker() -> Ticker:
    """The market at 100, now."""
    return Ticker(symbol="BTC/USDT", bid=Decimal(99), ask=Decimal(100), last=Decimal(100), ts_event=datetime.now(UTC))


class Desk:
    """Orders that are held, on the real ledger."""

    def __init__(self, engine: AsyncEngine, life: Life) -> None:
        self.engine, self.approvals, self.life = engine, SqlApprovalStore(engine), life

    async def hold(self, key: str = "key", **ticket: Any) -> tuple[OrderRequest, Order]:
        """Hold an order and ask about it."""
        request = make_request(key, **ticket)
        admission = await self.life.admit(request, **ABOVE_ONE)
        assert admission.answer is Answer.HOLD
        await self.approvals.ask(ACCOUNT, request.order_id)
        return request, admission.order

    async def approve(
        self, request: OrderRequest, word: ApprovalWord = JO, *, now: datetime = SOON, **found: Any
    ) -> Decided:
        """Approve, at the market that was found."""
        return await self.approvals.approve(
            ACCOUNT,
            request.order_id,
            word,
            validated=make_validated(request, **found),
            terms=make_terms(ACCOUNT),
            now=now,
        )

    async def listed(self, *, is_open: bool | None = None) -> list[Approval]:
        """Return approvals as people read them."""
        return list(await self.approvals.listed([ACCOUNT], is_open=is_open, limit=10, before=None))


@pytest.fixture
def desk(engine: AsyncEngine, life: Life) -> Desk:
    """A desk on the test's own ledger."""
    return Desk(engine, life)


async def test_held_order_is_asked_about_once_with_its_numbers_and_keeps_its_reservation(
    desk: Desk, rows: Rows
) -> None:
    await desk.life.fund(USDT="1000")
    request, order = await desk.hold()
    assert (order.status, order.needs_attention) == (OrderStatus.HELD, True)
    again = await desk.approvals.ask(ACCOUNT, request.order_id)
    assert not again.fresh
    (approval,) = await desk.listed(is_open=True)
    assert approval == again.approval
    assert (approval.asked_by, approval.asked_at, approval.expires_at) == ("test", NOW, LATE)
    assert approval.fingerprint == request.ticket.fingerprint() and approval.ticket == request.ticket
    assert approval.reason.numbers["notional"] == "10"
    assert (await rows(RESERVED))[0].reserved == 10


async def test_approved_order_is_admitted_with_who_when_and_why_and_still_reserves(desk: Desk, rows: Rows) -> None:
    await desk.life.fund(USDT="1000")
    request, _ = await desk.hold(quantity=Decimal("0.12345"))
    decided = await desk.approve(request)
    assert decided.decision is ApprovalEnding.APPROVED
    order = decided.order
    assert (order.status, order.needs_attention) == (OrderStatus.INITIALIZED, False)
    assert (order.quantity, order.rounded_from) == (Decimal("0.1234"), Decimal("0.12345"))
    assert (await rows(RESERVED))[0].reserved == Decimal("12.34")
    held, admitted = await SqlOrderReader(desk.engine).events(ACCOUNT, request.order_id)
    assert (held.event.event_type, admitted.event.event_type) == (OrderEventType.HELD, OrderEventType.ADMITTED)
    assert admitted.event.requested_by == "jo"
    assert admitted.event.reason is not None and admitted.event.reason.text == "within the plan (jo)"
    (approval,) = await desk.listed()
    assert (approval.decision, approval.decided_by, approval.decided_at, approval.because) == (
        ApprovalEnding.APPROVED, "jo", SOON, "within the plan",
    )  # fmt: skip
    assert await desk.listed(is_open=True) == []


async def test_two_who_approve_at_once_admit_one_order(desk: Desk, rows: Rows) -> None:
    await desk.life.fund(USDT="1000")
    request, _ = await desk.hold()
    told = await asyncio.gather(*(desk.approve(request, ApprovalWord(by=f"p{n}", because="x")) for n in range(8)))
    decisions = sorted(decided.decision or "" for decided in told)
    assert decisions == [ApprovalEnding.APPROVED] + [ApprovalEnding.KNOWN_BEFORE] * 7
    assert len(await rows("SELECT 1 FROM order_events WHERE event_type = 'ADMITTED'")) == 1
    assert (await rows(RESERVED))[0].reserved == 10


@pytest.mark.parametrize("by", ["test", "TEST", " Test ", "cli:test", "anonymous", "rest", "cli:unknown"])
async def test_asker_and_nobody_in_particular_cannot_approve(desk: Desk, by: str) -> None:
    await desk.life.fund(USDT="1000")
    request, order = await desk.hold()
    with pytest.raises(FourEyes):
        await desk.approve(request, ApprovalWord(by=by, because="mine"))
    assert (await desk.approvals.ask(ACCOUNT, request.order_id)).order == order


async def test_approval_of_another_ticket_is_refused(desk: Desk) -> None:
    await desk.life.fund(USDT="1000")
    request, order = await desk.hold()
    other = make_request("key", quantity=Decimal("0.2")).ticket.fingerprint()
    with pytest.raises(TicketDiffers):
        await desk.approve(request, JO.model_copy(update={"fingerprint": other}))
    assert (await desk.approvals.ask(ACCOUNT, request.order_id)).order == order
    named = JO.model_copy(update={"fingerprint": request.ticket.fingerprint()})
    assert (await desk.approve(request, named)).decision is ApprovalEnding.APPROVED


async def test_late_approval_expires_the_order_and_frees_its_reservation(desk: Desk, rows: Rows) -> None:
    await desk.life.fund(USDT="1000")
    request, _ = await desk.hold()
    decided = await desk.approve(request, now=LATE)
    assert (decided.decision, decided.order.status) == (ApprovalEnding.EXPIRED, OrderStatus.EXPIRED)
    assert decided.order.reason is not None and decided.order.reason.code == "APPROVAL_EXPIRED"
    assert (await rows(RESERVED))[0].reserved == 0
    (approval,) = await desk.listed(is_open=False)
    assert approval.decision is ApprovalEnding.EXPIRED


async def test_price_that_rose_beyond_the_balance_denies_at_approval_with_both_figures(desk: Desk, rows: Rows) -> None:
    await desk.life.fund(USDT="11")
    request, _ = await desk.hold(order_type=OrderType.MARKET, price=None)
    decided = await desk.approve(request, reference_price=Decimal(200))
    assert (decided.decision, decided.order.status) == (ApprovalEnding.DENIED, OrderStatus.DENIED)
    assert decided.reason is not None and decided.reason.code == "BALANCE_INSUFFICIENT"
    assert decided.reason.numbers == {"asset": "USDT", "needed": "20.2", "available": "11"}
    assert (await rows(RESERVED))[0].reserved == 0
    assert "20.2" in decided.told


async def test_price_that_rose_reserves_more_at_approval(desk: Desk, rows: Rows) -> None:
    await desk.life.fund(USDT="1000")
    request, _ = await desk.hold(order_type=OrderType.MARKET, price=None)
    assert (await rows(RESERVED))[0].reserved == Decimal("10.1")
    assert (await desk.approve(request, reference_price=Decimal(200))).decision is ApprovalEnding.APPROVED
    assert (await rows(RESERVED))[0].reserved == Decimal("20.2")


async def test_gate_without_a_price_leaves_the_order_held_as_it_was(desk: Desk, rows: Rows) -> None:
    await desk.life.fund(USDT="1000")
    request, order = await desk.hold(order_type=OrderType.MARKET, price=None)
    decided = await desk.approve(request, reference_price=None)
    assert (decided.decision, decided.order) == (None, order)
    assert decided.reason is not None and decided.reason.code == "MARKET_PRICE_UNAVAILABLE"
    assert (await rows(RESERVED))[0].reserved == Decimal("10.1")
    assert len(await desk.listed(is_open=True)) == 1


async def test_limit_that_was_tightened_denies_at_approval_with_its_numbers(desk: Desk, rows: Rows) -> None:
    await desk.life.fund(USDT="1000")
    request, _ = await desk.hold()
    await desk.life.limit(max_position_notional="9", **ABOVE_ONE)
    decided = await desk.approve(request, ticker=make_ticker())
    assert (decided.decision, decided.order.status) == (ApprovalEnding.DENIED, OrderStatus.DENIED)
    assert decided.reason is not None and decided.reason.code == "POSITION_NOTIONAL_ABOVE_LIMIT"
    assert decided.reason.numbers == {"position_notional": "10", "max_position_notional": "9"}
    assert await rows(WORKING) == [(0, 0, 0)]


async def test_held_order_counts_as_working_once_before_and_after_its_approval(desk: Desk, rows: Rows) -> None:
    await desk.life.fund(USDT="1000")
    request, _ = await desk.hold()
    assert await rows(WORKING) == [(Decimal("0.1"), 10, 1)]
    await desk.life.limit(max_position_notional="10", max_open_orders=1, max_orders_per_day=1, **ABOVE_ONE)
    decided = await desk.approve(request, ticker=make_ticker())
    assert decided.decision is ApprovalEnding.APPROVED, decided.told
    assert await rows(WORKING) == [(Decimal("0.1"), 10, 1)]


async def test_order_held_in_paper_is_not_sent_when_the_account_trades_live_now(desk: Desk, rows: Rows) -> None:
    await desk.life.fund(USDT="1000")
    request, _ = await desk.hold()
    live = make_terms(ACCOUNT).model_copy(update={"mode": TradingMode.LIVE})
    decided = await desk.approvals.approve(
        ACCOUNT, request.order_id, JO, validated=make_validated(request), terms=live, now=SOON
    )
    assert decided.decision is ApprovalEnding.DENIED
    assert decided.reason is not None and decided.reason.code == "ORDER_MODE_CHANGED"
    assert (await rows(RESERVED))[0].reserved == 0


class ScriptedAgent:
    """A risk agent that says what the test wants, and remembers what it was asked."""

    def __init__(self, answer: AgentVerdict) -> None:
        self.answer, self.asked = answer, list[AgentQuestion]()

    def concerns(self, request: OrderRequest) -> bool:
        return request.requested_by == "test"

    async def ask(self, question: AgentQuestion) -> Finding:
        self.asked.append(question)
        return word_finding(AgentWord(answer=self.answer, reason="seen"), took_ms=1, shadow=False)


@pytest.mark.parametrize(
    ("answer", "ending"),
    [
        (AgentVerdict.ALLOW, ApprovalEnding.APPROVED),
        (AgentVerdict.HOLD, ApprovalEnding.APPROVED),  # it wants a person, and here is one
        (AgentVerdict.DENY, ApprovalEnding.DENIED),
    ],
)
async def test_risk_agent_is_asked_again_at_approval(
    desk: Desk, rows: Rows, answer: AgentVerdict, ending: ApprovalEnding
) -> None:
    await desk.life.fund(USDT="1000")
    request, _ = await desk.hold()
    agent = ScriptedAgent(answer)
    step = ApprovalActivities(desk.approvals, terms={ACCOUNT: make_terms(ACCOUNT)}, clock=lambda: SOON, agent=agent)
    call = ApproveCall(account=ACCOUNT, order_id=request.order_id, word=JO, validated=make_validated(request))
    decided = await ActivityEnvironment().run(step.approve, call)
    assert decided.decision is ending, decided.told
    (question,) = agent.asked
    assert (question.notional, question.requested_by) == (10, "test")
    assert (await rows(RESERVED))[0].reserved == (10 if ending is ApprovalEnding.APPROVED else 0)
    evidence = "SELECT evidence::text FROM order_events WHERE event_type IN ('ADMITTED', 'DENIED')"
    assert "RISK_AGENT" in (await rows(evidence))[0].evidence


async def test_kill_switch_denies_at_approval(desk: Desk, rows: Rows, engine: AsyncEngine) -> None:
    await desk.life.fund(USDT="1000")
    request, _ = await desk.hold()
    await kill(engine)
    decided = await desk.approve(request)
    assert decided.decision is ApprovalEnding.DENIED
    assert decided.reason is not None and decided.reason.code == "KILL_SWITCH_ON"
    assert (await rows(RESERVED))[0].reserved == 0


async def kill(engine: AsyncEngine) -> None:
    """Stop everything."""
    from storage import kill_switch

    await kill_switch.follow_settings(engine, engaged=True)


async def test_rejected_order_ends_denied_with_who_and_why_and_the_asker_may_do_it(desk: Desk, rows: Rows) -> None:
    await desk.life.fund(USDT="1000")
    request, _ = await desk.hold()
    mine = ApprovalWord(by="test", because="a typo")
    decided = await desk.approvals.reject(ACCOUNT, request.order_id, mine, now=SOON)
    assert (decided.decision, decided.order.status) == (ApprovalEnding.REJECTED, OrderStatus.DENIED)
    assert decided.order.reason is not None and decided.order.reason.code == "APPROVAL_REJECTED"
    assert decided.order.reason.text == "a typo (test)"
    assert (await rows(RESERVED))[0].reserved == 0
    late = await desk.approve(request)
    assert (late.decision, late.order.status) == (ApprovalEnding.KNOWN_BEFORE, OrderStatus.DENIED)


async def test_end_without_a_word_ends_held_orders_only(desk: Desk, rows: Rows) -> None:
    await desk.life.fund(USDT="1000")
    request, _ = await desk.hold()
    why = deny("CANCEL_REQUESTED", "asked for")
    canceled = await desk.approvals.end_held(
        ACCOUNT, request.order_id, event_type=OrderEventType.CANCELED, reason=why, now=SOON
    )
    assert (canceled.status, (await rows(RESERVED))[0].reserved) == (OrderStatus.CANCELED, 0)
    other, _ = await desk.hold("other")
    admitted = (await desk.approve(other)).order
    same = await desk.approvals.end_held(
        ACCOUNT, other.order_id, event_type=OrderEventType.EXPIRED, reason=why, now=LATE
    )
    assert same == admitted


async def test_held_order_that_the_ledger_lost_is_held_again_and_never_in_doubt(
    desk: Desk, engine: AsyncEngine, rows: Rows
) -> None:
    await desk.life.fund(USDT="1000")
    _, order = await desk.hold()
    forgotten = make_request("forgotten")
    told = order.model_copy(update={"order_id": forgotten.order_id, "idempotency_key": "forgotten"})
    assert await SqlLedgerRepairStore(engine).restore(told, now=SOON)
    found = (await desk.approvals.ask(ACCOUNT, forgotten.order_id)).order
    assert (found.status, found.seq) == (OrderStatus.HELD, told.seq)
    assert {approval.order_id for approval in await desk.listed(is_open=True)} == {order.order_id, told.order_id}
    assert (await rows(RESERVED))[0].reserved == 20
    assert (await desk.approve(forgotten)).decision is ApprovalEnding.APPROVED
    assert (await rows(RESERVED))[0].reserved == 20
    assert await rows(WORKING) == [(Decimal("0.2"), 20, 2)]


async def test_approval_that_the_ledger_lost_is_written_again_from_the_order(desk: Desk, engine: AsyncEngine) -> None:
    from sqlalchemy import text

    await desk.life.fund(USDT="1000")
    request, _ = await desk.hold()
    async with engine.begin() as connection:
        await connection.execute(text("DELETE FROM approvals"))
    assert (await desk.approve(request)).decision is ApprovalEnding.APPROVED
    (approval,) = await desk.listed()
    assert (approval.expires_at, approval.decided_by) == (LATE, "jo")
