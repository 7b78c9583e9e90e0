"""A venue's public market data, as the test sets it."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from datetime import UTC, datetime
from decimal import Decimal

from domain.errors import UnknownSymbol, VenueError
from domain.events import Fill, Reason
from domain.instrument import Instrument
from domain.order import OrderSide, OrderType
from domain.placement import Placement
from domain.ports import LastLook
from domain.reports import (
    Balance,
    BookLevel,
    OrderBook,
    OrderRef,
    OrderReport,
    Submission,
    SubmitOutcome,
    Ticker,
    VenueStatus,
)
from domain.triggers import PublicTrade

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SYMBOLS = ("BTC/USDT", "ETH/USDT")


class ScriptedMarket:
    """A venue that shows what the test says. It takes no orders: the paper venue must never send it one.

    `last` is the price of the last trade; `error`, when set, is raised by every read of prices.
    """

    def __init__(self) -> None:
        self.last = Decimal(100)
        self.error: VenueError | None = None
        self.reads = 0
        self.closed = False
        self.show(asks=[("100", "1"), ("101", "2")], bids=[("99", "1"), ("98", "2")])

    def show(self, *, asks: Sequence[tuple[str, str]] = (), bids: Sequence[tuple[str, str]] = ()) -> None:
        self._asks = tuple(BookLevel(price=Decimal(price), quantity=Decimal(quantity)) for price, quantity in asks)
        self._bids = tuple(BookLevel(price=Decimal(price), quantity=Decimal(quantity)) for price, quantity in bids)

    async def instruments(self) -> Mapping[str, Instrument]:
        return {
            symbol: Instrument(
                symbol=symbol,
                base_asset=symbol[:3],
                quote_asset="USDT",
                tick_size=Decimal("0.01"),
                step_size=Decimal("0.001"),
                min_notional=Decimal(1),
            )
            for symbol in SYMBOLS
        }

    async def fetch_ticker(self, symbol: str) -> Ticker:
        self._answer_or_raise(symbol)
        best_bid, best_ask = (levels[0].price if levels else None for levels in (self._bids, self._asks))
        return Ticker(symbol=symbol, bid=best_bid, ask=best_ask, last=self.last, ts_event=NOW)

    async def fetch_order_book(self, symbol: str, *, depth: int) -> OrderBook:
        self.reads += 1
        self._answer_or_raise(symbol)
        return OrderBook(symbol=symbol, bids=self._bids[:depth], asks=self._asks[:depth], ts_event=NOW)

    async def fetch_public_trades(self, symbol: str, *, since: datetime) -> Sequence[PublicTrade]:
        self._answer_or_raise(symbol)
        return [PublicTrade(trade_id="1", price=self.last, ts_event=NOW)]

    def placement(self, order_type: OrderType, side: OrderSide) -> Placement:
        return Placement.NATIVE

    async def status(self) -> VenueStatus:
        return VenueStatus(reachable=self.error is None, markets_count=2, latency_ms=1, clock_skew_ms=0)

    async def close(self) -> None:
        self.closed = True

    def turn(self, strategy: str | None) -> AbstractAsyncContextManager[None]:
        """It is always this order's turn."""
        return nullcontext()

    async def submit(self, submission: Submission, *, last_look: LastLook) -> SubmitOutcome:
        raise AssertionError("a paper order reached the real venue")

    async def cancel(self, ref: OrderRef) -> Reason | None:
        raise AssertionError("a paper cancel reached the real venue")

    async def fetch_order(self, ref: OrderRef) -> OrderReport | None:
        raise AssertionError("a paper order was looked for at the real venue")

    async def fetch_open_orders(self, symbols: Collection[str] | None = None) -> Sequence[OrderReport]:
        raise AssertionError("paper orders were looked for at the real venue")

    async def fetch_trades(self, symbol: str, *, since: datetime) -> Sequence[Fill]:
        raise AssertionError("paper trades were looked for at the real venue")

    async def fetch_order_trades(self, ref: OrderRef, *, since: datetime) -> Sequence[Fill]:
        raise AssertionError("paper trades were looked for at the real venue")

    async def fetch_balances(self) -> Sequence[Balance]:
        raise AssertionError("the real venue was asked for the paper balance")

    def time_fence_s(self) -> int | None:
        return None

    def _answer_or_raise(self, symbol: str) -> None:
        if symbol not in SYMBOLS:
            raise UnknownSymbol(f"there is no {symbol!r}")
        if self.error is not None:
            raise self.error
