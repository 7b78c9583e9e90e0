"""Stops that we hold, on a real ledger: who waits, what triggers once, and what is on record of it."""

from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.errors import OrderClosed
from domain.events import Reason
from domain.order import OrderRequest, OrderType
from domain.placement import Placement
from domain.triggers import Crossing, Mark, TriggerBy
from storage import triggers as triggers_of
from storage.restoring import SqlLedgerRepairStore
from storage.triggers import SqlTriggerStore
from tests.factories import NOW, make_request, make_terms, make_validated
from tests.integration.storage.conftest import ACCOUNT, Life, Rows

CROSSING = Crossing(
    by=TriggerBy.LAST, price=Decimal(111), ts_event=NOW, seen_at=NOW + timedelta(seconds=1), trade_id="77"
)
LATER = NOW + timedelta(seconds=2)


@pytest.fixture
def triggers(engine: AsyncEngine) -> SqlTriggerStore:
    return SqlTriggerStore(engine)


async def waiting(life: Life, key: str = "key", *, placement: Placement = Placement.HELD) -> OrderRequest:
    """Admit a stop."""
    await life.fund(USDT="1000")
    request = make_request(key, order_type=OrderType.STOP, price=None, trigger_price=Decimal(110))
    validated = make_validated(request, placement=placement, watch_since=NOW)
    await life.store.admit(request, validated, terms=make_terms(ACCOUNT), now=NOW)
    return request


async def test_only_held_stops_wait_until_they_are_triggered_or_end(life: Life, triggers: SqlTriggerStore) -> None:
    first, second = await waiting(life, "a"), await waiting(life, "b")
    await waiting(life, "native", placement=Placement.NATIVE)
    found = await triggers.waiting_orders(ACCOUNT)
    assert [order.order_id for order in found] == [first.order_id, second.order_id]
    assert {(order.watch_since, order.sent_as) for order in found} == {(NOW, OrderType.MARKET)}
    await triggers.record_trigger(ACCOUNT, first.order_id, CROSSING, now=LATER)
    assert [order.order_id for order in await triggers.waiting_orders(ACCOUNT)] == [second.order_id]
    assert await triggers.waiting_orders("another") == []


async def test_trigger_is_recorded_once_with_its_evidence_and_told(
    life: Life, triggers: SqlTriggerStore, rows: Rows
) -> None:
    request = await waiting(life)
    triggered = await triggers.record_trigger(ACCOUNT, request.order_id, CROSSING, now=LATER)
    other = CROSSING.model_copy(update={"price": Decimal(200), "trade_id": "78"})
    assert await triggers.record_trigger(ACCOUNT, request.order_id, other, now=LATER) == triggered
    assert triggered.triggered == CROSSING
    facts = await rows("SELECT event_type, evidence->>'trade_id' AS trade FROM order_events ORDER BY seq")
    assert [tuple(fact) for fact in facts] == [("ADMITTED", None), ("TRIGGERED", "77")]
    assert [notice.order for notice in await life.store.pending_notices(ACCOUNT, limit=9)] == [triggered]


async def test_nothing_is_sent_before_the_trigger_and_then_a_market_order(
    life: Life, triggers: SqlTriggerStore
) -> None:
    request = await waiting(life)
    with pytest.raises(OrderClosed, match="waits for its trigger"):
        await life.store.open_attempt(ACCOUNT, request.order_id, worker="w", now=NOW)
    await triggers.record_trigger(ACCOUNT, request.order_id, CROSSING, now=LATER)
    attempt = await life.store.open_attempt(ACCOUNT, request.order_id, worker="w", now=LATER)
    assert (attempt.submission.order_type, attempt.submission.trigger_price) == ("market", None)


async def test_cancel_of_a_waiting_stop_is_told_and_no_price_triggers_it_any_more(
    life: Life, triggers: SqlTriggerStore
) -> None:
    request = await waiting(life)
    reason = Reason(code="CANCEL_REQUESTED", text="asked for")
    canceled = await life.store.request_cancel(ACCOUNT, request.order_id, reason=reason, now=NOW)
    assert [notice.order for notice in await life.store.pending_notices(ACCOUNT, limit=9)] == [canceled]
    assert (await triggers.record_trigger(ACCOUNT, request.order_id, CROSSING, now=LATER)).triggered is None


async def test_repaired_ledger_leaves_waiting_stops_waiting_and_doubts_triggered_ones(
    life: Life, triggers: SqlTriggerStore, engine: AsyncEngine
) -> None:
    kept, sent = await waiting(life, "a"), await waiting(life, "b")
    await triggers.record_trigger(ACCOUNT, sent.order_id, CROSSING, now=LATER)
    doubted = await SqlLedgerRepairStore(engine).doubt_all(ACCOUNT, now=LATER)
    assert list(doubted) == [sent.order_id]
    assert [order.order_id for order in await triggers.waiting_orders(ACCOUNT)] == [kept.order_id]


async def test_mark_is_replaced_by_the_next(triggers: SqlTriggerStore) -> None:
    for until in (NOW, LATER):
        await triggers.record_mark(ACCOUNT, Mark(symbol="BTC/USDT", until=until, listed_at=until))
    assert await triggers.marks(ACCOUNT) == {"BTC/USDT": Mark(symbol="BTC/USDT", until=LATER, listed_at=LATER)}
    assert await triggers.marks("another") == {}


async def test_list_of_waiting_stops_is_read_by_its_index(life: Life, engine: AsyncEngine) -> None:
    await waiting(life)
    query = "EXPLAIN " + str(triggers_of._WAITING.where(triggers_of.orders.c.account == ACCOUNT)).replace(
        ":account_1", f"'{ACCOUNT}'"
    )
    async with engine.connect() as connection:
        await connection.execute(text("SET LOCAL enable_seqscan = off"))
        plan = [str(line) for line in await connection.execute(text(query))]
    assert any("orders_waiting" in line for line in plan), plan
