"""Losses of the day and falls from the best: seen with what open positions would lose, and kept to their limits."""

from decimal import Decimal
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from domain.order import OrderSide, TradingMode
from domain.ports import Admission
from domain.reports import VenueOrderStatus
from domain.risk import Answer
from domain.valuation import Mark
from storage.database import in_transaction
from storage.losses import look
from storage.valuation import record_marks
from tests.factories import NOW, make_fill, make_report, make_request, make_terms, make_validated
from tests.integration.storage.conftest import ACCOUNT, Life


async def marked(engine: AsyncEngine, price: str) -> None:
    """Let the market be at a price now."""
    async with engine.connect() as connection:
        now = (await connection.exec_driver_sql("SELECT clock_timestamp()")).scalar_one()
    mark = Mark(symbol="BTC/USDT", bid=Decimal(price), ask=Decimal(price), last=Decimal(price), asked_at=now)
    await in_transaction(engine, lambda each: record_marks(each, ACCOUNT, TradingMode.SANDBOX, [mark]))


async def bought(life: Life) -> None:
    """0.1 BTC at 100, without a fee."""
    order = await life.resting()
    over = make_report(cum_qty=Decimal("0.1"), status=VenueOrderStatus.CLOSED)
    trade = make_fill(commission=None, commission_asset=None)
    await life.store.record_report(ACCOUNT, order.order_id, over, trades=[trade], now=NOW)


async def admit(life: Life, key: str, **ticket: Any) -> Admission:
    """Ask the gate while the venue gives no price of its own: the mark counts."""
    request = make_request(key, **ticket)
    validated = make_validated(request, reference_price=None)
    return await life.store.admit(request, validated, terms=make_terms(), now=NOW)


async def seen(engine: AsyncEngine) -> list[tuple[str, Decimal]]:
    async with engine.connect() as connection:
        now = (await connection.exec_driver_sql("SELECT clock_timestamp()")).scalar_one()
    return [(loss.scope, loss.loss) for loss in await look(engine, ACCOUNT, TradingMode.SANDBOX, now=now)]


async def test_loss_of_an_open_position_denies_openings_and_lets_it_be_closed(life: Life, engine: AsyncEngine) -> None:
    await life.fund(USDT="1000", BTC="1")
    await bought(life)
    await life.limit(max_daily_loss="2", max_order_notional="1000")
    await marked(engine, "81")
    assert (await admit(life, "a")).answer is Answer.ALLOW and await seen(engine) == []
    await marked(engine, "79")
    denied = await admit(life, "b")
    assert denied.reason is not None and denied.reason.code == "DAILY_LOSS_ABOVE_LIMIT"
    assert denied.reason.numbers["loss"] == "2.1"
    assert await seen(engine) == [("account:binanceus", Decimal("2.1"))]
    assert (await admit(life, "close", side=OrderSide.SELL)).answer is Answer.ALLOW


async def test_drawdown_counts_from_the_highest_profit(life: Life, engine: AsyncEngine) -> None:
    await life.fund(USDT="1000", BTC="1")
    await bought(life)
    await life.limit(scope="firm", max_drawdown="3")
    await marked(engine, "150")
    assert await seen(engine) == []
    await marked(engine, "121")
    assert (await admit(life, "a")).answer is Answer.ALLOW
    await marked(engine, "119")
    denied = await admit(life, "b")
    assert denied.reason is not None and denied.reason.code == "DRAWDOWN_ABOVE_LIMIT"
    assert denied.reason.numbers["drawdown"] == "3.1"
    assert (await admit(life, "close", side=OrderSide.SELL)).answer is Answer.ALLOW


async def test_position_without_a_fresh_price_is_unavailable(life: Life) -> None:
    await life.fund(USDT="1000", BTC="1")
    await bought(life)
    await life.limit(max_daily_loss="2")
    unknown = await admit(life, "a")
    assert (unknown.answer, unknown.reason.code if unknown.reason else "") == (Answer.UNAVAILABLE, "VALUE_UNKNOWN")
