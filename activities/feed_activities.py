"""Follows an account at its venue: one look for all its orders, facts into the ledger, and the news to each order.

The number of venue calls does not grow with the number of open orders: one list of open orders, and the trades of each
symbol that has any. Only an order that left the list costs a call of its own, once.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial

from temporalio import activity

from activities.calls import FollowCall, Followed
from activities.doubt_watch import DoubtWatch
from activities.failures import in_activity
from activities.ledger_repair import LedgerRepair
from activities.reading import TRADES_OVERLAP, exchange_of
from activities.trigger_watch import TriggerWatch
from activities.valuing import Valuing
from domain.errors import ExecutionError, InvalidTransition, StoreUnavailable
from domain.events import Fill
from domain.lifecycle import OrderStatus
from domain.numbers import subtract
from domain.order import Frozen, Order
from domain.ports import Exchange, OrderNotifier, OrderStore
from domain.reports import OrderRef, OrderReport
from domain.trigger_ports import TriggerStore
from observability import metrics
from observability.sightings import seen

FOLLOW_STRETCH = timedelta(minutes=15)
"""One activity follows for this long and returns, so that a rolling deployment moves the feed on its own."""
NOTICES_PER_ROUND = 200
RECENT = timedelta(minutes=10)
"""Orders that changed this lately share one read of the symbol's trades; one that rested longer is asked for alone,
so that a week of other trades is not read again."""
SETTLED_AFTER = timedelta(seconds=3)
"""Balances told sooner after a fill may be from before it, by one of two clocks: they are asked for once more."""
SHOWN_WITHIN = timedelta(seconds=12)
"""A little more than the visibility lag that the time fence allows for."""
SETTLED_A_ROUND = 5
SETTLED_WITHIN = timedelta(minutes=5)
"""An order that ended longer ago than this is not looked at any more."""
FAILURE_PAUSE_MAX_S = 30.0
STORE_PAUSE_MAX_S = 1.0


class FeedPace(Frozen):
    """How often the venue is asked, in seconds."""

    open_interval_s: float = 1.0
    """With orders at the venue."""
    idle_interval_s: float = 30.0
    """Without any; also the interval of the balances."""


class FeedActivities:
    """The activity behind `AccountFeedWorkflow`."""

    def __init__(
        self,
        store: OrderStore,
        *,
        exchanges: Mapping[str, Exchange],
        notifier: OrderNotifier,
        pace: FeedPace,
        clock: Callable[[], datetime],
        repair: LedgerRepair | None = None,
        valuing: Valuing | None = None,
        triggers: TriggerStore | None = None,
    ) -> None:
        self._triggers = triggers
        self._repair = repair
        self._valuing = valuing
        self._store = store
        self._exchanges = exchanges
        self._notifier = notifier
        self._pace = pace
        self._clock = clock

    @activity.defn(name="follow_account")
    async def follow_account(self, call: FollowCall) -> Followed:
        """Follow until the stretch is over or the worker shuts down. Weather is waited out, never raised."""
        beat = _LedgerBeat(call.beat)
        async with in_activity(beat.told):
            exchange = exchange_of(self._exchanges, call.account)
            follower = Follower(self._store, exchange, self._notifier, self._pace, call.account, self._clock)
            watch = TriggerWatch(self._triggers, exchange, call.account, self._clock) if self._triggers else None
            until = self._clock() + FOLLOW_STRETCH
            shutdown = asyncio.create_task(activity.wait_for_worker_shutdown())
            pause_s = 0.0
            try:
                while self._clock() < until and not shutdown.done():
                    try:
                        with metrics.counted(partial(_round_ended, call.account)):
                            if self._repair is not None:
                                beat.count = await self._repair.keep(call.account, known=beat.count)
                            await _both(watch, follower, self._clock())
                            if self._valuing is not None:
                                await self._valuing.look(call.account, self._clock())
                        pause_s = self._pace.open_interval_s
                    except ExecutionError as error:
                        pause_s = min(max(pause_s * 2, self._pace.open_interval_s), _pause_max_s(error))
                        activity.logger.warning(
                            "feed_round_failed", extra={"account": call.account, "code": error.code, "text": str(error)}
                        )
                    await self._pause(follower, shutdown, pause_s)
            finally:
                shutdown.cancel()
            return Followed(
                rounds=follower.rounds,
                reports=follower.reports,
                notices=follower.notices,
                until=self._clock(),
                beat=beat.count,
            )

    async def _pause(self, follower: "Follower", shutdown: asyncio.Task[None], pause_s: float) -> None:
        """Wait, and watch doubts meanwhile: a venue that fails is asked rarely, and must not delay an alert."""
        until = self._clock() + timedelta(seconds=pause_s)
        step_s = self._pace.open_interval_s
        while (left_s := (until - self._clock()).total_seconds()) > 0 and not shutdown.done():
            await asyncio.wait({shutdown}, timeout=min(left_s, step_s))
            if left_s > step_s:
                with contextlib.suppress(ExecutionError):  # the next round tells
                    await follower.watch_doubts(self._clock())


def _round_ended(account: str, outcome: str, took_s: float) -> None:
    metrics.FEED_ROUNDS.labels(account, outcome).inc()
    metrics.FEED_ROUND_DURATION.labels(account).observe(took_s)
    if outcome == "ok":
        seen(account).followed()


async def _both(watch: TriggerWatch | None, follower: "Follower", now: datetime) -> None:
    """Look at the triggers, then follow the orders, which tells their news; a failure of one keeps from no other."""
    failure: ExecutionError | None = None
    if watch is not None:
        try:
            await watch.look()
        except ExecutionError as error:
            failure = error
    await follower.round(now)
    if failure is not None:
        raise failure


class _LedgerBeat:
    """The ledger's count as this feed knows it: from the stretch before, or from the run that died in this one."""

    def __init__(self, known: int) -> None:
        details = activity.info().heartbeat_details
        self.count = max(known, int(details[0])) if details else known

    def told(self) -> Sequence[int]:
        """Return what a heartbeat tells Temporal."""
        return (self.count,)


def _pause_max_s(error: ExecutionError) -> float:
    """The venue is not asked often while it fails; our own ledger is, for orders wait until it was compared."""
    return STORE_PAUSE_MAX_S if isinstance(error, StoreUnavailable) else FAILURE_PAUSE_MAX_S


class Follower:
    """One stretch of following one account: what was asked when, and how far the trades were read."""

    def __init__(
        self,
        store: OrderStore,
        exchange: Exchange,
        notifier: OrderNotifier,
        pace: FeedPace,
        account: str,
        clock: Callable[[], datetime],
    ) -> None:
        self._clock = clock
        self._store = store
        self._exchange = exchange
        self._notifier = notifier
        self._pace = pace
        self._account = account
        self._balances_at: datetime | None = None
        self._moved_at = datetime.min.replace(tzinfo=UTC)
        self._doubts = DoubtWatch(store, account)
        self._settled: set[str] = set()
        self.rounds = 0
        self.reports = 0
        self.notices = 0

    async def round(self, now: datetime) -> None:
        """Look once: working orders first, so that an order placed meanwhile is not taken for a missing one.

        What is known already is told before the venue is asked: its weather must not keep news from the orders.
        """
        await self._tell()
        at_venue = await self._store.working_orders(self._account)
        await self._doubts.look(at_venue, now)
        working = [order for order in at_venue if _is_ours_to_follow(order)]
        if working:
            await self._follow(working, now)
        if self._balances_at is None or (now - self._balances_at).total_seconds() >= self._pace.idle_interval_s:
            await self._ask_balances()
            self._balances_at = now if now - self._moved_at > SETTLED_AFTER else None
        await self._tell()
        await self._settle(now)
        self.rounds += 1

    async def _ask_balances(self) -> None:
        """Record the venue's word with the moments between which it holds: a slow answer knows of later fills."""
        asked_at = self._clock()
        with metrics.venue_request(self._account, "fetch_balances"):
            balances = await self._exchange.fetch_balances()
        await self._store.record_balances(self._account, balances, asked_at=asked_at, told_at=self._clock())

    async def watch_doubts(self, now: datetime) -> None:
        """Look at the doubts alone, without asking the venue."""
        await self._doubts.look(await self._store.working_orders(self._account), now)

    async def _follow(self, working: Sequence[Order], now: datetime) -> None:
        symbols = {order.ticket.symbol for order in working}
        with metrics.venue_request(self._account, "fetch_open_orders"):
            reports = {(r.symbol, r.venue_order_id): r for r in await self._exchange.fetch_open_orders(symbols)}
        moved: list[tuple[Order, OrderReport | None]] = []
        for order in working:
            report = reports.get((order.ticket.symbol, order.venue_order_id or ""))
            if report is None or report.cum_qty is None or report.cum_qty != _attempt_qty(order):
                moved.append((order, report))
        for symbol in sorted({order.ticket.symbol for order, _ in moved}):
            mine = [(order, report) for order, report in moved if order.ticket.symbol == symbol]
            await self._believe(symbol, mine, now)

    async def _settle(self, now: datetime) -> None:
        """Look once more at orders that ended short of their quantity: a venue may find a last trade after its word."""
        ended = await self._store.ended_short(self._account, since=now - SETTLED_WITHIN)
        self._settled &= {order.order_id for order in ended}
        due = [
            order
            for order in ended
            if order.order_id not in self._settled
            and order.closed_at is not None
            and order.closed_at + SHOWN_WITHIN <= now
        ]
        for order in due[:SETTLED_A_ROUND]:
            report = await self._ask_order(order)
            if report is not None and report.cum_qty is not None and report.cum_qty > _attempt_qty(order):
                trades = await self._ask_trades(order)
                await self._store.record_report(order.account, order.order_id, report, trades=trades, now=now)
                self.reports += 1
                self._moved_at, self._balances_at = now, None
                if report.cum_qty > sum((fill.last_qty for fill in trades), Decimal(0)):
                    continue  # the trade itself is still to come: it is looked for in the next round
            self._settled.add(order.order_id)

    async def _believe(self, symbol: str, moved: Sequence[tuple[Order, OrderReport | None]], now: datetime) -> None:
        recent = [order.updated_at for order, _ in moved if now - order.updated_at < RECENT]
        trades: Sequence[Fill] = ()
        if recent:
            with metrics.venue_request(self._account, "fetch_trades"):
                trades = await self._exchange.fetch_trades(symbol, since=min(recent) - TRADES_OVERLAP)
        for order, report in moved:
            if report is None:
                report = await self._ask_order(order)
                if report is None:
                    continue
            own: Sequence[Fill] = [fill for fill in trades if fill.venue_order_id == report.venue_order_id]
            known = sum((fill.last_qty for fill in own), Decimal(0))
            if report.cum_qty is not None and known < report.cum_qty:
                own = await self._ask_trades(order)
            try:
                await self._store.record_report(order.account, order.order_id, report, trades=own, now=now)
            except InvalidTransition as error:
                # A defect of ours about one order must not keep the account's other orders from their fills.
                activity.logger.error("report_not_believed", extra={"order_id": order.order_id, "text": str(error)})
                continue
            self.reports += 1
            self._moved_at = now
            self._balances_at = None  # a fill or an ending moved them: ask the venue anew

    async def _ask_order(self, order: Order) -> OrderReport | None:
        with metrics.venue_request(self._account, "fetch_order"):
            return await self._exchange.fetch_order(_ref(order))

    async def _ask_trades(self, order: Order) -> Sequence[Fill]:
        with metrics.venue_request(self._account, "fetch_order_trades"):
            return await self._exchange.fetch_order_trades(_ref(order), since=order.created_at - TRADES_OVERLAP)

    async def _tell(self) -> None:
        notices = await self._store.pending_notices(self._account, limit=NOTICES_PER_ROUND)
        for notice in notices:
            await self._notifier.notify(notice)
        if notices:
            await self._store.mark_notified(self._account, notices)
            self.notices += len(notices)


def _is_ours_to_follow(order: Order) -> bool:
    """An order whose outcome is not known belongs to its own workflow, which resolves it by proof."""
    return order.status not in (OrderStatus.SUBMITTED, OrderStatus.IN_DOUBT) and order.venue_order_id is not None


def _attempt_qty(order: Order) -> Decimal:
    return subtract(order.cum_qty, order.replaced_qty)


def _ref(order: Order) -> OrderRef:
    return OrderRef(
        symbol=order.ticket.symbol,
        client_order_id=order.client_order_id or order.order_id,
        venue_order_id=order.venue_order_id,
    )
