"""The ledger as people and the feed read it: pages by key, the outbox, and positions that another sum confirms."""

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.errors import OrderNotFound
from domain.events import Fill
from domain.lifecycle import OrderStatus
from domain.order import OrderSide
from domain.position import Holding
from domain.reports import VenueOrderStatus
from storage.order_reader import SqlOrderReader
from storage.order_store import SqlOrderStore
from tests.factories import NOW, make_fill, make_report, make_request
from tests.integration.storage.conftest import ACCOUNT, Life


async def test_orders_page_by_key_newest_first(life: Life, reader: SqlOrderReader) -> None:
    await life.fund(USDT="1000")
    placed = [(await life.admit(make_request(f"key {number}"))).order.order_id for number in range(7)]
    seen: list[str] = []
    before: str | None = None
    while page := await reader.orders(ACCOUNT, is_open=None, symbol=None, limit=3, before=before):
        seen += [order.order_id for order in page]
        before = seen[-1]
    assert seen == placed[::-1]


async def test_orders_are_filtered_by_account_symbol_and_whether_they_are_open(
    life: Life, reader: SqlOrderReader
) -> None:
    await life.fund(USDT="1000")
    open_order = (await life.admit(make_request("open"))).order
    denied = (await life.admit(make_request("denied"), max_order_notional=Decimal(1))).order

    async def found(account: str = ACCOUNT, *, is_open: bool | None = None, symbol: str | None = None) -> list[str]:
        orders = await reader.orders(account, is_open=is_open, symbol=symbol, limit=10, before=None)
        return [order.order_id for order in orders]

    assert await found() == [denied.order_id, open_order.order_id]
    assert await found(is_open=True) == [open_order.order_id]
    assert await found(is_open=False, symbol="BTC/USDT") == [denied.order_id]
    assert await found(symbol="ETH/USDT") == []
    assert await found("other") == []


async def test_page_before_an_unknown_order_is_not_found(reader: SqlOrderReader) -> None:
    with pytest.raises(OrderNotFound):
        await reader.orders(ACCOUNT, is_open=None, symbol=None, limit=3, before="a" * 16)


async def test_working_orders_are_those_that_the_venue_may_hold(life: Life, store: SqlOrderStore) -> None:
    await life.fund(USDT="1000")
    await life.admit(make_request("not sent"))
    sent = await life.sent(make_request("sent"))
    resting = await life.resting("resting")
    over = await life.resting("over", venue_order_id="8")
    gone = make_report(venue_order_id="8", status=VenueOrderStatus.CANCELED)
    await store.record_report(ACCOUNT, over.order_id, gone, trades=(), now=NOW)
    assert [order.order_id for order in await store.working_orders(ACCOUNT)] == [sent.order_id, resting.order_id]
    assert await store.working_orders("other") == []


async def test_outbox_holds_what_a_report_changed_until_it_was_told(life: Life, store: SqlOrderStore) -> None:
    await life.fund(USDT="1000")
    order = await life.resting()
    assert await store.pending_notices(ACCOUNT, limit=10) == []
    await store.record_report(ACCOUNT, order.order_id, make_report(), trades=(), now=NOW)
    assert await store.pending_notices(ACCOUNT, limit=10) == []  # nothing new was in it
    first = make_fill("1", last_qty=Decimal("0.02"))
    report = make_report(cum_qty=Decimal("0.02"))
    told = await store.record_report(ACCOUNT, order.order_id, report, trades=[first], now=NOW)
    assert [notice.order for notice in await store.pending_notices(ACCOUNT, limit=10)] == [told.order]
    second = make_fill("2", last_qty=Decimal("0.08"))
    report = make_report(cum_qty=Decimal("0.1"), status=VenueOrderStatus.CLOSED)
    newer = await store.record_report(ACCOUNT, order.order_id, report, trades=[second], now=NOW)
    await store.mark_notified(ACCOUNT, [told])
    assert [notice.order for notice in await store.pending_notices(ACCOUNT, limit=10)] == [newer.order]
    await store.mark_notified(ACCOUNT, [newer])
    await store.mark_notified(ACCOUNT, [told])  # an older word changes nothing
    assert await store.pending_notices(ACCOUNT, limit=10) == []
    await store.mark_notified(ACCOUNT, [])


async def test_outbox_is_taken_in_parts(life: Life, store: SqlOrderStore) -> None:
    await life.fund(USDT="1000")
    for number in range(5):
        order = await life.resting(f"key {number}", venue_order_id=f"v{number}")
        gone = make_report(venue_order_id=f"v{number}", status=VenueOrderStatus.CANCELED)
        await store.record_report(ACCOUNT, order.order_id, gone, trades=(), now=NOW)
    seen: list[str] = []
    while notices := await store.pending_notices(ACCOUNT, limit=2):
        assert len(notices) <= 2
        assert all(notice.order.status is OrderStatus.CANCELED for notice in notices)
        seen += [notice.order.order_id for notice in notices]
        await store.mark_notified(ACCOUNT, notices)
    assert len(set(seen)) == len(seen) == 5


async def test_position_of_both_sides_is_average_cost_and_realized_profit(
    life: Life, store: SqlOrderStore, reader: SqlOrderReader
) -> None:
    await life.fund(USDT="1000", BTC="1")
    trades = [
        (OrderSide.BUY, "0.1", "100"),
        (OrderSide.BUY, "0.1", "110"),
        (OrderSide.SELL, "0.15", "120"),
    ]
    for number, (side, quantity, price) in enumerate(trades):
        figures = {"quantity": Decimal(quantity), "price": Decimal(price)}
        order = await life.resting(f"key {number}", venue_order_id=f"v{number}", side=side, **figures)
        fill = make_fill(
            "1",
            venue_order_id=f"v{number}",
            last_qty=Decimal(quantity),
            last_px=Decimal(price),
            commission=Decimal("0.01"),
            commission_asset="USDT",
        )
        report = make_report(venue_order_id=f"v{number}", cum_qty=Decimal(quantity), status=VenueOrderStatus.CLOSED)
        await store.record_report(ACCOUNT, order.order_id, report, trades=[fill], now=NOW)
    [position] = await reader.positions(ACCOUNT)
    assert position.amount == Decimal("0.05")
    assert position.entry_price == Decimal(105)
    assert position.realized_pnl == Decimal("2.22")  # 0.15 × (120 - 105) - 3 × 0.01


@dataclass
class FractionPosition:
    """Average cost by its definition, one unit of arithmetic after the other, in exact fractions."""

    amount: Fraction = Fraction(0)
    entry: Fraction = Fraction(0)
    realized: Fraction = Fraction(0)

    def trade(self, signed: Fraction, price: Fraction) -> None:
        """Close what the trade closes at the average, then open the rest at its price."""
        if self.amount * signed < 0:
            closed = min(abs(self.amount), abs(signed)) * (1 if signed > 0 else -1)
            self.realized -= closed * (price - self.entry)
            self.amount += closed
            signed -= closed
        if signed:
            self.entry = (self.amount * self.entry + signed * price) / (self.amount + signed)
            self.amount += signed
        if not self.amount:
            self.entry = Fraction(0)


_steps = st.lists(
    st.tuples(
        st.sampled_from(OrderSide),
        st.decimals("0.0001", "1000", places=4),
        st.decimals("0.01", "100000", places=2),
    ),
    max_size=12,
)


@given(_steps)
def test_holding_agrees_with_average_cost_in_fractions(steps: list[tuple[OrderSide, Decimal, Decimal]]) -> None:
    holding, reference = Holding(), FractionPosition()
    for number, (side, quantity, price) in enumerate(steps):
        fill: Fill = make_fill(str(number), last_qty=quantity, last_px=price, commission=None, commission_asset=None)
        holding = holding.after(fill, side=side)
        reference.trade(Fraction(quantity) * (1 if side is OrderSide.BUY else -1), Fraction(price))
        assert Fraction(holding.amount) == reference.amount
        assert abs(Fraction(holding.cost) - reference.amount * reference.entry) < Fraction(1, 10**12)
        assert abs(Fraction(holding.realized_pnl) - reference.realized) < Fraction(1, 10**12)


async def test_ledger_answers_to_the_reader_only_for_its_account(life: Life, engine: AsyncEngine) -> None:
    await life.fund(USDT="1000")
    order = await life.resting()
    reader = SqlOrderReader(engine)
    assert await reader.order(ACCOUNT, order.order_id) == order
    with pytest.raises(OrderNotFound):
        await reader.order("other", order.order_id)
    events = await reader.events(ACCOUNT, order.order_id)
    assert [entry.seq for entry in events] == [1, 2, 3]
    assert all(abs(entry.recorded_at - events[0].recorded_at) < timedelta(minutes=1) for entry in events)
    assert await reader.events("other", order.order_id) == []
    assert await reader.fills(ACCOUNT, order.order_id) == []
