"""`SqlRecordReader`: fills and orders for reports, page by page in the order of a key, so that memory stays small."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from domain.events import Fill, OrderEvent
from domain.lots import Trade
from domain.order import Order, OrderSide, TradingMode
from domain.records import Decision, LedgerFill, OrderRecord
from storage.database import in_transaction

FILLS_A_PAGE: Final = 2_000
ORDERS_A_PAGE: Final = 500
_FIRST: Final = datetime(1970, 1, 1, tzinfo=UTC)

_FILLS: Final = text(
    """
    WITH page AS MATERIALIZED (
        SELECT * FROM fills
        WHERE account = :account AND symbol = :symbol AND ts_event >= :at AND ts_event < :until
          AND (ts_event > :at OR (length(trade_id), trade_id, venue_order_id)
            > (:length ::integer, :trade_id ::text, :venue_order_id ::text))
        ORDER BY ts_event, length(trade_id), trade_id, venue_order_id LIMIT :limit
    )
    SELECT f.*, p.price AS price_of_fee,
        o.document->>'mode' AS mode, o.document->'ticket'->>'side' AS side, o.document->>'requested_by' AS requested_by,
        o.document->'ticket'->>'strategy' AS strategy, o.document->'ticket'->>'client_reference' AS client_reference
    FROM page f
    JOIN orders o ON o.account = f.account AND o.order_id = f.order_id
    LEFT JOIN fee_prices p ON p.account = f.account AND p.symbol = f.symbol AND p.venue_order_id = f.venue_order_id
        AND p.trade_id = f.trade_id
    ORDER BY f.ts_event, length(f.trade_id), f.trade_id, f.venue_order_id
    """
)
"""The page is taken from the fills alone, by their index. Fills of another mode are part of it, and passed over."""
_SYMBOLS: Final = text("SELECT DISTINCT symbol FROM fills WHERE account = :account ORDER BY symbol")
_ORDERS: Final = text(
    """
    SELECT o.number, o.document::text AS document, a.decision, a.decided_by, a.decided_at, a.because,
        a.order_id IS NOT NULL AS asked
    FROM orders o LEFT JOIN approvals a ON a.account = o.account AND a.order_id = o.order_id
    WHERE o.account = :account AND o.number > :after AND o.created_at >= :since AND o.created_at < :until
      AND o.document->>'mode' = :mode
    ORDER BY o.number LIMIT :limit
    """
)
_EVENTS: Final = text(
    """
    SELECT order_id, document::text AS document, evidence::text AS evidence, event_type FROM order_events
    WHERE account = :account AND order_id = ANY(:orders) ORDER BY order_id, seq
    """
)


class SqlRecordReader:
    """Implements `domain.records.RecordReader` over Postgres."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def fills(
        self, account: str, mode: TradingMode, *, since: datetime | None, until: datetime
    ) -> AsyncIterator[Sequence[LedgerFill]]:
        """Yield the fills by symbol, then in the venue's time order."""
        for row in await self._read(_SYMBOLS, {"account": account}):
            key: dict[str, Any] = {"at": since or _FIRST, "length": 0, "trade_id": "", "venue_order_id": ""}
            asked = {"account": account, "symbol": row.symbol, "until": until, "limit": FILLS_A_PAGE}
            while rows := await self._read(_FILLS, {**asked, **key}):
                yield [_fill(row, mode) for row in rows if row.mode == mode]
                if len(rows) < FILLS_A_PAGE:
                    break
                last = rows[-1]._mapping
                key = {"at": last["ts_event"], "length": len(last["trade_id"])}
                key |= {name: last[name] for name in ("trade_id", "venue_order_id")}

    async def orders(
        self, account: str, mode: TradingMode, *, since: datetime, until: datetime
    ) -> AsyncIterator[Sequence[OrderRecord]]:
        """Yield the orders that were asked for in that time, oldest first."""
        asked = {"account": account, "mode": mode, "since": since, "until": until, "limit": ORDERS_A_PAGE}
        after = 0
        while rows := await self._read(_ORDERS, {**asked, "after": after}):
            orders = [Order.model_validate_json(row.document) for row in rows]
            names = {"account": account, "orders": [order.order_id for order in orders]}
            events: dict[str, list[Row[tuple[Any, ...]]]] = {}
            for event in await self._read(_EVENTS, names):
                events.setdefault(event.order_id, []).append(event)
            yield [_record(order, row, events.get(order.order_id, ())) for order, row in zip(orders, rows, strict=True)]
            if len(rows) < ORDERS_A_PAGE:
                return
            after = rows[-1].number

    async def _read(self, query: Any, values: Mapping[str, object]) -> Sequence[Row[tuple[Any, ...]]]:
        async def read(connection: AsyncConnection) -> Sequence[Row[tuple[Any, ...]]]:
            return (await connection.execute(query, values)).all()

        return await in_transaction(self._engine, read)


def _fill(row: Row[tuple[Any, ...]], mode: TradingMode) -> LedgerFill:
    named = row._mapping
    fill = Fill.model_validate({name: named[name] for name in Fill.model_fields})
    return LedgerFill(
        account=named["account"],
        mode=mode,
        trade=Trade(named["order_id"], OrderSide(named["side"]), fill, named["price_of_fee"]),
        requested_by=named["requested_by"],
        strategy=named["strategy"],
        client_reference=named["client_reference"],
        recorded_at=named["recorded_at"],
    )


def _record(order: Order, row: Row[tuple[Any, ...]], events: Sequence[Row[tuple[Any, ...]]]) -> OrderRecord:
    asked = Decision(row.decision, row.decided_by, row.decided_at, row.because) if row.asked else None
    facts = [(OrderEvent.model_validate_json(event.document), event.evidence) for event in events]
    return OrderRecord(order=order, events=facts, approval=asked)
