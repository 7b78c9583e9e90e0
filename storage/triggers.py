"""`SqlTriggerStore`: stops that wait for their price, what triggered them, and how far the trades were looked at."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from domain.events import OrderEvent
from domain.lifecycle import OrderEventType
from domain.order import Order
from domain.triggers import Crossing, Mark
from storage import order_rows
from storage.database import in_transaction
from storage.tables import orders, trigger_marks

_WAITING = (
    select(orders.c.document)
    .where(
        text("status = 'INITIALIZED' AND document->>'placement' = 'held' AND document->'triggered' IS NULL"),
    )
    .order_by(orders.c.number)
)
"""In the words of the index `orders_waiting`."""


class SqlTriggerStore:
    """Implements `domain.trigger_ports.TriggerStore` over Postgres. What each method promises is said there."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def waiting_orders(self, account: str) -> Sequence[Order]:
        """Return the stops that we hold and whose price has not come."""

        async def read(connection: AsyncConnection) -> Sequence[Order]:
            rows = await connection.execute(_WAITING.where(orders.c.account == account))
            return [Order.model_validate_json(row.document) for row in rows]

        return await in_transaction(self._engine, read)

    async def marks(self, account: str) -> Mapping[str, Mark]:
        """Return how far each symbol's trades were looked at."""
        query = select(trigger_marks).where(trigger_marks.c.account == account)
        rows = await in_transaction(self._engine, lambda connection: connection.execute(query))
        return {row.symbol: Mark(symbol=row.symbol, until=row.until, listed_at=row.listed_at) for row in rows}

    async def record_mark(self, account: str, mark: Mark) -> None:
        """Record that the trades were looked at up to a moment."""
        figures = {"until": mark.until, "listed_at": mark.listed_at}
        row = insert(trigger_marks).values(account=account, symbol=mark.symbol, **figures)
        row = row.on_conflict_do_update(index_elements=["account", "symbol"], set_=figures)
        await in_transaction(self._engine, lambda connection: connection.execute(row))

    async def record_trigger(self, account: str, order_id: str, crossing: Crossing, *, now: datetime) -> Order:
        """Record what triggered the order; one that does not wait any more is returned as it is."""

        async def write(connection: AsyncConnection) -> Order:
            order = await order_rows.load(connection, account, order_id)
            if not order.waits_for_trigger or order.cancel_requested:
                return order
            event = OrderEvent(event_type=OrderEventType.TRIGGERED, ts_event=now, crossing=crossing)
            triggered = order.apply(event)
            evidence = crossing.model_dump_json(exclude_none=True)
            await order_rows.save(connection, triggered, [event], notify=True, evidence=evidence)
            return triggered

        return await in_transaction(self._engine, write)


__all__ = ["SqlTriggerStore"]
