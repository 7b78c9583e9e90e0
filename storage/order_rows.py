"""An order's row: read under lock, and written together with the facts that changed it."""

from collections.abc import Sequence

from sqlalchemy import bindparam, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.errors import OrderNotFound
from domain.events import OrderEvent
from domain.lifecycle import AT_VENUE
from domain.order import Order
from storage import continuity
from storage.tables import orders

_FIND = select(orders.c.document).where(
    orders.c.account == bindparam("account"), orders.c.order_id == bindparam("order_id")
)
_LOCK = _FIND.add_columns(continuity.unverified(bindparam("account")).label("unverified")).with_for_update()
INSERT_ORDER = """
    INSERT INTO orders (account, order_id, idempotency_key, fingerprint, symbol, status, is_open, is_at_venue, seq,
        quantity, cum_qty, document, created_at, updated_at)
    VALUES (:account, :order_id, :idempotency_key, :fingerprint, :symbol, :status, :is_open, :is_at_venue, :seq,
        :quantity, :cum_qty, :document, :created_at, :updated_at)
    ON CONFLICT DO NOTHING RETURNING 1
"""
"""No row when the order's id or its key is taken; waits for a transaction that is about to take either."""
INSERT_FACTS = """
    INSERT INTO order_events (account, order_id, seq, event_type, document, evidence)
    SELECT :account, :order_id, fact.seq, fact.event_type, fact.document::jsonb, fact.evidence::jsonb
    FROM {given}unnest(:seqs ::integer[], :event_types ::text[], :documents ::text[], :evidences ::text[])
        AS fact (seq, event_type, document, evidence)
"""
_UPDATE_ORDER = """
    UPDATE orders SET
        status = :status, is_open = :is_open, is_at_venue = :is_at_venue, seq = :seq, quantity = :quantity,
        cum_qty = :cum_qty, document = :document, updated_at = :updated_at,
        notify_seq = coalesce(:notify_seq ::integer, notify_seq)
    WHERE account = :account AND order_id = :order_id
"""
_KEEP_BODY = """
    INSERT INTO audit_bodies (hash, body) SELECT sha256(convert_to(told, 'UTF8')), told
    FROM (SELECT :body ::text AS told) AS given WHERE told IS NOT NULL ON CONFLICT DO NOTHING
"""
_ADD = text(INSERT_ORDER)
_APPEND = text(INSERT_FACTS.format(given=""))
_UPDATE = text(_UPDATE_ORDER)
_SAVE = text(f"WITH facts AS ({INSERT_FACTS.format(given='')}), kept AS ({_KEEP_BODY}) {_UPDATE_ORDER}")
"""Facts and what they made of the order, in one round trip."""


def document(model: Order | OrderEvent) -> str:
    """Return what is kept as JSONB: amounts as text, absent fields left out."""
    return model.model_dump_json(exclude_none=True)


async def find(connection: AsyncConnection, account: str, order_id: str, *, lock: bool = False) -> Order | None:
    """Return the order, or `None`; with `lock`, nobody else changes it until the transaction ends.

    With `lock` also raises `StoreUnavailable` while the ledger may have lost facts (`storage/continuity.py`).
    """
    key = {"account": account, "order_id": order_id}
    row = (await connection.execute(_LOCK if lock else _FIND, key)).first()
    if lock and row is not None:
        continuity.refuse_if(row.unverified)
    return Order.model_validate_json(row.document) if row is not None else None


async def find_unverified(connection: AsyncConnection, account: str, order_id: str) -> Order | None:
    """Return the order under lock, or `None`, also from a ledger that may have lost facts: for its repair alone."""
    row = (await connection.execute(_LOCK, {"account": account, "order_id": order_id})).first()
    return Order.model_validate_json(row.document) if row is not None else None


async def load(connection: AsyncConnection, account: str, order_id: str, *, lock: bool = True) -> Order:
    """Return an order that is known to be recorded; with `lock`, nobody else changes it until the transaction ends.

    Raises `StoreUnavailable` while the ledger may have lost facts (`storage/continuity.py`), and for an order that is
    missing: who asks has been told that it was recorded.
    """
    order = await find(connection, account, order_id, lock=lock)
    if order is None:
        raise continuity.FactsMissing(account, order_id)
    return order


async def look(connection: AsyncConnection, account: str, order_id: str) -> Order:
    """Return an order that somebody names. Raises `OrderNotFound`."""
    order = await find(connection, account, order_id)
    if order is None:
        raise OrderNotFound(f"account {account} has no order {order_id}")
    return order


async def add(connection: AsyncConnection, order: Order) -> bool:
    """Write the row of a new order, without its facts; false when its id or its key is taken."""
    return (await connection.execute(_ADD, new_row(order))).first() is not None


async def save(
    connection: AsyncConnection,
    order: Order,
    events: Sequence[OrderEvent],
    *,
    notify: bool = False,
    evidence: str | None = None,
    body: str | None = None,
) -> None:
    """Write the order's new state and the facts that led to it.

    Parameters
    ----------
    notify
        Whether the order's workflow shall hear of them.
    evidence
        The venue's words that the last of the facts rests on, as JSON text.
    body
        The raw answer that they were read from, kept apart under the hash that the evidence names.
    """
    if events:
        told = {"notify_seq": order.seq if notify else None, "body": body}
        await connection.execute(_SAVE, {**_row(order), **told, **facts_of(order, events, evidence)})


async def append(connection: AsyncConnection, order: Order, event: OrderEvent, *, evidence: str | None = None) -> None:
    """Write the first fact of an order that was just added, and what it rests on."""
    key = {"account": order.account, "order_id": order.order_id}
    await connection.execute(_APPEND, {**key, **facts_of(order, [event], evidence)})


async def change(
    connection: AsyncConnection,
    order: Order,
    event: OrderEvent,
    *,
    evidence: str | None = None,
    body: str | None = None,
) -> Order:
    """Apply one fact and write it, with what it rests on."""
    changed = order.apply(event)
    await save(connection, changed, [event], evidence=evidence, body=body)
    return changed


async def flag(connection: AsyncConnection, order: Order) -> Order:
    """Show that the order needs a person."""
    return await mark(connection, order, needs_attention=True)


async def mark(connection: AsyncConnection, order: Order, **marks: object) -> Order:
    """Write marks on the order's row. They are shown to people, and are no facts of the order's life."""
    marked = order.model_copy(update=marks)
    await connection.execute(_UPDATE, {**_row(marked), "notify_seq": None})
    return marked


def _row(order: Order) -> dict[str, object]:
    return {
        "account": order.account,
        "order_id": order.order_id,
        "status": order.status,
        "is_open": not order.is_final,
        "is_at_venue": order.status in AT_VENUE,
        "seq": order.seq,
        "quantity": order.quantity,
        "cum_qty": order.cum_qty,
        "document": document(order),
        "updated_at": order.updated_at,
    }


def new_row(order: Order) -> dict[str, object]:
    """Return the values of `INSERT_ORDER`."""
    return {
        **_row(order),
        "idempotency_key": order.idempotency_key,
        "fingerprint": order.ticket.fingerprint(),
        "symbol": order.ticket.symbol,
        "created_at": order.created_at,
    }


def facts_of(order: Order, events: Sequence[OrderEvent], evidence: str | None) -> dict[str, object]:
    """Return the values of `INSERT_FACTS`: arrays of the latest facts; the evidence stands with the last of them."""
    first = order.seq - len(events) + 1
    return {
        "seqs": list(range(first, order.seq + 1)),
        "event_types": [event.event_type for event in events],
        "documents": [document(event) for event in events],
        "evidences": [evidence if event is events[-1] else None for event in events],
    }
