"""The `Exchange` port over ccxt, for any venue that ccxt knows."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, Final, Literal

import ccxt

from domain.errors import RateLimited, UnknownSymbol, VenueError, VenueUnavailable
from domain.events import Fill, Reason
from domain.instrument import Instrument
from domain.keys import KeyCheck
from domain.numbers import plain
from domain.order import OrderSide, OrderType, TimeInForce
from domain.placement import Placement
from domain.ports import LastLook
from domain.rate_budget import Priority
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
from exchanges.answers import answer_of
from exchanges.ccxt_client import VenueClient
from exchanges.ccxt_mapping import (
    balances_from,
    client_order_id_of,
    in_milliseconds,
    order_book_from,
    report_from,
    ticker_from,
)
from exchanges.ccxt_transport import Gate, NotSent, Probe, probing
from exchanges.key_permissions import check_keys
from exchanges.public_trades import read_public_trades
from exchanges.rate_turns import OrderTurns
from exchanges.shared_reads import SharedReads
from exchanges.trade_pages import all_pages, pages_by_offset, readable
from exchanges.venue_rules import ORDER_DEADLINE_S, SEND_WITHIN_S, placement
from exchanges.verdicts import PAUSE_BEFORE_RETRY_S, clean, judge_submission, refused_cancel, says_not_found
from exchanges.wire_guard import WireCheck

TICKER_FRESH_S: Final = 1.0
STATUS_FRESH_S: Final = 1.0


class CcxtExchange:
    """One account at one venue through ccxt. Made by `opening.open_exchange`.

    Parameters
    ----------
    time_fence_s
        The account's own value in seconds, 1 or more, or `never`, where it is set; else the venue's rules say.
    holds_stops
        Whether we hold stops also where the venue has its own.
    """

    def __init__(
        self, client: VenueClient, *, time_fence_s: int | Literal["never"] | None = None, holds_stops: bool = False
    ) -> None:
        self._client = client
        self._api = client.api
        self._rules = client.rules
        self._turns = OrderTurns(client.requests)
        self._time_fence_s = time_fence_s
        self._holds_stops = holds_stops
        self._tickers: SharedReads[str, Ticker] = SharedReads(self._read_ticker, fresh_s=TICKER_FRESH_S)
        self._statuses: SharedReads[str, VenueStatus] = SharedReads(
            lambda _: self._client.status(), fresh_s=STATUS_FRESH_S
        )

    async def instruments(self) -> Mapping[str, Instrument]:
        """Return the venue's spot symbols and their rules, by unified symbol."""
        return await self._client.instruments()

    # Writing.

    def turn(self, strategy: str | None) -> AbstractAsyncContextManager[None]:
        """Wait for an order's turn at the venue, and keep it while inside. Raises `RateLimited` when it is far."""
        return self._turns.turn(strategy)

    async def submit(self, submission: Submission, *, last_look: LastLook) -> SubmitOutcome:
        """Send one order in one request, once. The last look is taken when its connection is ready to be written to.

        Raises nothing but `CancelledError`, after which the journal knows no more than that it may have left.
        """
        too_old = self._client.keys.too_old()
        if too_old is not None:
            return too_old
        version = self._client.keys.take_newest()
        try:
            call = await self._prepared(submission)
        except NotSent as refusal:
            return _refused(refusal)
        except VenueError as error:
            pause_s = error.retry_after_s if isinstance(error, RateLimited) else PAUSE_BEFORE_RETRY_S
            reason = Reason(code=error.code, text=f"nothing was sent: {error.message}")
            return SubmitOutcome(verdict=SubmitVerdict.NOT_SENT, reason=reason, retry_after_s=pause_s)
        gate = Gate(
            last_look,
            signed_at=submission.signed_at,
            send_within_s=SEND_WITHIN_S,
            check=WireCheck(submission, self._rules),
            clock=self._client.clock,
        )
        probe = Probe(gate=gate, priority=Priority.SUBMIT)
        order, error_met = None, None
        try:
            with probing(probe):
                order = await call()
        except Exception as error:  # whatever it is, the evidence decides
            error_met = error
        outcome = judge_submission(
            probe,
            order=order if isinstance(order, Mapping) else None,
            error=error_met,
            symbol=submission.symbol,
            rules=self._rules,
            now=self._client.clock(),
        )
        outcome = outcome.model_copy(update={"answer": answer_of(probe.order_call)})
        self._client.note_submission(probe, outcome)
        return await self._client.keys.judged(outcome, version)

    async def _prepared(self, submission: Submission) -> Callable[[], Awaitable[Any]]:
        """Return the call that sends the order. Raises `NotSent` when the order cannot be sent as it is meant."""
        await self._client.requests.raise_if_paused()
        self._refuse_shape(submission)
        instruments = await self._client.instruments()
        if submission.symbol not in instruments:
            raise NotSent("SYMBOL_UNKNOWN", f"the venue does not list {submission.symbol}", refused=True)
        for word in _shapes(submission):
            if word in instruments[submission.symbol].lacks:
                text = f"the venue takes no {word} orders for {submission.symbol}"
                raise NotSent("ORDER_TYPE_NOT_SUPPORTED", text, refused=True)
        await self._client.know_clock()
        self._refuse_rounding(submission)
        return partial(
            self._api.create_order,
            submission.symbol,
            "limit" if submission.price is not None else "market",
            str(submission.side),
            plain(submission.quantity),
            plain(submission.price) if submission.price is not None else None,
            self._order_params(submission),
        )

    def _order_params(self, submission: Submission) -> dict[str, object]:
        """Return what ccxt is told beside the figures: in its own words, or in the venue's where those do not do."""
        params: dict[str, object] = {self._rules.create_key: submission.client_order_id}
        if submission.trigger_price is not None:
            params[self._rules.trigger_key] = plain(submission.trigger_price)
        if submission.time_in_force != TimeInForce.GTC:
            params["timeInForce"] = str(submission.time_in_force)
        if submission.post_only:
            params["postOnly"] = True
        if self._rules.deadline_key is not None:
            deadline = self._client.on_venue_clock(submission.signed_at) + timedelta(seconds=ORDER_DEADLINE_S)
            params[self._rules.deadline_key] = f"{deadline.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
        for shape in _shapes(submission):
            params.update(self._rules.send.get(shape, {}))
        return params

    def _refuse_shape(self, submission: Submission) -> None:
        """Refuse what ccxt does not carry to this venue as it is meant: it would go out as a plain order."""
        rules = self._rules
        if not rules.takes_orders:
            raise NotSent("VENUE_NOT_SUPPORTED", "orders are not supported on this venue", refused=True)
        if not rules.client_ids.take(submission.client_order_id):
            text = f"the venue takes no such client order id: {rules.client_ids.says}"
            raise NotSent("CLIENT_ORDER_ID_NOT_TAKEN", text, refused=True)
        for word in _shapes(submission):
            if word not in rules.shapes:
                why = rules.notes.get(word, "not known to reach this venue as it is meant")
                raise NotSent("ORDER_TYPE_NOT_SUPPORTED", f"{word} orders are not supported here: {why}", refused=True)
        if submission.order_type == OrderType.MARKET and submission.side == "buy" and not rules.market_buys_by_quantity:
            text = "a market buy names what is spent here, not the quantity; use a limit order"
            raise NotSent("ORDER_TYPE_NOT_SUPPORTED", text, refused=True)
        triggered = submission.order_type in (OrderType.STOP, OrderType.STOP_LIMIT)
        priced = submission.order_type in (OrderType.LIMIT, OrderType.STOP_LIMIT)
        if triggered != (submission.trigger_price is not None) or priced != (submission.price is not None):
            raise NotSent("PRICES_CONTRADICT_TYPE", "prices and order type do not fit together", refused=True)

    def _refuse_rounding(self, submission: Submission) -> None:
        """Refuse figures that ccxt would round on the way: it truncates amounts and rounds prices without a word."""
        figures = [(submission.quantity, self._api.amount_to_precision)]
        figures += [(p, self._api.price_to_precision) for p in (submission.price, submission.trigger_price) if p]
        for figure, rounded in figures:
            try:
                written = Decimal(rounded(submission.symbol, plain(figure)))
            except (ccxt.BaseError, ArithmeticError) as error:
                raise NotSent("FIGURE_NOT_CARRIED", clean(f"{plain(figure)}: {error}"), refused=True) from error
            if written != figure:
                raise NotSent("FIGURE_NOT_CARRIED", f"{plain(figure)} would be sent as {written}", refused=True)

    async def cancel(self, ref: OrderRef) -> Reason | None:
        """Ask the venue to cancel. A refusal is a hint only. Raises the port's errors when there is no answer."""
        order_id, params = ref.venue_order_id, dict[str, str]()
        if order_id is None and self._rules.cancel_key is not None:
            order_id, params = self._rules.empty_id, {self._rules.cancel_key: ref.client_order_id}
        elif order_id is None and self._rules.client_ids.prefix:
            order_id = self._rules.client_ids.prefix + ref.client_order_id
        elif order_id is None:
            report = await self._look_up(ref, priority=Priority.CANCEL)
            if report is None:
                return Reason(code="ORDER_NOT_FOUND", text="the venue shows no such order to cancel")
            order_id = report.venue_order_id
        await self._client.instruments()
        answer = await self._client.try_ask(
            partial(self._api.cancel_order, order_id, ref.symbol, params), signed=True, priority=Priority.CANCEL
        )
        call = answer.last_call
        if answer.error is None and call is not None and call.succeeded:
            return None
        refusal = refused_cancel(call, self._rules)
        if refusal is None:
            raise self._client.failed(answer) from answer.error
        return refusal

    # Reading.

    async def fetch_order(self, ref: OrderRef) -> OrderReport | None:
        """Return the venue's word on one order, closed ones included; `None` when it says that it has none."""
        return await self._look_up(ref, priority=Priority.SUBMIT)

    async def _look_up(self, ref: OrderRef, *, priority: Priority) -> OrderReport | None:
        await self._client.instruments()
        if ref.venue_order_id is not None:
            return await self._find(ref, ref.venue_order_id, dict(self._rules.lookup_extra), priority)
        report = None
        if self._rules.lookup_key is not None:
            params = {self._rules.lookup_key: ref.client_order_id, **self._rules.lookup_extra}
            report = await self._find(ref, "", params, priority)
        if report is None and (self._rules.lookup_key is None or self._rules.validity_window_ms is None):
            report = await self._search(ref, priority)
        return report

    async def _find(
        self, ref: OrderRef, order_id: str | None, params: dict[str, object], priority: Priority
    ) -> OrderReport | None:
        answer = await self._client.try_ask(
            partial(self._api.fetch_order, order_id, ref.symbol, params), signed=True, priority=priority
        )
        call = answer.last_call
        if says_not_found(answer.error, call, self._rules):
            return None
        if answer.error is not None or call is None or not call.succeeded:
            raise self._client.failed(answer) from answer.error
        with readable():
            report = report_from(answer.value, symbol=ref.symbol, rules=self._rules, now=self._client.clock())
        asked_by_ours = ref.venue_order_id is None
        if asked_by_ours and report.client_order_id != ref.client_order_id:
            raise VenueUnavailable(f"the venue answered for another order than {ref.client_order_id}")
        if not asked_by_ours and report.venue_order_id != ref.venue_order_id:
            raise VenueUnavailable(f"the venue answered for another order than {ref.venue_order_id}")
        return report.model_copy(update={"answer": answer_of(call)})

    async def _search(self, ref: OrderRef, priority: Priority) -> OrderReport | None:
        """Go through the venue's lists; each must be whole before absence is believed."""
        params = {self._rules.list_key: ref.client_order_id} if self._rules.list_key else {}
        for name in self._rules.lists:
            listed = partial(getattr(self._api, name), ref.symbol, None, None, params)
            orders = await self._client.ask(listed, listing=True, signed=True, priority=priority)
            for order in orders:
                with readable():
                    if client_order_id_of(order, self._rules) == ref.client_order_id:
                        return report_from(order, symbol=ref.symbol, rules=self._rules, now=self._client.clock())
        return None

    async def fetch_open_orders(self, symbols: Collection[str] | None = None) -> Sequence[OrderReport]:
        """Return the open orders: in one call, or one for each symbol where so few cost the venue less."""
        await self._client.instruments()
        one_by_one = symbols is not None and len(symbols) <= self._rules.lists_by_symbol_up_to
        wanted: Collection[str | None] = symbols if one_by_one and symbols is not None else (None,)
        lists = [
            await self._client.ask(partial(self._api.fetch_open_orders, symbol), listing=True, signed=True)
            for symbol in wanted
        ]
        orders = [order for listed in lists for order in listed]
        with readable():
            return [
                report_from(order, symbol=order["symbol"], rules=self._rules, now=self._client.clock())
                for order in orders
            ]

    async def fetch_trades(self, symbol: str, *, since: datetime) -> Sequence[Fill]:
        """Return the account's trades in the symbol from `since` on, all pages, oldest first."""
        await self._client.instruments()
        read = pages_by_offset if self._rules.page_of is not None else all_pages
        return await read(
            self._client, partial(self._api.fetch_my_trades, symbol), symbol=symbol, start_ms=in_milliseconds(since)
        )

    async def fetch_order_trades(self, ref: OrderRef, *, since: datetime) -> Sequence[Fill]:
        """Return all trades of one order, oldest first. Raises `ValueError` when its venue id is not known."""
        if ref.venue_order_id is None:
            raise ValueError("trades are asked for by the venue's order id")
        await self._client.instruments()
        if not self._rules.order_trades or not self._api.has.get("fetchOrderTrades"):
            fills = await self.fetch_trades(ref.symbol, since=since)
            return [fill for fill in fills if fill.venue_order_id == ref.venue_order_id]
        return await all_pages(
            self._client,
            partial(self._api.fetch_order_trades, ref.venue_order_id, ref.symbol),
            symbol=ref.symbol,
            start_ms=None,
            venue_order_id=ref.venue_order_id,
        )

    async def fetch_balances(self) -> Sequence[Balance]:
        """Return the balance of every asset that the account holds."""
        await self._client.instruments()
        answer = await self._client.ask(self._api.fetch_balance, signed=True)
        with readable():
            return balances_from(answer)

    async def fetch_ticker(self, symbol: str) -> Ticker:
        """Return best prices and volume, at most a second old. Raises `UnknownSymbol`."""
        await self._known(symbol)
        return await self._tickers.get(symbol)

    async def _read_ticker(self, symbol: str) -> Ticker:
        answer = await self._client.ask(partial(self._api.fetch_ticker, symbol))
        with readable():
            return ticker_from(answer, symbol=symbol, now=self._client.clock())

    async def fetch_order_book(self, symbol: str, *, depth: int) -> OrderBook:
        """Return the public order book, `depth` (1 or more) levels a side. Raises `UnknownSymbol`."""
        await self._known(symbol)
        asked = next((size for size in self._rules.book_depths if size >= depth), None)
        asked = asked or (self._rules.book_depths[-1] if self._rules.book_depths else depth)
        answer = await self._client.ask(partial(self._api.fetch_order_book, symbol, asked))
        with readable():
            return order_book_from(answer, symbol=symbol, depth=depth, now=self._client.clock())

    async def fetch_public_trades(self, symbol: str, *, since: datetime) -> Sequence[PublicTrade]:
        """Return everybody's trades in the symbol from `since` on, oldest first. Raises `UnknownSymbol`."""
        await self._known(symbol)
        return await read_public_trades(self._client, symbol, since=since)

    def placement(self, order_type: OrderType, side: OrderSide) -> Placement:
        """Say whether the venue works this order type itself, we hold it, or it is refused."""
        return placement(str(self._api.id), order_type, side, holds_stops=self._holds_stops)

    async def status(self) -> VenueStatus:
        """Return how the venue answers, at most a second old; never raises."""
        return await self._statuses.get("")

    def time_fence_s(self) -> int | None:
        """Return the seconds after `signed_at` from which "not found" is proof; `None`: never on this venue."""
        if self._time_fence_s == "never":
            return None
        return self._time_fence_s if self._time_fence_s is not None else self._rules.time_fence_s

    async def check_keys(self) -> KeyCheck:
        """Make a signed read, and tell what the key may do. Raises `VenueUnavailable` and its like, for weather."""
        return await check_keys(self._client)

    async def close(self) -> None:
        """Close connections. The exchange cannot be used afterwards."""
        await self._client.close()

    async def _known(self, symbol: str) -> None:
        if symbol not in await self._client.instruments():
            raise UnknownSymbol(f"the venue does not list {symbol}")


def _shapes(submission: Submission) -> list[str]:
    """Name the order's type and its conditions, as the venues' tables do."""
    shapes = [str(submission.order_type)]
    if submission.time_in_force != TimeInForce.GTC:
        shapes.append(str(submission.time_in_force))
    return [*shapes, "post-only"] if submission.post_only else shapes


def _refused(refusal: NotSent) -> SubmitOutcome:
    verdict = SubmitVerdict.REFUSED if refusal.refused else SubmitVerdict.NOT_SENT
    reason = Reason(code=refusal.code, text=refusal.text)
    return SubmitOutcome(verdict=verdict, reason=reason, retry_after_s=refusal.retry_after_s)
