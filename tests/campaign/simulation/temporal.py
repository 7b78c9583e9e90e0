"""A stand-in for Temporal: durable workflows, activities retried on any worker, late and repeated messages.

Workflows are never killed: that a history replays to the same state is proven in `tests/replay`. What holds here is
what Temporal promises to an activity: its result reaches the workflow once; a worker that died is noticed by the
heartbeat timeout and the activity runs again elsewhere; a result that comes after that is dropped; a completion that
was lost on its way runs the activity again though it had done its work (ExecuteAndTimeout).
"""

import asyncio
from collections.abc import Callable
from contextvars import Context, copy_context
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from temporalio import activity as activity_module
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, RetryState, TimeoutType
from temporalio.exceptions import TimeoutError as ActivityTimeout

from domain.identifiers import order_workflow_id
from tests.campaign.simulation.workflow_runs import ContinuedAsNew, WorkflowRun, current_run
from workflows.account_feed import AccountFeedWorkflow
from workflows.account_reconciler import AccountReconcilerWorkflow
from workflows.messages import FeedInput, OrderInput, ReconcilerInput
from workflows.order_workflow import OrderWorkflow

if TYPE_CHECKING:
    from tests.campaign.simulation.workers import Worker
    from tests.campaign.simulation.world import World

_RUNTIME = "__temporal_workflow_runtime"


class Activity:
    """One activity of a workflow, over all its tries. `execution` is the try whose result counts."""

    __slots__ = (
        "argument", "deadline", "execution", "future", "name", "retry", "run", "tries",
    )  # fmt: skip

    def __init__(
        self, run: WorkflowRun, name: str, argument: Any, future: "asyncio.Future[Any]", retry: RetryPolicy
    ) -> None:
        self.run = run
        self.name = name
        self.argument = argument
        self.future = future
        self.retry = retry
        self.deadline: float | None = None
        self.execution: Execution | None = None
        self.tries = 0


class Execution:
    """One try of an activity on one worker."""

    __slots__ = ("activity", "task", "worker")

    def __init__(self, activity: Activity, worker: "Worker") -> None:
        self.activity = activity
        self.worker = worker
        self.task: asyncio.Task[Any] | None = None


class SimulatedTemporal:
    """Server and SDK in one. The methods named `workflow_*` are what `temporalio.workflow` calls."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.loop = world.loop
        self.rng = world.rng
        self.runs: dict[str, WorkflowRun] = {}
        self.open_orders = 0
        self._backlog: list[Activity] = []
        self._abyss: list[asyncio.Future[Any]] = []
        self.failures: list[tuple[str, BaseException]] = []
        setattr(self.loop, _RUNTIME, self)

    # What clients do.

    def start_order(self, start: OrderInput) -> WorkflowRun:
        """Start the order's workflow, or return the one that runs."""
        request = start.request
        workflow_id = order_workflow_id(request.account, request.order_id)
        found = self.runs.get(workflow_id)
        if found is not None and (not found.done or start.adopt is None):
            return found
        self.open_orders += 1
        run = self.runs[workflow_id] = WorkflowRun(self, workflow_id, OrderWorkflow, start)
        return run

    def start_feed(self, account: str) -> WorkflowRun:
        """Start the account's feed."""
        run = WorkflowRun(self, f"feed-{account}", AccountFeedWorkflow, FeedInput(account=account))
        self.runs[run.workflow_id] = run
        return run

    def start_reconciler(self, account: str) -> WorkflowRun:
        """Start what compares the account with its venue."""
        start = ReconcilerInput(account=account)
        run = WorkflowRun(self, f"reconcile-{account}", AccountReconcilerWorkflow, start)
        self.runs[run.workflow_id] = run
        return run

    def terminate(self, run: WorkflowRun) -> None:
        """End a workflow without asking it; its activities go on until they find nobody to tell."""
        run.done = run.lost = True
        if run.kind is OrderWorkflow:
            self.open_orders -= 1

    def ended(self, run: WorkflowRun) -> None:
        """Note the end of a workflow."""
        if run.lost:
            return
        if run.kind is OrderWorkflow:
            self.open_orders -= 1
        if run.failure is not None:
            self.failures.append((run.workflow_id, run.failure))

    # What `temporalio.workflow` asks its runtime for.

    def workflow_time_ns(self) -> int:
        return self.loop.time_ns()

    def workflow_info(self) -> "SimulatedTemporal":
        return self

    @property
    def start_time(self) -> datetime:
        """Stand for `Info`: orders take no time that a metric would tell."""
        return datetime.fromtimestamp(self.loop.time_ns() / 1e9, UTC)

    def is_continue_as_new_suggested(self) -> bool:
        """Stand for `Info`: now and then a history is long."""
        return self.rng.random() < self.world.plan.continue_as_new

    def workflow_is_replaying(self) -> bool:
        return False

    def workflow_patch(self, id: str, **_: Any) -> bool:
        return True

    def workflow_all_handlers_finished(self) -> bool:
        return current_run.get().handlers == 0

    def workflow_set_current_details(self, details: str) -> None:
        return None

    def workflow_upsert_search_attributes(self, attributes: Any, **_: Any) -> None:
        return None

    def workflow_continue_as_new(self, *args: Any, **_: Any) -> None:
        raise ContinuedAsNew(args[0])

    async def workflow_sleep(self, duration: float, **_: Any) -> None:
        await self.loop.pause(duration)
        run = current_run.get()
        if run.lost:
            await self._never()
        run.touch()

    async def workflow_wait_condition(self, fn: Callable[[], bool], *, timeout: float | None = None, **_: Any) -> None:
        run = current_run.get()
        if run.lost:
            await self._never()
        if fn():
            return
        waiter: asyncio.Future[bool] = asyncio.Future(loop=self.loop)
        run.conditions.append((fn, waiter))
        if timeout is None:
            await waiter
            return
        timer = self.loop.call_later(timeout, _time_out, waiter)
        try:
            met = await waiter
        finally:
            timer.cancel()
        if run.lost:
            await self._never()
        if not met:
            run.touch()
            raise TimeoutError

    def workflow_start_activity(
        self,
        activity: Any,
        *args: Any,
        retry_policy: RetryPolicy | None,
        schedule_to_close_timeout: timedelta | None,
        **_: Any,
    ) -> "asyncio.Future[Any]":
        future: asyncio.Future[Any] = asyncio.Future(loop=self.loop)
        run = current_run.get()
        if run.lost:
            return self._never()
        started = Activity(run, activity.__name__, args[0], future, retry_policy or RetryPolicy())
        if schedule_to_close_timeout is not None:
            started.deadline = self.loop.time() + schedule_to_close_timeout.total_seconds()
        self._schedule(started)
        return future

    def _never(self) -> "asyncio.Future[Any]":
        """Return what the code of a workflow that is gone waits for."""
        future: asyncio.Future[Any] = asyncio.Future(loop=self.loop)
        self._abyss.append(future)
        return future

    # Activities on workers.

    def _schedule(self, activity: Activity) -> None:
        if activity.run.lost:
            self._abyss.append(activity.future)
            return
        workers = [worker for worker in self.world.workers if worker.alive and not worker.paused]
        if not workers:
            self._backlog.append(activity)
            return
        worker = workers[0] if len(workers) == 1 else workers[int(self.rng.random() * len(workers))]
        activity.tries += 1
        execution = activity.execution = Execution(activity, worker)
        worker.executions[execution] = None
        execution.task = self.loop.spawn(self._execute(execution), worker.context)

    def worker_ready(self) -> None:
        """Hand out what waited for a worker."""
        backlog, self._backlog = self._backlog, []
        for activity in backlog:
            self._schedule(activity)

    async def _execute(self, execution: Execution) -> None:
        activity, worker = execution.activity, execution.worker
        try:
            if worker.paused:
                await worker.resumed()
            result = await worker.activities[activity.name](activity.argument)
        except asyncio.CancelledError:
            worker.executions.pop(execution, None)
            return
        except ApplicationError as error:
            outcome: Callable[[], None] = lambda error=error: self._failed(execution, error)  # noqa: E731
        except Exception as error:
            self.world.defect(activity.name, activity.argument, error)
            failure = ApplicationError(str(error), type=type(error).__name__)
            outcome = lambda: self._failed(execution, failure)  # noqa: E731
        else:
            outcome = lambda: self._completed(execution, result)  # noqa: E731
        try:
            if worker.paused:
                await worker.resumed()
            worker.moment(f"{activity.name}: before its completion is told", _order_of(activity))
        except asyncio.CancelledError:
            return
        finally:
            worker.executions.pop(execution, None)
        outcome()

    def _completed(self, execution: Execution, result: Any) -> None:
        activity = execution.activity
        if activity.execution is not execution:
            self.world.fault("zombie_result_dropped", _order_of(activity))
            return
        if self.rng.random() < self.world.chaos(self.world.plan.completion_lost):
            self.world.fault("completion_lost", _order_of(activity))
            self.loop.call_later(2.5, self._time_out, execution)
            return
        activity.execution = None
        if activity.run.lost:
            self._abyss.append(activity.future)
        elif not activity.future.done():
            activity.future.set_result(result)
            activity.run.touch()

    def _failed(self, execution: Execution, error: ApplicationError) -> None:
        activity = execution.activity
        if activity.execution is not execution:
            return
        if error.non_retryable:
            self._give_up(activity, error, RetryState.NON_RETRYABLE_FAILURE)
            return
        self._retry(activity, error, error.next_retry_delay)

    def lost(self, execution: Execution) -> None:
        """The worker of a try died or was paused: the server notices when heartbeats fail to come."""
        self.loop.call_later(1.5 + self.rng.random(), self._time_out, execution)

    def _time_out(self, execution: Execution) -> None:
        activity, worker = execution.activity, execution.worker
        if activity.execution is not execution:
            return
        if execution in worker.executions and worker.alive and not worker.paused:
            return  # it woke up in time and beats again
        if worker.paused:
            self.world.fault("zombie", _order_of(activity))
        self._retry(activity, ActivityTimeout("heartbeat", type=TimeoutType.HEARTBEAT, last_heartbeat_details=[]), None)

    def _retry(self, activity: Activity, failure: BaseException, delay: timedelta | None) -> None:
        activity.execution = None
        policy = activity.retry
        if delay is not None:
            pause = delay.total_seconds()
        else:
            first = policy.initial_interval.total_seconds()
            longest = policy.maximum_interval.total_seconds() if policy.maximum_interval else first * 100
            pause = min(first * policy.backoff_coefficient ** min(activity.tries - 1, 20), longest)
        if activity.deadline is not None and self.loop.time() + pause > activity.deadline:
            self._give_up(activity, failure, RetryState.TIMEOUT)
            return
        self.loop.call_later(pause, self._schedule, activity)

    def _give_up(self, activity: Activity, cause: BaseException, state: RetryState) -> None:
        activity.execution = None
        error = ActivityError(
            "activity failed",
            scheduled_event_id=0,
            started_event_id=0,
            identity="",
            activity_type=activity.name,
            activity_id="",
            retry_state=state,
        )
        error.__cause__ = cause
        if activity.run.lost:
            self._abyss.append(activity.future)
        elif not activity.future.done():
            activity.future.set_exception(error)
            activity.run.touch()


def activity_context(worker: "Worker") -> Context:
    """Return the context that a worker's activities run in, as far as ours look at it."""
    context = copy_context()
    context.run(activity_module._current_context.set, worker)
    return context


def _order_of(activity: Activity) -> str:
    argument = activity.argument
    found = getattr(argument, "order_id", None)
    if found is None:
        request = getattr(argument, "request", None)
        found = request.order_id if request is not None else ""
    return found


def _time_out(waiter: "asyncio.Future[bool]") -> None:
    if not waiter.done():
        waiter.set_result(False)
