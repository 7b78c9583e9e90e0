"""An order's row: read under lock, and written together with the facts that changed it."""

from collections.abc import Sequence

from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.errors import OrderNotFound
from domain.events import OrderEvent
from domain.lifecycle import AT_VENUE
from domain.order import Order
from storage.tables import order_events, orders

_FIND = select(orders.c.document).where(
    orders.c.account == bindparam("account"), orders.c.order_id == bindparam("order_id")
)
_LOCK = _FIND.with_for_update()
_UPDATE = update(orders).where(
    orders.c.account == bindparam("of_account"), orders.c.order_id == bindparam("of_order")
)  # fmt: skip


def document(model: Order | OrderEvent) -> str:
    """Return what is kept as JSONB: amounts as text, absent fields left out."""
    return model.model_dump_json(exclude_none=True)


async def find(connection: AsyncConnection, account: str, order_id: str, *, lock: bool = False) -> Order | None:
    """Return the order, or `None`; with `lock`, nobody else changes it until the transaction ends."""
    key = {"account": account, "order_id": order_id}
    row = (await connection.execute(_LOCK if lock else _FIND, key)).first()
    return Order.model_validate_json(row.document) if row is not None else None


async def load(connection: AsyncConnection, account: str, order_id: str, *, lock: bool = True) -> Order:
    """Return the order. Raises `OrderNotFound`."""
    order = await find(connection, account, order_id, lock=lock)
    if order is None:
        raise OrderNotFound(f"account {account} has no order {order_id}")
    return order


async def add(connection: AsyncConnection, order: Order) -> bool:
    """Write the row of a new order, without its facts; false when its id or its key is taken.

    Waits for a transaction that is about to take either.
    """
    row = upsert(orders).on_conflict_do_nothing().returning(orders.c.number)
    figures = {
        "account": order.account,
        "order_id": order.order_id,
        "idempotency_key": order.idempotency_key,
        "fingerprint": order.ticket.fingerprint(),
        "symbol": order.ticket.symbol,
        "created_at": order.created_at,
        **_columns(order),
    }
    return (await connection.execute(row, figures)).first() is not None


async def save(
    connection: AsyncConnection,
    order: Order,
    events: Sequence[OrderEvent],
    *,
    notify: bool = False,
    evidence: str | None = None,
) -> None:
    """Write the order's new state and the facts that led to it.

    Parameters
    ----------
    notify
        Whether the order's workflow shall hear of them.
    evidence
        The venue's words that the last of the facts rests on, as JSON text.
    """
    if not events:
        return
    changes = _columns(order)
    if notify:
        changes["notify_seq"] = order.seq
    await connection.execute(_UPDATE, {"of_account": order.account, "of_order": order.order_id, **changes})
    await append(connection, order, events, evidence=evidence)


async def append(
    connection: AsyncConnection, order: Order, events: Sequence[OrderEvent], *, evidence: str | None = None
) -> None:
    """Write the latest facts of an order whose row is up to date."""
    first = order.seq - len(events) + 1
    rows: list[dict[str, object]] = [
        {
            "account": order.account,
            "order_id": order.order_id,
            "seq": first + offset,
            "event_type": event.event_type,
            "document": document(event),
            "evidence": None,
        }
        for offset, event in enumerate(events)
    ]
    rows[-1]["evidence"] = evidence
    await connection.execute(insert(order_events), rows)


async def change(connection: AsyncConnection, order: Order, event: OrderEvent) -> Order:
    """Apply one fact and write it."""
    changed = order.apply(event)
    await save(connection, changed, [event])
    return changed


async def flag(connection: AsyncConnection, order: Order) -> Order:
    """Show that the order needs a person. It is a mark on the row, not a fact of the order's life."""
    flagged = order.model_copy(update={"needs_attention": True})
    await connection.execute(_UPDATE, {"of_account": order.account, "of_order": order.order_id, **_columns(flagged)})
    return flagged


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
