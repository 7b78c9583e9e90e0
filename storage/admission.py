"""The intent: one transaction for decision, reservation, order and first facts."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from pydantic import RootModel
from sqlalchemy import BindParameter, Row, Text, bindparam, literal, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection

from domain import risk
from domain.errors import IdempotencyConflict
from domain.events import Arrival, OrderEvent, Reason
from domain.exposure import ScopeFigures
from domain.lifecycle import OrderEventType, OrderStatus
from domain.limits import LimitSet, scopes_of
from domain.order import Order, OrderRequest, OrderSide
from domain.ports import Admission
from domain.risk import (
    AccountTerms,
    Answer,
    Decision,
    Exposure,
    Finding,
    Reservation,
    Validated,
    balance_denial,
    check,
    worst_price,
)
from storage import continuity, entering, gate, holdings, limit_sets, order_rows, valuation
from storage.kill_switch import reason_of
from storage.tables import account_states, balances, orders


class Findings(RootModel[tuple[Finding, ...]]):
    """The limits that were looked at, as the evidence of a decision's fact."""


_ACCOUNT: BindParameter[str] = bindparam("account", type_=Text())
_ONCE = select(literal(1).label("once")).subquery()
_LOOK = select(
    select(orders.c.document)
    .where(orders.c.account == _ACCOUNT, orders.c.order_id == bindparam("order_id"))
    .scalar_subquery()
    .label("document"),
    reason_of(bindparam("scopes", type_=ARRAY(Text())), account=_ACCOUNT, order_id=bindparam("order_id"))
    .scalar_subquery()
    .label("kill_reason"),
    account_states.c.balances_at.label("known_at"),
    account_states.c.reconciled_at,
    account_states.c.served_since,
    continuity.unverified(_ACCOUNT).label("unverified"),
    limit_sets.NEWEST.scalar_subquery().label("limits"),
    select(balances.c.total - balances.c.reserved)
    .where(balances.c.account == _ACCOUNT, balances.c.asset == bindparam("asset"))
    .scalar_subquery()
    .label("available"),
).select_from(_ONCE.outerjoin(account_states, account_states.c.account == _ACCOUNT))
"""All that the gate needs to know, in one round trip."""
_LOOK_WITH_MARK = _LOOK.add_columns(valuation.LATEST_OF_SYMBOL.label("mark"))
"""Likewise, for an order whose market nobody has asked for."""


@dataclass(frozen=True)
class Asked:
    """What the gate says of an order, and what it was shown, under the locks of the order's scopes."""

    order: Order
    seen: gate.Figures
    decision: Decision
    arrival: Arrival | None
    """The market as the order met it: what was asked for it, else the ledger's latest mark."""


async def ask(
    connection: AsyncConnection,
    request: OrderRequest,
    validated: Validated,
    *,
    terms: AccountTerms,
    now: datetime,
    outside: tuple[Finding, ...] = (),
) -> Asked | Order:
    """Ask the gate. Nothing is recorded and nothing reserved. An order that is recorded is returned as it stands."""
    looked = await look(connection, request, terms, marks_since=None if validated.arrival else now)
    if looked.recorded is not None:
        return looked.recorded
    exposure, limit_set = looked.exposure, looked.limits
    order = request.new_order(exchange=terms.exchange, mode=terms.mode)
    seen = await gate.figures(connection, order, limit_set, mode=terms.mode, validated=validated)
    exposure = seen.onto(exposure)
    decision = check(request.ticket, validated, exposure=exposure, now=seen.now or now, outside=outside)
    return Asked(order=order, seen=seen, decision=decision, arrival=validated.arrival or looked.mark)


async def foresee(
    connection: AsyncConnection, request: OrderRequest, validated: Validated, *, terms: AccountTerms, now: datetime
) -> Asked | Order:
    """Ask the gate, and take back what it locked and wrote."""
    asking = await connection.begin_nested()
    asked = await ask(connection, request, validated, terms=terms, now=now)
    await asking.rollback()
    return asked


async def admit(
    connection: AsyncConnection,
    request: OrderRequest,
    validated: Validated,
    *,
    terms: AccountTerms,
    now: datetime,
    outside: tuple[Finding, ...] = (),
) -> Admission:
    """Decide and record; see `domain.ports.OrderStore.admit`."""
    asked = await ask(connection, request, validated, terms=terms, now=now, outside=outside)
    if isinstance(asked, Order):
        return as_recorded(asked)
    order, decision = asked.order, asked.decision
    if decision.answer is Answer.UNAVAILABLE:
        return Admission(answer=decision.answer, order=order, reason=decision.reason)
    event = _decided(decision, asked.arrival, validated, request, now)
    decided = order.apply(event)
    if decision.reservation is None:
        if not await order_rows.add(connection, decided):
            return as_recorded(await _outpaced_by(connection, request))
        await order_rows.append(connection, decided, event, evidence=evidence(decision))
    else:
        entered = await _enter(connection, decided, event, decision.reservation, asked, validated, now)
        if not entered.added:
            return as_recorded(await _outpaced_by(connection, request))
        if not entered.taken:
            # Another order took the balance after we looked; both figures are told as they are now.
            left = await holdings.available(connection, request.account, decision.reservation.asset)
            reason = balance_denial(decision.reservation, left)
            decision = Decision(answer=Answer.DENY, reason=reason, findings=decision.findings)
            event = _decided(decision, asked.arrival, validated, request, now)
            decided = order.apply(event)
            await order_rows.save(connection, decided, [event], evidence=evidence(decision))
    return Admission(answer=decision.answer, order=decided, reason=decision.reason)


async def _enter(
    connection: AsyncConnection,
    decided: Order,
    event: OrderEvent,
    reservation: Reservation,
    asked: Asked,
    validated: Validated,
    now: datetime,
) -> entering.Entered:
    """Write the order and take what it needs."""
    rated = gate.rated_of(asked.seen, mode=decided.mode)
    entered = await entering.enter(
        connection,
        decided,
        reservation,
        unit_price=unit_price(decided, validated),
        event=event,
        evidence=evidence(asked.decision),
        rated=list(rated),
        admitted_at=asked.seen.now,
        now=now,
    )
    await gate.forget(connection, rated, entered.numbers)
    return entered


def unit_price(order: Order, validated: Validated) -> Decimal:
    """Return what the order's base unit is worth in its scopes while it is worked: what it was measured at."""
    normal = validated.normal
    price = worst_price(order.ticket, normal, validated.reference_price) if normal is not None else None
    return price or holdings.ZERO


def evidence(decision: Decision) -> str | None:
    """Return the limits that were looked at with their numbers, as the decision's fact keeps them."""
    return Findings(decision.findings).model_dump_json() if decision.findings else None


async def deny(
    connection: AsyncConnection, request: OrderRequest, reason: Reason, *, terms: AccountTerms, now: datetime
) -> Order:
    """Record an order that is denied; one that is recorded already is returned as it stands."""
    recorded = (await look(connection, request, terms)).recorded
    if recorded is not None:
        return recorded
    event = OrderEvent(event_type=OrderEventType.DENIED, ts_event=now, reason=reason)
    denied = request.new_order(exchange=terms.exchange, mode=terms.mode).apply(event)
    if not await order_rows.add(connection, denied):
        return await _outpaced_by(connection, request)
    await order_rows.append(connection, denied, event)
    return denied


async def check_again(
    connection: AsyncConnection, request: OrderRequest, validated: Validated, *, terms: AccountTerms, now: datetime
) -> Reason | None:
    """Say why what is left of an order must not be sent anew; see `domain.ports.OrderStore.check_again`."""
    order = await order_rows.load(connection, request.account, request.order_id, lock=False)
    limits = (await limit_sets.current(connection)).of_order(order)
    return risk.check_again(
        request.ticket,
        validated,
        scopes=tuple(ScopeFigures(scope=scope, limits=own) for scope, own in limits.items()),
        reservation=await holdings.reserved(connection, request.account, request.order_id),
        now=now,
    )


def _decided(
    decision: Decision, arrival: Arrival | None, validated: Validated, request: OrderRequest, now: datetime
) -> OrderEvent:
    if decision.answer in (Answer.ALLOW, Answer.HOLD) and validated.normal is not None:
        allowed = decision.answer is Answer.ALLOW
        return OrderEvent(
            event_type=OrderEventType.ADMITTED if allowed else OrderEventType.HELD,
            ts_event=now,
            reason=None if allowed else decision.reason,
            quantity=validated.normal.quantity,
            requested_by=request.requested_by,
            placement=validated.placement,
            watch_since=validated.watch_since,
            arrival=arrival if allowed else None,
        )
    return OrderEvent(
        event_type=OrderEventType.DENIED, ts_event=now, reason=decision.reason, requested_by=request.requested_by
    )


def as_recorded(order: Order) -> Admission:
    """Answer with what was decided of an order before."""
    answer = {OrderStatus.DENIED: Answer.DENY, OrderStatus.HELD: Answer.HOLD}.get(order.status, Answer.ALLOW)
    return Admission(answer=answer, order=order, reason=order.reason if answer is not Answer.ALLOW else None)


@dataclass(frozen=True)
class Looked:
    """What the ledger knows before the gate is asked."""

    recorded: Order | None
    """The order, if it is on record."""
    exposure: Exposure
    limits: LimitSet
    mark: Arrival | None
    """The account's latest usable mark of the symbol, where it was asked for."""


async def look(
    connection: AsyncConnection, request: OrderRequest, terms: AccountTerms, *, marks_since: datetime | None = None
) -> Looked:
    """Return what the ledger knows of the order and its account, and the limits that hold.

    With `marks_since`, the time of now, also the symbol's latest mark, in the same round trip.
    """
    base_asset, quote_asset = request.ticket.symbol.split("/")
    asset = quote_asset if request.ticket.side is OrderSide.BUY else base_asset
    scopes = list(scopes_of(request))
    key: dict[str, Any] = {"account": request.account, "order_id": request.order_id, "asset": asset, "scopes": scopes}
    query = _LOOK
    if marks_since is not None:
        query, key = _LOOK_WITH_MARK, key | valuation.key_of_latest(request.ticket.symbol, terms.mode, now=marks_since)
    row: Row[Any] = (await connection.execute(query, key)).one()
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
    recorded = same_ticket(order, request) if order is not None else None
    mark = Arrival.model_validate_json(row.mark) if marks_since is not None and row.mark is not None else None
    return Looked(recorded, exposure, limit_sets.parsed(row.limits), mark)


async def _outpaced_by(connection: AsyncConnection, request: OrderRequest) -> Order:
    """Return the order that another transaction recorded meanwhile under our id.

    Raises `IdempotencyConflict` when it is another ticket's, or when our key belongs to another id.
    """
    order = await order_rows.find(connection, request.account, request.order_id)
    if order is not None:
        return same_ticket(order, request)
    query = select(orders.c.order_id).where(
        orders.c.account == request.account, orders.c.idempotency_key == request.idempotency_key
    )
    other = (await connection.execute(query)).scalar_one()
    raise IdempotencyConflict(f"the key was used for order {other}", numbers={"order_id": other})


def same_ticket(order: Order, request: OrderRequest) -> Order:
    """Return the order on record. Raises `IdempotencyConflict` when it is another ticket's."""
    if order.ticket.fingerprint() != request.ticket.fingerprint():
        raise IdempotencyConflict(
            f"the key was used for order {order.order_id}, with another ticket", numbers={"order_id": order.order_id}
        )
    return order
