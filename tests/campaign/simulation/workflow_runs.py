"""One simulated workflow: the real class, its conditions, and the messages that reach it in order."""

import asyncio
from collections.abc import Callable
from contextvars import Context, ContextVar, copy_context
from typing import TYPE_CHECKING, Any

from temporalio.exceptions import ApplicationError

from workflows.account_feed import AccountFeedWorkflow
from workflows.order_workflow import OrderWorkflow

if TYPE_CHECKING:
    from tests.campaign.simulation.temporal import SimulatedTemporal

current_run: ContextVar["WorkflowRun"] = ContextVar("simulated_workflow")


class ContinuedAsNew(BaseException):
    """Raised inside a workflow to end this run and begin the next; like the SDK's own, no `Exception`."""

    def __init__(self, start: Any) -> None:
        self.start = start


class WorkflowRun:
    """One workflow: its instance, the conditions it waits for, and the messages on their way to it."""

    __slots__ = (
        "conditions", "context", "done", "failure", "handlers", "instance", "kind", "lost", "result", "start",
        "task", "temporal", "workflow_id",
    )  # fmt: skip

    def __init__(self, temporal: "SimulatedTemporal", workflow_id: str, kind: type, start: Any) -> None:
        self.temporal = temporal
        self.workflow_id = workflow_id
        self.kind = kind
        self.start = start
        self.instance: Any = None
        self.conditions: list[tuple[Callable[[], bool], asyncio.Future[bool]]] = []
        self.handlers = 0
        self.lost = False
        """Terminated, or gone with Temporal's store: its code goes no further, and nobody hears of it."""
        self.done = False
        self.result: Any = None
        self.failure: BaseException | None = None
        self.context: Context = copy_context()
        self.context.run(current_run.set, self)
        self.task = temporal.loop.spawn(self._live(), self.context)

    async def _live(self) -> None:
        while True:
            self.instance = self.kind() if self.kind is AccountFeedWorkflow else self.kind(self.start)
            try:
                self.result = await self.instance.run(self.start)
            except ContinuedAsNew as again:
                self.conditions.clear()
                self.start = again.start
                self.temporal.world.count("continued_as_new")
                continue
            except asyncio.CancelledError:
                pass  # canceled while it only waited for its callers: it ends so
            except Exception as error:
                self.failure = error
            break
        self.done = True
        self.temporal.ended(self)

    def touch(self) -> None:
        """Look at the conditions after whatever was just delivered has run."""
        self.temporal.loop.call_soon(self._check, context=self.context)

    def _check(self) -> None:
        if not self.conditions or self.lost:
            return
        woken = False
        for entry in list(self.conditions):
            fn, waiter = entry
            if waiter.done():
                self.conditions.remove(entry)
            elif fn():
                self.conditions.remove(entry)
                waiter.set_result(True)
                woken = True
        if woken:
            self.touch()

    def signal(self, name: str, argument: Any) -> None:
        """Run a signal's handler, as a workflow task would."""
        if self.done:
            return
        if self.instance is None:  # started in this very moment: the message waits for the first task
            self.temporal.loop.call_soon(self.signal, name, argument)
            return
        self.context.run(getattr(OrderWorkflow, name), self.instance, argument)
        self.touch()

    def update(self, name: str, argument: Any, validator: str, answer: Callable[[Any], None]) -> None:
        """Run an update's validator and its handler; `answer` is told the result or the failure."""
        if self.done or self.instance is None:
            return
        try:
            self.context.run(getattr(OrderWorkflow, validator), self.instance, argument)
        except ApplicationError as error:
            answer(error)
            return
        self.handlers += 1
        self.temporal.loop.spawn(self._handle(name, argument, answer), self.context.copy())
        self.touch()

    async def _handle(self, name: str, argument: Any, answer: Callable[[Any], None]) -> None:
        try:
            result = await getattr(OrderWorkflow, name)(self.instance, argument)
        except ApplicationError as error:
            result = error
        finally:
            self.handlers -= 1
            self.touch()
        answer(result)

    def request_cancellation(self) -> None:
        """Cancel the workflow, as *Request Cancellation* in the Web UI does."""
        if self.done:
            return
        if self.instance is None:  # started in this very moment
            self.temporal.loop.call_soon(self.request_cancellation)
            return
        self.task.cancel()
        self.touch()
