"""The way from a worker to the venue: requests get lost, arrive late, are answered with nothing or with rubbish."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from domain.errors import VenueUnavailable
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
    SubmitVerdict,
    Ticker,
)
from domain.triggers import PublicTrade
from tests.campaign.simulation import answers
from tests.campaign.simulation.plan import LAG_MAX_S
from tests.campaign.simulation.quick import quick
from tests.campaign.simulation.venue import OPEN, PRICES, STEP, SimVenue, VenueOrder

if TYPE_CHECKING:
    from tests.campaign.simulation.workers import Worker

HTTP_TIMEOUT_S = 10.0
INSTRUMENTS: Mapping[str, Instrument] = {
    symbol: Instrument(
        symbol=symbol,
        base_asset=symbol.split("/")[0],
        quote_asset="USDT",
        tick_size=Decimal("0.01"),
        step_size=STEP,
        min_notional=Decimal(5),
    )
    for symbol in PRICES
}
_LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
_TICKERS = {
    symbol: quick(Ticker, symbol=symbol, bid=price, ask=price, last=price, ts_event=_LONG_AGO)
    for symbol, price in PRICES.items()
}
_BOOKS = {
    symbol: OrderBook(symbol=symbol, bids=levels, asks=levels, ts_event=_LONG_AGO)
    for symbol, price in PRICES.items()
    for levels in [(BookLevel(price=price, quantity=Decimal(1000)),)]
}
SUBMIT_FAULTS = (
    "connection_refused", "request_lost", "request_late", "reply_lost", "http_5xx_and_taken", "http_5xx_and_not_taken",
    "rate_limited_429", "banned_418", "maintenance", "broken_body", "empty_body", "refused_with_proof",
    "clock_refused_1021", "answered_as_duplicate",
)  # fmt: skip
CANCEL_FAULTS = (
    "cancel_lost", "cancel_reply_lost", "cancel_refused", "cancel_late", "cancel_5xx_and_done",
)  # fmt: skip
READ_FAULTS = ("read_failed", "read_rate_limited", "read_cut_off", "read_clock_refused")


_LOOK_REFUSED = SubmitOutcome(
    verdict=SubmitVerdict.NOT_SENT, reason=Reason(code="LAST_LOOK_REFUSED", text="the last look said no")
)
_NEVER_LEAVES = ("connection_refused",)
_TURNED_AWAY = (
    "request_lost", "maintenance", "http_5xx_and_not_taken", "refused_with_proof", "rate_limited_429", "banned_418",
    "clock_refused_1021",
)  # fmt: skip
_CANCEL_REFUSED = Reason(code="CANCEL_REFUSED", text="Unknown order sent.")


class WorkerExchange:
    """Implements `domain.ports.Exchange` for one worker and one account."""

    def __init__(self, worker: "Worker", venue: SimVenue) -> None:
        self.worker = worker
        self.world = worker.world
        self.venue = venue
        self.rng = worker.world.rng

    # One order, once.

    def turn(self, strategy: str | None) -> AbstractAsyncContextManager[None]:
        """It is always this order's turn."""
        return nullcontext()

    async def submit(self, submission: Submission, *, last_look: LastLook) -> SubmitOutcome:
        worker, world, client_id = self.worker, self.world, submission.client_order_id
        worker.moment("venue.submit: before the last look", client_id)
        if worker.paused:
            await worker.resumed()
        asked_at = world.loop.time()
        if not await last_look():
            return _LOOK_REFUSED
        world.judge.leaves(self.venue, submission, asked_at)
        worker.moment("venue.submit: after the last look, before the bytes", client_id)
        if worker.paused:
            await worker.resumed()
        kind = ""
        draw = self.rng.random()
        chance = world.chaos(world.plan.submit_fault)
        if world.venue_down:
            kind = "maintenance"
        elif draw < chance:
            kind = SUBMIT_FAULTS[int(draw / chance * len(SUBMIT_FAULTS))]
        if kind:
            world.fault(kind, client_id)
            world.note(client_id, f"{worker.identity} submit: {kind}")
        if kind in _NEVER_LEAVES:
            return answers.outcome_of(kind)
        self.venue.leave(submission)
        outcome = await self._send(submission, kind)
        worker.moment("venue.submit: after the answer", client_id)
        if worker.paused:
            await worker.resumed()
        return outcome

    async def _send(self, submission: Submission, kind: str) -> SubmitOutcome:
        """Send, with what the network and the venue make of it."""
        venue, rng, client_id = self.venue, self.rng, submission.client_order_id
        if kind in _TURNED_AWAY:
            venue.on_the_way[client_id] -= 1
            if kind == "refused_with_proof":
                venue.refused[client_id] = kind
            await self._wait(HTTP_TIMEOUT_S if kind == "request_lost" else 0.1, client_id)
            return answers.outcome_of(kind)
        if kind == "request_late":
            self.world.loop.call_later(rng.random() * 8, venue.arrive, submission)
            await self._wait(HTTP_TIMEOUT_S if rng.random() < 0.5 else 0.5, client_id)
            return answers.outcome_of(kind)
        if rng.random() < 0.3:
            arrived: list[Any] = []
            self.world.loop.call_later(0.02, lambda: arrived.append(venue.arrive(submission)))
            await self._wait(0.03, client_id)
            answer = arrived[0] if arrived else venue.find(client_id, None)
        else:
            answer = venue.arrive(submission)
            self.worker.moment("venue.submit: taken, before the answer", client_id)
            if rng.random() < 0.5:
                await self.worker.pause(0.05)
        if kind:
            if kind == "reply_lost":
                await self._wait(HTTP_TIMEOUT_S, client_id)
            return answers.outcome_of(kind)
        return self._answer(answer)

    async def _wait(self, seconds: float, client_id: str) -> None:
        self.worker.moment("venue.submit: sent, waiting for the answer", client_id)
        await self.worker.pause(seconds)

    def _answer(self, answer: "str | VenueOrder | None") -> SubmitOutcome:
        if answer == "stale":
            return answers.outcome_of("clock_refused_1021")
        if answer == "duplicate":
            return answers.outcome_of("answered_as_duplicate")
        if not isinstance(answer, VenueOrder):
            return answers.outcome_of("reply_lost")
        report = answer.history[-1][1]
        told = tuple(fill for _, fill in answer.trades)
        if told and self.rng.random() < 0.2:
            told = told[:-1]
        if told:
            report = report.model_copy(update={"trades": told})
        return quick(SubmitOutcome, verdict=SubmitVerdict.ACCEPTED, report=report)

    async def cancel(self, ref: OrderRef) -> Reason | None:
        worker, world, venue, rng = self.worker, self.world, self.venue, self.rng
        client_id = ref.client_order_id
        worker.moment("venue.cancel: before", client_id)
        if worker.paused:
            await worker.resumed()
        await self._venue_up(client_id)
        order = venue.find(client_id, ref.venue_order_id)
        chance = world.chaos(world.plan.cancel_fault)
        draw = rng.random()
        kind = CANCEL_FAULTS[int(draw / chance * len(CANCEL_FAULTS))] if draw < chance else ""
        if kind:
            world.fault(kind, client_id)
            world.note(client_id, f"{worker.identity} cancel: {kind}")
        if order is None or kind == "cancel_refused":
            return _CANCEL_REFUSED
        if kind == "cancel_late":
            world.loop.call_later(rng.random() * 5, venue.cancel, order)
        elif kind != "cancel_lost":
            taken = venue.cancel(order)
            worker.moment("venue.cancel: carried out, before the answer", client_id)
            if not kind:
                await worker.pause(0.03)
                return None if taken else _CANCEL_REFUSED
        await worker.pause(HTTP_TIMEOUT_S if rng.random() < 0.3 else 0.2)
        raise VenueUnavailable("no answer")

    # Reads.

    async def fetch_order(self, ref: OrderRef) -> OrderReport | None:
        client_id = ref.client_order_id
        await self._read("fetch_order", client_id)
        order = self.venue.find(client_id, ref.venue_order_id)
        now = self.world.loop.time()
        if order is None or now < order.seen_from:
            if order is not None:
                self.world.fault("not_shown_yet", client_id)
            if self.rng.random() < self.world.chaos(self.world.plan.slow_answer):
                self.world.fault("slow_answer", client_id)
                await self.worker.pause(self.rng.random() * HTTP_TIMEOUT_S)
            return None
        draw, chance = self.rng.random(), self.world.chaos(self.world.plan.lag) / 3
        if draw < chance:
            self.world.fault("stale_order", client_id)
            return order.as_of(now - draw / chance * LAG_MAX_S)
        return order.history[-1][1]

    async def fetch_open_orders(self, symbols: Collection[str] | None = None) -> Sequence[OrderReport]:
        await self._read("fetch_open_orders", "")
        now = self.world.loop.time()
        found = []
        for order in self.venue.listed.values():
            if order.listed_from > now or (symbols is not None and order.symbol not in symbols):
                continue
            shown = order.history[-1] if order.status is OPEN else order.history[-2]
            found.append(shown[1])
        return found

    async def fetch_trades(self, symbol: str, *, since: datetime) -> Sequence[Fill]:
        await self._read("fetch_trades", "")
        return self._pages(self.venue.shown_trades(symbol, since))

    async def fetch_order_trades(self, ref: OrderRef, *, since: datetime) -> Sequence[Fill]:
        await self._read("fetch_order_trades", ref.client_order_id)
        order = self.venue.find(ref.client_order_id, ref.venue_order_id)
        now = self.world.loop.time()
        return self._pages([fill for shown_from, fill in order.trades if shown_from <= now] if order else [])

    def _pages(self, fills: list[Fill]) -> list[Fill]:
        draw, chance = self.rng.random(), self.world.chaos(self.world.plan.pages)
        if draw >= chance or not fills:
            return fills
        if draw < chance / 2:
            self.world.fault("page_repeated", "")
            return fills + fills[-3:]
        self.world.fault("page_out_of_order", "")
        return fills[::-1]

    async def fetch_balances(self) -> Sequence[Balance]:
        await self._read("fetch_balances", "")
        return self.venue.balances()

    async def fetch_ticker(self, symbol: str) -> Ticker:
        await self._read("fetch_ticker", "")
        return _TICKERS[symbol]

    async def fetch_order_book(self, symbol: str, *, depth: int) -> OrderBook:
        await self._read("fetch_order_book", "")
        return _BOOKS[symbol]

    async def fetch_public_trades(self, symbol: str, *, since: datetime) -> Sequence[PublicTrade]:
        await self._read("fetch_public_trades", "")
        return ()

    def placement(self, order_type: OrderType, side: OrderSide) -> Placement:
        return Placement.NATIVE

    async def instruments(self) -> Mapping[str, Instrument]:
        return INSTRUMENTS

    def time_fence_s(self) -> int | None:
        return answers.RULES.time_fence_s

    async def _venue_up(self, client_id: str) -> None:
        if self.world.venue_down:
            self.world.fault("venue_outage", client_id)
            await self.worker.pause(0.2)
            raise VenueUnavailable("the venue does not answer")

    async def _read(self, call: str, client_id: str) -> None:
        worker, world = self.worker, self.world
        worker.moment(f"venue.{call}: before", client_id)
        if worker.paused:
            await worker.resumed()
        if world.venue_down:
            await self._venue_up(client_id)
        draw = self.rng.random()
        chance = world.chaos(world.plan.read_fault)
        if draw < chance:
            kind = READ_FAULTS[int(draw / chance * len(READ_FAULTS))]
            world.fault(kind, client_id)
            await worker.pause(0.2 if draw < chance / 2 else 5)
            raise answers.read_failure(kind)
        if draw > 0.6:
            await worker.pause(draw * 0.1)
            worker.moment(f"venue.{call}: after the answer", client_id)
