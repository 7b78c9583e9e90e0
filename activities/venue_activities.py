"""The steps that touch the venue: validate, submit, cancel, look up. Queue `venue-{account}`.

They walk the exactly-once protocol; its decisions and what must hold stand in `domain/protocol.py`.
"""

from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from datetime import datetime, timedelta

from temporalio import activity

from activities.calls import CancelCall, OrderCall, SubmitCall
from activities.failures import in_activity
from activities.reading import exchange_of, trades_of
from activities.validating import look_at_venue
from domain.errors import OrderClosed, RateLimited, VenueError
from domain.events import Reason
from domain.exposure import Validated
from domain.instrument import deny
from domain.lifecycle import AT_VENUE, OrderStatus
from domain.limits import LimitSet
from domain.order import Order, OrderRequest
from domain.ports import Attempt, Exchange, OrderStore
from domain.protocol import proves_absence
from domain.rate_budget import TURN_AWAITED
from domain.reports import OrderRef, SubmitOutcome, SubmitVerdict
from observability import metrics

LIMITS_AGE = timedelta(seconds=1)


class VenueActivities:
    """Activities over the `Exchange` port of each account that this worker serves."""

    def __init__(
        self,
        store: OrderStore,
        *,
        exchanges: Mapping[str, Exchange],
        identity: str,
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._exchanges = exchanges
        self._identity = identity
        self._known_limits: tuple[datetime, LimitSet] | None = None
        self._clock = clock

    @activity.defn(name="validate")
    async def validate(self, request: OrderRequest) -> Validated:
        """Fit the ticket to the venue's rules and find what it would cost now. Nothing is recorded."""
        async with in_activity():
            with metrics.stage("validate") as timed:
                timed(request.ticket.order_type)
                exchange = self._exchange(request.account)
                limits = (await self._limits()).of_order(request).values()
                return await look_at_venue(exchange, request.ticket, limits=limits, now=self._clock())

    @activity.defn(name="submit")
    async def submit(self, call: SubmitCall) -> Order:
        """Journal, sign, send once; what came of it is recorded before this returns.

        When the order's turn at the venue is far, nothing is journaled: the order comes back with the time to wait.
        """
        async with in_activity(), AsyncExitStack() as turn:
            try:
                await turn.enter_async_context(self._exchange(call.account).turn(call.strategy))
            except RateLimited as refusal:
                return _waiting(await self._store.order(call.account, call.order_id), refusal)
            with metrics.stage("submit") as timed:
                order = await self._send(call)
                timed(order.ticket.order_type)
                return order

    async def _send(self, call: OrderCall) -> Order:
        try:
            attempt = await self._store.open_attempt(
                call.account, call.order_id, worker=self._identity, now=self._clock()
            )
        except OrderClosed:
            return await self._store.order(call.account, call.order_id)
        if not attempt.fresh:
            return await self._give_up_unsent_or_doubt(attempt)
        with metrics.venue_request(call.account, "submit") as told:
            outcome = await self._exchange(call.account).submit(
                attempt.submission, last_look=lambda: self._store.pass_last_look(attempt, now=self._clock())
            )
            told.word = metrics.SUBMIT_WORDS.get(outcome.verdict, outcome.verdict)
        facts = {
            "verdict": outcome.verdict,
            "client_order_id": attempt.client_order_id,
            "order_attempt": attempt.attempt,
        }
        activity.logger.info("order_sent", extra=facts)
        return await self._store.record_outcome(attempt, _with_pause(outcome), now=self._clock())

    @activity.defn(name="look_up")
    async def look_up(self, call: OrderCall) -> Order:
        """Ask the venue for the order and believe what it says. In doubt, conclude only with proof."""
        async with in_activity():
            order = await self._store.order(call.account, call.order_id)
            if order.status not in AT_VENUE:
                return order
            attempt = await self._store.current_attempt(call.account, call.order_id)
            if attempt is None:
                return order
            if not attempt.may_have_left:
                return await self._give_up_unsent_or_doubt(attempt)
            return await self._look(order, attempt)

    @activity.defn(name="cancel")
    async def cancel(self, call: CancelCall) -> Order:
        """Record the wish, ask the venue to cancel, and look at what became of the order.

        A refused, lost or late cancel says nothing: the order's state comes from looking alone.
        """
        async with in_activity():
            order, attempt = await self._ask_to_cancel(call)
            return await self._look(order, attempt) if attempt is not None else order

    async def ask_to_cancel(self, call: CancelCall) -> Order:
        """Do the same without looking: for who cancels many at once, and looks at them afterwards."""
        order, _ = await self._ask_to_cancel(call)
        return order

    async def _ask_to_cancel(self, call: CancelCall) -> tuple[Order, Attempt | None]:
        """Return the order, and its attempt if the venue was asked to cancel it."""
        if call.reason is not None:
            order = await self._store.request_cancel(call.account, call.order_id, reason=call.reason, now=self._clock())
        else:
            order = await self._store.order(call.account, call.order_id)
        attempt = await self._store.current_attempt(call.account, call.order_id)
        if order.status is not OrderStatus.PENDING_CANCEL or attempt is None:
            return order, None
        try:
            with metrics.venue_request(call.account, "cancel"):
                hint = await self._exchange(call.account).cancel(_ref(order, attempt))
        except VenueError as error:
            activity.logger.info("cancel_unanswered", extra={"order_id": call.order_id, "code": error.code})
        else:
            if hint is not None:
                activity.logger.info("cancel_refused", extra={"order_id": call.order_id, "code": hint.code})
        return order, attempt

    async def _give_up_unsent_or_doubt(self, attempt: Attempt) -> Order:
        """Take back an attempt that another run opened; if its bytes may have left, it is in doubt."""
        reason = deny("SENDER_LOST", "the worker that opened the attempt ended before it could say what came of it")
        order = await self._store.void_attempt(attempt, reason=reason, now=self._clock())
        if order is not None:
            return order
        outcome = SubmitOutcome(verdict=SubmitVerdict.UNKNOWN, reason=reason)
        return await self._store.record_outcome(attempt, outcome, now=self._clock())

    async def _look(self, order: Order, attempt: Attempt) -> Order:
        exchange = self._exchange(order.account)
        asked_at = self._clock()
        with metrics.venue_request(order.account, "fetch_order"):
            report = await exchange.fetch_order(_ref(order, attempt))
        if report is None:
            return await self._absent(order, attempt, exchange, asked_at=asked_at)
        trades = await trades_of(exchange, attempt, report)
        notice = await self._store.record_report(
            order.account, order.order_id, report, trades=trades, now=self._clock()
        )
        if order.status is OrderStatus.IN_DOUBT and notice.order.status is not OrderStatus.IN_DOUBT:
            metrics.DOUBTS_ENDED.labels(order.account, "found").inc()
        # Not marked as heard: a look that was given to another worker meanwhile loses its result, never its news.
        return notice.order

    async def _absent(self, order: Order, attempt: Attempt, exchange: Exchange, *, asked_at: datetime) -> Order:
        """The venue says it has no such order: proof only once its time fence had passed when we asked."""
        fence_s = exchange.time_fence_s()
        if order.status is OrderStatus.SUBMITTED:
            reason = deny("OUTCOME_UNKNOWN", "the venue does not show the order yet")
            outcome = SubmitOutcome(verdict=SubmitVerdict.UNKNOWN, reason=reason)
            order = await self._store.record_outcome(attempt, outcome, now=self._clock())
        proven = proves_absence(signed_at=attempt.signed_at, asked_at=asked_at, time_fence_s=fence_s)
        if order.status is not OrderStatus.IN_DOUBT:
            return order
        if not proven:
            fence_ends_at = attempt.signed_at + timedelta(seconds=fence_s) if fence_s is not None else None
            return await self._store.record_look(attempt, looked_at=asked_at, fence_ends_at=fence_ends_at)
        reason = deny(
            "NEVER_PLACED",
            "the venue's time fence has passed and it has no such order",
            signed_at=attempt.signed_at.isoformat(),
            asked_at=asked_at.isoformat(),
            time_fence_s=str(fence_s),
        )
        order = await self._store.record_never_placed(attempt, reason=reason, now=self._clock())
        if order.never_placed:
            metrics.DOUBTS_ENDED.labels(order.account, "never_placed").inc()
        return order

    async def _limits(self) -> LimitSet:
        """Return the limits as they were within the last second: they say here only what to ask the market for."""
        now = self._clock()
        if self._known_limits is None or now - self._known_limits[0] > LIMITS_AGE:
            self._known_limits = (now, await self._store.limits())
        return self._known_limits[1]

    def _exchange(self, account: str) -> Exchange:
        return exchange_of(self._exchanges, account)


def _ref(order: Order, attempt: Attempt) -> OrderRef:
    return OrderRef(
        symbol=order.ticket.symbol, client_order_id=attempt.client_order_id, venue_order_id=order.venue_order_id
    )


def _waiting(order: Order, refusal: RateLimited) -> Order:
    """Tell the workflow, and nobody else, for how long the order waits for its turn. It is no fact."""
    reason = Reason(code=TURN_AWAITED, text=refusal.message, numbers=refusal.numbers)
    return order.model_copy(update={"reason": reason})


def _with_pause(outcome: SubmitOutcome) -> SubmitOutcome:
    """Write the pause that the venue asks for into the reason, where the order's workflow reads it."""
    if outcome.reason is None or not outcome.retry_after_s:
        return outcome
    numbers = {**outcome.reason.numbers, "retry_after_s": str(outcome.retry_after_s)}
    return outcome.model_copy(update={"reason": outcome.reason.model_copy(update={"numbers": numbers})})
