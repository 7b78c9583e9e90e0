"""What the venue said, and what was asked for, written as facts: outcome, report, cancel, amendment, end."""

import json
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.errors import NotAmendable
from domain.events import Fill, OrderEvent, Reason
from domain.lifecycle import AMENDABLE, OrderEventType, OrderStatus
from domain.numbers import multiply, subtract, to_scale
from domain.order import Order, OrderSide, OrderType
from domain.ports import Attempt, Notice
from domain.reconciliation import Belief, believe
from domain.reports import OrderReport, SubmitOutcome, SubmitVerdict
from domain.risk import Limits, Reservation, balance_denial, size_denial
from storage import attempts, holdings, order_rows
from storage.tables import cases, fills

_UNDECIDED = (OrderStatus.SUBMITTED, OrderStatus.IN_DOUBT)


async def record_outcome(
    connection: AsyncConnection, attempt: Attempt, outcome: SubmitOutcome, *, now: datetime
) -> Order:
    """Write what came of a send; see `domain.ports.OrderStore.record_outcome`."""
    order = await order_rows.load(connection, attempt.account, attempt.order_id)
    if order.attempt != attempt.attempt or order.status not in _UNDECIDED:
        return order
    if outcome.verdict is SubmitVerdict.ACCEPTED and outcome.report is not None:
        await attempts.close(connection, attempt, state="CLOSED", outcome=outcome.model_dump_json())
        return (await _believe(connection, order, outcome.report, (), now)).order
    event_type = {
        SubmitVerdict.REFUSED: OrderEventType.REJECTED,
        SubmitVerdict.NOT_SENT: OrderEventType.NOT_SENT,
    }.get(outcome.verdict, OrderEventType.SUBMIT_UNKNOWN)
    if order.status is OrderStatus.IN_DOUBT and event_type is not OrderEventType.REJECTED:
        return order
    state = {OrderEventType.REJECTED: "CLOSED", OrderEventType.NOT_SENT: "VOID"}.get(event_type, "LEFT")
    await attempts.close(connection, attempt, state=state, outcome=outcome.model_dump_json())
    event = OrderEvent(event_type=event_type, ts_event=now, reason=outcome.reason)
    return await order_rows.change(connection, order, event)


async def record_report(
    connection: AsyncConnection,
    account: str,
    order_id: str,
    report: OrderReport,
    *,
    trades: Sequence[Fill],
    now: datetime,
) -> Notice:
    """Believe a report; see `domain.ports.OrderStore.record_report`."""
    order = await order_rows.load(connection, account, order_id)
    belief = await _believe(connection, order, report, trades, now, notify=True)
    return Notice(order=belief.order, settled=belief.settled)


async def _believe(
    connection: AsyncConnection,
    order: Order,
    report: OrderReport,
    trades: Sequence[Fill],
    now: datetime,
    *,
    notify: bool = False,
) -> Belief:
    belief = believe(order, report, trades=trades, known=await _known_fills(connection, order), now=now)
    fresh = [event.fill for event in belief.events if event.fill is not None]
    if fresh:
        await connection.execute(insert(fills), [_fill_row(belief.order, fill) for fill in fresh])
        await holdings.move(connection, order, belief.order, fresh, now)
    if belief.case is not None:
        row = insert(cases).values(
            account=order.account,
            order_id=order.order_id,
            code=belief.case.code,
            reason=json.loads(belief.case.model_dump_json()),
        )
        await connection.execute(row.on_conflict_do_nothing())
        belief = belief.model_copy(update={"order": belief.order.model_copy(update={"needs_attention": True})})
    if any(event.event_type is OrderEventType.REPLACED for event in belief.events):
        await holdings.keep_reserved(connection, belief.order, _need(belief.order).amount)
    await order_rows.save(connection, belief.order, belief.events, notify=notify)
    return belief


async def _known_fills(connection: AsyncConnection, order: Order) -> frozenset[tuple[str, str, str]]:
    if order.cum_qty == 0:
        return frozenset()
    query = select(fills.c.symbol, fills.c.venue_order_id, fills.c.trade_id).where(
        fills.c.account == order.account, fills.c.order_id == order.order_id
    )
    return frozenset((row.symbol, row.venue_order_id, row.trade_id) for row in await connection.execute(query))


def _fill_row(order: Order, fill: Fill) -> dict[str, object]:
    return {"account": order.account, "order_id": order.order_id, **fill.model_dump()} | {
        "last_qty": fill.last_qty,
        "last_px": fill.last_px,
        "commission": fill.commission,
    }


async def record_never_placed(connection: AsyncConnection, attempt: Attempt, *, reason: Reason, now: datetime) -> Order:
    """Write that the attempt is proven never to have been placed."""
    order = await order_rows.load(connection, attempt.account, attempt.order_id)
    if order.attempt != attempt.attempt or order.status is not OrderStatus.IN_DOUBT:
        return order
    await attempts.close(connection, attempt, state="VOID")
    event = OrderEvent(event_type=OrderEventType.NEVER_PLACED, ts_event=now, reason=reason)
    return await order_rows.change(connection, order, event)


async def request_cancel(
    connection: AsyncConnection, account: str, order_id: str, *, reason: Reason, now: datetime
) -> Order:
    """Write that the order shall end; asked again, it changes nothing."""
    order = await order_rows.load(connection, account, order_id)
    if order.is_final or order.cancel_requested:
        return order
    event = OrderEvent(event_type=OrderEventType.CANCEL_REQUESTED, ts_event=now, reason=reason)
    return await order_rows.change(connection, order, event)


async def request_amend(
    connection: AsyncConnection,
    account: str,
    order_id: str,
    *,
    quantity: Decimal,
    price: Decimal,
    limits: Limits,
    requested_by: str,
    now: datetime,
) -> Order:
    """Write new figures and reserve for the worse of old and new; see `domain.ports.OrderStore.request_amend`."""
    order = await order_rows.load(connection, account, order_id)
    if order.status is OrderStatus.PENDING_CANCEL and (order.amend_quantity, order.amend_price) == (quantity, price):
        return order
    if order.status not in AMENDABLE or order.ticket.order_type is not OrderType.LIMIT:
        raise NotAmendable(f"the order is {order.status}; only a resting limit order can be amended")
    if quantity <= order.cum_qty:
        raise NotAmendable(
            "the new quantity is already filled; cancel the order instead",
            numbers={"quantity": f"{quantity}", "cum_qty": f"{order.cum_qty}"},
        )
    refused = size_denial(quantity, multiply(quantity, price), limits)
    if refused is not None:
        raise NotAmendable(f"{refused}", numbers=refused.numbers)
    event = OrderEvent(
        event_type=OrderEventType.AMEND_REQUESTED,
        ts_event=now,
        quantity=quantity,
        price=price,
        requested_by=requested_by,
    )
    amended = order.apply(event)
    need = _need(amended.model_copy(update={"quantity": quantity, "price": price}))
    held = await holdings.reserved_by(connection, order)
    more = subtract(need.amount, held.amount if held is not None else Decimal(0))
    if more > 0:
        extra = Reservation(asset=need.asset, amount=more)
        if not await holdings.reserve(connection, order, extra):
            left = await holdings.available(connection, account, need.asset) or Decimal(0)
            reason = balance_denial(extra, left)
            raise NotAmendable(f"{reason}", numbers=reason.numbers)
    await order_rows.save(connection, amended, [event])
    return amended


def _need(order: Order) -> Reservation:
    """Return what a limit order may still use up at its price."""
    base_asset, quote_asset = order.ticket.symbol.split("/")
    left = subtract(order.quantity, order.cum_qty)
    if order.ticket.side is OrderSide.SELL:
        return Reservation(asset=base_asset, amount=left)
    return Reservation(asset=quote_asset, amount=to_scale(multiply(left, order.price or Decimal(0))))


async def end_unsent(
    connection: AsyncConnection,
    account: str,
    order_id: str,
    *,
    event_type: OrderEventType,
    reason: Reason,
    now: datetime,
) -> Order:
    """End an order of which nothing is at the venue."""
    order = await order_rows.load(connection, account, order_id)
    if order.is_final:
        return order
    return await order_rows.change(connection, order, OrderEvent(event_type=event_type, ts_event=now, reason=reason))


async def finalize(connection: AsyncConnection, account: str, order_id: str, *, now: datetime) -> Order:
    """Write the final facts once: the reservation goes, the attempt is closed."""
    order = await order_rows.load(connection, account, order_id)
    if order.finalized:
        return order
    await holdings.keep_reserved(connection, order, Decimal(0))
    return await order_rows.change(connection, order, OrderEvent(event_type=OrderEventType.FINALIZED, ts_event=now))
