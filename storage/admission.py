"""The intent: one transaction for decision, reservation, order and first facts."""

from datetime import datetime

from sqlalchemy import BindParameter, Text, bindparam, select
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.errors import IdempotencyConflict
from domain.events import OrderEvent, Reason
from domain.lifecycle import OrderEventType, OrderStatus
from domain.order import Order, OrderRequest, OrderSide
from domain.ports import Admission
from domain.risk import AccountTerms, Answer, Decision, Exposure, Validated, balance_denial, check
from storage import continuity, holdings, order_rows
from storage.kill_switch import reason_for
from storage.tables import account_states, balances, orders

_ACCOUNT: BindParameter[str] = bindparam("account", type_=Text())
_LOOK = select(
    select(orders.c.document)
    .where(orders.c.account == _ACCOUNT, orders.c.order_id == bindparam("order_id"))
    .scalar_subquery()
    .label("document"),
    reason_for(_ACCOUNT).scalar_subquery().label("kill_reason"),
    select(account_states.c.balances_at)
    .where(account_states.c.account == _ACCOUNT)
    .scalar_subquery()
    .label("known_at"),
    select(account_states.c.reconciled_at)
    .where(account_states.c.account == _ACCOUNT)
    .scalar_subquery()
    .label("reconciled_at"),
    select(account_states.c.served_since)
    .where(account_states.c.account == _ACCOUNT)
    .scalar_subquery()
    .label("served_since"),
    continuity.unverified(_ACCOUNT).label("unverified"),
    select(balances.c.total - balances.c.reserved)
    .where(balances.c.account == _ACCOUNT, balances.c.asset == bindparam("asset"))
    .scalar_subquery()
    .label("available"),
)
"""All that the gate needs to know, in one round trip."""


async def admit(
    connection: AsyncConnection, request: OrderRequest, validated: Validated, *, terms: AccountTerms, now: datetime
) -> Admission:
    """Decide and record; see `domain.ports.OrderStore.admit`."""
    recorded, exposure = await _look(connection, request, terms)
    if recorded is not None:
        return _as_recorded(recorded)
    order = request.new_order(exchange=terms.exchange, mode=terms.mode)
    decision = check(request.ticket, validated, exposure=exposure, limits=terms.limits)
    if decision.answer is Answer.UNAVAILABLE:
        return Admission(answer=decision.answer, order=order, reason=decision.reason)
    event = _decided(decision, validated, request, now)
    decided = order.apply(event)
    if not await order_rows.add(connection, decided):
        return _as_recorded(await _outpaced_by(connection, request))
    if decision.reservation is not None and not await holdings.reserve(connection, decided, decision.reservation):
        # Another order took the balance after we looked; both figures are told as they are now.
        left = await holdings.available(connection, request.account, decision.reservation.asset)
        decision = Decision(answer=Answer.DENY, reason=balance_denial(decision.reservation, left))
        event = _decided(decision, validated, request, now)
        decided = order.apply(event)
        await order_rows.save(connection, decided, [event])
    else:
        await order_rows.append(connection, decided, event)
    return Admission(answer=decision.answer, order=decided, reason=decision.reason)


async def deny(
    connection: AsyncConnection, request: OrderRequest, reason: Reason, *, terms: AccountTerms, now: datetime
) -> Order:
    """Record an order that is denied; one that is recorded already is returned as it stands."""
    recorded, _ = await _look(connection, request, terms)
    if recorded is not None:
        return recorded
    event = OrderEvent(event_type=OrderEventType.DENIED, ts_event=now, reason=reason)
    denied = request.new_order(exchange=terms.exchange, mode=terms.mode).apply(event)
    if not await order_rows.add(connection, denied):
        return await _outpaced_by(connection, request)
    await order_rows.append(connection, denied, event)
    return denied


def _decided(decision: Decision, validated: Validated, request: OrderRequest, now: datetime) -> OrderEvent:
    if decision.answer is Answer.ALLOW and validated.normal is not None:
        return OrderEvent(
            event_type=OrderEventType.ADMITTED,
            ts_event=now,
            quantity=validated.normal.quantity,
            requested_by=request.requested_by,
        )
    return OrderEvent(
        event_type=OrderEventType.DENIED, ts_event=now, reason=decision.reason, requested_by=request.requested_by
    )


def _as_recorded(order: Order) -> Admission:
    denied = order.status is OrderStatus.DENIED
    return Admission(
        answer=Answer.DENY if denied else Answer.ALLOW, order=order, reason=order.reason if denied else None
    )


async def _look(
    connection: AsyncConnection, request: OrderRequest, terms: AccountTerms
) -> tuple[Order | None, Exposure]:
    base_asset, quote_asset = request.ticket.symbol.split("/")
    asset = quote_asset if request.ticket.side is OrderSide.BUY else base_asset
    key = {"account": request.account, "order_id": request.order_id, "asset": asset}
    row = (await connection.execute(_LOOK, key)).one()
    since = (row.served_since or terms.reconciled_since) if terms.reconciled_since is not None else None
    compared = since is None or (row.reconciled_at is not None and row.reconciled_at >= since)
    continuity.refuse_if(row.unverified)
    exposure = Exposure(
        kill_reason=row.kill_reason,
        reconciled=compared and row.known_at is not None,
        # What the venue did not list, the account does not hold.
        available=max(row.available or holdings.ZERO, holdings.ZERO) if row.known_at is not None else None,
    )
    order = Order.model_validate_json(row.document) if row.document is not None else None
    return (_same(order, request) if order is not None else None), exposure


async def _outpaced_by(connection: AsyncConnection, request: OrderRequest) -> Order:
    """Return the order that another transaction recorded meanwhile under our id.

    Raises `IdempotencyConflict` when it is another ticket's, or when our key belongs to another id.
    """
    order = await order_rows.find(connection, request.account, request.order_id)
    if order is not None:
        return _same(order, request)
    query = select(orders.c.order_id).where(
        orders.c.account == request.account, orders.c.idempotency_key == request.idempotency_key
    )
    other = (await connection.execute(query)).scalar_one()
    raise IdempotencyConflict(f"the key was used for order {other}", numbers={"order_id": other})


def _same(order: Order, request: OrderRequest) -> Order:
    if order.ticket.fingerprint() != request.ticket.fingerprint():
        raise IdempotencyConflict(
            f"the key was used for order {order.order_id}, with another ticket", numbers={"order_id": order.order_id}
        )
    return order
