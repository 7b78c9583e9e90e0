"""A stop that we hold: it waits without a step, is sent once, and can be canceled, expire and be adopted meanwhile."""

from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError

from domain.lifecycle import OrderStatus
from domain.order import OrderSide, OrderType, TimeInForce
from domain.placement import Placement
from starter.order_workflows import TemporalOrderWorkflows
from tests.workflow import scripted_exchange as scripts
from tests.workflow.conftest import Desk
from tests.workflow.test_kill_sweep import engage, swept
from workflows.messages import AmendOrder, CancelOrder
from workflows.order_workflow import OrderWorkflow

STOP = {"order_type": OrderType.STOP, "price": None, "trigger_price": Decimal(110)}


@pytest.fixture(autouse=True)
def venue_without_stops(desk: Desk) -> None:
    desk.venue.holds_stops = True
    desk.venue.on_submit = scripts.fills_at_once


async def test_stop_waits_without_a_step_and_is_sent_once_as_a_market_order(desk: Desk) -> None:
    view, handle = await desk.place(**STOP)
    assert view.order is not None
    assert (view.order.status, view.order.placement) == (OrderStatus.INITIALIZED, Placement.HELD)
    await desk.is_at_rest(handle)
    waiting = (await handle.describe()).history_length
    for price in ("105", "109.99"):
        await desk.trigger(view.order_id, price)
    await desk.is_at_rest(handle)
    assert (await handle.describe()).history_length == waiting
    assert desk.venue.posts == []
    await desk.trigger(view.order_id, "150")
    await desk.trigger(view.order_id, "160")
    ended = (await desk.result(handle)).order
    assert ended.status is OrderStatus.FILLED
    assert ended.triggered is not None and ended.triggered.price == Decimal(150)
    assert [(post.order_type, post.trigger_price, post.price) for post in desk.venue.posts] == [("market", None, None)]


async def test_stop_limit_is_sent_as_a_limit_order_at_its_price(desk: Desk) -> None:
    view, handle = await desk.place(
        order_type=OrderType.STOP_LIMIT, side=OrderSide.SELL, price=Decimal(85), trigger_price=Decimal(90)
    )
    await desk.trigger(view.order_id, "90")
    await desk.result(handle)
    assert [(post.order_type, post.price) for post in desk.venue.posts] == [("limit", Decimal(85))]


async def test_answer_that_is_lost_after_the_trigger_is_resolved_and_nothing_is_sent_twice(desk: Desk) -> None:
    desk.venue.on_submit = scripts.reply_is_lost
    view, handle = await desk.place(**STOP)
    await desk.trigger(view.order_id)
    await desk.until(handle, lambda order: order.status is OrderStatus.ACCEPTED)
    assert len(desk.venue.posts) == 1


async def test_attempt_that_never_arrived_is_sent_anew_although_the_price_is_beyond_the_trigger(desk: Desk) -> None:
    desk.venue.fence_s = 0
    desk.venue.on_submit = scripts.order_is_lost
    desk.venue.last = Decimal(120)
    view, handle = await desk.place(**{**STOP, "trigger_price": Decimal(130)})
    desk.venue.last = Decimal(140)
    await desk.trigger(view.order_id, "140")
    order = await desk.until(handle, lambda order: order.status is OrderStatus.ACCEPTED)
    assert order.attempt == 2
    assert [post.order_type for post in desk.venue.posts] == ["market", "market"]


async def test_cancel_while_it_waits_ends_it_and_a_later_price_sends_nothing(desk: Desk) -> None:
    view, handle = await desk.place(**STOP)
    answer = await handle.execute_update(OrderWorkflow.request_cancel, CancelOrder())
    assert answer.order is not None and answer.order.status is OrderStatus.CANCELED
    await desk.trigger(view.order_id)
    ended = (await desk.result(handle)).order
    assert ended.triggered is None and desk.venue.posts == []
    assert (await desk.store.order(desk.account, view.order_id)).finalized


async def test_deadline_of_a_gtd_stop_ends_it_while_it_waits(desk: Desk) -> None:
    ends_at = await desk.server_time() + timedelta(seconds=90)
    desk.clock.ahead = timedelta(0)
    _, handle = await desk.place(**STOP, time_in_force=TimeInForce.GTD, expires_at=ends_at)
    ended = (await desk.result(handle)).order
    assert ended.status is OrderStatus.EXPIRED and desk.venue.posts == []


async def test_amendment_is_refused_while_it_waits_with_what_to_do(desk: Desk) -> None:
    _, handle = await desk.place(**STOP)
    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await handle.execute_update(OrderWorkflow.amend, AmendOrder(quantity=Decimal("0.2")))
    cause = refused.value.cause
    assert isinstance(cause, ApplicationError)
    assert (cause.type, "cancel it and place another" in cause.message) == ("ORDER_NOT_AMENDABLE", True)


async def test_kill_switch_that_cancels_ends_it(desk: Desk, engine: AsyncEngine) -> None:
    _, handle = await desk.place(**STOP)
    await engage(desk, engine, cancel_orders=True)
    assert (await swept(desk)).done
    await desk.tell()
    ended = (await desk.result(handle)).order
    assert ended.status is OrderStatus.CANCELED and desk.venue.posts == []


async def test_adopted_stop_goes_on_waiting_and_is_sent_when_its_price_comes(desk: Desk) -> None:
    view, handle = await desk.place(**STOP)
    await desk.is_at_rest(handle)
    await handle.terminate("Temporal lost it")
    order = await desk.store.order(desk.account, view.order_id)
    await TemporalOrderWorkflows(desk.client).adopt(order)
    adopted = desk.client.get_workflow_handle_for(OrderWorkflow.run, handle.id)
    desk.handles.append(adopted)
    await desk.is_at_rest(adopted)
    assert (await adopted.query(OrderWorkflow.view)).order == order
    await desk.trigger(view.order_id)
    assert (await desk.result(adopted)).order.status is OrderStatus.FILLED
    assert len(desk.venue.posts) == 1


async def test_trigger_already_met_is_denied_with_both_figures(desk: Desk) -> None:
    view, _ = await desk.place(**{**STOP, "trigger_price": Decimal(100)})
    assert view.order is not None and view.order.status is OrderStatus.DENIED
    assert view.order.reason is not None
    assert view.order.reason.numbers == {"trigger_price": "100", "market_price": "100"}
