"""Every statement of admitting and of settling goes by an index: a full ledger is as quick as an empty one."""

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import asyncpg  # type: ignore[import-untyped]  # asyncpg ships no types
import pytest
import pytest_asyncio
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from bench.grown import ACCOUNT, SYMBOL, TERMS, grow, request, validated
from domain.events import Fill, Reason
from domain.limits import Limits, LimitSet
from domain.reports import OrderReport, SubmitOutcome, SubmitVerdict, VenueOrderStatus
from domain.risk import Answer
from storage import limit_sets
from storage.database import in_transaction
from storage.measuring import ORDERS_A_ROUND, Measuring
from storage.order_store import SqlOrderStore

pytestmark = pytest.mark.timeout(120)
LARGE = (
    "orders",
    "order_events",
    "fills",
    "attempts",
    "reservations",
    "exposures",
    "admissions",
    "realizations",
    "realized_days",
    "cases",
    "marks",
)
EVERY_LIMIT = Limits(
    max_order_notional=Decimal(10**6),
    max_order_quantity=Decimal(100),
    max_position_quantity={SYMBOL: Decimal(10**6)},
    max_position_notional=Decimal(10**12),
    max_gross_exposure=Decimal(10**12),
    max_net_exposure=Decimal(10**12),
    max_open_orders=10**6,
    max_orders_per_second=10**4,
    max_orders_per_minute=10**5,
    max_orders_per_day=10**6,
    max_turnover_per_day=Decimal(10**12),
    duplicate_window_s=60,
    max_daily_loss=Decimal(10**9),
    max_drawdown=Decimal(10**9),
    cooldown_after_stop_s=60,
    max_stop_outs=100,
    min_profit=Decimal(0),
    forbid_self_trade=True,
)
_SMALL_BY_NATURE = """
    INSERT INTO exposures SELECT scope || '-' || g, symbol, amount, cost, realized_pnl, traded, working_buy,
        working_sell, buy_notional, sell_notional, open_orders, day, day_turnover, updated_at
    FROM exposures, generate_series(1, 400) AS g;
    INSERT INTO realized_days SELECT scope || '-' || g, day, symbol, realized
    FROM realized_days, generate_series(1, 100) AS g;
    INSERT INTO realizations SELECT scope || '-' || g, at, account, symbol, venue_order_id, trade_id, order_id,
        realized, by_stop FROM realizations, generate_series(1, 10) AS g;
    INSERT INTO admissions SELECT 'live/firm-' || g % 5, g, now() FROM generate_series(1, 20000) AS g;
    INSERT INTO marks SELECT mode, 'S' || s || '/USDT', minute - m * interval '1 minute', account, bid, ask, last,
        asked_at - m * interval '1 minute' FROM marks, generate_series(1, 10) AS s, generate_series(1, 1440) AS m;
    INSERT INTO cases (account, subject, order_id, code, reason, closed_at)
    SELECT account, order_id, order_id, 'TRADES_MISSING', '{}', now() FROM orders LIMIT 5000;
    ANALYZE;
"""
"""Years of use: many scopes, a day of marks, closed cases."""


@pytest_asyncio.fixture(loop_scope="session")
async def sent(engine: AsyncEngine, database_url: str) -> AsyncIterator[dict[str, Any]]:
    """Grow the ledger, and catch what is sent to it, with the values of the first time."""
    await grow(engine, ended=12_000, still_open=200)
    connection = await asyncpg.connect(database_url)
    await connection.execute(_SMALL_BY_NATURE)
    await connection.close()
    await engine.dispose()
    caught: dict[str, Any] = {}

    @event.listens_for(engine.sync_engine, "before_cursor_execute")
    def catch(_: Any, __: Any, statement: str, values: Any, ___: Any, many: bool) -> None:
        caught.setdefault(statement, values[0] if many else values)

    yield caught
    event.remove(engine.sync_engine, "before_cursor_execute", catch)


async def test_no_statement_of_an_orders_life_reads_a_whole_table(
    engine: AsyncEngine, store: SqlOrderStore, sent: dict[str, Any], database_url: str
) -> None:
    await _limit(engine)
    await _live(store)
    measured = await Measuring(engine, (ACCOUNT,)).round(now=datetime.now(UTC) + timedelta(hours=1))
    assert measured == ORDERS_A_ROUND
    connection = await asyncpg.connect(database_url)
    try:
        plans = {statement: await _plan(connection, statement, values) for statement, values in sent.items()}
    finally:
        await connection.close()
    read = {table for plan in plans.values() for table in LARGE if re.search(rf"\bon {table}\b", plan)}
    assert read >= {"orders", "reservations", "exposures", "fills", "attempts", "admissions", "marks"}, read
    assert len(plans) >= 20
    for statement, plan in plans.items():
        whole = re.search(rf"Seq Scan on ({'|'.join(LARGE)})\b", plan)
        assert whole is None, f"{statement}\n{plan}"


async def _plan(connection: asyncpg.Connection, statement: str, values: Any) -> str:
    """Return how the ledger's server would carry a statement out; what is no query has no plan."""
    if not re.match(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH)", statement):
        return ""
    rows = await connection.fetch(f"EXPLAIN {statement}", *values)
    return "\n".join(row[0] for row in rows)


async def _limit(engine: AsyncEngine) -> None:
    scopes = ("firm", f"account:{ACCOUNT}", f"symbol:{SYMBOL}", "strategy:momentum", "key:desk")
    limits = LimitSet(by_scope=dict.fromkeys(scopes, EVERY_LIMIT))
    told: dict[str, Any] = {"source": "operator", "changed_by": "test", "because": "a test", "now": datetime.now(UTC)}
    await in_transaction(engine, lambda connection: limit_sets.add(connection, limits, **told))


async def _live(store: SqlOrderStore) -> None:
    """Let orders live: two admissions, so that windows are asked; then fills, a cancel, an end before the send."""
    now = datetime.now(UTC)
    for number in range(2):
        asked = request(f"plan-{number}", price=Decimal(59_000) - number)
        told = await store.admit(asked, validated(asked), terms=TERMS, now=now)
        assert told.answer is Answer.ALLOW, told.reason
    attempt = await store.open_attempt(ACCOUNT, asked.order_id, worker="w", now=now)
    assert await store.pass_last_look(attempt, now=now)
    names = {"symbol": SYMBOL, "venue_order_id": "v1", "client_order_id": attempt.client_order_id}
    resting = OrderReport(**names, status=VenueOrderStatus.OPEN, cum_qty=Decimal(0))
    await store.record_outcome(attempt, SubmitOutcome(verdict=SubmitVerdict.ACCEPTED, report=resting), now=now)
    reason = Reason(code="TEST", text="a test says so")
    half = Fill(
        symbol=SYMBOL,
        venue_order_id="v1",
        trade_id="1",
        last_qty=asked.ticket.quantity / 2,
        last_px=Decimal(59_000),
        commission=Decimal("0.00001"),
        commission_asset="BTC",
        ts_event=now,
    )
    part = OrderReport(**names, status=VenueOrderStatus.OPEN, cum_qty=half.last_qty)
    await store.record_report(ACCOUNT, asked.order_id, part, trades=[half], now=now)
    await store.request_cancel(ACCOUNT, asked.order_id, reason=reason, now=now)
    over = OrderReport(**names, status=VenueOrderStatus.CANCELED, cum_qty=half.last_qty)
    await store.record_report(ACCOUNT, asked.order_id, over, trades=[half], now=now)
    await store.finalize(ACCOUNT, asked.order_id, now=now)
