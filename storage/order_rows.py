"""An order's row: read under lock, and written together with the facts that changed it."""

import json
from collections.abc import Sequence

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.errors import OrderNotFound
from domain.events import OrderEvent
from domain.lifecycle import AT_VENUE
from domain.order import Order
from storage.tables import order_events, orders


def document(model: Order | OrderEvent) -> dict[str, object]:
    """Return what is kept as JSONB: amounts as text, absent fields left out."""
    loaded: dict[str, object] = json.loads(model.model_dump_json(exclude_none=True))
    return loaded


async def find(connection: AsyncConnection, account: str, order_id: str, *, lock: bool = False) -> Order | None:
    """Return the order, or `None`; with `lock`, nobody else changes it until the transaction ends."""
    query = select(orders.c.document).where(orders.c.account == account, orders.c.order_id == order_id)
    row = (await connection.execute(query.with_for_update() if lock else query)).first()
    return Order.model_validate(row.document) if row is not None else None


async def load(connection: AsyncConnection, account: str, order_id: str, *, lock: bool = True) -> Order:
    """Return the order. Raises `OrderNotFound`."""
    order = await find(connection, account, order_id, lock=lock)
    if order is None:
        raise OrderNotFound(f"account {account} has no order {order_id}")
    return order


async def save_new(connection: AsyncConnection, order: Order, events: Sequence[OrderEvent]) -> None:
    """Write the row of a new order and its first facts."""
    await connection.execute(
        insert(orders).values(
            account=order.account,
            order_id=order.order_id,
            idempotency_key=order.idempotency_key,
            fingerprint=order.ticket.fingerprint(),
            symbol=order.ticket.symbol,
            created_at=order.created_at,
            **_columns(order),
        )
    )
    await _append(connection, order, events)


async def save(
    connection: AsyncConnection, order: Order, events: Sequence[OrderEvent], *, notify: bool = False
) -> None:
    """Write the order's new state and the facts that led to it; with `notify`, its workflow shall hear of them."""
    if not events:
        return
    changes = _columns(order)
    if notify:
        changes["notify_seq"] = order.seq
    where = (orders.c.account == order.account, orders.c.order_id == order.order_id)
    await connection.execute(update(orders).where(*where).values(**changes))
    await _append(connection, order, events)


async def change(connection: AsyncConnection, order: Order, event: OrderEvent) -> Order:
    """Apply one fact and write it."""
    changed = order.apply(event)
    await save(connection, changed, [event])
    return changed


def _columns(order: Order) -> dict[str, object]:
    return {
        "status": order.status,
        "is_open": not order.is_final,
        "is_at_venue": order.status in AT_VENUE,
        "seq": order.seq,
        "quantity": order.quantity,
        "cum_qty": order.cum_qty,
        "document": document(order),
        "updated_at": order.updated_at,
    }


async def _append(connection: AsyncConnection, order: Order, events: Sequence[OrderEvent]) -> None:
    first = order.seq - len(events) + 1
    await connection.execute(
        insert(order_events),
        [
            {
                "account": order.account,
                "order_id": order.order_id,
                "seq": first + offset,
                "event_type": event.event_type,
                "document": document(event),
            }
            for offset, event in enumerate(events)
        ],
    )
