"""One order, from ticket to result. `_live` is the table of contents of its life; the steps follow in its order."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import SearchAttributeUpdate
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from domain import approvals
    from domain.errors import NotAmendable, VenueUnavailable
    from domain.events import Reason
    from domain.instrument import deny
    from domain.lifecycle import OrderEventType, OrderStatus
    from domain.order import OnNeverPlaced, Order, OrderType
    from domain.rate_budget import TURN_AWAITED
    from domain.reconciliation import DEADLINE_REACHED
    from domain.risk import Answer, Validated
    from workflows import policies, search_attributes, steps
    from workflows.messages import (
        ORDER_WORKFLOW,
        AmendOrder,
        CancelOrder,
        OrderInput,
        OrderResult,
        Stage,
    )
    from workflows.order_display import details, waits_for_trigger
    from workflows.order_requests import OrderRequests

RECHECKED = "revalidate-before-resubmit"
CANCEL_ON_RECORD = "record-cancel-in-doubt"
PATIENT = "risk-patience-of-a-minute"
ADOPTED_ANEW = "look-when-adopted"
MARKET_LOOKED_AT_AGAIN = "revalidate-while-risk-unavailable"
"""Patches: orders that were under way before them go on as they began."""


@workflow.defn(name=ORDER_WORKFLOW)
class OrderWorkflow(OrderRequests):
    """The durable life of one order: validate, risk-check, submit, poll-fill, persist."""

    @workflow.init
    def __init__(self, start: OrderInput) -> None:
        super().__init__(start)
        self._pause: timedelta | None = None
        self._turn_in: timedelta | None = None
        self._turn_awaited_since: datetime | None = None
        self._sent_at: datetime | None = None
        self._is_adopted = start.adopt is not None
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
            waits = self._order.status is OrderStatus.HELD or self._order.waits_for_trigger
            if not self._order.is_final and not waits:
                await self._submit(self._order)
        elif self._order.status is not OrderStatus.HELD and workflow.patched(ADOPTED_ANEW):
            # Who adopted it may have read the ledger a moment before the order moved on.
            self._learn(await steps.look_up(self._order, why="taken over"))
        order = await self._work()
        return await self._persist(order)

    async def _validate(self) -> Validated | Reason:
        """Fit the ticket to the venue's rules. Without an answer in time the order is denied: nothing was sent."""
        try:
            return await steps.validate(self._request)
        except ActivityError as error:
            return _no_rules(error)

    async def _risk_check(self, validated: Validated | Reason) -> Order:
        """Decide and record. UNAVAILABLE is asked again for a while, then the order is denied: nothing was sent."""
        self._stage = Stage.RISK_CHECK
        if isinstance(validated, Reason):
            return await steps.deny(self._request, validated)
        asked_at = looked_at = workflow.now()
        while (admission := await steps.risk_check(self._request, validated)).answer is Answer.UNAVAILABLE:
            reason = admission.reason or deny("RISK_UNAVAILABLE", "the risk gate has no answer")
            patience = policies.RISK_PATIENCE if workflow.patched(PATIENT) else policies.RISK_PATIENCE_BEFORE
            if workflow.now() >= asked_at + patience or self._cancel is not None:
                return await steps.deny(self._request, reason)
            await workflow.sleep(policies.RISK_RETRY, summary=f"risk_check again: {reason.code}")
            if workflow.patched(MARKET_LOOKED_AT_AGAIN) and workflow.now() >= looked_at + policies.MARKET_STANDS:
                # What the market said before is getting old; without a newer word the gate judges by its age.
                looked_at, anew = workflow.now(), await self._validate()
                validated = anew if isinstance(anew, Validated) else validated
        return admission.order

    async def _hold(self, order: Order) -> None:
        """Wait for a person's word, a cancel, the order's deadline or the approval's expiry, whichever comes first."""
        self._stage = Stage.RISK_CHECK
        asked = await steps.ask_approval(order)
        order, approval = self._learn(asked.order), asked.approval
        if order.status is not OrderStatus.HELD or approval is None:
            return
        until = min(filter(None, (approval.expires_at, order.ticket.expires_at)))
        words = f"held: waiting for approval of {order.ticket.summary()}, expires at {until.astimezone(UTC):%F %T}Z"
        self._show(f"{words}: `{approvals.command(order)}`")
        try:
            await workflow.wait_condition(
                lambda: self._known().status is not OrderStatus.HELD or self._cancel is not None,
                timeout=max(until - workflow.now(), timedelta(0)),
                timeout_summary="approval: expires",
            )
        except TimeoutError:
            pass
        await workflow.wait_condition(lambda: not self._deciding.locked())  # a word that came in time is heard first
        if self._known().status is OrderStatus.HELD:
            event_type, reason = self._why_not_wait(approval)
            self._learn(await steps.end_held(order, event_type=event_type, reason=reason))

    def _why_not_wait(self, approval: approvals.Approval) -> tuple[OrderEventType, Reason]:
        if self._cancel is not None:
            return OrderEventType.CANCELED, self._cancel
        if self._deadline_passed():
            return OrderEventType.EXPIRED, deny(DEADLINE_REACHED, "the order's deadline passed while it was held")
        expires_at = approval.expires_at.isoformat()
        text = f"nobody approved the order before {expires_at}"
        return OrderEventType.EXPIRED, deny(approvals.EXPIRED, text, expires_at=expires_at)

    async def _submit(self, order: Order, *, denial: Reason | None = None) -> None:
        """Send the next attempt once; if nothing may be sent any more, end the order."""
        self._stage = Stage.SUBMIT
        ending = self._why_not_submit(order)
        if ending is None and denial is not None:
            ending = (_given_up(order), denial)
        if ending is None:
            sent = await steps.submit(order)
            self._learn(sent)
            self._turn_in = _turn_in(sent)
            if self._turn_in is None:
                self._turn_awaited_since, self._sent_at = None, workflow.now()
        else:
            event_type, reason = ending
            self._learn(await steps.end_unsent(order, event_type=event_type, reason=reason))

    def _why_not_submit(self, order: Order) -> tuple[OrderEventType, Reason] | None:
        if self._cancel is not None or order.cancel_requested:
            reason = self._cancel or order.reason or deny("CANCEL_REQUESTED", "asked for")
            return OrderEventType.CANCELED, reason
        if self._deadline_passed():
            return OrderEventType.EXPIRED, deny(DEADLINE_REACHED, "the order's deadline passed before it was sent")
        in_vain = order.attempt if order.sent_in_vain is None else order.sent_in_vain
        if in_vain >= policies.SUBMIT_ATTEMPTS_MAX:
            reason = order.reason or deny("ATTEMPTS_USED_UP", "no attempt reached the venue")
            return _given_up(order), reason
        return None

    async def _work(self) -> Order:
        """Follow the order until it has ended, whatever the venue, the callers and the clock bring."""
        while not (order := self._known()).is_final:
            self._stage = Stage.POLL_FILL
            if order.status is OrderStatus.HELD:
                await self._hold(order)
            elif order.waits_for_trigger and self._why_not_submit(order) is None:
                await self._wait_for_trigger(order)
            elif order.status is OrderStatus.INITIALIZED:
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

    async def _wait_for_trigger(self, order: Order) -> None:
        """Wait for the price of a stop that we hold: the account's feed watches it, and tells. No step, no history."""
        await self._wait_at_rest(order, policies.SELF_CHECK, "trigger: wait for the price", waits_for_trigger(order))

    async def _submit_again(self, order: Order) -> None:
        """Nothing of ours is at the venue: after a replaced attempt at once, otherwise after a growing pause."""
        checked = order.never_placed and workflow.patched(RECHECKED)
        if checked:
            self._pause = None  # those of the doubt are over with it
            gives_up = order.ticket.on_never_placed is OnNeverPlaced.GIVE_UP
            if gives_up or self._why_not_submit(order) is not None:
                await self._submit(order, denial=order.reason)
                return
        if self._turn_in is not None:
            await self._await_turn(order, self._turn_in)
        elif order.attempt and order.reason is not None:
            pause = self._grow_pause(policies.SUBMIT_PAUSE_FIRST, policies.SUBMIT_PAUSE_MAX)
            asked_for = timedelta(seconds=int(order.reason.numbers.get("retry_after_s", "0")))
            pause = max(pause, min(asked_for, policies.RATE_LIMIT_PAUSE_MAX))
            await self._wait_for_change(order, pause, "submit: again after a pause")
        order = self._known()
        if order.is_final:
            return  # given up while it waited for its turn
        denial = None
        if checked and order.never_placed and self._why_not_submit(order) is None:
            denial = await self._why_not_anew(order)
        await self._submit(order, denial=denial)

    async def _await_turn(self, order: Order, turn_in: timedelta) -> None:
        """Wait with nothing journaled; a cancel or the deadline ends it at once. After too long it is given up."""
        self._turn_in = None
        since = self._turn_awaited_since = self._turn_awaited_since or workflow.now()
        if workflow.now() - since >= policies.TURN_PATIENCE:
            reason = deny(TURN_AWAITED, "the venue took no order for too long; nothing was sent")
            await self._submit(order, denial=reason)
            return
        self._tell(f"waiting for its turn at the venue, in about {turn_in.total_seconds():g} s")
        await self._wait_for_change(order, turn_in, "submit: waits for its turn at the venue")

    async def _why_not_anew(self, order: Order) -> Reason | None:
        """Check what is left of the order once more, at today's price: time has passed while it was in doubt."""
        left: dict[str, object] = {"quantity": order.leaves_qty, "quote_amount": None, "price": order.price}
        if order.triggered is not None:
            left |= {"order_type": order.sent_as, "trigger_price": None}
        request = self._request.model_copy(update={"ticket": self._request.ticket.model_copy(update=left)})
        try:
            validated = await steps.validate(request)
        except ActivityError as error:
            return _no_rules(error)
        return await steps.risk_check_again(request, validated)

    async def _resolve(self, order: Order) -> None:
        """Look for an order whose outcome is not known, until it is found, proven never placed, or decided."""
        self._show("looking for the order at the venue: its outcome is not known")
        wish = self._cancel if order.status is OrderStatus.IN_DOUBT and not order.cancel_requested else None
        if wish is not None and workflow.patched(CANCEL_ON_RECORD):
            order = self._learn(await steps.cancel(order, reason=wish))
        else:
            order = self._learn(await steps.look_up(order, why="outcome unknown"))
        if order.status is OrderStatus.IN_DOUBT:
            pause = self._grow_pause(policies.DOUBT_PAUSE_FIRST, policies.DOUBT_PAUSE_MAX)
            self._tell(f"the venue does not show the order; it is asked again in {pause.total_seconds():g} s")
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
            self._amend_refusal = _not_amended(error)
        finally:
            self._amend = None

    async def _poll_fill(self, order: Order) -> None:
        """Wait for the feed's report, a request or the clock. Nothing is polled here: the account's feed tells."""
        self._pause = None
        over_at_once = order.sent_as is OrderType.MARKET or not order.ticket.time_in_force.rests
        until = policies.SELF_CHECK_SOON if over_at_once else policies.SELF_CHECK
        await self._wait_at_rest(order, until, "poll_fill: wait for fills", "waiting for fills")

    async def _wait_at_rest(self, order: Order, until: timedelta, summary: str, words: str) -> None:
        """Wait until something is told, asked for or due; then look at the order if nothing was."""
        if order.ticket.expires_at is not None:
            until = max(min(until, order.ticket.expires_at - workflow.now()), timedelta(0))
        self._show(f"{words}; looks for itself in {until}")
        seq = order.seq
        if workflow.info().is_continue_as_new_suggested():
            self._renewing = True  # callers that wait are answered with the state as it is
            await workflow.wait_condition(workflow.all_handlers_finished)
            wishes = {"cancel": self._cancel, "amend": self._amend}
            workflow.continue_as_new(OrderInput(request=self._request, adopt=self._known(), **wishes))
        changed = await self._wait_for_change(order, until, summary)
        if not changed and not self._deadline_passed() and self._known().seq == seq:
            self._learn(await steps.look_up(order, why="self-check"))

    async def _persist(self, order: Order) -> Order:
        """Write the final facts once, and say so."""
        self._stage = Stage.PERSIST
        self._show("writing the final facts")
        started_at = workflow.info().start_time if not self._is_adopted else None
        self._order = await steps.persist(order, sent_at=self._sent_at, started_at=started_at)
        self._stage = Stage.DONE
        self._show("nothing: the order has ended")
        return self._order

    # Small pieces of the above.

    def _cancel_is_due(self, order: Order) -> bool:
        return self._cancel is not None or order.cancel_requested or self._deadline_passed()

    def _deadline_passed(self) -> bool:
        expires_at = self._request.ticket.expires_at
        return expires_at is not None and workflow.now() >= expires_at

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

    def _tell(self, waiting_for: str) -> None:
        """Write the details page; no fact and no command."""
        workflow.set_current_details(details(self._known(), stage=self._stage, waiting_for=waiting_for))

    def _show(self, waiting_for: str) -> None:
        """Show the order to people: the details page, and the search attributes where they changed."""
        self._tell(waiting_for)
        order = self._known()
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


def _turn_in(sent: Order) -> timedelta | None:
    """Return how long an order waits that was not its turn; `None` for one that was tried."""
    if sent.reason is None or sent.reason.code != TURN_AWAITED:
        return None
    return min(timedelta(seconds=int(sent.reason.numbers["retry_after_s"])), policies.RATE_LIMIT_PAUSE_MAX)


def _given_up(order: Order) -> OrderEventType:
    """What the venue took was not rejected: of an order that was replaced, only the rest is given up."""
    was_taken = order.sent_in_vain is not None and order.sent_in_vain < order.attempt
    return OrderEventType.CANCELED if order.cum_qty > 0 or was_taken else OrderEventType.REJECTED


def _no_rules(failure: ActivityError) -> Reason:
    text = f"the venue's rules could not be read in time: {failure.cause or failure}"
    return Reason(code=VenueUnavailable.code, text=text[:300])


def _not_amended(failure: ActivityError) -> ApplicationError:
    """Say why an amendment came to nothing. Whatever it was, the order rests as it is, and lives on."""
    if isinstance(failure.cause, ApplicationError):
        return failure.cause
    # Only the reading of the venue's rules has an end to its patience, in which a dead worker leaves no word.
    return ApplicationError(_no_rules(failure).text, type=VenueUnavailable.code, non_retryable=True)


def _refusal(validated: Validated) -> ApplicationError:
    reason = validated.denial or deny(NotAmendable.code, "the venue's rules do not allow these figures")
    details = {"code": reason.code, "numbers": reason.numbers, "what_to_do": f"Correct the figures: {reason.text}."}
    return ApplicationError(str(reason), details, type=NotAmendable.code, non_retryable=True)
