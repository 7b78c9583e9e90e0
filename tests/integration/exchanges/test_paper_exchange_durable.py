"""The paper venue on a real Postgres, over a market whose book the test sets."""

import asyncio
import itertools
import uuid
from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.errors import RateLimited, StoreUnavailable, VenueUnavailable
from domain.ports import Exchange
from domain.reports import OrderRef, OrderReport, Submission, SubmitVerdict, VenueOrderStatus
from exchanges.paper_exchange import PaperExchange, PaperTerms
from storage.database import open_engine
from storage.paper_store import SqlPaperBook
from tests.scripted_market import NOW, SYMBOLS, ScriptedMarket

D = Decimal
TERMS = PaperTerms(
    opening_balances={"USDT": D(1000), "BTC": D(5)},
    maker_rate=D("0.001"),
    taker_rate=D("0.002"),
    latency_ms=0,
    book_fresh_ms=0,
    look_interval_ms=0,
)


class Desk:
    """One account: any number of paper exchanges over one market and one database."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.market = ScriptedMarket()
        self.account = f"paper-{uuid.uuid4().hex[:12]}"
        self.book = SqlPaperBook(engine)
        self.exchange = self.open()
        self._seconds = itertools.count()

    def open(self, terms: PaperTerms = TERMS, *, book: SqlPaperBook | None = None) -> PaperExchange:
        market: Exchange = self.market
        return PaperExchange(market, book or self.book, account=self.account, clock=self._clock, terms=terms)

    def _clock(self) -> datetime:
        return NOW + timedelta(seconds=next(self._seconds))


@pytest.fixture
def desk(engine: AsyncEngine) -> Desk:
    return Desk(engine)


async def allow() -> bool:
    return True


async def forbid() -> bool:
    return False


def submission(client_order_id: str = "a1", **changes: object) -> Submission:
    fields: dict[str, object] = {
        "client_order_id": client_order_id,
        "symbol": "BTC/USDT",
        "side": "buy",
        "order_type": "limit",
        "quantity": D(1),
        "price": D(99),
        "signed_at": NOW,
        **changes,
    }
    return Submission.model_validate(fields)


def market_order(client_order_id: str = "a1", **changes: object) -> Submission:
    return submission(client_order_id, **{"order_type": "market", "price": None, **changes})


def ref(client_order_id: str = "a1", **changes: str) -> OrderRef:
    return OrderRef(**{"symbol": "BTC/USDT", "client_order_id": client_order_id, **changes})


async def accepted(exchange: PaperExchange, order: Submission) -> OrderReport:
    outcome = await exchange.submit(order, last_look=allow)
    assert outcome.verdict is SubmitVerdict.ACCEPTED, outcome
    assert outcome.report is not None
    return outcome.report


async def funds(exchange: PaperExchange, asset: str) -> tuple[Decimal, Decimal, Decimal]:
    found = {balance.asset: balance for balance in await exchange.fetch_balances()}
    return found[asset].free, found[asset].used, found[asset].total


async def test_market_order_is_answered_with_its_trades_and_moves_the_balances(desk: Desk) -> None:
    report = await accepted(desk.exchange, market_order(quantity=D(2)))

    assert (report.status, report.cum_qty, report.cum_quote_qty) == (VenueOrderStatus.CLOSED, D(2), D(201))
    assert [(fill.trade_id, fill.last_px) for fill in report.trades] == [("1", D(100)), ("2", D(101))]
    assert await funds(desk.exchange, "USDT") == (D(799), D(0), D(799))
    assert await funds(desk.exchange, "BTC") == (D("6.996"), D(0), D("6.996"))
    assert await desk.exchange.fetch_order(ref()) == report
    by_number = ref(venue_order_id=report.venue_order_id)
    assert await desk.exchange.fetch_order_trades(by_number, since=NOW) == list(report.trades)
    assert await desk.exchange.fetch_trades("BTC/USDT", since=NOW) == list(report.trades)
    assert await desk.exchange.fetch_trades("BTC/USDT", since=NOW + timedelta(days=1)) == []


async def test_resting_order_survives_a_restart_and_fills_when_looked_at(desk: Desk) -> None:
    await accepted(desk.exchange, submission(quantity=D(2)))
    restarted = desk.open()
    assert await funds(restarted, "USDT") == (D(802), D(198), D(1000))

    desk.market.show(asks=[("98.5", "0.5")])
    (report,) = await restarted.fetch_open_orders()
    assert report.cum_qty == D("0.5")
    desk.market.show(asks=[("99", "9")])
    (first, second) = await restarted.fetch_trades("BTC/USDT", since=NOW)

    assert (first.last_px, first.liquidity_side, first.commission) == (D(99), "maker", D("0.0005"))
    assert second.last_qty == D("1.5")
    assert await restarted.fetch_open_orders() == []
    assert await funds(restarted, "USDT") == (D(802), D(0), D(802))


async def test_same_client_order_id_again_is_answered_with_the_first_order(desk: Desk) -> None:
    first = await accepted(desk.exchange, market_order())
    desk.market.error = VenueUnavailable("down")

    again = await accepted(desk.exchange, market_order(signed_at=NOW + timedelta(seconds=9)))
    other = await desk.exchange.submit(market_order(quantity=D(2)), last_look=allow)

    assert again == first
    assert (other.verdict, other.reason and other.reason.code) == (SubmitVerdict.REFUSED, "CLIENT_ORDER_ID_REUSED")
    assert await funds(desk.exchange, "USDT") == (D(900), D(0), D(900))


async def test_refused_last_look_leaves_nothing(desk: Desk) -> None:
    outcome = await desk.exchange.submit(market_order(), last_look=forbid)

    assert (outcome.verdict, outcome.reason and outcome.reason.code) == (SubmitVerdict.NOT_SENT, "LAST_LOOK_REFUSED")
    assert await desk.exchange.fetch_order(ref()) is None


async def test_last_look_that_fails_leaves_nothing(desk: Desk) -> None:
    async def lost() -> bool:
        raise StoreUnavailable("the ledger is gone")

    outcome = await desk.exchange.submit(market_order(), last_look=lost)

    assert outcome.verdict is SubmitVerdict.NOT_SENT
    assert await desk.exchange.fetch_open_orders() == []


async def test_missing_market_data_is_not_sent_and_says_when_to_try_again(desk: Desk) -> None:
    desk.market.error = RateLimited("slow down", retry_after_s=7)

    outcome = await desk.exchange.submit(market_order(), last_look=allow)

    assert (outcome.verdict, outcome.retry_after_s) == (SubmitVerdict.NOT_SENT, 7)
    desk.market.error = None
    assert (await accepted(desk.exchange, market_order())).venue_order_id == "1"


async def test_open_orders_are_told_and_can_be_canceled_while_the_market_data_is_missing(desk: Desk) -> None:
    await accepted(desk.exchange, submission())
    desk.market.error = VenueUnavailable("down")

    assert len(await desk.exchange.fetch_open_orders()) == 1
    assert await desk.exchange.cancel(ref()) is None
    report = await desk.exchange.fetch_order(ref())

    assert report is not None
    assert report.status is VenueOrderStatus.CANCELED
    assert await funds(desk.exchange, "USDT") == (D(1000), D(0), D(1000))


async def test_insufficient_balance_is_refused_with_numbers_and_unknown_symbol_by_name(desk: Desk) -> None:
    poor = await desk.exchange.submit(submission(quantity=D(11)), last_look=allow)
    unknown = await desk.exchange.submit(submission(symbol="XXX/USDT"), last_look=allow)

    assert (poor.verdict, poor.reason and poor.reason.numbers["needed"]) == (SubmitVerdict.REFUSED, "1089")
    assert (unknown.verdict, unknown.reason and unknown.reason.code) == (SubmitVerdict.REFUSED, "SYMBOL_UNKNOWN")


async def test_cancel_of_a_closed_or_unknown_order_says_why(desk: Desk) -> None:
    await accepted(desk.exchange, market_order())

    closed, unknown = await desk.exchange.cancel(ref()), await desk.exchange.cancel(ref("zz"))

    assert (closed and closed.code, unknown and unknown.code) == ("CANCEL_REFUSED", "ORDER_NOT_FOUND")


async def test_absence_is_final_an_order_under_way_is_turned_away_once_it_was_answered(desk: Desk) -> None:
    answered = asyncio.Event()

    async def answer_meanwhile() -> bool:
        assert await desk.open().fetch_order(ref()) is None
        answered.set()
        return True

    outcome = await desk.exchange.submit(market_order(), last_look=answer_meanwhile)

    assert answered.is_set()
    assert outcome.verdict is SubmitVerdict.NOT_SENT
    assert await desk.exchange.fetch_order(ref()) is None
    assert await funds(desk.exchange, "USDT") == (D(1000), D(0), D(1000))
    assert desk.exchange.time_fence_s() == 0


async def test_two_processes_share_depth_and_balance_and_number_every_trade_once(desk: Desk, database_url: str) -> None:
    desk.market.show(asks=[("10", "3")], bids=[("9", "1")])
    other_engine = open_engine(database_url, application_name="other", pool_size=5)
    try:
        both = [desk.exchange, desk.open(book=SqlPaperBook(other_engine))]
        orders = [submission(f"c{n}", price=D(10), time_in_force="IOC", quantity=D("0.5")) for n in range(12)]
        reports = await asyncio.gather(*(accepted(both[n % 2], order) for n, order in enumerate(orders)))
        resting = [submission(f"r{n}", price=D(9), quantity=D("0.5")) for n in range(4)]
        await asyncio.gather(*(accepted(both[n % 2], order) for n, order in enumerate(resting)))
        desk.market.show(asks=[("9", "1")])
        await asyncio.gather(*(exchange.fetch_open_orders() for exchange in both * 4))
        trades = await desk.exchange.fetch_trades("BTC/USDT", since=NOW)
    finally:
        await other_engine.dispose()

    assert sum(report.cum_qty or D(0) for report in reports) == D(3)
    assert len({report.venue_order_id for report in reports}) == 12
    assert sum(trade.last_qty for trade in trades) == D(4)
    assert [trade.trade_id for trade in trades] == [str(n + 1) for n in range(len(trades))]
    assert len(await desk.exchange.fetch_open_orders()) == 2
    assert await funds(desk.exchange, "USDT") == (D(952), D(9), D(961))


async def test_same_order_sent_many_times_at_once_is_one_order(desk: Desk) -> None:
    both = [desk.exchange, desk.open()]

    reports = await asyncio.gather(*(accepted(both[n % 2], market_order()) for n in range(10)))

    assert {report.venue_order_id for report in reports} == {"1"}
    assert await funds(desk.exchange, "USDT") == (D(900), D(0), D(900))


async def test_orders_and_trades_are_numbered_per_symbol_and_listed_together(desk: Desk) -> None:
    first = await accepted(desk.exchange, submission("a1"))
    second = await accepted(desk.exchange, submission("a2", symbol="ETH/USDT"))

    assert first.venue_order_id == second.venue_order_id == "1"
    assert [report.symbol for report in await desk.exchange.fetch_open_orders()] == ["BTC/USDT", "ETH/USDT"]


async def test_stop_order_triggers_on_the_last_price(desk: Desk) -> None:
    await accepted(desk.exchange, market_order(order_type="stop", side="sell", trigger_price=D(95)))
    assert len(await desk.exchange.fetch_open_orders()) == 1

    desk.market.last = D(95)
    report = await desk.exchange.fetch_order(ref())

    assert report is not None
    assert (report.status, [fill.last_px for fill in report.trades]) == (VenueOrderStatus.CLOSED, [D(99)])


async def test_looks_at_the_market_are_bounded_by_the_interval(desk: Desk) -> None:
    exchange = desk.open(TERMS.model_copy(update={"look_interval_ms": 60_000}))
    await accepted(exchange, submission())
    before = desk.market.reads

    for _ in range(5):
        await exchange.fetch_open_orders()
        await exchange.fetch_order(ref())

    assert desk.market.reads == before + 1


async def test_database_that_does_not_answer_is_unknown_for_an_order_and_unavailable_for_a_read(desk: Desk) -> None:
    gone = open_engine("postgresql://nobody:x@127.0.0.1:9/none", application_name="gone", pool_size=1)
    exchange = desk.open(book=SqlPaperBook(gone))
    try:
        outcome = await exchange.submit(market_order(), last_look=allow)
        status = await exchange.status()
        with pytest.raises(VenueUnavailable):
            await exchange.fetch_open_orders()
    finally:
        await gone.dispose()

    assert outcome.verdict is SubmitVerdict.UNKNOWN
    assert status.reachable is False


async def test_database_refuses_balances_below_zero_and_changed_trades(desk: Desk, engine: AsyncEngine) -> None:
    await accepted(desk.exchange, market_order())
    for statement in (
        "UPDATE paper_balances SET total = used - 1 WHERE account = :account",
        "UPDATE paper_balances SET total = 'NaN' WHERE account = :account",
        "UPDATE paper_fills SET trade_id = 9 WHERE account = :account",
    ):
        with pytest.raises(DBAPIError):
            async with engine.begin() as connection:
                await connection.execute(text(statement), {"account": desk.account})


async def test_reads_of_the_market_are_delegated_and_closing_closes_it(desk: Desk) -> None:
    assert (await desk.exchange.fetch_ticker("BTC/USDT")).last == D(100)
    assert len((await desk.exchange.fetch_order_book("BTC/USDT", depth=1)).asks) == 1
    assert set(await desk.exchange.instruments()) == set(SYMBOLS)
    assert (await desk.exchange.status()).reachable

    await desk.exchange.close()

    assert desk.market.closed
