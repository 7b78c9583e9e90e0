"""The watch over held stops: a hundred random paths with restarts against an oracle, and its edges one by one."""

import random
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from activities.trigger_watch import TriggerWatch
from domain.errors import VenueUnavailable
from domain.events import OrderEvent
from domain.lifecycle import OrderEventType
from domain.order import Order, OrderSide, OrderType, TradingMode
from domain.placement import Placement
from domain.reports import Ticker
from domain.triggers import Crossing, Mark, PublicTrade, TriggerBy
from tests.factories import NOW, make_request
from tests.workflow.scripted_exchange import ScriptedExchange

PATHS = 100
STEPS = 80


class Shelf:
    """`TriggerStore` over a dictionary: what the ledger keeps when a worker dies."""

    def __init__(self) -> None:
        self.orders: dict[str, Order] = {}
        self.kept: dict[str, Mark] = {}
        self.triggers = 0

    async def waiting_orders(self, account: str) -> Sequence[Order]:
        return [order for order in self.orders.values() if order.waits_for_trigger]

    async def marks(self, account: str) -> Mapping[str, Mark]:
        return dict(self.kept)

    async def record_mark(self, account: str, mark: Mark) -> None:
        self.kept[mark.symbol] = mark

    async def record_trigger(self, account: str, order_id: str, crossing: Crossing, *, now: datetime) -> Order:
        order = self.orders[order_id]
        if order.waits_for_trigger:
            event = OrderEvent(event_type=OrderEventType.TRIGGERED, ts_event=now, crossing=crossing)
            order = self.orders[order_id] = order.apply(event)
            self.triggers += 1
        return order


class Scene:
    """A market that trades, a clock, and a watch that can die at any moment."""

    def __init__(self, seed: int = 0) -> None:
        self.random = random.Random(seed)
        self.shelf, self.venue, self.now = Shelf(), ScriptedExchange(), NOW
        self.price = Decimal(100)
        self.restart()

    def restart(self) -> None:
        self.watch = TriggerWatch(self.shelf, self.venue, "main", lambda: self.now)

    def trade(self, price: Decimal) -> None:
        self.price = price
        number = str(len(self.venue.tape) + 1)
        self.venue.tape.append(PublicTrade(trade_id=number, price=price, ts_event=self.now))

    def place(self, side: OrderSide, trigger: Decimal, *, by: TriggerBy = TriggerBy.LAST, late_s: float = 0) -> Order:
        """Admit a stop that was validated now; its transaction may take a while."""
        key = str(len(self.shelf.orders))
        request = make_request(
            key, side=side, order_type=OrderType.STOP, price=None, trigger_price=trigger, trigger_by=by
        )
        admitted = OrderEvent(
            event_type=OrderEventType.ADMITTED,
            ts_event=self.now + timedelta(seconds=late_s),
            placement=Placement.HELD,
            watch_since=self.now,
        )
        order = request.new_order(exchange="binanceus", mode=TradingMode.LIVE).apply(admitted)
        self.shelf.orders[order.order_id] = order
        return order

    async def look(self) -> int:
        return await self.watch.look()

    def oracle(self, order: Order) -> str | None:
        """Return the first trade since the order's start at its trigger or beyond, found in the plainest way."""
        assert order.trigger_price is not None and order.watch_since is not None
        for trade in self.venue.tape:
            beyond = trade.price - order.trigger_price
            if trade.ts_event >= order.watch_since and (beyond >= 0 if order.is_buy else beyond <= 0):
                return trade.trade_id
        return None


def _advance(scene: Scene) -> None:
    """Let some time pass, in steps from a millisecond to minutes, and trade at a price that sometimes jumps."""
    scene.now += timedelta(milliseconds=scene.random.choice((1, 20, 400, 1000, 7000, 90_000)))
    jump = scene.random.choice((1, 1, 1, 2, 5, 25))
    scene.trade(max(scene.price + jump * scene.random.choice((-1, 1)), Decimal(1)))


@pytest.mark.parametrize("seed", range(PATHS))
async def test_a_random_path_triggers_what_the_oracle_says_and_once(seed: int) -> None:
    scene = Scene(seed)
    for _ in range(STEPS):
        _advance(scene)
        chance = scene.random.random()
        if chance < 0.15:
            side = scene.random.choice((OrderSide.BUY, OrderSide.SELL))
            away = Decimal(scene.random.randint(1, 30)) * (1 if side is OrderSide.BUY else -1)
            scene.now += timedelta(milliseconds=1)
            scene.place(side, max(scene.price + away, Decimal(1)))
        elif chance < 0.45:
            await scene.look()
        elif chance < 0.6:
            scene.restart()
    await scene.look()
    for order in scene.shelf.orders.values():
        found = order.triggered.trade_id if order.triggered is not None else None
        assert found == scene.oracle(order), order.ticket.summary()
    assert scene.shelf.triggers == sum(order.triggered is not None for order in scene.shelf.orders.values())


async def test_a_jump_through_the_trigger_and_back_while_nobody_looked_triggers() -> None:
    scene = Scene()
    order = scene.place(OrderSide.SELL, Decimal(90))
    await scene.look()
    for price in ("95", "40", "130"):
        scene.now += timedelta(minutes=20)
        scene.trade(Decimal(price))
    scene.restart()
    assert await scene.look() == 1
    triggered = scene.shelf.orders[order.order_id].triggered
    assert triggered is not None
    assert (triggered.price, triggered.trade_id) == (Decimal(40), "2")
    assert triggered.seen_at - triggered.ts_event == timedelta(minutes=20)


async def test_what_traded_before_the_order_does_not_trigger_it() -> None:
    scene = Scene()
    scene.trade(Decimal(80))
    scene.now += timedelta(seconds=1)
    scene.trade(Decimal(100))
    scene.now += timedelta(milliseconds=1)
    scene.place(OrderSide.SELL, Decimal(90))
    assert await scene.look() == 0


async def test_an_order_that_is_listed_late_is_looked_at_from_its_own_start_after_a_restart() -> None:
    scene = Scene()
    scene.place(OrderSide.SELL, Decimal(10))
    late = scene.place(OrderSide.SELL, Decimal(90), late_s=14)
    hidden = scene.shelf.orders.pop(late.order_id)
    scene.now += timedelta(seconds=12)
    scene.trade(Decimal(85))
    await scene.look()
    scene.now += timedelta(seconds=2)
    scene.trade(Decimal(100))
    await scene.look()
    scene.shelf.orders[late.order_id] = hidden
    scene.restart()
    scene.now += timedelta(seconds=1)
    assert await scene.look() == 1


async def test_a_venue_that_fails_delays_a_trigger_and_loses_none() -> None:
    scene = Scene()
    scene.place(OrderSide.BUY, Decimal(110))
    scene.now += timedelta(seconds=1)
    scene.trade(Decimal(111))
    scene.venue.is_down = True
    with pytest.raises(VenueUnavailable):
        await scene.look()
    scene.venue.is_down = False
    scene.now += timedelta(seconds=5)
    scene.trade(Decimal(100))
    assert await scene.look() == 1


async def test_a_stop_by_the_mid_price_goes_by_the_middle_and_not_by_trades() -> None:
    scene = Scene()
    order = scene.place(OrderSide.BUY, Decimal(110), by=TriggerBy.MID)
    scene.now += timedelta(seconds=1)
    scene.trade(Decimal(200))
    assert await scene.look() == 0
    scene.venue.ask = Decimal(121)  # the bid is 99
    assert await scene.look() == 1
    triggered = scene.shelf.orders[order.order_id].triggered
    assert triggered is not None
    assert (triggered.by, triggered.price, triggered.bid, triggered.ask) == (
        TriggerBy.MID, Decimal(110), Decimal(99), Decimal(121),
    )  # fmt: skip


async def test_an_order_without_a_second_side_of_the_book_waits_on() -> None:
    scene = Scene()
    scene.place(OrderSide.BUY, Decimal(50), by=TriggerBy.MID)

    async def one_sided(symbol: str) -> Ticker:
        return Ticker(symbol=symbol, bid=Decimal(99), ask=None, last=Decimal(99), ts_event=NOW)

    scene.venue.fetch_ticker = one_sided  # type: ignore[method-assign]  # this test's venue
    assert await scene.look() == 0


async def test_a_market_in_which_nothing_trades_is_not_read_from_its_last_trade_for_ever() -> None:
    scene = Scene()
    scene.place(OrderSide.BUY, Decimal(110))
    asked: list[datetime] = []
    read = scene.venue.fetch_public_trades

    async def noted(symbol: str, *, since: datetime) -> Sequence[PublicTrade]:
        asked.append(since)
        return await read(symbol, since=since)

    scene.venue.fetch_public_trades = noted  # type: ignore[method-assign]  # this test's venue
    for _ in range(10):
        scene.now += timedelta(hours=1)
        await scene.look()
    assert scene.now - asked[-1] <= timedelta(hours=1, minutes=2)
