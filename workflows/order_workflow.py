"""One order, from ticket to result. `_live` is the table of contents of its life; the steps follow in its order."""

import asyncio
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import SearchAttributeUpdate
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from domain.errors import IdempotencyConflict, NotAmendable, OrderClosed, VenueUnavailable
    from domain.events import Reason
    from domain.identifiers import order_workflow_id
    from domain.instrument import deny
    from domain.lifecycle import AMENDABLE, OrderEventType, OrderStatus
    from domain.order import Order, OrderType, TimeInForce
    from domain.reconciliation import DEADLINE_REACHED
    from domain.risk import Answer, Validated
    from workflows import policies, search_attributes, steps
    from workflows.messages import (
        ORDER_WORKFLOW,
        AmendOrder,
        CancelOrder,
        Notice,
        OrderInput,
        OrderResult,
        OrderView,
        PlaceOrder,
        Stage,
    )
    from workflows.order_display import details

_UNANSWERED = (OrderStatus.INITIALIZED, OrderStatus.SUBMITTED)


@workflow.defn(name=ORDER_WORKFLOW)
class OrderWorkflow:
    """The durable life of one order: validate, risk-check, submit, poll-fill, persist."""

    @workflow.init
    def __init__(self, start: OrderInput) -> None:
        self._request = start.request
        self._order: Order | None = start.adopt
        self._stage = Stage.POLL_FILL if start.adopt else Stage.VALIDATE
        self._cancel: Reason | None = None
        self._amend: AmendOrder | None = None
        self._amend_refusal: ApplicationError | None = None
        self._pause: timedelta | None = None
        self._shown: tuple[OrderStatus, str | None, bool] | None = None

    # The frame: platform concerns, apart from the order's life.

    @workflow.run
    async def run(self, start: OrderInput) -> OrderResult:
        """Carry the order through. *Request Cancellation* in the Web UI cancels it at the venue too."""
        life = asyncio.create_task(self._live())
        while not life.done():
            try:
                await asyncio.shield(life)
            except asyncio.CancelledError:
                self._want_cancel(CancelOrder(requested_by="temporal", because="workflow cancellation requested"))
        order = life.result()
        await workflow.wait_condition(workflow.all_handlers_finished)
        return OrderResult(order=order)

    # The life.

    async def _live(self) -> Order:
        if self._order is None:
            validated = await self._validate()
            self._order = await self._risk_check(validated)
            if not self._order.is_final:
                await self._submit(self._order)
        order = await self._work()
        return await self._persist(order)

    async def _validate(self) -> Validated | Reason:
        """Fit the ticket to the venue's rules. Without an answer in time the order is denied: nothing was sent."""
        try:
            return await steps.validate(self._request)
        except ActivityError as error:
            text = f"the venue's rules could not be read in time: {error.cause or error}"
            return Reason(code=VenueUnavailable.code, text=text[:300])

    async def _risk_check(self, validated: Validated | Reason) -> Order:
        """Decide and record. UNAVAILABLE is asked again for a while, then the order is denied: nothing was sent."""
        self._stage = Stage.RISK_CHECK
        if isinstance(validated, Reason):
            return await steps.deny(self._request, validated)
        give_up_at = workflow.now() + policies.RISK_PATIENCE
        while (admission := await steps.risk_check(self._request, validated)).answer is Answer.UNAVAILABLE:
            reason = admission.reason or deny("RISK_UNAVAILABLE", "the risk gate has no answer")
            if workflow.now() >= give_up_at or self._cancel is not None:
                return await steps.deny(self._request, reason)
            await workflow.sleep(policies.RISK_RETRY, summary=f"risk_check again: {reason.code}")
        return admission.order

    async def _submit(self, order: Order) -> None:
        """Send the next attempt once; if nothing may be sent any more, end the order."""
        self._stage = Stage.SUBMIT
        ending = self._why_not_submit(order)
        if ending is None:
            self._learn(await steps.submit(order))
        else:
            event_type, reason = ending
            self._learn(await steps.end_unsent(order, event_type=event_type, reason=reason))

    def _why_not_submit(self, order: Order) -> tuple[OrderEventType, Reason] | None:
        if self._cancel is not None or order.cancel_requested:
            reason = self._cancel or order.reason or deny("CANCEL_REQUESTED", "asked for")
            return OrderEventType.CANCELED, reason
        if self._deadline_passed():
            return OrderEventType.EXPIRED, deny(DEADLINE_REACHED, "the order's deadline passed before it was sent")
        if order.attempt >= policies.SUBMIT_ATTEMPTS_MAX:
            reason = order.reason or deny("ATTEMPTS_USED_UP", "no attempt reached the venue")
            return OrderEventType.REJECTED, reason
        return None

    async def _work(self) -> Order:
        """Follow the order until it has ended, whatever the venue, the callers and the clock bring."""
        while not (order := self._known()).is_final:
            self._stage = Stage.POLL_FILL
            if order.status is OrderStatus.INITIALIZED:
                await self._submit_again(order)
            elif order.status in (OrderStatus.IN_DOUBT, OrderStatus.SUBMITTED):
                await self._resolve(order)
            elif order.status is OrderStatus.PENDING_CANCEL or self._cancel_is_due(order):
                await self._cancel_at_venue(order)
            elif self._amend is not None:
                await self._begin_amendment(order, self._amend)
            else:
                await self._poll_fill(order)
        return order

    async def _submit_again(self, order: Order) -> None:
        """Nothing of ours is at the venue: after a replaced attempt at once, otherwise after a growing pause."""
        if order.attempt and order.reason is not None:
            pause = self._grow_pause(policies.SUBMIT_PAUSE_FIRST, policies.SUBMIT_PAUSE_MAX)
            asked_for = timedelta(seconds=int(order.reason.numbers.get("retry_after_s", "0")))
            pause = max(pause, min(asked_for, policies.RATE_LIMIT_PAUSE_MAX))
            await self._wait_for_change(order, pause, "submit: again after a pause")
        await self._submit(self._known())

    async def _resolve(self, order: Order) -> None:
        """Look for an order whose outcome is not known, until it is found or proven never placed."""
        self._show("looking for the order at the venue: its outcome is not known")
        order = self._learn(await steps.look_up(order, why="outcome unknown"))
        if order.status is OrderStatus.IN_DOUBT:
            pause = self._grow_pause(policies.DOUBT_PAUSE_FIRST, policies.DOUBT_PAUSE_MAX)
            await self._wait_for_change(order, pause, "look_up: in doubt, look again")

    async def _cancel_at_venue(self, order: Order) -> None:
        """Cancel and look, again and again, until the venue's word is final. A refused cancel says nothing."""
        reason = self._cancel or (order.reason if order.cancel_requested else None)
        if reason is None and self._deadline_passed():
            reason = deny(DEADLINE_REACHED, "the order's own deadline has passed")
        order = self._learn(await steps.cancel(order, reason=reason))
        if order.status is OrderStatus.PENDING_CANCEL:
            self._show("waiting for the venue's final word on the cancel")
            pause = self._grow_pause(policies.CANCEL_PAUSE_FIRST, policies.CANCEL_PAUSE_MAX)
            await self._wait_for_change(order, pause, "cancel: look again")

    async def _begin_amendment(self, order: Order, amend: AmendOrder) -> None:
        """Record new figures; the old attempt is then canceled, and the next one sent with what is left."""
        price = order.price
        assert price is not None, "only a limit order is amended"
        try:
            figures = {"quantity": amend.quantity or order.quantity, "price": amend.price or price}
            ticket = self._request.ticket.model_copy(update=figures)
            validated = await steps.validate(self._request.model_copy(update={"ticket": ticket}))
            if validated.normal is None or validated.normal.price is None:
                self._amend_refusal = _refusal(validated)
                return
            changed = await steps.request_amend(
                order,
                quantity=validated.normal.quantity,
                price=validated.normal.price,
                requested_by=amend.requested_by,
            )
            self._learn(changed)
        except ActivityError as error:
            cause = error.cause
            if not isinstance(cause, ApplicationError):
                raise
            self._amend_refusal = cause
        finally:
            self._amend = None

    async def _poll_fill(self, order: Order) -> None:
        """Wait for the feed's report, a request or the clock. Nothing is polled here: the account's feed tells."""
        self._pause = None
        over_at_once = order.ticket.order_type is OrderType.MARKET or order.ticket.time_in_force is not TimeInForce.GTC
        until = policies.SELF_CHECK_SOON if over_at_once else policies.SELF_CHECK
        if order.ticket.expires_at is not None:
            until = max(min(until, order.ticket.expires_at - workflow.now()), timedelta(0))
        self._show(f"waiting for fills; looks for itself in {until}")
        seq = order.seq
        if workflow.info().is_continue_as_new_suggested():
            await workflow.wait_condition(workflow.all_handlers_finished)
            workflow.continue_as_new(OrderInput(request=self._request, adopt=self._known()))
        changed = await self._wait_for_change(order, until, "poll_fill: wait for fills")
        if not changed and not self._deadline_passed() and self._known().seq == seq:
            self._learn(await steps.look_up(order, why="self-check"))

    async def _persist(self, order: Order) -> Order:
        """Write the final facts once, and say so."""
        self._stage = Stage.PERSIST
        self._show("writing the final facts")
        self._order = await steps.persist(order)
        self._stage = Stage.DONE
        self._show("nothing: the order has ended")
        return self._order

    # What callers may send and see.

    @workflow.update(name="place", description="Place the order; answers when the venue has answered")
    async def place(self, message: PlaceOrder) -> OrderView:
        """Answer when the venue has answered or, if asked, at the end."""
        if message.wait_final:
            await workflow.wait_condition(lambda: self._stage is Stage.DONE)
        else:
            await workflow.wait_condition(lambda: self._order is not None and self._order.status not in _UNANSWERED)
        return self._view()

    @place.validator
    def _check_place(self, message: PlaceOrder) -> None:
        if message.request.ticket.fingerprint() != self._request.ticket.fingerprint():
            raise ApplicationError(
                f"the key was used for order {self._request.order_id}, with another ticket",
                {"order_id": self._request.order_id},
                type=IdempotencyConflict.code,
                non_retryable=True,
            )

    @workflow.update(name="request_cancel", description="Cancel the order; answers with what came of it")
    async def request_cancel(self, message: CancelOrder) -> OrderView:
        """Cancel, and answer with the venue's final word or, if that takes long, with the state as it is."""
        self._want_cancel(message)
        try:
            await workflow.wait_condition(
                lambda: self._order is not None and self._order.is_final,
                timeout=policies.CANCEL_ANSWER_WITHIN,
                timeout_summary="cancel: answer the caller at the latest",
            )
        except TimeoutError:
            pass
        return self._view()

    @request_cancel.validator
    def _check_cancel(self, message: CancelOrder) -> None:
        self._refuse_if_closed()

    @workflow.update(name="amend", description="Change quantity or price of a resting limit order")
    async def amend(self, message: AmendOrder) -> OrderView:
        """Replace the order by one with the new figures, and answer with what came of it."""
        self._amend, self._amend_refusal = message, None
        try:
            await workflow.wait_condition(
                lambda: self._amend is None and (self._amend_refusal is not None or not self._replacing()),
                timeout=policies.CANCEL_ANSWER_WITHIN,
                timeout_summary="amend: answer the caller at the latest",
            )
        except TimeoutError:
            pass
        if self._amend_refusal is not None:
            refusal, self._amend_refusal = self._amend_refusal, None
            raise ApplicationError(refusal.message, *refusal.details, type=refusal.type, non_retryable=True)
        return self._view()

    @amend.validator
    def _check_amend(self, message: AmendOrder) -> None:
        self._refuse_if_closed()
        order = self._order
        resting = order is not None and order.status in AMENDABLE and order.ticket.order_type is OrderType.LIMIT
        if not resting or self._amend is not None:
            status = order.status if order is not None else "not recorded yet"
            raise ApplicationError(
                f"the order is {status}; only a resting limit order can be amended, one amendment at a time",
                type=NotAmendable.code,
                non_retryable=True,
            )

    @workflow.signal(name="cancel", description="Cancel the order, without an answer")
    def cancel(self, message: CancelOrder) -> None:
        """Do the same as `request_cancel`, without an answer."""
        self._want_cancel(message)

    @workflow.signal(name="report", description="What the account's feed learned about this order")
    def report(self, notice: Notice) -> None:
        """Take over cumulative truth; what is older than what is known is ignored."""
        self._learn(notice.order)

    @workflow.query(name="view", description="The order as it stands")
    def view(self) -> OrderView:
        """Return the order as it stands."""
        return self._view()

    # Small pieces of the above.

    def _view(self) -> OrderView:
        request = self._request
        return OrderView(
            order_id=request.order_id,
            account=request.account,
            workflow_id=order_workflow_id(request.account, request.order_id),
            stage=self._stage,
            order=self._order,
        )

    def _known(self) -> Order:
        assert self._order is not None, "an order is worked only after it is recorded"
        return self._order

    def _learn(self, order: Order) -> Order:
        if self._order is None or order.seq > self._order.seq:
            self._order = order
        return self._order

    def _want_cancel(self, message: CancelOrder) -> None:
        if self._cancel is None:
            text = f"{message.because} ({message.requested_by})"
            self._cancel = Reason(code="CANCEL_REQUESTED", text=text[:300])

    def _cancel_is_due(self, order: Order) -> bool:
        return self._cancel is not None or order.cancel_requested or self._deadline_passed()

    def _deadline_passed(self) -> bool:
        expires_at = self._request.ticket.expires_at
        return expires_at is not None and workflow.now() >= expires_at

    def _replacing(self) -> bool:
        order = self._known()
        return not order.is_final and (order.amend_quantity is not None or order.status in _UNANSWERED)

    def _refuse_if_closed(self) -> None:
        if self._order is not None and self._order.is_final:
            raise ApplicationError(
                f"the order is {self._order.status}: nothing is left to change",
                {"order_id": self._order.order_id, "status": self._order.status},
                type=OrderClosed.code,
                non_retryable=True,
            )

    def _grow_pause(self, first: timedelta, longest: timedelta) -> timedelta:
        self._pause = first if self._pause is None else min(self._pause * 2, longest)
        return self._pause

    async def _wait_for_change(self, order: Order, timeout: timedelta, summary: str) -> bool:
        """Wait until the order is known further, or something was asked for; false when the time ran out."""
        asked = (self._cancel, self._amend)
        try:
            await workflow.wait_condition(
                lambda: self._known().seq > order.seq or (self._cancel, self._amend) != asked,
                timeout=timeout,
                timeout_summary=summary,
            )
        except TimeoutError:
            return False
        return True

    def _show(self, waiting_for: str) -> None:
        """Show the order to people: the details page, and the search attributes where they changed."""
        order = self._known()
        workflow.set_current_details(details(order, stage=self._stage, waiting_for=waiting_for))
        shown = (order.status, order.venue_order_id, order.needs_attention)
        if shown == self._shown:
            return
        self._shown = shown
        updates: list[SearchAttributeUpdate[Any]] = [
            search_attributes.ORDER_STATUS.value_set(order.status),
            search_attributes.EXCHANGE.value_set(order.exchange),
            search_attributes.NEEDS_ATTENTION.value_set(order.needs_attention),
        ]
        if order.venue_order_id is not None:
            updates.append(search_attributes.VENUE_ORDER_ID.value_set(order.venue_order_id))
        workflow.upsert_search_attributes(updates)


def _refusal(validated: Validated) -> ApplicationError:
    reason = validated.denial or deny(NotAmendable.code, "the venue's rules do not allow these figures")
    details = {"code": reason.code, "numbers": reason.numbers, "what_to_do": f"Correct the figures: {reason.text}."}
    return ApplicationError(str(reason), details, type=NotAmendable.code, non_retryable=True)
