"""An order's life, every ending of it, with each workflow task replayed from the start (nothing is cached)."""

import asyncio
from datetime import timedelta
from decimal import Decimal

import pytest
from temporalio.client import WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError

from domain.lifecycle import OrderStatus
from domain.order import OrderSide, OrderType
from domain.reports import VenueOrderStatus
from tests.workflow import scripted_exchange as scripts
from tests.workflow.conftest import Desk
from workflows.messages import AmendOrder, CancelOrder
from workflows.order_workflow import OrderWorkflow


async def test_market_order_that_fills_at_once_ends_filled_with_one_post(desk: Desk) -> None:
    desk.venue.on_submit = scripts.fills_at_once
    view, handle = await desk.place(order_type=OrderType.MARKET, price=None)
    assert view.order is not None and view.order.status is OrderStatus.FILLED
    result = await desk.result(handle)
    assert result.order.cum_qty == Decimal("0.1") and result.order.finalized
    assert len(desk.venue.posts) == 1


async def test_resting_order_that_the_feed_reports_on_ends_filled(desk: Desk) -> None:
    view, handle = await desk.place()
    assert view.order is not None and view.order.status is OrderStatus.ACCEPTED
    order_id = view.order_id
    desk.venue.fill(order_id, "0.04")
    await desk.report(order_id, handle)
    partly = await handle.query(OrderWorkflow.view)
    assert partly.order is not None and partly.order.status is OrderStatus.PARTIALLY_FILLED
    desk.venue.fill(order_id, "0.06")
    await desk.report(order_id, handle)
    result = await desk.result(handle)
    assert result.order.status is OrderStatus.FILLED and result.order.cum_qty == Decimal("0.1")


async def test_resting_order_whose_reports_are_lost_finds_its_fill_by_itself(desk: Desk) -> None:
    view, handle = await desk.place()
    desk.venue.fill(view.order_id, "0.1")
    result = await desk.result(handle)
    assert result.order.status is OrderStatus.FILLED


async def test_ticket_below_the_minimum_notional_ends_denied_without_a_post(desk: Desk) -> None:
    view, handle = await desk.place(quantity=Decimal("0.0100"))
    assert view.order is not None and view.order.status is OrderStatus.DENIED
    assert view.order.reason is not None and view.order.reason.numbers == {"notional": "1", "min_notional": "5"}
    assert (await desk.result(handle)).order.finalized
    assert desk.venue.posts == []


async def test_ticket_beyond_the_balance_ends_denied_with_both_figures(desk: Desk) -> None:
    view, _ = await desk.place(quantity=Decimal("1000"))
    assert view.order is not None and view.order.reason is not None
    assert view.order.reason.code == "BALANCE_INSUFFICIENT"
    assert view.order.reason.numbers == {"asset": "USDT", "needed": "100000", "available": "10000"}


async def test_order_that_the_venue_refuses_ends_rejected_in_its_words(desk: Desk) -> None:
    desk.venue.on_submit = scripts.is_refused
    view, _ = await desk.place()
    assert view.order is not None and view.order.status is OrderStatus.REJECTED
    assert view.order.reason is not None and view.order.reason.venue_text == "Filter failure: LOT_SIZE"


async def test_lost_reply_is_looked_up_and_the_order_is_adopted_with_one_post(desk: Desk) -> None:
    desk.venue.on_submit = scripts.reply_is_lost
    view, handle = await desk.place()
    assert view.order is not None and view.order.status in (OrderStatus.IN_DOUBT, OrderStatus.ACCEPTED)
    desk.venue.fill(view.order_id, "0.1")
    result = await desk.result(handle)
    assert result.order.status is OrderStatus.FILLED
    assert len(desk.venue.posts) == 1


async def test_order_that_never_arrived_is_sent_anew_only_after_the_time_fence(desk: Desk) -> None:
    desk.venue.on_submit = scripts.order_is_lost
    desk.clock.ahead = timedelta(0)
    view, handle = await desk.place()
    assert view.order is not None and view.order.status is OrderStatus.IN_DOUBT
    await asyncio.sleep(0)
    doubtful = await handle.query(OrderWorkflow.view)
    assert doubtful.order is not None and doubtful.order.status is OrderStatus.IN_DOUBT
    assert len(desk.venue.posts) == 1
    desk.clock.ahead = timedelta(seconds=17)
    desk.venue.on_submit = scripts.fills_at_once
    result = await desk.result(handle)
    assert result.order.status is OrderStatus.FILLED and result.order.attempt == 2
    first, second = desk.venue.posts
    assert first.client_order_id != second.client_order_id


async def test_order_without_a_time_fence_stays_in_doubt(desk: Desk) -> None:
    desk.venue.fence_s = None
    desk.venue.on_submit = scripts.order_is_lost
    view, handle = await desk.place()
    desk.clock.ahead = timedelta(days=1)
    doubtful = await handle.query(OrderWorkflow.view)
    assert doubtful.order is not None and doubtful.order.status is OrderStatus.IN_DOUBT
    assert len(desk.venue.posts) == 1
    desk.venue.take(desk.venue.posts[0])
    desk.venue.fill(view.order_id, "0.1")
    assert (await desk.result(handle)).order.status is OrderStatus.FILLED


async def test_cancel_of_a_resting_order_answers_canceled(desk: Desk) -> None:
    _, handle = await desk.place()
    view = await handle.execute_update(OrderWorkflow.request_cancel, CancelOrder(requested_by="me"))
    assert view.order is not None and view.order.status is OrderStatus.CANCELED
    assert (await desk.result(handle)).order.cum_qty == 0


async def test_cancel_of_a_partly_filled_order_keeps_its_fills(desk: Desk) -> None:
    placed, handle = await desk.place()
    desk.venue.fill(placed.order_id, "0.03")
    view = await handle.execute_update(OrderWorkflow.request_cancel, CancelOrder())
    assert view.order is not None
    assert (view.order.status, view.order.cum_qty) == (OrderStatus.CANCELED, Decimal("0.03"))


async def test_cancel_of_an_order_that_has_just_filled_ends_filled(desk: Desk) -> None:
    placed, handle = await desk.place()
    desk.venue.fill(placed.order_id, "0.1")
    view = await handle.execute_update(OrderWorkflow.request_cancel, CancelOrder())
    assert view.order is not None and view.order.status is OrderStatus.FILLED


async def test_refused_cancel_says_nothing_and_is_asked_again(desk: Desk) -> None:
    desk.venue.ignores_cancels = 2
    _, handle = await desk.place()
    view = await handle.execute_update(OrderWorkflow.request_cancel, CancelOrder())
    assert view.order is not None and view.order.status is OrderStatus.CANCELED
    assert len(desk.venue.cancels) == 3


async def test_signal_cancel_does_the_same(desk: Desk) -> None:
    _, handle = await desk.place()
    await handle.signal(OrderWorkflow.cancel, CancelOrder(because="by signal"))
    assert (await desk.result(handle)).order.status is OrderStatus.CANCELED


async def test_request_cancellation_in_the_web_ui_cancels_at_the_venue_too(desk: Desk) -> None:
    placed, handle = await desk.place()
    await handle.cancel()
    result = await desk.result(handle)
    assert result.order.status is OrderStatus.CANCELED
    assert desk.venue.orders[placed.order_id].status is VenueOrderStatus.CANCELED


async def test_order_ends_expired_at_its_own_deadline(desk: Desk) -> None:
    deadline = await desk.server_time() + timedelta(hours=2)
    _, handle = await desk.place(expires_at=deadline)
    result = await desk.result(handle)
    assert result.order.status is OrderStatus.EXPIRED
    assert len(desk.venue.cancels) == 1


async def test_amendment_replaces_what_is_left_and_never_works_two_orders(desk: Desk) -> None:
    placed, handle = await desk.place()
    desk.venue.fill(placed.order_id, "0.04")
    await desk.report(placed.order_id, handle)
    view = await handle.execute_update(OrderWorkflow.amend, AmendOrder(quantity=Decimal("0.2"), price=Decimal("101")))
    assert view.order is not None and view.order.status is OrderStatus.ACCEPTED
    first, second = desk.venue.posts
    assert (second.quantity, second.price) == (Decimal("0.16"), Decimal("101"))
    assert desk.venue.orders[first.client_order_id].status is VenueOrderStatus.CANCELED
    desk.venue.fill(second.client_order_id, "0.16")
    result = await desk.result(handle)
    assert (result.order.status, result.order.cum_qty) == (OrderStatus.FILLED, Decimal("0.2"))


async def test_amendment_off_tick_is_refused_and_the_order_stays(desk: Desk) -> None:
    _, handle = await desk.place()
    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await handle.execute_update(OrderWorkflow.amend, AmendOrder(price=Decimal("100.001")))
    assert isinstance(refused.value.cause, ApplicationError)
    assert "PRICE_OFF_TICK" in refused.value.cause.message
    view = await handle.query(OrderWorkflow.view)
    assert view.order is not None and view.order.status is OrderStatus.ACCEPTED
    assert len(desk.venue.posts) == 1


async def test_same_request_again_joins_the_order(desk: Desk) -> None:
    first, _ = await desk.place("same")
    second, _ = await desk.place("same")
    assert first.order_id == second.order_id
    assert len(desk.venue.posts) == 1


async def test_another_ticket_under_the_same_key_is_refused(desk: Desk) -> None:
    await desk.place("same")
    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await asyncio.wait_for(desk.place("same", quantity=Decimal("0.2")), 10)
    assert isinstance(refused.value.cause, ApplicationError)
    assert refused.value.cause.type == "IDEMPOTENCY_KEY_REUSED"


async def test_sell_of_more_than_is_held_is_denied(desk: Desk) -> None:
    view, _ = await desk.place(side=OrderSide.SELL, quantity=Decimal("2"))
    assert view.order is not None and view.order.reason is not None
    assert view.order.reason.numbers == {"asset": "BTC", "needed": "2", "available": "1"}
