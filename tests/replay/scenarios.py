"""The endings that are recorded: each function leads an order there, and its name is the history's."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from decimal import Decimal

from temporalio.client import WorkflowUpdateFailedError
from temporalio.service import RPCError

from domain.identifiers import derive_order_id, order_workflow_id
from domain.limits import Limits, LimitSet
from domain.order import OnNeverPlaced, OrderSide, OrderType, TimeInForce
from domain.reports import VenueOrderStatus
from storage import limit_sets
from storage.database import in_transaction
from tests.factories import make_request
from tests.workflow import scripted_exchange as scripts
from tests.workflow.conftest import Desk, Handle
from workflows.messages import AmendOrder, CancelOrder, DecideHeld, OrderInput, ResolveOrder
from workflows.order_workflow import OrderWorkflow

Scenario = Callable[[Desk], Awaitable[Handle]]


async def market_filled(desk: Desk) -> Handle:
    desk.venue.on_submit = scripts.fills_at_once
    return (await desk.place(order_type=OrderType.MARKET, price=None))[1]


async def limit_filled_in_parts(desk: Desk) -> Handle:
    view, handle = await desk.place()
    for quantity in ("0.03", "0.03", "0.04"):
        desk.venue.fill(view.order_id, quantity)
        await desk.report(view.order_id, handle)
    return handle


async def canceled_by_update(desk: Desk) -> Handle:
    _, handle = await desk.place()
    await handle.execute_update(OrderWorkflow.request_cancel, CancelOrder(requested_by="recorder"))
    return handle


async def canceled_by_signal_partly_filled(desk: Desk) -> Handle:
    view, handle = await desk.place()
    desk.venue.fill(view.order_id, "0.03")
    await handle.signal(OrderWorkflow.cancel, CancelOrder(because="recorded"))
    return handle


async def cancellation_requested(desk: Desk) -> Handle:
    _, handle = await desk.place()
    await handle.cancel()
    return handle


async def cancel_refused_twice(desk: Desk) -> Handle:
    desk.venue.ignores_cancels = 2
    _, handle = await desk.place()
    await handle.execute_update(OrderWorkflow.request_cancel, CancelOrder())
    return handle


async def filled_while_canceled(desk: Desk) -> Handle:
    view, handle = await desk.place()
    desk.venue.fill(view.order_id, "0.1")
    await handle.execute_update(OrderWorkflow.request_cancel, CancelOrder())
    return handle


async def expired_at_its_deadline(desk: Desk) -> Handle:
    return (await desk.place(expires_at=desk.clock() + timedelta(seconds=2)))[1]


async def _expires(submission: scripts.Submission, venue: scripts.ScriptedExchange) -> scripts.SubmitOutcome:
    report = venue.take(submission, status=VenueOrderStatus.EXPIRED)
    return scripts.SubmitOutcome(verdict=scripts.SubmitVerdict.ACCEPTED, report=report)


async def immediate_or_cancel_expired(desk: Desk) -> Handle:
    desk.venue.on_submit = _expires
    return (await desk.place(time_in_force=TimeInForce.IOC))[1]


async def fill_or_kill_expired(desk: Desk) -> Handle:
    desk.venue.on_submit = _expires
    return (await desk.place(time_in_force=TimeInForce.FOK))[1]


async def market_partly_filled_and_expired(desk: Desk) -> Handle:
    async def fills_some(submission: scripts.Submission, venue: scripts.ScriptedExchange) -> scripts.SubmitOutcome:
        venue.take(submission)
        report = venue.fill(submission.client_order_id, "0.04", status=VenueOrderStatus.EXPIRED)
        return scripts.SubmitOutcome(verdict=scripts.SubmitVerdict.ACCEPTED, report=report)

    desk.venue.on_submit = fills_some
    return (await desk.place(order_type=OrderType.MARKET, price=None))[1]


async def post_only_filled(desk: Desk) -> Handle:
    view, handle = await desk.place(post_only=True)
    desk.venue.fill(view.order_id, "0.1")
    await desk.report(view.order_id, handle)
    return handle


async def stop_filled(desk: Desk) -> Handle:
    view, handle = await desk.place(
        side=OrderSide.SELL, order_type=OrderType.STOP, price=None, trigger_price=Decimal(90)
    )
    desk.venue.fill(view.order_id, "0.1")
    await desk.report(view.order_id, handle)
    return handle


async def stop_limit_canceled(desk: Desk) -> Handle:
    _, handle = await desk.place(order_type=OrderType.STOP_LIMIT, trigger_price=Decimal(110))
    await handle.execute_update(OrderWorkflow.request_cancel, CancelOrder())
    return handle


async def denied_by_the_venues_rules(desk: Desk) -> Handle:
    return (await desk.place(quantity=Decimal("0.0100")))[1]


async def denied_by_the_balance(desk: Desk) -> Handle:
    return (await desk.place(side=OrderSide.SELL, quantity=Decimal("2")))[1]


async def rejected_by_the_venue(desk: Desk) -> Handle:
    desk.venue.on_submit = scripts.is_refused
    return (await desk.place())[1]


async def in_doubt_and_found(desk: Desk) -> Handle:
    desk.venue.on_submit = scripts.reply_is_lost
    view, handle = await desk.place()
    desk.venue.fill(view.order_id, "0.1")
    await desk.report(view.order_id, handle)
    return handle


async def in_doubt_and_sent_anew(desk: Desk) -> Handle:
    desk.venue.on_submit = scripts.order_is_lost
    _, handle = await desk.place()
    desk.clock.ahead = timedelta(seconds=17)
    desk.venue.on_submit = scripts.fills_at_once
    return handle


async def in_doubt_and_given_up(desk: Desk) -> Handle:
    desk.venue.on_submit = scripts.order_is_lost
    _, handle = await desk.place(on_never_placed=OnNeverPlaced.GIVE_UP)
    desk.clock.ahead = timedelta(seconds=17)
    return handle


async def in_doubt_rechecked_and_sent_anew(desk: Desk) -> Handle:
    desk.venue.on_submit = scripts.order_is_lost
    _, handle = await desk.place(order_type=OrderType.MARKET, price=None)
    desk.clock.ahead = timedelta(seconds=17)
    desk.venue.on_submit = scripts.fills_at_once
    return handle


async def in_doubt_and_decided_placed(desk: Desk) -> Handle:
    desk.venue.fence_s = None
    desk.venue.on_submit = scripts.reply_is_lost
    desk.venue.hides_orders = True
    view, handle = await desk.place()
    desk.venue.fill(view.order_id, "0.1")
    decision = ResolveOrder(placed="1", because="recorded", requested_by="recorder")
    await handle.execute_update(OrderWorkflow.resolve, decision)
    return handle


async def in_doubt_canceled_and_decided_never_placed(desk: Desk) -> Handle:
    desk.venue.fence_s = None
    desk.venue.on_submit = scripts.order_is_lost
    _, handle = await desk.place()
    await handle.execute_update(OrderWorkflow.request_cancel, CancelOrder(requested_by="recorder"))
    await handle.execute_update(
        OrderWorkflow.resolve, ResolveOrder(never_placed=True, because="recorded", requested_by="recorder")
    )
    return handle


async def canceled_while_in_doubt(desk: Desk) -> Handle:
    desk.venue.on_submit = scripts.order_is_lost
    _, handle = await desk.place()
    await handle.signal(OrderWorkflow.cancel, CancelOrder())
    desk.clock.ahead = timedelta(seconds=17)
    return handle


async def amended_and_filled(desk: Desk) -> Handle:
    view, handle = await desk.place()
    desk.venue.fill(view.order_id, "0.04")
    await desk.report(view.order_id, handle)
    await handle.execute_update(OrderWorkflow.amend, AmendOrder(quantity=Decimal("0.2"), price=Decimal("101")))
    desk.venue.fill(desk.venue.posts[1].client_order_id, "0.16")
    await desk.report(view.order_id, handle, client_order_id=desk.venue.posts[1].client_order_id)
    return handle


async def amendment_refused(desk: Desk) -> Handle:
    _, handle = await desk.place()
    try:
        await handle.execute_update(OrderWorkflow.amend, AmendOrder(price=Decimal("100.001")))
    except WorkflowUpdateFailedError:
        await handle.execute_update(OrderWorkflow.request_cancel, CancelOrder())
        return handle
    raise AssertionError("an amendment off tick was taken")


async def adopted_from_the_ledger(desk: Desk) -> Handle:
    view, handle = await desk.place()
    await handle.terminate("the recorder takes it away")
    order = await desk.store.order(desk.account, view.order_id)
    start = OrderInput(request=make_request("key", account=desk.account), adopt=order)
    adopted = await desk.client.start_workflow(OrderWorkflow.run, start, id=f"{handle.id}-adopted", task_queue="orders")
    await adopted.execute_update(OrderWorkflow.request_cancel, CancelOrder())
    return adopted


async def _limited(desk: Desk, **limits: object) -> None:
    """Let limits hold for the desk's account."""
    limit_set = LimitSet(by_scope={f"account:{desk.account}": Limits.model_validate(limits)})
    told = {"source": "operator", "changed_by": "recorder", "because": "recorded", "now": desk.clock()}
    await in_transaction(desk.store._engine, lambda connection: limit_sets.add(connection, limit_set, **told))


async def held_and_approved(desk: Desk) -> Handle:
    await _limited(desk, approval_above_notional="1")
    desk.venue.on_submit = scripts.fills_at_once
    _, handle = await desk.place()
    await handle.execute_update(OrderWorkflow.approve, DecideHeld(by="jo", because="recorded"))
    return handle


async def held_and_denied_at_approval(desk: Desk) -> Handle:
    await _limited(desk, approval_above_notional="1")
    _, handle = await desk.place()
    await _limited(desk, approval_above_notional="1", max_order_notional="9")
    await handle.execute_update(OrderWorkflow.approve, DecideHeld(by="jo", because="recorded"))
    return handle


async def held_and_rejected(desk: Desk) -> Handle:
    await _limited(desk, approval_above_notional="1")
    _, handle = await desk.place()
    await handle.execute_update(OrderWorkflow.reject, DecideHeld(by="jo", because="recorded"))
    return handle


async def held_and_expired(desk: Desk) -> Handle:
    await _limited(desk, approval_above_notional="1", approval_expires_s=2)
    return (await desk.place())[1]


async def held_and_canceled(desk: Desk) -> Handle:
    await _limited(desk, approval_above_notional="1")
    _, handle = await desk.place()
    await handle.execute_update(OrderWorkflow.request_cancel, CancelOrder(requested_by="recorder"))
    return handle


async def held_and_adopted(desk: Desk) -> Handle:
    await _limited(desk, approval_above_notional="1")
    view, handle = await desk.place()
    await handle.terminate("the recorder takes it away")
    order = await desk.store.order(desk.account, view.order_id)
    start = OrderInput(request=make_request("key", account=desk.account), adopt=order)
    adopted = await desk.client.start_workflow(OrderWorkflow.run, start, id=f"{handle.id}-adopted", task_queue="orders")
    desk.venue.on_submit = scripts.fills_at_once
    await adopted.execute_update(OrderWorkflow.approve, DecideHeld(by="jo", because="recorded"))
    return adopted


async def unavailable_and_asked_again_until_canceled(desk: Desk) -> Handle:
    await _limited(desk, max_price_deviation="0.05")
    desk.venue.on_submit = scripts.fills_at_once
    placing = asyncio.create_task(desk.place())
    handle = desk.client.get_workflow_handle_for(
        OrderWorkflow.run, order_workflow_id(desk.account, derive_order_id(desk.account, "key"))
    )
    async with asyncio.timeout(30):
        while await _activities(handle, "validate") < 3:
            await asyncio.sleep(0.1)
    await handle.signal(OrderWorkflow.cancel, CancelOrder(requested_by="recorder"))
    return (await placing)[1]


async def _activities(handle: Handle, name: str) -> int:
    try:
        history = await handle.fetch_history()
    except RPCError:
        return 0  # not started yet
    scheduled = (event.activity_task_scheduled_event_attributes for event in history.events)
    return sum(activity.activity_type.name == name for activity in scheduled)


async def held_stop_triggered(desk: Desk) -> Handle:
    desk.venue.holds_stops = True
    desk.venue.on_submit = scripts.fills_at_once
    view, handle = await desk.place(order_type=OrderType.STOP, price=None, trigger_price=Decimal(110))
    await desk.trigger(view.order_id)
    return handle


async def held_stop_canceled(desk: Desk) -> Handle:
    desk.venue.holds_stops = True
    _, handle = await desk.place(order_type=OrderType.STOP, price=None, trigger_price=Decimal(110))
    await handle.execute_update(OrderWorkflow.request_cancel, CancelOrder(requested_by="recorder"))
    return handle


SCENARIOS: tuple[Scenario, ...] = (
    market_filled,
    limit_filled_in_parts,
    canceled_by_update,
    canceled_by_signal_partly_filled,
    cancellation_requested,
    cancel_refused_twice,
    filled_while_canceled,
    expired_at_its_deadline,
    immediate_or_cancel_expired,
    fill_or_kill_expired,
    market_partly_filled_and_expired,
    post_only_filled,
    stop_filled,
    stop_limit_canceled,
    held_stop_triggered,
    held_stop_canceled,
    denied_by_the_venues_rules,
    denied_by_the_balance,
    rejected_by_the_venue,
    in_doubt_and_found,
    in_doubt_and_sent_anew,
    in_doubt_and_given_up,
    in_doubt_rechecked_and_sent_anew,
    in_doubt_and_decided_placed,
    in_doubt_canceled_and_decided_never_placed,
    canceled_while_in_doubt,
    amended_and_filled,
    amendment_refused,
    adopted_from_the_ledger,
    held_and_approved,
    held_and_denied_at_approval,
    held_and_rejected,
    held_and_expired,
    held_and_canceled,
    held_and_adopted,
    unavailable_and_asked_again_until_canceled,
)
