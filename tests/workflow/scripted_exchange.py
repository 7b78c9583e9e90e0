"""A venue whose every answer is told by the test: for what a real one does once in a million orders."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from datetime import datetime
from decimal import Decimal

from domain.errors import CredentialsRefused, VenueUnavailable
from domain.events import Fill, Reason
from domain.instrument import Instrument
from domain.order import OrderSide, OrderType
from domain.placement import Placement
from domain.ports import LastLook
from domain.reports import (
    Balance,
    OrderBook,
    OrderRef,
    OrderReport,
    Submission,
    SubmitOutcome,
    SubmitVerdict,
    Ticker,
    VenueOrderStatus,
    VenueStatus,
)
from domain.triggers import PublicTrade
from tests.factories import NOW, make_fill, make_instrument, make_report

SubmitScript = Callable[[Submission, "ScriptedExchange"], Awaitable[SubmitOutcome]]


class ScriptedExchange:
    """Keeps orders as a venue would; `on_submit` says what becomes of each send."""

    def __init__(self) -> None:
        self.on_submit: SubmitScript = rests
        self.is_down = False
        self.ignores_cancels = 0
        self.fence_s: int | None = 16
        self.ask = Decimal(100)
        self.last: Decimal | None = Decimal(100)
        self.refuses_keys = False
        self.instrument = make_instrument()
        self.holds_stops = False
        self.tape: list[PublicTrade] = []
        self.hides_orders = False
        """Whether a look-up by our id finds nothing, as at a venue that forgets it or has none."""
        self.before_cancel: Callable[[], object] = lambda: None
        self.posts: list[Submission] = []
        self.cancels: list[OrderRef] = []
        self.orders: dict[str, OrderReport] = {}

    def take(self, submission: Submission, **changes: object) -> OrderReport:
        """Take an order into the book, as `changes` say."""
        number = str(len(self.orders) + 1)
        report = make_report(
            venue_order_id=number, client_order_id=submission.client_order_id, quantity=submission.quantity
        )
        self.orders[submission.client_order_id] = report.model_copy(update=changes)
        return self.orders[submission.client_order_id]

    def fill(self, client_order_id: str, quantity: str, *, status: VenueOrderStatus | None = None) -> OrderReport:
        """Trade some of an order at 100."""
        report = self.orders[client_order_id]
        trade = make_fill(f"{len(report.trades) + 1}", venue_order_id=report.venue_order_id, last_qty=Decimal(quantity))
        cum_qty = (report.cum_qty or Decimal(0)) + Decimal(quantity)
        full = cum_qty == report.quantity
        changes = {
            "cum_qty": cum_qty,
            "trades": (*report.trades, trade),
            "status": status or (VenueOrderStatus.CLOSED if full else report.status),
        }
        self.orders[client_order_id] = report.model_copy(update=changes)
        return self.orders[client_order_id]

    async def instruments(self) -> Mapping[str, Instrument]:
        self._check()
        return {"BTC/USDT": self.instrument}

    def turn(self, strategy: str | None) -> AbstractAsyncContextManager[None]:
        """It is always this order's turn."""
        return nullcontext()

    async def submit(self, submission: Submission, *, last_look: LastLook) -> SubmitOutcome:
        if not await last_look():
            return SubmitOutcome(verdict=SubmitVerdict.NOT_SENT, reason=Reason(code="LAST_LOOK_REFUSED", text="no"))
        self.posts.append(submission)
        return await self.on_submit(submission, self)

    async def cancel(self, ref: OrderRef) -> Reason | None:
        self._check()
        self.cancels.append(ref)
        self.before_cancel()
        report = self.orders[ref.client_order_id]
        if self.ignores_cancels:
            self.ignores_cancels -= 1
            return Reason(code="REFUSED", text="Unknown order sent.")
        if report.status is VenueOrderStatus.OPEN:
            self.orders[ref.client_order_id] = report.model_copy(update={"status": VenueOrderStatus.CANCELED})
        return None

    async def fetch_order(self, ref: OrderRef) -> OrderReport | None:
        self._check()
        if ref.venue_order_id is not None:
            return next((r for r in self.orders.values() if r.venue_order_id == ref.venue_order_id), None)
        return None if self.hides_orders else self.orders.get(ref.client_order_id)

    async def fetch_open_orders(self, symbols: Collection[str] | None = None) -> Sequence[OrderReport]:
        self._check()
        return [report for report in self.orders.values() if report.status is VenueOrderStatus.OPEN]

    async def fetch_trades(self, symbol: str, *, since: datetime) -> Sequence[Fill]:
        self._check()
        return [trade for report in self.orders.values() for trade in report.trades]

    async def fetch_order_trades(self, ref: OrderRef, *, since: datetime) -> Sequence[Fill]:
        self._check()
        return [t for r in self.orders.values() if r.venue_order_id == ref.venue_order_id for t in r.trades]

    async def fetch_balances(self) -> Sequence[Balance]:
        self._check()
        return [Balance(asset="USDT", free=Decimal(10_000), used=Decimal(0), total=Decimal(10_000))]

    async def fetch_ticker(self, symbol: str) -> Ticker:
        self._check()
        return Ticker(symbol=symbol, bid=Decimal(99), ask=self.ask, last=self.last, ts_event=NOW)

    async def fetch_order_book(self, symbol: str, *, depth: int) -> OrderBook:
        self._check()
        return OrderBook(symbol=symbol, bids=(), asks=(), ts_event=NOW)

    async def fetch_public_trades(self, symbol: str, *, since: datetime) -> Sequence[PublicTrade]:
        self._check()
        return [trade for trade in self.tape if trade.ts_event >= since]

    def placement(self, order_type: OrderType, side: OrderSide) -> Placement:
        held = self.holds_stops and order_type in (OrderType.STOP, OrderType.STOP_LIMIT)
        return Placement.HELD if held else Placement.NATIVE

    async def status(self) -> VenueStatus:
        return VenueStatus(reachable=not self.is_down, markets_count=1, latency_ms=0, clock_skew_ms=0)

    def time_fence_s(self) -> int | None:
        return self.fence_s

    async def close(self) -> None:
        return None

    def _check(self) -> None:
        if self.is_down:
            raise VenueUnavailable("the venue does not answer")
        if self.refuses_keys:
            raise CredentialsRefused("the venue does not take the key")


async def rests(submission: Submission, venue: ScriptedExchange) -> SubmitOutcome:
    """The order rests in the book."""
    return SubmitOutcome(verdict=SubmitVerdict.ACCEPTED, report=venue.take(submission))


async def fills_at_once(submission: Submission, venue: ScriptedExchange) -> SubmitOutcome:
    """The order fills in full, and the answer says so."""
    venue.take(submission)
    report = venue.fill(submission.client_order_id, str(submission.quantity))
    return SubmitOutcome(verdict=SubmitVerdict.ACCEPTED, report=report)


async def reply_is_lost(submission: Submission, venue: ScriptedExchange) -> SubmitOutcome:
    """The order is taken, and nobody hears of it."""
    venue.take(submission)
    return _unknown()


async def order_is_lost(submission: Submission, venue: ScriptedExchange) -> SubmitOutcome:
    """The order never arrives, and nobody knows. The next one rests."""
    venue.on_submit = rests
    return _unknown()


async def is_refused(submission: Submission, venue: ScriptedExchange) -> SubmitOutcome:
    """The venue refuses, and says so."""
    reason = Reason(code="VENUE_REFUSED", text="the venue refused", venue_text="Filter failure: LOT_SIZE")
    return SubmitOutcome(verdict=SubmitVerdict.REFUSED, reason=reason)


def _unknown() -> SubmitOutcome:
    return SubmitOutcome(verdict=SubmitVerdict.UNKNOWN, reason=Reason(code="NO_ANSWER", text="no answer came"))
