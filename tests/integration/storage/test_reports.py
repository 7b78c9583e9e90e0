"""A year's records from the ledger: every row leads back to its trades and its order, and pages change nothing."""

import json
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.lots import Method
from domain.order import OrderSide, TradingMode
from domain.records import COLUMNS, Gains, LedgerFill, RecordKind, Row, fee_row, fill_row, order_row, year_of
from domain.reports import VenueOrderStatus
from domain.valuation import Mark
from storage import reports
from storage.accounting_store import SqlAccountingStore
from storage.order_store import SqlOrderStore
from storage.reports import SqlRecordReader
from tests.factories import NOW, make_fill, make_report, make_request
from tests.integration.storage.conftest import ACCOUNT, Life, Rows

MODE = TradingMode.SANDBOX
SINCE, UNTIL = year_of(2026)
BEFORE = datetime(2025, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
T = TypeVar("T")


@pytest.fixture
def records(engine: AsyncEngine) -> SqlRecordReader:
    """The reader on the test's own ledger."""
    return SqlRecordReader(engine)


async def all_of(pages: AsyncIterator[Sequence[T]]) -> list[T]:
    """Read to the end."""
    return [row async for page in pages for row in page]


async def trade(
    life: Life, store: SqlOrderStore, number: int, side: OrderSide, trades: Sequence[tuple[str, str]], **fill: Any
) -> str:
    """An order that was filled in these trades of quantity and price; returns its id."""
    total = sum((Decimal(quantity) for quantity, _ in trades), Decimal(0))
    order = await life.resting(f"key {number}", venue_order_id=f"v{number}", side=side, quantity=total)
    made = [
        make_fill(
            str(index + 8), venue_order_id=f"v{number}", last_qty=Decimal(quantity), last_px=Decimal(price), **fill
        )
        for index, (quantity, price) in enumerate(trades)
    ]
    report = make_report(venue_order_id=f"v{number}", cum_qty=total, status=VenueOrderStatus.CLOSED)
    await store.record_report(ACCOUNT, order.order_id, report, trades=made, now=NOW)
    return order.order_id


async def gains(records: SqlRecordReader, method: Method) -> list[Row]:
    """The year's disposals."""
    made = Gains(method, since=SINCE)
    fills: list[LedgerFill] = await all_of(records.fills(ACCOUNT, MODE, since=None, until=UNTIL))
    return list(made.rows(fills))


async def test_gains_lead_back_to_the_trades_of_both_sides_though_one_is_of_the_year_before(
    life: Life, store: SqlOrderStore, records: SqlRecordReader
) -> None:
    await life.fund(USDT="1000", BTC="1")
    bought = await trade(
        life, store, 1, OrderSide.BUY, [("0.1", "100"), ("0.2", "130")], ts_event=BEFORE, commission_asset="BTC"
    )
    sold = await trade(
        life, store, 2, OrderSide.SELL, [("0.15", "140")], commission=Decimal("0.3"), commission_asset="USDT"
    )
    first, second = await gains(records, Method.FIFO)
    assert [first[name] for name in ("opened_trade_id", "opened_order_id", "closed_trade_id", "closed_order_id")] == [
        "8", bought, "8", sold,
    ]  # fmt: skip
    assert (first["quantity"], first["cost"], first["proceeds"], first["fees"]) == (
        "0.0999", "10", "13.986", "0.0001 BTC + 0.1998 USDT",
    )  # fmt: skip
    assert (first["gain"], first["fees_value"], first["net_gain"]) == ("3.986", "0.1998", "3.7862")
    assert (second["quantity"], second["opened_trade_id"], second["side"]) == ("0.0501", "9", "long")
    days = (NOW - BEFORE).days
    assert (first["opened_at"], first["held_days"]) == ("2025-12-31T23:59:59.999999Z", str(days))
    total = sum(Decimal(row["gain"]) for row in (first, second))
    [average] = await gains(records, Method.AVERAGE)
    assert (average["quantity"], average["held_days"], average["opened_trade_id"]) == ("0.15", None, "8")
    assert Decimal(average["gain"]) != total
    assert tuple(average) == COLUMNS[RecordKind.GAINS]


async def test_fills_and_fees_of_the_year_alone_with_what_fees_were_worth_or_nothing(
    life: Life, store: SqlOrderStore, records: SqlRecordReader, engine: AsyncEngine, rows: Rows
) -> None:
    await life.fund(USDT="1000", BTC="1")
    await trade(life, store, 1, OrderSide.BUY, [("0.1", "100")], ts_event=BEFORE)
    await trade(life, store, 2, OrderSide.BUY, [("0.1", "100")], commission=Decimal("-0.01"), commission_asset="BNB")
    await trade(
        life, store, 3, OrderSide.BUY, [("0.1", "100")],
        commission=Decimal("0.01"), commission_asset="BNB", ts_event=NOW + timedelta(hours=5),
    )  # fmt: skip
    await trade(life, store, 4, OrderSide.BUY, [("0.1", "100")], commission=None, commission_asset=None)
    [recorded] = await rows("SELECT max(recorded_at) AS at FROM fills")
    mark = Mark(symbol="BNB/USDT", bid=None, ask=None, last=Decimal(600), asked_at=NOW)
    await SqlAccountingStore(engine).record_valuation(ACCOUNT, MODE, [mark], now=recorded.at)
    found = await all_of(records.fills(ACCOUNT, MODE, since=SINCE, until=UNTIL))
    told = {row["venue_order_id"]: row for row in map(fee_row, found)}
    assert {name: (row["fee"], row["fee_asset"], row["value"]) for name, row in told.items()} == {
        "v2": ("-0.01", "BNB", "-6"),
        "v3": ("0.01", "BNB", None),
        "v4": (None, None, None),
    }
    filled = fill_row(found[0])
    assert (filled["notional"], filled["fee_value"], filled["requested_by"], filled["at"]) == (
        "10", "-6", "test", "2026-11-24T12:00:00.000000Z",
    )  # fmt: skip
    assert tuple(sorted(filled)) == tuple(sorted(COLUMNS[RecordKind.FILLS]))
    assert tuple(sorted(told["v2"])) == tuple(sorted(COLUMNS[RecordKind.FEES]))
    assert await all_of(records.fills(ACCOUNT, TradingMode.LIVE, since=SINCE, until=UNTIL)) == []
    assert await all_of(records.fills("other", MODE, since=SINCE, until=UNTIL)) == []


@pytest.mark.parametrize("page", [1, 2, 3, 100])
async def test_pages_give_every_fill_once_in_the_venues_order(
    life: Life, store: SqlOrderStore, records: SqlRecordReader, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    monkeypatch.setattr(reports, "FILLS_A_PAGE", page)
    monkeypatch.setattr(reports, "ORDERS_A_PAGE", page)
    await life.fund(USDT="1000", BTC="1")
    same_moment = [("0.1", "100")] * 3  # trades 8, 9 and 10: numbers, not words
    await trade(life, store, 1, OrderSide.BUY, same_moment)
    await trade(life, store, 2, OrderSide.BUY, [("0.1", "100")], ts_event=NOW - timedelta(seconds=1))
    found = await all_of(records.fills(ACCOUNT, MODE, since=None, until=UNTIL))
    names = [(entry.trade.fill.venue_order_id, entry.trade.fill.trade_id) for entry in found]
    assert names == [("v2", "8"), ("v1", "8"), ("v1", "9"), ("v1", "10")]
    orders = await all_of(records.orders(ACCOUNT, MODE, since=SINCE, until=UNTIL))
    assert [record.order.venue_order_id for record in orders] == ["v1", "v2"]


async def test_an_orders_record_shows_who_asked_what_was_checked_and_what_came_of_it(
    life: Life, store: SqlOrderStore, records: SqlRecordReader
) -> None:
    await life.fund(USDT="1000")
    await life.limit(max_order_notional=Decimal(50))
    await trade(life, store, 1, OrderSide.BUY, [("0.1", "100")])
    await life.admit(make_request("too much", quantity=Decimal(2), price=Decimal(100)))
    filled, denied = map(order_row, await all_of(records.orders(ACCOUNT, MODE, since=SINCE, until=UNTIL)))
    assert tuple(filled) == COLUMNS[RecordKind.ORDERS]
    assert (filled["requested_by"], filled["decision"], filled["status"], filled["cum_qty"]) == (
        "test", "ADMITTED", "FILLED", "0.1",
    )  # fmt: skip
    [checked] = filled["limits_checked"]
    assert [(limit["limit"], limit["answer"]) for limit in checked["limits"]] == [("max_order_notional", "ALLOW")]
    assert (denied["decision"], denied["decision_code"], denied["status"]) == (
        "DENIED", denied["reason_code"], "DENIED",
    )  # fmt: skip
    [refused] = denied["limits_checked"]
    assert "50" in json.dumps(refused["limits"]), "the numbers that it was decided by"
    assert [event["type"] for event in denied["events"]] == ["DENIED"]
    assert json.loads(json.dumps(filled)) == filled
