"""What the account's feed makes of trouble: a defect about one order, a late trade, a late word on the balances."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from activities.feed_activities import SHOWN_WITHIN, FeedPace, Follower
from domain.errors import InvalidTransition
from domain.lifecycle import OrderStatus
from domain.ports import Notice
from domain.reports import Balance, SubmitOutcome, SubmitVerdict, VenueOrderStatus
from storage.order_reader import SqlOrderReader
from storage.order_store import SqlOrderStore
from tests.conftest import utc_now
from tests.factories import make_fill, make_request, make_terms, make_validated
from tests.workflow.scripted_exchange import ScriptedExchange

ACCOUNT = "contained"


class DefectiveStore(SqlOrderStore):
    """The ledger, with a lifecycle that lacks a row for one order."""

    broken = ""

    async def record_report(self, account: str, order_id: str, *words: Any, **more: Any) -> Notice:
        """Believe nothing of the broken order."""
        if order_id == self.broken:
            raise InvalidTransition("a row is missing")
        return await super().record_report(account, order_id, *words, **more)


class Heard:
    """Keeps what the orders were told."""

    def __init__(self) -> None:
        self.statuses: dict[str, OrderStatus] = {}

    async def notify(self, notice: Notice) -> None:
        """Note it."""
        self.statuses[notice.order.order_id] = notice.order.status


async def _at_rest(store: SqlOrderStore, venue: ScriptedExchange, key: str) -> str:
    request = make_request(key, account=ACCOUNT)
    await store.admit(request, make_validated(request), terms=make_terms(ACCOUNT), now=utc_now())
    attempt = await store.open_attempt(ACCOUNT, request.order_id, worker="test", now=utc_now())
    assert await store.pass_last_look(attempt, now=utc_now())
    outcome = SubmitOutcome(verdict=SubmitVerdict.ACCEPTED, report=venue.take(attempt.submission))
    await store.record_outcome(attempt, outcome, now=utc_now())
    return request.order_id


async def test_one_order_that_cannot_be_believed_does_not_keep_the_others_from_their_fills(
    engine: AsyncEngine,
) -> None:
    store, venue, heard = DefectiveStore(engine), ScriptedExchange(), Heard()
    cash = Balance(asset="USDT", free=Decimal(1000), used=Decimal(0), total=Decimal(1000))
    await store.record_balances(ACCOUNT, [cash], asked_at=utc_now() - timedelta(seconds=1))
    store.broken, healthy = await _at_rest(store, venue, "broken"), await _at_rest(store, venue, "healthy")
    for order_id in (store.broken, healthy):
        venue.fill(order_id, "0.1")
    await Follower(store, venue, heard, FeedPace(), ACCOUNT, utc_now).round(utc_now())
    assert heard.statuses == {healthy: OrderStatus.FILLED}


async def test_balances_that_the_venue_tells_late_do_not_count_a_purchase_twice(engine: AsyncEngine) -> None:
    """A worker that was stopped, or a slow venue: the fill comes between question and answer, and is in the answer."""
    store, venue, heard = SqlOrderStore(engine), ScriptedExchange(), Heard()
    cash = Balance(asset="USDT", free=Decimal(1000), used=Decimal(0), total=Decimal(1000))
    began = utc_now()
    await store.record_balances(ACCOUNT, [cash], asked_at=began - timedelta(minutes=1))
    order_id = await _at_rest(store, venue, "bought")
    late = began + timedelta(seconds=30)
    moments = iter((began, late))
    told = [
        Balance(asset=asset, free=total, used=Decimal(0), total=total)
        for asset, total in (("USDT", Decimal(990)), ("BTC", Decimal("0.1")))
    ]

    async def fetch_balances() -> list[Balance]:
        return told

    venue.fetch_balances = fetch_balances  # type: ignore[method-assign]  # this test's venue
    await Follower(store, venue, heard, FeedPace(), ACCOUNT, lambda: next(moments)).round(began)
    report = venue.orders[order_id].model_copy(update={"status": VenueOrderStatus.CLOSED, "cum_qty": Decimal("0.1")})
    fill = make_fill(
        venue_order_id=report.venue_order_id, last_qty=Decimal("0.1"), ts_event=began + timedelta(seconds=20)
    )
    await store.record_report(ACCOUNT, order_id, report, trades=[fill], now=late)
    held = {balance.asset: balance.total for balance in await SqlOrderReader(engine).balances(ACCOUNT)}
    assert held["BTC"] <= Decimal("0.1")
    assert held["USDT"] <= Decimal(990)


async def test_trade_that_the_venue_finds_after_the_orders_end_is_counted(engine: AsyncEngine) -> None:
    store, venue, heard = SqlOrderStore(engine), ScriptedExchange(), Heard()
    cash = Balance(asset="USDT", free=Decimal(1000), used=Decimal(0), total=Decimal(1000))
    await store.record_balances(ACCOUNT, [cash], asked_at=utc_now() - timedelta(seconds=1))
    order_id = await _at_rest(store, venue, "late")
    ended = venue.orders[order_id].model_copy(update={"status": VenueOrderStatus.CANCELED})
    await store.record_report(ACCOUNT, order_id, ended, trades=(), now=utc_now())
    venue.orders[order_id] = ended
    follower = Follower(store, venue, heard, FeedPace(), ACCOUNT, utc_now)
    venue.fill(order_id, "0.04")
    await follower.round(utc_now())
    assert (await store.order(ACCOUNT, order_id)).cum_qty == 0, (
        "it is looked at again only when lists are past their lag"
    )
    for _ in range(2):
        await follower.round(utc_now() + SHOWN_WITHIN + timedelta(seconds=1))
    late = await store.order(ACCOUNT, order_id)
    assert (late.status, late.cum_qty) == (OrderStatus.CANCELED, Decimal("0.04"))
