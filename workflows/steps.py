"""The steps of an order's life as calls of activities: which queue, which limits, which words in the Web UI.

One function a step, so that `order_workflow.py` reads as a life and not as a list of options.
"""

from datetime import datetime

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.approval_activities import ApprovalActivities
    from activities.calls import (
        AmendCall,
        ApproveCall,
        CancelCall,
        DenyCall,
        EndCall,
        OrderCall,
        PersistCall,
        RejectCall,
        ResolveCall,
        RiskCall,
        SubmitCall,
    )
    from activities.ledger_activities import LedgerActivities
    from activities.resolve_activities import ResolveActivities
    from activities.venue_activities import VenueActivities
    from domain.approvals import ApprovalWord, Asked, Decided
    from domain.decisions import Decision, Resolution
    from domain.events import Reason
    from domain.identifiers import venue_queue
    from domain.lifecycle import OrderEventType
    from domain.numbers import Price, Quantity
    from domain.order import Order, OrderRequest
    from domain.ports import Admission
    from domain.risk import Validated
    from workflows import policies
    from workflows.order_display import step_summary


async def validate(request: OrderRequest) -> Validated:
    """Fit the ticket to the venue's rules. Raises `ActivityError` when the venue gives none in time."""
    return await workflow.execute_activity_method(
        VenueActivities.validate,
        request,
        task_queue=venue_queue(request.account),
        start_to_close_timeout=policies.VENUE_TIMEOUT,
        schedule_to_close_timeout=policies.VALIDATE_PATIENCE,
        heartbeat_timeout=policies.HEARTBEAT_TIMEOUT,
        retry_policy=policies.UNTIL_RULES_ARE_READ,
        priority=policies.READS_LAST,
        summary=step_summary(request.ticket),
    )


async def risk_check(request: OrderRequest, validated: Validated) -> Admission:
    """Ask the gate once, and record the intent unless it is unavailable."""
    return await workflow.execute_activity_method(
        LedgerActivities.risk_check,
        RiskCall(request=request, validated=validated),
        start_to_close_timeout=policies.LEDGER_TIMEOUT,
        heartbeat_timeout=policies.HEARTBEAT_TIMEOUT,
        retry_policy=policies.UNTIL_DONE,
        summary=step_summary(request.ticket),
    )


async def risk_check_again(request: OrderRequest, validated: Validated) -> Reason | None:
    """Ask why what is left, as `request` has it, must not be sent anew; `None` when it may."""
    return await workflow.execute_activity_method(
        LedgerActivities.risk_check_again,
        RiskCall(request=request, validated=validated),
        start_to_close_timeout=policies.LEDGER_TIMEOUT,
        heartbeat_timeout=policies.HEARTBEAT_TIMEOUT,
        retry_policy=policies.UNTIL_DONE,
        summary=step_summary(request.ticket, note="before it is sent anew"),
    )


async def resolve(order: Order, decision: Decision) -> Resolution:
    """Compare a person's decision with the venue, and record it. Raises `ActivityError` with the refusal."""
    decided = f"placed as {decision.placed}" if decision.placed is not None else "never placed"
    return await workflow.execute_activity_method(
        ResolveActivities.resolve,
        ResolveCall(account=order.account, order_id=order.order_id, decision=decision),
        task_queue=venue_queue(order.account),
        start_to_close_timeout=policies.RESOLVE_TIMEOUT,
        schedule_to_close_timeout=policies.RESOLVE_PATIENCE,
        heartbeat_timeout=policies.HEARTBEAT_TIMEOUT,
        retry_policy=policies.UNLESS_THE_VENUE_FAILS,
        summary=step_summary(order.ticket, note=f"{decided}, says {decision.requested_by}"),
    )


async def deny(request: OrderRequest, reason: Reason) -> Order:
    """Record an order that is denied for lack of an answer."""
    return await workflow.execute_activity_method(
        LedgerActivities.deny,
        DenyCall(request=request, reason=reason),
        start_to_close_timeout=policies.LEDGER_TIMEOUT,
        heartbeat_timeout=policies.HEARTBEAT_TIMEOUT,
        retry_policy=policies.UNTIL_DONE,
        summary=step_summary(request.ticket, note=reason.code),
    )


async def submit(order: Order) -> Order:
    """Send the next attempt, once. A regular activity that is never abandoned half-way."""
    return await workflow.execute_activity_method(
        VenueActivities.submit,
        SubmitCall(account=order.account, order_id=order.order_id, strategy=order.ticket.strategy),
        task_queue=venue_queue(order.account),
        start_to_close_timeout=policies.VENUE_TIMEOUT,
        heartbeat_timeout=policies.HEARTBEAT_TIMEOUT,
        retry_policy=policies.UNTIL_DONE,
        cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        summary=step_summary(order.ticket, note=f"attempt {order.attempt + 1}"),
    )


async def look_up(order: Order, *, why: str) -> Order:
    """Ask the venue what became of the order."""
    return await workflow.execute_activity_method(
        VenueActivities.look_up,
        OrderCall(account=order.account, order_id=order.order_id),
        task_queue=venue_queue(order.account),
        start_to_close_timeout=policies.VENUE_TIMEOUT,
        heartbeat_timeout=policies.HEARTBEAT_TIMEOUT,
        retry_policy=policies.UNTIL_DONE,
        summary=step_summary(order.ticket, note=why),
    )


async def cancel(order: Order, *, reason: Reason | None) -> Order:
    """Ask the venue to cancel, and look. Without a reason the attempt is only taken back to be replaced."""
    return await workflow.execute_activity_method(
        VenueActivities.cancel,
        CancelCall(account=order.account, order_id=order.order_id, reason=reason),
        task_queue=venue_queue(order.account),
        start_to_close_timeout=policies.VENUE_TIMEOUT,
        heartbeat_timeout=policies.HEARTBEAT_TIMEOUT,
        retry_policy=policies.UNTIL_DONE,
        priority=policies.CANCELS_FIRST,
        summary=step_summary(order.ticket, note=reason.code if reason else "to replace it"),
    )


async def request_amend(order: Order, *, quantity: Quantity, price: Price, requested_by: str) -> Order:
    """Record new figures. Raises `ActivityError` with the gate's or the order's refusal."""
    return await workflow.execute_activity_method(
        LedgerActivities.request_amend,
        AmendCall(
            account=order.account,
            order_id=order.order_id,
            quantity=quantity,
            price=price,
            requested_by=requested_by,
        ),
        start_to_close_timeout=policies.LEDGER_TIMEOUT,
        heartbeat_timeout=policies.HEARTBEAT_TIMEOUT,
        retry_policy=policies.UNTIL_DONE,
        summary=step_summary(order.ticket),
    )


async def end_unsent(order: Order, *, event_type: OrderEventType, reason: Reason) -> Order:
    """End an order of which nothing is at the venue."""
    return await workflow.execute_activity_method(
        LedgerActivities.end_unsent,
        EndCall(account=order.account, order_id=order.order_id, event_type=event_type, reason=reason),
        start_to_close_timeout=policies.LEDGER_TIMEOUT,
        heartbeat_timeout=policies.HEARTBEAT_TIMEOUT,
        retry_policy=policies.UNTIL_DONE,
        summary=step_summary(order.ticket, note=reason.code),
    )


async def ask_approval(order: Order) -> Asked:
    """Put on record that a person is asked about the order, and until when."""
    return await workflow.execute_activity_method(
        ApprovalActivities.ask_approval,
        OrderCall(account=order.account, order_id=order.order_id),
        start_to_close_timeout=policies.LEDGER_TIMEOUT,
        heartbeat_timeout=policies.HEARTBEAT_TIMEOUT,
        retry_policy=policies.UNTIL_DONE,
        summary=step_summary(order.ticket, note=order.reason.code if order.reason else ""),
    )


async def approve(order: Order, word: ApprovalWord, validated: Validated) -> Decided:
    """Pass the gate again for an order that a person approved. Raises `ActivityError` with the refusal."""
    return await workflow.execute_activity_method(
        ApprovalActivities.approve,
        ApproveCall(account=order.account, order_id=order.order_id, word=word, validated=validated),
        start_to_close_timeout=policies.LEDGER_TIMEOUT,
        heartbeat_timeout=policies.HEARTBEAT_TIMEOUT,
        retry_policy=policies.UNTIL_DONE,
        summary=step_summary(order.ticket, note=f"approved, says {word.by}"),
    )


async def reject(order: Order, word: ApprovalWord) -> Decided:
    """End an order that a person rejected."""
    return await workflow.execute_activity_method(
        ApprovalActivities.reject,
        RejectCall(account=order.account, order_id=order.order_id, word=word),
        start_to_close_timeout=policies.LEDGER_TIMEOUT,
        heartbeat_timeout=policies.HEARTBEAT_TIMEOUT,
        retry_policy=policies.UNTIL_DONE,
        summary=step_summary(order.ticket, note=f"rejected, says {word.by}"),
    )


async def end_held(order: Order, *, event_type: OrderEventType, reason: Reason) -> Order:
    """End an order that is held; one that was decided on meanwhile stays as it is."""
    return await workflow.execute_activity_method(
        ApprovalActivities.end_held,
        EndCall(account=order.account, order_id=order.order_id, event_type=event_type, reason=reason),
        start_to_close_timeout=policies.LEDGER_TIMEOUT,
        heartbeat_timeout=policies.HEARTBEAT_TIMEOUT,
        retry_policy=policies.UNTIL_DONE,
        summary=step_summary(order.ticket, note=reason.code),
    )


async def persist(order: Order, *, sent_at: datetime | None, started_at: datetime | None) -> Order:
    """Write the final facts once, and tell how long the order took since it was sent, and in all."""
    took = {"fill_ms": sent_at, "whole_ms": started_at}
    now = workflow.now()
    known = {name: int((now - since).total_seconds() * 1000) for name, since in took.items() if since is not None}
    return await workflow.execute_activity_method(
        LedgerActivities.persist,
        PersistCall(account=order.account, order_id=order.order_id, **known),
        start_to_close_timeout=policies.LEDGER_TIMEOUT,
        heartbeat_timeout=policies.HEARTBEAT_TIMEOUT,
        retry_policy=policies.UNTIL_DONE,
        summary=step_summary(order.ticket, note=order.status),
    )


__all__ = [
    "approve",
    "ask_approval",
    "cancel",
    "deny",
    "end_held",
    "end_unsent",
    "look_up",
    "persist",
    "reject",
    "request_amend",
    "resolve",
    "risk_check",
    "risk_check_again",
    "submit",
    "validate",
]
