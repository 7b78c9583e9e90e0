"""What a rehearsal of other limits replays: decisions with their evidence, fills, ends and marks, since a time."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.events import Fill, OrderEvent
from domain.lifecycle import OrderEventType
from domain.numbers import EXACT, add, subtract
from domain.order import Order, OrderSide, TradingMode
from domain.risk import Answer
from domain.risk_replay import WARM_UP, Recorded, RecordedFill, RecordedOrder, measured_at
from domain.valuation import Mark
from storage.admission import Findings
from storage.exposures import rows_of
from storage.valuation import mark_of

_ANSWERS: Final[Mapping[str, Answer]] = {
    OrderEventType.ADMITTED: Answer.ALLOW,
    OrderEventType.HELD: Answer.HOLD,
    OrderEventType.DENIED: Answer.DENY,
}
_ORDERS = text(
    """
    SELECT orders.document::text AS document, first.event_type, first.document::text AS event,
        first.evidence::text AS evidence, first.recorded_at, reservations.unit_price,
        CASE WHEN NOT orders.is_open THEN (
            SELECT max(recorded_at) FROM order_events last
            WHERE last.account = orders.account AND last.order_id = orders.order_id AND event_type <> 'FINALIZED'
        ) END AS ended_at
    FROM (
        SELECT account, order_id, document, created_at, is_open FROM orders
        WHERE created_at >= :begin OR is_open OR updated_at >= :begin
        ORDER BY created_at DESC LIMIT :limit + 1
    ) AS orders
    JOIN order_events first ON first.account = orders.account AND first.order_id = orders.order_id AND first.seq = 1
    LEFT JOIN reservations ON reservations.account = orders.account AND reservations.order_id = orders.order_id
    ORDER BY first.recorded_at
    """
)
_FILLS = text("SELECT * FROM fills WHERE recorded_at >= :begin ORDER BY recorded_at")
_HELD = text("SELECT scope, symbol, traded, clock_timestamp() AS now FROM exposures")
_MARKS = text("SELECT * FROM marks WHERE asked_at >= :begin ORDER BY asked_at")
_NOW = text("SELECT clock_timestamp()")


async def recorded(connection: AsyncConnection, *, since: datetime, limit: int) -> Recorded:
    """Return what happened since then, with a day before it, and what it began from; at most `limit` orders."""
    await connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
    until: datetime = (await connection.execute(_NOW)).scalar_one()
    key = {"begin": since - WARM_UP, "limit": limit}
    orders = [_order(row) for row in await connection.execute(_ORDERS, key)]
    whole = len(orders) <= limit
    orders = orders[-limit:]
    known = {(entry.order.account, entry.order.order_id): entry.order for entry in orders}
    fills = []
    for row in await connection.execute(_FILLS, {"begin": key["begin"]}):
        if (row.account, row.order_id) in known:
            fill = Fill.model_validate({name: row._mapping[name] for name in Fill.model_fields})
            fills.append(RecordedFill(account=row.account, order_id=row.order_id, at=row.recorded_at, fill=fill))
    filled: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for told in fills:
        filled[told.account, told.order_id] = add(filled[told.account, told.order_id], told.fill.last_qty)
    orders = [_from_there(entry, filled[entry.order.account, entry.order.order_id]) for entry in orders]
    marks: dict[TradingMode, list[Mark]] = defaultdict(list)
    for row in await connection.execute(_MARKS, {"begin": key["begin"]}):
        marks[TradingMode(row.mode)].append(mark_of(row))
    return Recorded(
        since=since,
        until=until,
        orders=tuple(orders),
        fills=tuple(fills),
        held=await _held_before(connection, fills, known),
        marks={mode: tuple(known_marks) for mode, known_marks in marks.items()},
        is_whole=whole,
    )


def _order(row: Row[tuple[Any, ...]]) -> RecordedOrder:
    order = Order.model_validate_json(row.document)
    event = OrderEvent.model_validate_json(row.event)
    findings = Findings.model_validate_json(row.evidence).root if row.evidence is not None else ()
    return RecordedOrder(
        order=order,
        answer=_ANSWERS[row.event_type],
        reason=event.reason,
        findings=findings,
        decided_at=row.recorded_at,
        ended_at=row.ended_at,
        unit_price=measured_at(order, findings, row.unit_price),
    )


def _from_there(entry: RecordedOrder, filled: Decimal) -> RecordedOrder:
    """Say how much of an order was filled before the fills that are replayed."""
    before = max(subtract(entry.order.cum_qty, filled), Decimal(0))
    return entry.model_copy(update={"filled_before": before}) if before else entry


async def _held_before(
    connection: AsyncConnection, fills: Sequence[RecordedFill], known: Mapping[tuple[str, str], Order]
) -> Mapping[str, Mapping[str, Decimal]]:
    """Return what every scope row holds now, less what the fills moved."""
    held: dict[str, dict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    for row in await connection.execute(_HELD):
        held[row.scope][row.symbol] = row.traded
    for told in fills:
        order = known[told.account, told.order_id]
        bought = order.ticket.side is OrderSide.BUY
        moved = told.fill.last_qty if bought else EXACT.minus(told.fill.last_qty)
        for scope in rows_of(order):
            held[scope][told.fill.symbol] = subtract(held[scope][told.fill.symbol], moved)
    return {scope: dict(symbols) for scope, symbols in held.items()}
