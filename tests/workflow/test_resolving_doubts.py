"""Orders in doubt: what a person decides, what follows for each policy, and what is kept meanwhile."""

import asyncio
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from temporalio.client import WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.calls import ResolveCall
from activities.resolve_activities import ResolveActivities
from domain.decisions import Decision, Ending
from domain.lifecycle import OrderEventType, OrderStatus
from domain.order import OnNeverPlaced, Order, OrderType
from domain.reports import VenueOrderStatus
from domain.risk import Reservation
from storage import holdings
from storage.database import in_transaction
from storage.order_reader import SqlOrderReader
from tests.workflow import scripted_exchange as scripts
from tests.workflow.conftest import Desk, Handle
from workflows.messages import AmendOrder, CancelOrder, ResolveAnswer, ResolveOrder
from workflows.order_workflow import OrderWorkflow


async def in_doubt(desk: Desk, script: scripts.SubmitScript = scripts.order_is_lost, **ticket: object) -> Handle:
    """Place an order whose outcome is not known, on a venue without a time fence; the clock is a day ahead then."""
    desk.venue.fence_s = None
    desk.venue.on_submit = script
    desk.venue.hides_orders = True
    view, handle = await desk.place(**ticket)
    assert view.order is not None and view.order.status is OrderStatus.IN_DOUBT
    return handle


async def resolve(handle: Handle, **decision: Any) -> ResolveAnswer:
    """Decide."""
    decision = {"because": "support says so", "requested_by": "jo", **decision}
    return await handle.execute_update(OrderWorkflow.resolve, ResolveOrder(**decision))


async def refused(handle: Handle, **decision: Any) -> ApplicationError:
    """Decide, and return the refusal."""
    with pytest.raises(WorkflowUpdateFailedError) as failure:
        await resolve(handle, **decision)
    assert isinstance(failure.value.cause, ApplicationError)
    return failure.value.cause


def numbers(refusal: ApplicationError) -> dict[str, str]:
    """Return the figures of a refusal."""
    found: dict[str, str] = refusal.details[0]["numbers"]
    return found


async def state(handle: Handle) -> Order:
    """Return the order as it stands."""
    order = (await handle.query(OrderWorkflow.view)).order
    assert order is not None
    return order


async def facts(desk: Desk, order_id: str) -> list[OrderEventType]:
    """Return the types of the order's facts."""
    recorded = await SqlOrderReader(desk.store._engine).events(desk.account, order_id)
    return [fact.event.event_type for fact in recorded]


async def test_order_that_a_person_names_is_adopted_with_its_fills_and_the_decision_is_on_record(desk: Desk) -> None:
    handle = await in_doubt(desk, scripts.reply_is_lost)
    sent = desk.venue.posts[0].client_order_id
    desk.venue.fill(sent, "0.04")
    answer = await resolve(handle, placed="1")
    order = answer.view.order
    assert answer.ending is Ending.ADOPTED and order is not None
    assert (order.status, order.cum_qty, order.venue_order_id) == (OrderStatus.PARTIALLY_FILLED, Decimal("0.04"), "1")
    recorded = await SqlOrderReader(desk.store._engine).events(desk.account, order.order_id)
    decision = next(fact.event for fact in recorded if fact.event.event_type is OrderEventType.RESOLVED)
    assert decision.requested_by == "jo" and decision.reason is not None
    assert (decision.reason.code, decision.reason.text) == ("DECIDED_BY_PERSON", "support says so (jo)")
    desk.venue.hides_orders = False
    desk.venue.fill(sent, "0.06")
    assert (await desk.result(handle)).order.status is OrderStatus.FILLED
    assert len(desk.venue.posts) == 1


@pytest.mark.parametrize(
    ("theirs", "told"),
    [
        ({"quantity": Decimal("0.2")}, {"quantity": "0.1", "venue_quantity": "0.2"}),
        ({"side": "sell"}, {"side": "buy", "venue_side": "sell"}),
        ({"price": Decimal(99)}, {"price": "100", "venue_price": "99"}),
        ({"client_order_id": "somebody"}, {"venue_client_order_id": "somebody"}),
        ({"quantity": None}, {"quantity": "0.1", "venue_quantity": "not told"}),
    ],
)
async def test_order_that_differs_is_refused_with_both_figures_and_nothing_changes(
    desk: Desk, theirs: dict[str, Any], told: dict[str, str]
) -> None:
    handle = await in_doubt(desk)
    desk.venue.take(desk.venue.posts[0], **theirs)
    before = await facts(desk, desk.venue.posts[0].client_order_id)
    refusal = await refused(handle, placed="1")
    assert refusal.type == "DECISION_CONTRADICTED" and told.items() <= numbers(refusal).items()
    assert (await state(handle)).status is OrderStatus.IN_DOUBT
    assert await facts(desk, desk.venue.posts[0].client_order_id) == before


async def test_order_that_the_venue_does_not_show_is_refused(desk: Desk) -> None:
    handle = await in_doubt(desk)
    refusal = await refused(handle, placed="77")
    assert refusal.type == "DECISION_CONTRADICTED"
    assert numbers(refusal) == {"venue_order_id": "77", "symbol": "BTC/USDT"}


async def test_client_order_id_that_the_venue_does_not_tell_is_the_persons_word_and_said_so(desk: Desk) -> None:
    handle = await in_doubt(desk)
    desk.venue.take(desk.venue.posts[0], client_order_id=None)
    answer = await resolve(handle, placed="1")
    assert answer.ending is Ending.ADOPTED and "the person's word" in answer.told


async def test_order_of_another_ticket_of_ours_is_refused_with_its_id(desk: Desk) -> None:
    other, _ = await desk.place("other")
    desk.venue.orders[other.order_id] = desk.venue.orders[other.order_id].model_copy(update={"client_order_id": None})
    handle = await in_doubt(desk)
    refusal = await refused(handle, placed="1")
    assert numbers(refusal) == {"venue_order_id": "1", "order_id": other.order_id}
    assert (await state(handle)).status is OrderStatus.IN_DOUBT


async def test_venue_that_does_not_answer_refuses_the_decision_and_a_later_one_counts(desk: Desk) -> None:
    handle = await in_doubt(desk)
    desk.venue.is_down = True
    for decision in ({"placed": "1"}, {"never_placed": True}):
        assert (await refused(handle, **decision)).type == "VENUE_UNAVAILABLE"
    assert (await state(handle)).status is OrderStatus.IN_DOUBT
    desk.venue.is_down = False
    assert (await resolve(handle, never_placed=True)).ending is Ending.NEVER_PLACED


async def test_decided_never_placed_is_on_record_and_sent_anew_once(desk: Desk) -> None:
    handle = await in_doubt(desk)
    answer = await resolve(handle, never_placed=True)
    order = answer.view.order
    assert answer.ending is Ending.NEVER_PLACED and order is not None
    assert (order.status, order.attempt) == (OrderStatus.ACCEPTED, 2)
    first, second = desk.venue.posts
    assert first.client_order_id != second.client_order_id
    recorded = await SqlOrderReader(desk.store._engine).events(desk.account, order.order_id)
    decision = next(fact.event for fact in recorded if fact.event.event_type is OrderEventType.NEVER_PLACED)
    assert decision.requested_by == "jo" and decision.reason is not None
    assert decision.reason.code == "DECIDED_BY_PERSON"
    assert {"client_order_id", "signed_at", "asked_at", "venue_said"} <= decision.reason.numbers.keys()


async def test_order_that_the_venue_shows_is_adopted_whatever_was_decided(desk: Desk) -> None:
    handle = await in_doubt(desk, scripts.reply_is_lost)
    telling = scripts.ScriptedExchange()
    telling.orders = desk.venue.orders  # shown to the decision alone, so that the order's own look does not come first
    activities = ResolveActivities(desk.store, exchanges={desk.account: telling}, clock=desk.clock)
    order_id = (await state(handle)).order_id
    decision = Decision(never_placed=True, because="support says so", requested_by="jo")
    call = ResolveCall(account=desk.account, order_id=order_id, decision=decision)
    found = await ActivityEnvironment().run(activities.resolve, call)
    assert found.order.status is OrderStatus.ACCEPTED
    assert found.ending is Ending.FOUND and "adopted instead" in found.told
    again = await ActivityEnvironment().run(activities.resolve, call)
    assert again.ending is Ending.KNOWN_BEFORE and again.order.seq == found.order.seq


async def test_decision_before_the_time_fence_is_refused_with_its_end(desk: Desk) -> None:
    handle = await in_doubt(desk)
    desk.venue.fence_s = 3600
    refusal = await refused(handle, never_placed=True)
    assert refusal.type == "DECISION_CONTRADICTED" and numbers(refusal)["time_fence_s"] == "3600"
    assert len(desk.venue.posts) == 1


async def test_order_that_is_not_in_doubt_takes_no_decision(desk: Desk) -> None:
    _, handle = await desk.place()
    refusal = await refused(handle, never_placed=True)
    assert refusal.type == "ORDER_NOT_IN_DOUBT"
    assert refusal.details[0]["status"] == "ACCEPTED"


@pytest.mark.parametrize("decision", [{"placed": "1", "never_placed": True}, {}, {"never_placed": True, "because": ""}])
async def test_decision_that_is_none_is_refused_and_the_order_goes_on(desk: Desk, decision: dict[str, Any]) -> None:
    handle = await in_doubt(desk)
    raw = {"because": "x", "requested_by": "jo", **decision}
    with pytest.raises(WorkflowUpdateFailedError):
        await asyncio.wait_for(handle.execute_update("resolve", raw), 10)
    assert (await state(handle)).status is OrderStatus.IN_DOUBT


# What follows.


async def test_order_that_shall_be_given_up_ends_rejected_and_nothing_more_is_sent(desk: Desk) -> None:
    handle = await in_doubt(desk, on_never_placed=OnNeverPlaced.GIVE_UP)
    answer = await resolve(handle, never_placed=True)
    assert answer.view.order is not None and answer.view.order.status is OrderStatus.REJECTED
    result = await desk.result(handle)
    assert result.order.reason is not None and result.order.reason.code == "DECIDED_BY_PERSON"
    assert len(desk.venue.posts) == 1
    assert OrderEventType.NEVER_PLACED in await facts(desk, result.order.order_id)


async def test_proof_ends_an_order_that_shall_be_given_up_with_its_code(desk: Desk) -> None:
    desk.venue.on_submit = scripts.order_is_lost
    _, handle = await desk.place(on_never_placed=OnNeverPlaced.GIVE_UP)
    desk.clock.ahead = timedelta(seconds=17)
    result = await desk.result(handle)
    assert result.order.status is OrderStatus.REJECTED and len(desk.venue.posts) == 1
    assert result.order.reason is not None and result.order.reason.code == "NEVER_PLACED"
    reservation = await _reserved(desk, result.order.order_id)
    assert reservation is not None and reservation.amount == 0


async def _reserved(desk: Desk, order_id: str) -> Reservation | None:
    return await in_transaction(
        desk.store._engine, lambda connection: holdings.reserved(connection, desk.account, order_id)
    )


async def test_market_order_whose_price_ran_away_is_not_sent_anew(desk: Desk) -> None:
    handle = await in_doubt(desk, order_type=OrderType.MARKET, price=None)
    desk.venue.ask = Decimal(102)  # 2 % above; 1 % is reserved for that
    answer = await resolve(handle, never_placed=True)
    order = answer.view.order
    assert order is not None and order.status is OrderStatus.REJECTED and order.reason is not None
    assert order.reason.code == "RESERVATION_EXCEEDED"
    assert order.reason.numbers == {"needed": "10.2", "reserved": "10.1", "price": "102"}
    assert len(desk.venue.posts) == 1


async def test_market_order_within_its_reservation_is_sent_anew(desk: Desk) -> None:
    handle = await in_doubt(desk, order_type=OrderType.MARKET, price=None)
    desk.venue.ask, desk.venue.on_submit = Decimal("100.5"), scripts.fills_at_once
    answer = await resolve(handle, never_placed=True)
    assert answer.view.order is not None and answer.view.order.status is OrderStatus.FILLED
    assert len(desk.venue.posts) == 2


async def test_order_that_no_longer_fits_the_venues_rules_is_not_sent_anew(desk: Desk) -> None:
    handle = await in_doubt(desk)
    desk.venue.instrument = desk.venue.instrument.model_copy(update={"min_notional": Decimal(50)})
    answer = await resolve(handle, never_placed=True)
    order = answer.view.order
    assert order is not None and order.status is OrderStatus.REJECTED and order.reason is not None
    assert order.reason.numbers == {"notional": "10", "min_notional": "50"}
    assert len(desk.venue.posts) == 1


async def test_order_whose_deadline_passed_in_doubt_expires_and_is_not_sent_anew(desk: Desk) -> None:
    deadline = await desk.server_time() + timedelta(seconds=4)
    handle = await in_doubt(desk, expires_at=deadline)
    async with asyncio.timeout(20):
        while await desk.server_time() < deadline:
            await asyncio.sleep(0.1)
    await desk.is_at_rest(handle)
    answer = await resolve(handle, never_placed=True)
    assert answer.view.order is not None and answer.view.order.status is OrderStatus.EXPIRED
    assert len(desk.venue.posts) == 1


# Meanwhile.


async def test_doubt_shows_since_when_and_what_the_last_look_found(desk: Desk) -> None:
    handle = await in_doubt(desk)
    order = await desk.until(handle, lambda order: order.doubt is not None and order.doubt.last_looked_at is not None)
    assert order.doubt is not None and order.doubt.last_looked_at is not None
    assert order.doubt.since <= order.doubt.last_looked_at and order.doubt.fence_ends_at is None
    stored = await desk.store.order(desk.account, order.order_id)
    assert stored.doubt == order.doubt
    await resolve(handle, never_placed=True)
    assert (await state(handle)).doubt is None


async def test_doubt_with_a_time_fence_shows_its_end(desk: Desk) -> None:
    desk.venue.on_submit = scripts.order_is_lost
    _, handle = await desk.place()
    order = await desk.until(handle, lambda order: order.doubt is not None and order.doubt.last_looked_at is not None)
    assert order.doubt is not None
    assert order.doubt.fence_ends_at == desk.venue.posts[0].signed_at + timedelta(seconds=16)


async def test_cancel_in_doubt_is_answered_kept_on_record_and_carried_out_when_the_order_is_found(desk: Desk) -> None:
    handle = await in_doubt(desk, scripts.reply_is_lost)
    view = await handle.execute_update(OrderWorkflow.request_cancel, CancelOrder(requested_by="me"))
    assert view.order is not None
    assert (view.order.status, view.order.cancel_requested) == (OrderStatus.IN_DOUBT, True)
    stored = await desk.store.order(desk.account, view.order_id)
    assert stored.cancel_requested and desk.venue.cancels == []
    desk.venue.fill(view.order_id, "0.03")
    answer = await resolve(handle, placed="1")
    assert answer.view.order is not None
    result = await desk.result(handle)
    assert (result.order.status, result.order.cum_qty) == (OrderStatus.CANCELED, Decimal("0.03"))
    assert desk.venue.orders[view.order_id].status is VenueOrderStatus.CANCELED


async def test_cancel_in_doubt_of_an_order_that_was_never_placed_ends_it_without_sending(desk: Desk) -> None:
    handle = await in_doubt(desk)
    await handle.execute_update(OrderWorkflow.request_cancel, CancelOrder())
    answer = await resolve(handle, never_placed=True)
    assert answer.view.order is not None and answer.view.order.status is OrderStatus.CANCELED
    assert len(desk.venue.posts) == 1 and desk.venue.cancels == []


async def test_cancel_in_doubt_of_an_order_that_has_filled_ends_filled(desk: Desk) -> None:
    handle = await in_doubt(desk, scripts.reply_is_lost)
    await handle.execute_update(OrderWorkflow.request_cancel, CancelOrder())
    desk.venue.fill(desk.venue.posts[0].client_order_id, "0.1")
    desk.venue.hides_orders = False
    result = await desk.result(handle)
    assert (result.order.status, desk.venue.cancels) == (OrderStatus.FILLED, [])


async def test_amendment_in_doubt_is_refused_in_clear_words(desk: Desk) -> None:
    handle = await in_doubt(desk)
    with pytest.raises(WorkflowUpdateFailedError) as refusal:
        await handle.execute_update(OrderWorkflow.amend, AmendOrder(quantity=Decimal("0.2")))
    assert isinstance(refusal.value.cause, ApplicationError)
    assert refusal.value.cause.type == "ORDER_NOT_AMENDABLE"
    assert "whether the venue has it is not known" in refusal.value.cause.message


async def test_second_amendment_while_one_runs_is_refused_and_one_order_works(desk: Desk) -> None:
    placed, handle = await desk.place()
    desk.venue.ignores_cancels = 1
    first = asyncio.create_task(handle.execute_update(OrderWorkflow.amend, AmendOrder(price=Decimal(101))))
    await desk.until(handle, lambda order: order.amend_price is not None or order.attempt == 2)
    second = handle.execute_update(OrderWorkflow.amend, AmendOrder(price=Decimal(102)))
    outcomes = await asyncio.gather(first, second, return_exceptions=True)
    assert not isinstance(outcomes[0], BaseException)
    open_ones = [r for r in desk.venue.orders.values() if r.status is VenueOrderStatus.OPEN]
    assert len(open_ones) == 1
    assert desk.venue.orders[placed.order_id].status is VenueOrderStatus.CANCELED


async def test_fill_that_meets_the_amendments_cancel_lessens_what_is_replaced(desk: Desk) -> None:
    placed, handle = await desk.place()
    desk.venue.before_cancel = lambda: desk.venue.fill(placed.order_id, "0.03")
    view = await handle.execute_update(OrderWorkflow.amend, AmendOrder(price=Decimal(101)))
    assert view.order is not None and view.order.attempt == 2
    first, second = desk.venue.posts
    assert first.quantity == Decimal("0.1") and second.quantity == Decimal("0.07")


async def test_fill_that_completes_the_order_before_the_amendments_cancel_replaces_nothing(desk: Desk) -> None:
    placed, handle = await desk.place()
    desk.venue.before_cancel = lambda: desk.venue.fill(placed.order_id, "0.1")
    view = await handle.execute_update(OrderWorkflow.amend, AmendOrder(price=Decimal(101)))
    assert view.order is not None and view.order.status is OrderStatus.FILLED
    assert len(desk.venue.posts) == 1
