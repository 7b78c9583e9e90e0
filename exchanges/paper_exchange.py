"""The port's twin for dry runs: a durable paper venue that fills against the public market data of a real one.

Instruments, ticker and order book come from the real venue; orders, trades and balances live in the `PaperBook`, and
survive restarts. How orders trade, and where that is kinder or harder than a venue, is told in `paper_matching.py`.

Proof obligations, as a venue's:

- One client order id is at most one order: sent again, it is answered with the order that it made, and changes nothing.
  That is sound because the protocol derives the id from (order, attempt), so the same id is the same order; another
  order under the id is refused.
- Absence is final, so the time fence is zero: whoever is told that the book has no order of some client order id has it
  recorded in the same transaction, and an order that comes later under that id is turned away as NOT_SENT.
- Nothing is stored by halves: whatever an order changes is one transaction, and one at a time per account.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Final

from pydantic import Field

from domain.errors import RateLimited, StoreUnavailable, VenueError, VenueUnavailable
from domain.events import Fill, Reason
from domain.instrument import Instrument, deny
from domain.numbers import Amount
from domain.order import Frozen, OrderSide, OrderType
from domain.paper_ports import PaperBook, PaperOrder
from domain.placement import Placement
from domain.ports import Exchange, LastLook
from domain.reports import (
    Balance,
    OrderBook,
    OrderRef,
    OrderReport,
    Submission,
    SubmitOutcome,
    SubmitVerdict,
    Ticker,
    VenueStatus,
)
from domain.triggers import PublicTrade
from exchanges import paper_matching
from exchanges.paper_rules import DISOWNED, Market, is_dormant, reused_id_denial
from exchanges.shared_reads import SharedReads

PAUSE_BEFORE_RETRY_S: Final = 1
"""Taken when the venue's market data is missing and it does not say for how long."""
DEFAULT_OPENING: Final[Mapping[str, Decimal]] = {"USD": Decimal(100_000), "USDT": Decimal(100_000)}

_EVER: Final = datetime(1970, 1, 1, tzinfo=UTC)
_log = logging.getLogger(__name__)
_Rate = Annotated[Amount, Field(lt=1)]


class PaperTerms(Frozen):
    """How an account's paper venue behaves."""

    opening_balances: dict[str, Amount] = Field(default_factory=lambda: dict(DEFAULT_OPENING))
    """Units by asset. Taken when the account is opened, on first use, and never again."""
    maker_rate: _Rate = Decimal("0.001")
    """Share of what is bought, 0 or more and below 1."""
    taker_rate: _Rate = Decimal("0.001")
    latency_ms: Annotated[int, Field(ge=0, le=60_000)] = 50
    """How long an order or a cancel is on its way."""
    depth: Annotated[int, Field(ge=1, le=5_000)] = 100
    """Levels of the public book, a side, that orders may trade against."""
    book_fresh_ms: Annotated[int, Field(ge=0, le=5_000)] = 100
    """How old the public book may be that an arriving order meets; orders of that time share one request."""
    look_interval_ms: Annotated[int, Field(ge=0, le=60_000)] = 500
    """Resting orders of a symbol are compared with the market at most this often."""


class PaperExchange:
    """`Exchange` over a `PaperBook` and the market data of a real venue.

    Parameters
    ----------
    market_data
        A real venue; no keys are needed. It is closed with this one.
    clock
        Gives the time, UTC: that of orders and trades.
    """

    def __init__(
        self,
        market_data: Exchange,
        book: PaperBook,
        *,
        account: str,
        clock: Callable[[], datetime],
        terms: PaperTerms | None = None,
    ) -> None:
        self._market_data = market_data
        self._book = book
        self._account = account
        self._clock = clock
        self._terms = terms or PaperTerms()
        self._is_open = False
        self._looked_at_s: dict[str, float] = {}
        self._public_books: SharedReads[str, OrderBook] = SharedReads(
            lambda symbol: market_data.fetch_order_book(symbol, depth=self._terms.depth),
            fresh_s=self._terms.book_fresh_ms / 1000,
        )

    async def instruments(self) -> Mapping[str, Instrument]:
        """Return the real venue's symbols and rules."""
        return await self._market_data.instruments()

    def turn(self, strategy: str | None) -> AbstractAsyncContextManager[None]:
        """Return at once: the paper venue takes any number of orders."""
        return nullcontext()

    async def submit(self, submission: Submission, *, last_look: LastLook) -> SubmitOutcome:
        """Take one order into the book. NOT_SENT while the market data is missing: nothing was recorded then.

        UNKNOWN when the database fails, for the transaction may have been committed.
        """
        try:
            instrument = (await self._market_data.instruments()).get(submission.symbol)
        except VenueError as error:
            return _not_sent(error)
        if instrument is None:
            return _refused(deny("SYMBOL_UNKNOWN", f"the venue does not list {submission.symbol}"))
        try:
            may_leave = await last_look()
        except StoreUnavailable as error:
            reason = deny("LAST_LOOK_FAILED", f"nothing was recorded: {error.message}")
            return SubmitOutcome(verdict=SubmitVerdict.NOT_SENT, reason=reason, retry_after_s=PAUSE_BEFORE_RETRY_S)
        if not may_leave:
            reason = deny("LAST_LOOK_REFUSED", "the attempt was taken back, has expired, or sending is switched off")
            return SubmitOutcome(verdict=SubmitVerdict.NOT_SENT, reason=reason)
        await self._travel()
        try:
            return await self._arrive(submission, instrument)
        except StoreUnavailable as error:
            reason = Reason(code=error.code, text=f"the order may have been recorded: {error.message}")
            return SubmitOutcome(verdict=SubmitVerdict.UNKNOWN, reason=reason)
        except VenueError as error:
            return _not_sent(error)

    async def _arrive(self, submission: Submission, instrument: Instrument) -> SubmitOutcome:
        await self._open_account()
        ref = OrderRef(symbol=submission.symbol, client_order_id=submission.client_order_id)
        existing = await self._book.find(self._account, ref)
        if existing is not None:
            refusal = reused_id_denial(existing, submission)
            return _refused(refusal) if refusal is not None else _accepted(existing, await self._fills_of(existing))
        market = await self._market(instrument, with_last=submission.trigger_price is not None)
        decided = await self._book.change(
            self._account,
            submission.symbol,
            client_order_id=submission.client_order_id,
            decide=lambda desk: paper_matching.place(desk, submission, market),
        )
        if isinstance(decided, Reason):
            # A disowned id was never recorded and never will be: the order may be tried again, under another id.
            verdict = SubmitVerdict.NOT_SENT if decided.code == DISOWNED else SubmitVerdict.REFUSED
            return SubmitOutcome(verdict=verdict, reason=decided)
        placed = {order.submission.client_order_id: order for order in decided.orders}[submission.client_order_id]
        return _accepted(placed, decided.fills)

    async def cancel(self, ref: OrderRef) -> Reason | None:
        """Cancel an order that is open when the cancel arrives; what the market has filled by then stays filled."""
        await self._travel()
        async with self._answering():
            await self._match(ref.symbol)
            order = await self._book.find(self._account, ref)
            if order is None:
                return deny("ORDER_NOT_FOUND", "the paper book has no such order")
            decided = await self._book.change(
                self._account,
                order.submission.symbol,
                client_order_id=order.submission.client_order_id,
                decide=lambda desk: paper_matching.cancel(desk, order.venue_order_id, now=self._clock()),
            )
            return decided if isinstance(decided, Reason) else None

    async def fetch_order(self, ref: OrderRef) -> OrderReport | None:
        """Return the order with all its trades. `None` for a client order id is final: it can never be placed."""
        async with self._answering():
            await self._match(ref.symbol)
            order = await self._book.find(self._account, ref)
            if order is None and ref.venue_order_id is None:
                order = await self._book.disown(self._account, ref.client_order_id, now=self._clock())
            return _report(order, await self._fills_of(order)) if order is not None else None

    async def fetch_open_orders(self, symbols: Collection[str] | None = None) -> Sequence[OrderReport]:
        """Return all open orders, by symbol, oldest first."""
        async with self._answering():
            resting = {order.submission.symbol for order in await self._book.open_orders(self._account)}
            asked = resting if symbols is None else resting & set(symbols)
            await asyncio.gather(*(self._match(symbol) for symbol in asked))
            orders = await self._book.open_orders(self._account)
            return [_report(order) for order in orders if order.submission.symbol in asked]

    async def fetch_trades(self, symbol: str, *, since: datetime) -> Sequence[Fill]:
        """Return the account's trades in the symbol from `since` on, oldest first."""
        async with self._answering():
            await self._match(symbol)
            return await self._book.fills(self._account, symbol, since=since)

    async def fetch_order_trades(self, ref: OrderRef, *, since: datetime) -> Sequence[Fill]:
        """Return all trades of one order, oldest first. Raises `ValueError` when its venue id is not known."""
        if ref.venue_order_id is None:
            raise ValueError("trades are asked for by the venue's order id")
        async with self._answering():
            await self._match(ref.symbol)
            return await self._book.fills(self._account, ref.symbol, since=since, venue_order_id=ref.venue_order_id)

    async def fetch_balances(self) -> Sequence[Balance]:
        """Return the balance of every asset that the account ever held."""
        async with self._answering():
            return await self._book.balances(self._account)

    async def fetch_ticker(self, symbol: str) -> Ticker:
        """Return the real venue's ticker."""
        return await self._market_data.fetch_ticker(symbol)

    async def fetch_order_book(self, symbol: str, *, depth: int) -> OrderBook:
        """Return the real venue's public order book; paper orders are not in it."""
        return await self._market_data.fetch_order_book(symbol, depth=depth)

    async def fetch_public_trades(self, symbol: str, *, since: datetime) -> Sequence[PublicTrade]:
        """Return the real venue's public trades; those of paper orders are not among them."""
        return await self._market_data.fetch_public_trades(symbol, since=since)

    def placement(self, order_type: OrderType, side: OrderSide) -> Placement:
        """Hold what would be held at the real venue; everything else is worked in the paper book."""
        held = self._market_data.placement(order_type, side) is Placement.HELD
        return Placement.HELD if held else Placement.NATIVE

    async def status(self) -> VenueStatus:
        """Return how the real venue answers, and whether the book does. Never raises."""
        status = await self._market_data.status()
        try:
            await self.fetch_balances()
        except VenueError as error:
            return status.model_copy(update={"reachable": False, "last_error": error.message})
        return status

    def time_fence_s(self) -> int | None:
        """Return 0: an answer that there is no order is proof at once."""
        return 0

    async def close(self) -> None:
        """Close the market data. The book belongs to whoever opened it."""
        await self._market_data.close()

    async def _match(self, symbol: str) -> None:
        """Compare the symbol's open orders with the market, at most once per look interval.

        Without market data nothing is filled, and the book's word stands as it is.
        """
        now_s = asyncio.get_running_loop().time()
        if now_s - self._looked_at_s.get(symbol, float("-inf")) < self._terms.look_interval_ms / 1000:
            return
        self._looked_at_s[symbol] = now_s
        orders = await self._book.open_orders(self._account, symbol=symbol)
        if not orders:
            return
        try:
            instrument = (await self._market_data.instruments()).get(symbol)
            if instrument is None:
                return
            market = await self._market(instrument, with_last=any(is_dormant(order) for order in orders))
        except VenueError as error:
            _log.info("paper_match_skipped", extra={"symbol": symbol, "code": error.code})
            return
        await self._book.change(self._account, symbol, decide=lambda desk: paper_matching.match(desk, market))

    async def _market(self, instrument: Instrument, *, with_last: bool) -> Market:
        return Market(
            instrument=instrument,
            book=await self._public_books.get(instrument.symbol),
            last=(await self._market_data.fetch_ticker(instrument.symbol)).last if with_last else None,
            maker_rate=self._terms.maker_rate,
            taker_rate=self._terms.taker_rate,
            now=self._clock(),
        )

    async def _fills_of(self, order: PaperOrder) -> Sequence[Fill]:
        if order.cum_qty == 0:
            return ()
        symbol, number = order.submission.symbol, order.venue_order_id
        return await self._book.fills(self._account, symbol, since=_EVER, venue_order_id=number)

    async def _travel(self) -> None:
        await asyncio.sleep(self._terms.latency_ms / 1000)

    async def _open_account(self) -> None:
        if not self._is_open:
            await self._book.open_account(self._account, opening=self._terms.opening_balances, now=self._clock())
            self._is_open = True

    @asynccontextmanager
    async def _answering(self) -> AsyncIterator[None]:
        """Open the account on first use. The book is the venue here: when it fails, the venue does not answer."""
        try:
            await self._open_account()
            yield
        except StoreUnavailable as error:
            raise VenueUnavailable(error.message) from error


def _report(order: PaperOrder, trades: Sequence[Fill] = ()) -> OrderReport:
    submission = order.submission
    return OrderReport(
        symbol=submission.symbol,
        venue_order_id=order.venue_order_id,
        client_order_id=submission.client_order_id,
        status=order.status,
        side=submission.side,
        quantity=submission.quantity,
        price=submission.price,
        cum_qty=order.cum_qty,
        cum_quote_qty=order.cum_quote_qty,
        trades=tuple(trades),
        ts_event=order.updated_at,
    )


def _accepted(order: PaperOrder, trades: Sequence[Fill]) -> SubmitOutcome:
    return SubmitOutcome(verdict=SubmitVerdict.ACCEPTED, report=_report(order, trades))


def _refused(reason: Reason) -> SubmitOutcome:
    return SubmitOutcome(verdict=SubmitVerdict.REFUSED, reason=reason)


def _not_sent(error: VenueError) -> SubmitOutcome:
    pause_s = error.retry_after_s if isinstance(error, RateLimited) else PAUSE_BEFORE_RETRY_S
    reason = Reason(code=error.code, text=f"nothing was recorded: {error.message}")
    return SubmitOutcome(verdict=SubmitVerdict.NOT_SENT, reason=reason, retry_after_s=pause_s)
