"""Orders in doubt: what was looked for and when, and a person's decision, written with what the venue showed."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.errors import DecisionContradicted
from domain.events import Fill, OrderEvent, Reason
from domain.lifecycle import OrderEventType, OrderStatus
from domain.order import Doubt, Order
from domain.ports import Attempt, Notice
from domain.reports import OrderReport
from storage import order_rows, recording
from storage.tables import attempts, orders

_ONE_AT_A_TIME = text("SELECT pg_advisory_xact_lock(hashtext(:account || ' adopts ' || :venue_order_id))")


async def record_look(
    connection: AsyncConnection, attempt: Attempt, *, looked_at: datetime, fence_ends_at: datetime | None
) -> Order:
    """Note that the venue was asked and did not show the order; see `domain.ports.OrderStore.record_look`."""
    order = await order_rows.load(connection, attempt.account, attempt.order_id)
    if order.status is not OrderStatus.IN_DOUBT or order.attempt != attempt.attempt:
        return order
    known = order.doubt or Doubt(since=order.updated_at)  # an order from before doubts were kept
    doubt = known.model_copy(update={"last_looked_at": looked_at, "fence_ends_at": fence_ends_at})
    return await order_rows.mark(connection, order, doubt=doubt)


async def adopt(
    connection: AsyncConnection,
    attempt: Attempt,
    report: OrderReport,
    *,
    trades: Sequence[Fill],
    reason: Reason,
    requested_by: str,
    now: datetime,
) -> Notice:
    """Write a person's decision and the venue's word on its order; see `domain.ports.OrderStore.adopt`."""
    names = {"account": attempt.account, "venue_order_id": report.venue_order_id}
    await connection.execute(_ONE_AT_A_TIME, names)
    order = await order_rows.load(connection, attempt.account, attempt.order_id)
    if order.status is not OrderStatus.IN_DOUBT or order.attempt != attempt.attempt:
        return Notice(order=order)
    owner = await _owner(connection, order, report)
    if owner is not None:
        raise DecisionContradicted(
            "the venue's order is another order of ours",
            numbers={"venue_order_id": report.venue_order_id, "order_id": owner},
        )
    decided = OrderEvent(
        event_type=OrderEventType.RESOLVED,
        ts_event=now,
        reason=reason,
        venue_order_id=report.venue_order_id,
        requested_by=requested_by,
    )
    await order_rows.change(connection, order, decided)
    return await recording.record_report(connection, attempt.account, attempt.order_id, report, trades=trades, now=now)


async def _owner(connection: AsyncConnection, order: Order, report: OrderReport) -> str | None:
    """Return another order of the account that the venue's order belongs to. Its ids are unique per symbol."""
    query = (
        select(attempts.c.order_id)
        .join(orders, (orders.c.account == attempts.c.account) & (orders.c.order_id == attempts.c.order_id))
        .where(
            attempts.c.account == order.account,
            attempts.c.venue_order_id == report.venue_order_id,
            attempts.c.order_id != order.order_id,
            orders.c.symbol == report.symbol,
        )
    )
    owner: str | None = (await connection.execute(query)).scalars().first()
    return owner
