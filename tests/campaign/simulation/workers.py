"""A worker process: its activities over its own view of the ledger and the venues, where it can die at every step."""

import asyncio
from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from temporalio.service import RPCError, RPCStatusCode

from activities.feed_activities import FeedActivities, FeedPace, Follower
from activities.ledger_activities import LedgerActivities
from activities.reconcile_activities import ReconcileActivities
from activities.resolve_activities import ResolveActivities
from activities.venue_activities import VenueActivities
from domain.errors import StoreUnavailable
from domain.limits import LimitSet
from domain.order import Order
from domain.ports import Notice
from tests.campaign.simulation.exchange import WorkerExchange
from tests.campaign.simulation.temporal import Execution, activity_context
from workflows.order_workflow import OrderWorkflow

if TYPE_CHECKING:
    from tests.campaign.simulation.world import World

_ACTIVITIES = {
    kind: [name for name, method in vars(kind).items() if hasattr(method, "__temporal_activity_definition")]
    for kind in (LedgerActivities, VenueActivities, FeedActivities, ReconcileActivities, ResolveActivities)
}
"""Taken down once: a broken variant of a method carries no definition, and is served all the same."""


class Worker:
    """One process. It is also what an activity finds as its Temporal context and its own description there."""

    logger_details: ClassVar[dict[str, Any]] = {}
    heartbeat_details: ClassVar[tuple[Any, ...]] = ()
    workflow_id: ClassVar[str] = "simulated"
    activity_type: ClassVar[str] = "simulated"
    attempt: ClassVar[int] = 1

    def __init__(self, world: "World", number: int, generation: int, skew_s: float) -> None:
        self.world = world
        self.number = number
        self.generation = generation
        self.identity = f"worker@simulation#{number}.{generation}"
        self.alive = True
        self.paused = False
        self.executions: dict[Execution, None] = {}
        self._skew = timedelta(seconds=skew_s)
        self._waiting: list[asyncio.Future[None]] = []
        self._shutdown: list[asyncio.Future[None]] = []
        self.context = activity_context(self)
        store = WorkerStore(self)
        exchanges = {name: WorkerExchange(self, venue) for name, venue in world.venues.items()}
        ledger = LedgerActivities(store, terms=world.terms, clock=self.clock)
        venue = VenueActivities(store, exchanges=exchanges, identity=self.identity, clock=self.clock)
        pace = FeedPace(open_interval_s=world.plan.feed_interval_s, idle_interval_s=30.0)
        feed = FeedActivities(store, exchanges=exchanges, notifier=WorkerNotifier(self), pace=pace, clock=self.clock)
        reconciler = ReconcileActivities(
            WorkerComparison(self),
            exchanges=exchanges,
            workflows=WorkerWorkflows(self),
            follower=lambda account: Follower(
                store, exchanges[account], WorkerNotifier(self), pace, account, self.clock
            ),
            interval_s=world.plan.reconcile_interval_s,
            clock=self.clock,
        )
        resolver = ResolveActivities(store, exchanges=exchanges, clock=self.clock)
        self.activities: dict[str, Callable[[Any], Any]] = {
            name: getattr(part, name)
            for part in (ledger, venue, feed, reconciler, resolver)
            for name in _ACTIVITIES[type(part)]
        }

    def clock(self) -> datetime:
        """Return this machine's time: near the venue's, never equal to it."""
        return self.world.loop.utc() + self._skew

    # Its death and its sleep.

    def moment(self, point: str, order_id: str) -> None:
        """Pass a point where the process may die (its code then goes no further) or be stopped (SIGSTOP)."""
        world = self.world
        if not self.alive:
            raise asyncio.CancelledError
        draw = world.rng.random()
        if draw < world.kill_chance:
            world.kill(self, point, order_id)
            raise asyncio.CancelledError
        if draw < world.stop_chance:
            world.stop(self, point, order_id)

    def die(self) -> None:
        """End every activity where it stands."""
        self.alive = False
        self.paused = False
        current = asyncio.current_task(self.world.loop)
        for execution in list(self.executions):
            if execution.task is not None and execution.task is not current:
                execution.task.cancel()
            self.world.temporal.lost(execution)
        for waiter in self._waiting:
            waiter.cancel()
        self._waiting.clear()

    def sleep(self) -> None:
        """Stop every activity at its next step; the server hears no heartbeat meanwhile."""
        self.paused = True
        for execution in self.executions:
            self.world.temporal.lost(execution)

    def wake(self) -> None:
        """Go on as if nothing had happened."""
        self.paused = False
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)

    async def resumed(self) -> None:
        """Wait until the process is let go on."""
        while self.paused:
            waiter = self.world.loop.create_future()
            self._waiting.append(waiter)
            await waiter

    async def pause(self, seconds: float) -> None:
        """Wait, and do not return while the process is stopped."""
        await self.world.loop.pause(seconds)
        if self.paused:
            await self.resumed()

    # What an activity asks of its Temporal context.

    def heartbeat(self, *details: Any) -> None:
        """Beat: the simulated server looks at the worker itself."""

    def info(self) -> "Worker":
        """Stand for the activity's `Info`."""
        return self

    @property
    def worker_shutdown_event(self) -> "Worker":
        """Stand for the SDK's event."""
        return self

    async def wait(self) -> None:
        """Wait for a graceful shutdown."""
        waiter = self.world.loop.create_future()
        self._shutdown.append(waiter)
        await waiter

    def shut_down(self) -> None:
        """Ask long activities to end: a rolling deployment."""
        for waiter in self._shutdown:
            if not waiter.done():
                waiter.set_result(None)
        self._shutdown.clear()


class WorkerStore:
    """The ledger as one worker reaches it: the call may be late, fail before or after the commit, or run twice."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.world = worker.world

    async def limits(self) -> LimitSet:
        """Read the limits. It draws nothing, so that the stories of earlier seeds stay theirs."""
        if self.worker.paused:
            await self.worker.resumed()
        if self.world.store_down:
            raise StoreUnavailable("the ledger does not answer")
        return await self.world.store.limits()


def _reaching(name: str, order_of: Callable[[tuple[Any, ...]], str]) -> Callable[..., Any]:
    before, after = f"store.{name}: before the transaction", f"store.{name}: after the commit"

    async def call(self: WorkerStore, *args: Any, **kwargs: Any) -> Any:
        worker, world = self.worker, self.world
        order_id = order_of(args)
        if worker.paused:
            await worker.resumed()
        draw = world.rng.random()
        if draw < world.plan.store_latency:
            await worker.pause(draw * 0.2 if draw > 0.01 else draw * 300)
        worker.moment(before, order_id)
        if worker.paused:
            await worker.resumed()
        method = getattr(world.store, name)
        again = False
        if world.store_down:
            world.fault("store_outage", order_id)
            raise StoreUnavailable("the ledger does not answer")
        draw = world.rng.random()
        if draw < world.store_fault_chance:
            share = draw / world.store_fault_chance
            if share < 0.4:
                world.fault("store_failed_before_commit", order_id)
                raise StoreUnavailable("the ledger does not answer")
            again = share < 0.7
            if not again:
                world.fault("store_answer_lost", order_id)
                await method(*args, **kwargs)
                raise StoreUnavailable("the ledger does not answer")
            world.fault("store_ran_twice", order_id)
        result = await method(*args, **kwargs)
        if again:
            result = await method(*args, **kwargs)
        if world.trace is not None:
            world.note(order_id, f"{worker.identity} store.{name}")
        worker.moment(after, order_id)
        if worker.paused:
            await worker.resumed()
        return result

    call.__name__ = name
    return call


def _of_request(args: tuple[Any, ...]) -> str:
    return args[0].order_id


def _of_name(args: tuple[Any, ...]) -> str:
    return args[1]


def _of_account(args: tuple[Any, ...]) -> str:
    return ""


for _name in (
    "admit",
    "deny",
    "check_again",
    "pass_last_look",
    "void_attempt",
    "record_outcome",
    "record_never_placed",
    "record_look",
    "adopt",
):
    setattr(WorkerStore, _name, _reaching(_name, _of_request))
for _name in (
    "open_attempt", "record_report", "current_attempt", "request_cancel", "request_amend", "end_unsent", "finalize",
    "order", "open_case", "close_case",
):  # fmt: skip
    setattr(WorkerStore, _name, _reaching(_name, _of_name))
for _name in (
    "working_orders", "ended_short", "pending_notices", "mark_notified", "record_balances", "orders_with_open_case",
):  # fmt: skip
    setattr(WorkerStore, _name, _reaching(_name, _of_account))


class WorkerComparison:
    """The ledger as the reconciler of one worker reaches it."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.world = worker.world

    async def ledger_time(self) -> datetime:
        if self.worker.paused:
            await self.worker.resumed()
        return self.world.loop.utc()


for _name in ("unfinished_orders", "owners", "close_others", "compare_balances", "compare_positions", "finish"):
    setattr(WorkerComparison, _name, _reaching(_name, _of_account))
WorkerComparison.open_case = _reaching("open_case_about", _of_account)


class WorkerWorkflows:
    """The orders as the simulated Temporal carries them."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker

    async def running(self, account: str) -> Collection[str]:
        worker, world = self.worker, self.worker.world
        worker.moment("reconciler: before the list of workflows", "")
        if worker.paused:
            await worker.resumed()
        return {
            run.start.request.order_id
            for run in list(world.temporal.runs.values())
            if run.kind is OrderWorkflow and not run.done and run.start.request.account == account
        }

    async def adopt(self, order: Order) -> None:
        worker, world = self.worker, self.worker.world
        worker.moment("reconciler: before an adoption", order.order_id)
        if worker.paused:
            await worker.resumed()
        world.adopt(order)
        worker.moment("reconciler: after an adoption", order.order_id)


class WorkerNotifier:
    """From the feed to the orders, as `starter.notifications` does it: a signal, or a workflow that adopts."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker

    async def notify(self, notice: Notice) -> None:
        worker, world = self.worker, self.worker.world
        order_id = notice.order.order_id
        worker.moment("feed: before a signal", order_id)
        if worker.paused:
            await worker.resumed()
        draw = world.rng.random()
        if draw < world.chaos(world.plan.signal_fault):
            share = draw / world.chaos(world.plan.signal_fault)
            if share < 0.3:
                world.fault("signal_failed", order_id)
                raise RPCError("unavailable", RPCStatusCode.UNAVAILABLE, b"")
            if share < 0.65:
                world.fault("signal_late", order_id)
                world.loop.call_later(share * 10, world.deliver, notice)
            else:
                world.fault("signal_twice", order_id)
                world.deliver(notice)
                world.loop.call_later(share * 3, world.deliver, notice)
        else:
            world.deliver(notice)
        worker.moment("feed: after a signal", order_id)
        if worker.paused:
            await worker.resumed()
