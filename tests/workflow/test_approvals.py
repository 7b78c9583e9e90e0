"""Orders that wait for a person: what is asked, who may answer, what is checked again, and what ends the wait."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment

from domain.approvals import ApprovalEnding
from domain.lifecycle import OrderEventType, OrderStatus
from domain.limits import Limits, LimitSet
from domain.order import Order, OrderType
from domain.reports import Ticker
from storage import limit_sets
from storage.approvals import SqlApprovalStore
from storage.database import in_transaction
from storage.order_reader import SqlOrderReader
from storage.order_store import SqlOrderStore
from tests.factories import NOW, make_request
from tests.workflow import scripted_exchange as scripts
from tests.workflow.conftest import Desk, Handle, open_desk
from workflows import search_attributes
from workflows.messages import AmendOrder, ApprovalAnswer, CancelOrder, DecideHeld, OrderInput, Stage
from workflows.order_workflow import OrderWorkflow
from workflows.temporal_plugin import volex_plugin


@pytest_asyncio.fixture(loop_scope="session")
async def desk(time_skipping: WorkflowEnvironment, engine: AsyncEngine) -> AsyncIterator[Desk]:
    """A desk whose every order needs a person; its clock goes with the server's, which other tests moved ahead."""
    limits = LimitSet(accounts=Limits(approval_above_notional=Decimal(1)))
    told = {"source": "operator", "changed_by": "test", "because": "a test", "now": NOW}
    await in_transaction(engine, lambda connection: limit_sets.add(connection, limits, **told))
    async with open_desk(time_skipping.client, SqlOrderStore(engine), plugins=[volex_plugin()]) as opened:
        opened.clock.ahead = await opened.server_time() - datetime.now(UTC)
        yield opened
        await opened.clear()


async def held(desk: Desk, **ticket: object) -> Handle:
    """Place an order that waits for a person."""
    view, handle = await desk.place(**ticket)
    assert view.order is not None and view.order.status is OrderStatus.HELD
    return handle


async def approve(handle: Handle, **word: Any) -> ApprovalAnswer:
    """Approve."""
    return await handle.execute_update(OrderWorkflow.approve, DecideHeld(**{"by": "jo", "because": "fits", **word}))


async def refused(handle: Handle, **word: Any) -> ApplicationError:
    """Approve, and return the refusal."""
    with pytest.raises(WorkflowUpdateFailedError) as failure:
        await approve(handle, **word)
    assert isinstance(failure.value.cause, ApplicationError)
    return failure.value.cause


async def state(handle: Handle) -> Order:
    """Return the order as it stands."""
    order = (await handle.query(OrderWorkflow.view)).order
    assert order is not None
    return order


async def asked(desk: Desk, order: Order) -> None:
    """Wait until a person is asked."""
    approvals = SqlApprovalStore(desk.store._engine)
    async with asyncio.timeout(10):
        while not await approvals.listed([desk.account], is_open=True, limit=1, before=None):
            await asyncio.sleep(0.05)


async def test_approved_order_is_placed_once_and_the_answer_says_what_came_of_it(desk: Desk) -> None:
    handle = await held(desk)
    assert desk.venue.posts == []
    desk.venue.on_submit = scripts.fills_at_once
    answer = await approve(handle)
    assert answer.decision is ApprovalEnding.APPROVED and answer.told.startswith("jo approved")
    assert answer.view.order is not None and answer.view.order.status is OrderStatus.FILLED
    assert (await desk.result(handle)).order.cum_qty == Decimal("0.1")
    assert len(desk.venue.posts) == 1
    recorded = await SqlOrderReader(desk.store._engine).events(desk.account, answer.view.order_id)
    (admitted,) = [fact.event for fact in recorded if fact.event.event_type is OrderEventType.ADMITTED]
    assert admitted.requested_by == "jo"


async def test_held_order_shows_people_what_it_waits_for(desk: Desk) -> None:
    handle = await held(desk)
    order = await state(handle)
    await asked(desk, order)
    view = await handle.query(OrderWorkflow.view)
    assert (view.stage, order.needs_attention) == (Stage.RISK_CHECK, True)
    details = str(await handle.query("__temporal_workflow_metadata"))
    assert f"volex approvals approve {order.order_id}" in details and "waiting for approval of BUY 0.1" in details
    told = await handle.describe()
    assert told.typed_search_attributes.get(search_attributes.NEEDS_ATTENTION) is True
    assert told.typed_search_attributes.get(search_attributes.ORDER_STATUS) == "HELD"


async def test_two_clicks_are_one_order(desk: Desk) -> None:
    handle = await held(desk)
    first, second = await asyncio.gather(approve(handle), approve(handle, by="kim"))
    assert {first.decision, second.decision} == {ApprovalEnding.APPROVED, ApprovalEnding.KNOWN_BEFORE}
    assert len(desk.venue.posts) == 1
    assert (await refused(handle)).type == "ORDER_NOT_HELD"


async def test_refusals_leave_the_order_held_and_no_trace_in_its_history(desk: Desk) -> None:
    handle = await held(desk)
    await asked(desk, await state(handle))
    assert (await refused(handle, by="TEST")).type == "FOUR_EYES"
    assert (await refused(handle, by="rest")).type == "FOUR_EYES"
    other = make_request("key", quantity=Decimal(1)).ticket.fingerprint()
    assert (await refused(handle, fingerprint=other)).type == "TICKET_DIFFERS"
    history = await handle.fetch_history()
    assert (await state(handle)).status is OrderStatus.HELD
    updates = [e for e in history.events if e.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED]
    assert len(updates) == 1  # the update `place` alone was taken


async def test_order_nobody_decides_on_expires_and_sends_nothing(desk: Desk) -> None:
    handle = await held(desk)
    order = (await desk.result(handle)).order
    assert (order.status, order.finalized, desk.venue.posts) == (OrderStatus.EXPIRED, True, [])
    assert order.reason is not None and order.reason.code == "APPROVAL_EXPIRED"


async def test_orders_own_deadline_comes_before_the_approvals(desk: Desk) -> None:
    deadline = await desk.server_time() + timedelta(minutes=5)
    handle = await held(desk, expires_at=deadline)
    order = (await desk.result(handle)).order
    assert order.status is OrderStatus.EXPIRED
    assert order.reason is not None and order.reason.code == "DEADLINE_REACHED"


async def test_approval_that_comes_too_late_expires_the_order(desk: Desk) -> None:
    handle = await held(desk)
    desk.clock.ahead += timedelta(hours=1)
    answer = await approve(handle)
    assert answer.decision is ApprovalEnding.EXPIRED and desk.venue.posts == []
    assert answer.view.order is not None and answer.view.order.status is OrderStatus.EXPIRED


async def test_rejected_order_ends_denied(desk: Desk) -> None:
    handle = await held(desk)
    answer = await handle.execute_update(OrderWorkflow.reject, DecideHeld(by="jo", because="too much"))
    assert answer.decision is ApprovalEnding.REJECTED
    order = (await desk.result(handle)).order
    assert (order.status, desk.venue.posts) == (OrderStatus.DENIED, [])
    assert order.reason is not None and order.reason.text == "too much (jo)"


async def test_cancel_ends_a_held_order_and_an_amendment_is_refused_with_a_word(desk: Desk) -> None:
    handle = await held(desk)
    with pytest.raises(WorkflowUpdateFailedError) as failure:
        await handle.execute_update(OrderWorkflow.amend, AmendOrder(price=Decimal("101")))
    assert "HELD for approval of exactly this ticket" in str(failure.value.cause)
    view = await handle.execute_update(OrderWorkflow.request_cancel, CancelOrder(requested_by="me"))
    assert view.order is not None and view.order.status is OrderStatus.CANCELED
    assert desk.venue.posts == []


async def test_limits_that_hold_no_more_deny_at_approval_with_the_numbers(desk: Desk) -> None:
    handle = await held(desk, order_type=OrderType.MARKET, price=None)
    desk.venue.ask = Decimal(1_000_000)
    answer = await approve(handle)
    assert answer.decision is ApprovalEnding.DENIED and "needed=101000" in answer.told
    assert answer.view.order is not None and answer.view.order.status is OrderStatus.DENIED
    assert desk.venue.posts == []


async def test_without_a_price_or_the_venues_rules_the_order_stays_held_and_can_be_approved_later(desk: Desk) -> None:
    handle = await held(desk, order_type=OrderType.MARKET, price=None)
    await asked(desk, await state(handle))
    desk.venue.ask = Decimal(0)
    desk.venue.last = None
    refusal = await refused(handle)
    assert refusal.type == "VENUE_UNAVAILABLE"
    assert "MARKET_PRICE_UNAVAILABLE" in refusal.details[0]["numbers"]["because"]
    desk.venue.refuses_keys = True
    assert (await refused(handle)).type == "CREDENTIALS_REFUSED"
    assert (await state(handle)).status is OrderStatus.HELD
    desk.venue.ask, desk.venue.last, desk.venue.refuses_keys = Decimal(100), Decimal(100), False
    assert (await approve(handle)).decision is ApprovalEnding.APPROVED


async def test_adopted_order_waits_again_with_the_expiry_of_the_ledger(desk: Desk) -> None:
    handle = await held(desk)
    order = await state(handle)
    await asked(desk, order)
    assert await desk.is_at_rest(handle)
    await handle.terminate("the store of Temporal is lost")
    start = OrderInput(request=make_request("key", account=desk.account), adopt=order)
    adopted = await desk.client.start_workflow(OrderWorkflow.run, start, id=f"{handle.id}-adopted", task_queue="orders")
    desk.handles.append(adopted)
    await asked(desk, order)
    assert (await refused(adopted, by="test")).type == "FOUR_EYES"
    answer = await approve(adopted)
    assert answer.decision is ApprovalEnding.APPROVED and len(desk.venue.posts) == 1


async def test_stale_market_is_looked_at_again_while_the_gate_waits_for_a_fresh_word(
    desk: Desk, engine: AsyncEngine
) -> None:
    banded = LimitSet(accounts=Limits(max_price_deviation=Decimal("0.05")))
    told = {"source": "operator", "changed_by": "test", "because": "a test", "now": NOW}
    await in_transaction(engine, lambda connection: limit_sets.add(connection, banded, **told))
    looks = []

    async def ticker(symbol: str) -> Ticker:
        looks.append(symbol)
        at = NOW if len(looks) == 1 else desk.clock()
        return Ticker(symbol=symbol, bid=Decimal(99), ask=Decimal(100), last=Decimal(100), ts_event=at)

    desk.venue.fetch_ticker = ticker  # type: ignore[method-assign]  # this test's market
    async with asyncio.timeout(30):
        view, _ = await desk.place()
    assert view.order is not None and view.order.status is OrderStatus.ACCEPTED
    assert len(looks) == 2
