"""What callers may send to an order and see of it: updates with their validators, signals and the query.

The order's life is in `order_workflow.py`; these handlers only leave it a word, and wait for what comes of it.
"""

import asyncio

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from domain.approvals import Decided, known_before, why_not_approved_by
    from domain.errors import (
        ExecutionError,
        FourEyes,
        IdempotencyConflict,
        NotAmendable,
        NotHeld,
        NotInDoubt,
        OrderClosed,
        TicketDiffers,
        VenueUnavailable,
    )
    from domain.events import Reason
    from domain.identifiers import order_workflow_id
    from domain.lifecycle import AMENDABLE, OrderStatus
    from domain.order import Order, OrderType
    from workflows import policies, steps
    from workflows.messages import (
        AmendOrder,
        ApprovalAnswer,
        CancelOrder,
        DecideHeld,
        Notice,
        OrderInput,
        OrderView,
        PlaceOrder,
        ResolveAnswer,
        ResolveOrder,
        Stage,
    )

UNANSWERED = (OrderStatus.INITIALIZED, OrderStatus.SUBMITTED)
"""Statuses in which the venue has not answered yet."""


class OrderRequests:
    """The order's state, and the handlers that people and programs reach it by."""

    def __init__(self, start: OrderInput) -> None:
        self._request = start.request
        self._order: Order | None = start.adopt
        self._stage = Stage.POLL_FILL if start.adopt else Stage.VALIDATE
        self._cancel: Reason | None = start.cancel
        self._amend: AmendOrder | None = start.amend
        self._renewing = False
        self._amend_refusal: ApplicationError | None = None
        self._deciding = asyncio.Lock()
        """Held while a person's word on a held order is carried out: one after the other."""

    @workflow.update(name="place", description="Place the order; answers when the venue has answered")
    async def place(self, message: PlaceOrder) -> OrderView:
        """Answer when the venue has answered or, if asked, at the end."""
        if message.wait_final:
            await workflow.wait_condition(lambda: self._stage is Stage.DONE or self._renewing)
        else:
            await workflow.wait_condition(lambda: self._order is not None and not _is_unanswered(self._order))
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
        """Cancel, and answer with the venue's final word or, if that takes long, with the state as it is.

        In doubt the wish is on record, and carried out once the order is known: that is the answer then.
        """
        self._want_cancel(message)
        try:
            await workflow.wait_condition(
                lambda: self._order is not None and (self._order.is_final or _waits_in_doubt(self._order)),
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
            text = f"the order is {status}; only a resting limit order can be amended, one amendment at a time"
            if order is not None and order.status is OrderStatus.IN_DOUBT:
                text = "the order is IN_DOUBT: whether the venue has it is not known, so there is nothing to amend yet"
            if order is not None and order.waits_for_trigger:
                text = "the order is a stop that we hold until its trigger; cancel it and place another"
            if order is not None and order.status is OrderStatus.HELD:
                text = "the order is HELD for approval of exactly this ticket; cancel it and place another"
            raise ApplicationError(
                text,
                type=NotAmendable.code,
                non_retryable=True,
            )

    @workflow.update(name="resolve", description="Decide on an order in doubt: which order it is, or never placed")
    async def resolve(self, message: ResolveOrder) -> ResolveAnswer:
        """Compare a person's decision with the venue, record it, and answer with what came of it."""
        try:
            resolution = await steps.resolve(self._known(), message)
        except ActivityError as error:
            raise _undecided(error) from error
        self._learn(resolution.order)
        try:
            await workflow.wait_condition(
                lambda: not _is_unanswered(self._known()),
                timeout=policies.RESOLVE_ANSWER_WITHIN,
                timeout_summary="resolve: answer the caller at the latest",
            )
        except TimeoutError:
            pass
        return ResolveAnswer(view=self._view(), ending=resolution.ending, told=resolution.told)

    @resolve.validator
    def _check_resolve(self, message: ResolveOrder) -> None:
        self._refuse_if_closed()
        if self._order is None or self._order.status is not OrderStatus.IN_DOUBT:
            status = self._order.status if self._order is not None else "not recorded yet"
            raise ApplicationError(
                f"the order is {status}: only an order in doubt is decided by a person",
                {"order_id": self._request.order_id, "status": status},
                type=NotInDoubt.code,
                non_retryable=True,
            )

    @workflow.update(name="approve", description="Approve a held order, by your name and with a reason")
    async def approve(self, message: DecideHeld) -> ApprovalAnswer:
        """Check price and limits once more, admit or deny the order, and answer with what came of it."""
        async with self._deciding:
            order = self._known()
            decided = known_before(order)
            if order.status is OrderStatus.HELD:
                try:
                    validated = await steps.validate(self._request)
                    decided = await steps.approve(order, message, validated)
                except ActivityError as error:
                    raise _undecided(error) from error
            self._learn(decided.order)
        return await self._told(decided)

    @approve.validator
    def _check_approve(self, message: DecideHeld) -> None:
        order = self._held()
        refusal = why_not_approved_by(order, message.by)
        if refusal is not None:
            asked_by = order.requested_by or "not known"
            raise _refused(refusal, FourEyes, asked_by=asked_by, by=message.by)
        held = order.ticket.fingerprint()
        if message.fingerprint is not None and message.fingerprint != held:
            raise _refused("the approval is about another ticket", TicketDiffers, held=held, named=message.fingerprint)

    @workflow.update(name="reject", description="Reject a held order: it ends, and nothing is sent")
    async def reject(self, message: DecideHeld) -> ApprovalAnswer:
        """End the order, and answer with what came of it."""
        async with self._deciding:
            try:
                decided = await steps.reject(self._known(), message)
            except ActivityError as error:
                raise _undecided(error) from error
            self._learn(decided.order)
        return await self._told(decided)

    @reject.validator
    def _check_reject(self, message: DecideHeld) -> None:
        self._held()

    async def _told(self, decided: Decided) -> ApprovalAnswer:
        """Answer once the venue has answered, or the order has ended, or that takes long."""
        if decided.decision is None:
            reason = decided.reason
            numbers = {"because": str(reason)} if reason is not None else {}
            raise _refused(decided.told, VenueUnavailable, **numbers)
        try:
            await workflow.wait_condition(
                lambda: not _is_unanswered(self._known()),
                timeout=policies.APPROVAL_ANSWER_WITHIN,
                timeout_summary="approve: answer the caller at the latest",
            )
        except TimeoutError:
            pass
        return ApprovalAnswer(view=self._view(), decision=decided.decision, told=decided.told)

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
        elif order.seq == self._order.seq and order.doubt is not None:
            self._order = self._order.model_copy(update={"doubt": order.doubt})  # a mark of the last look, no fact
        return self._order

    def _want_cancel(self, message: CancelOrder) -> None:
        if self._cancel is None:
            text = f"{message.because} ({message.requested_by})"
            self._cancel = Reason(code="CANCEL_REQUESTED", text=text[:300])

    def _replacing(self) -> bool:
        order = self._known()
        return not order.is_final and (order.amend_quantity is not None or order.status in UNANSWERED)

    def _held(self) -> Order:
        """Return the order, which is held. Raises what refuses the request otherwise."""
        self._refuse_if_closed()
        order = self._order
        if order is None or order.status is not OrderStatus.HELD:
            status = order.status if order is not None else "not recorded yet"
            raise _refused(f"the order is {status}: only an order that is held is decided on", NotHeld, status=status)
        return order

    def _refuse_if_closed(self) -> None:
        if self._order is not None and self._order.is_final:
            raise ApplicationError(
                f"the order is {self._order.status}: nothing is left to change",
                {"order_id": self._order.order_id, "status": self._order.status},
                type=OrderClosed.code,
                non_retryable=True,
            )


def _is_unanswered(order: Order) -> bool:
    """Tell whether the venue's answer is still to come; for a stop that we hold nobody waits so long."""
    return order.status in UNANSWERED and not order.waits_for_trigger


def _waits_in_doubt(order: Order) -> bool:
    return order.status is OrderStatus.IN_DOUBT and order.cancel_requested


def _refused(text: str, kind: type[ExecutionError], **numbers: str) -> ApplicationError:
    return ApplicationError(text, {"numbers": numbers}, type=kind.code, non_retryable=True)


def _undecided(failure: ActivityError) -> ApplicationError:
    """Say why a decision was not taken; the order is as it was."""
    cause = failure.cause
    if isinstance(cause, ApplicationError):
        return ApplicationError(cause.message, *cause.details, type=cause.type, non_retryable=True)
    text = "the decision could not be compared with the venue in time; nothing was changed by it"
    return ApplicationError(text, type=VenueUnavailable.code, non_retryable=True)
