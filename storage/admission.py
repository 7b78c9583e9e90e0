"""The intent: one transaction for decision, reservation, order and first facts."""

from datetime import datetime
from decimal import Decimal

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.errors import IdempotencyConflict
from domain.events import OrderEvent, Reason
from domain.lifecycle import OrderEventType, OrderStatus
from domain.order import Order, OrderRequest, OrderSide
from domain.ports import Admission
from domain.risk import AccountTerms, Answer, Exposure, Validated, balance_denial, check
from storage import holdings, order_rows
from storage.kill_switch import kill_reason
from storage.tables import orders


async def admit(
    connection: AsyncConnection, request: OrderRequest, validated: Validated, terms: AccountTerms, now: datetime
) -> Admission:
    """Decide and record; see `domain.ports.OrderStore.admit`."""
    recorded = await _recorded(connection, request)
    if recorded is not None:
        answer = Answer.DENY if recorded.status is OrderStatus.DENIED else Answer.ALLOW
        return Admission(answer=answer, order=recorded, reason=recorded.reason)
    order = request.new_order(exchange=terms.exchange, mode=terms.mode)
    exposure = await _exposure(connection, request)
    decision = check(request.ticket, validated, exposure=exposure, limits=terms.limits)
    if decision.answer is Answer.UNAVAILABLE:
        return Admission(answer=decision.answer, order=order, reason=decision.reason)
    if decision.reason is not None or decision.reservation is None or validated.normal is None:
        return await _denied(connection, order, decision.reason, now)
    event = OrderEvent(
        event_type=OrderEventType.ADMITTED,
        ts_event=now,
        quantity=validated.normal.quantity,
        requested_by=request.requested_by,
    )
    admitted = order.apply(event)
    await connection.execute(text("SAVEPOINT intent"))
    await order_rows.save_new(connection, admitted, [event])
    if not await holdings.reserve(connection, admitted, decision.reservation):
        await connection.execute(text("ROLLBACK TO SAVEPOINT intent"))
        left = await holdings.available(connection, request.account, decision.reservation.asset)
        return await _denied(connection, order, balance_denial(decision.reservation, left or Decimal(0)), now)
    return Admission(answer=Answer.ALLOW, order=admitted)


async def deny(
    connection: AsyncConnection, request: OrderRequest, reason: Reason, terms: AccountTerms, now: datetime
) -> Order:
    """Record an order that is denied; one that is recorded already is returned as it stands."""
    recorded = await _recorded(connection, request)
    if recorded is not None:
        return recorded
    order = request.new_order(exchange=terms.exchange, mode=terms.mode)
    return (await _denied(connection, order, reason, now)).order


async def _recorded(connection: AsyncConnection, request: OrderRequest) -> Order | None:
    """Return the order if it is recorded; two transactions for the same id wait for each other."""
    key = f"intent {request.account} {request.order_id}"
    await connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))"), {"key": key})
    order = await order_rows.find(connection, request.account, request.order_id)
    if order is None and request.idempotency_key is not None:
        query = select(orders.c.order_id).where(
            orders.c.account == request.account, orders.c.idempotency_key == request.idempotency_key
        )
        other = (await connection.execute(query)).scalar_one_or_none()
        if other is not None:
            raise IdempotencyConflict(f"the key was used for order {other}", numbers={"order_id": other})
    if order is not None and order.ticket.fingerprint() != request.ticket.fingerprint():
        raise IdempotencyConflict(
            f"the key was used for order {order.order_id}, with another ticket", numbers={"order_id": order.order_id}
        )
    return order


async def _exposure(connection: AsyncConnection, request: OrderRequest) -> Exposure:
    base_asset, quote_asset = request.ticket.symbol.split("/")
    asset = quote_asset if request.ticket.side is OrderSide.BUY else base_asset
    return Exposure(
        kill_reason=await kill_reason(connection, request.account),
        reconciled=await holdings.is_reconciled(connection, request.account),
        available=await holdings.available(connection, request.account, asset),
    )


async def _denied(connection: AsyncConnection, order: Order, reason: Reason | None, now: datetime) -> Admission:
    event = OrderEvent(event_type=OrderEventType.DENIED, ts_event=now, reason=reason)
    denied = order.apply(event)
    await order_rows.save_new(connection, denied, [event])
    return Admission(answer=Answer.DENY, order=denied, reason=reason)
