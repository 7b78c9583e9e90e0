"""Keeps the histories of closed workflows: Temporal forgets them when its retention ends."""

import asyncio
import logging
from collections.abc import Sequence
from datetime import UTC
from typing import Any, Final

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import History, HistoryEvent
from temporalio.client import Client, WorkflowExecution, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from domain.archive import ArchivedRun, ArchiveStore, DueHistory, digest, pack
from domain.identifiers import feed_workflow_id, reconciler_workflow_id, sweep_workflow_id
from observability.metrics import HISTORIES_ARCHIVED, HISTORIES_LOST, HISTORIES_OWED, OLDEST_HISTORY_OWED_AGE
from starter.upkeep import keep

PASS_INTERVAL_S: Final = 1.0
"""Every worker looks this often for what is owed; one small query."""
AT_A_PASS: Final = 20
"""Workflows that a worker archives in one pass: orders in flight need its time more. 20 a second are 1.7 million a
day; what a burst leaves is archived after it."""
AT_ONCE: Final = 2
PATIENCE_S: Final = 300.0
"""With something owed for longer than this, passes follow one another without a pause."""
CLOSING: Final = frozenset(
    {
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW,
    }
)
log = logging.getLogger("volex.starter")


def is_complete(events: Sequence[HistoryEvent]) -> bool:
    """Tell whether a history begins at its beginning, misses nothing, and has come to its end."""
    in_order = all(event.event_id == number for number, event in enumerate(events, start=1))
    return bool(events) and in_order and events[-1].event_type in CLOSING


class Archiver:
    """Archives what is owed, a bounded number at a time. Any number of them share the work."""

    def __init__(self, client: Client, store: ArchiveStore, accounts: Sequence[str]) -> None:
        self._client = client
        self._store = store
        self._accounts = accounts

    async def watch(self) -> None:
        """Let the accounts' own workflows be archived too, run by run as they continue as new."""
        for account in self._accounts:
            names = (feed_workflow_id(account), reconciler_workflow_id(account), sweep_workflow_id(account))
            await self._store.watch(account, names)

    async def pass_once(self) -> bool:
        """Archive what is due, and tell whether there is more that has waited for too long.

        Raises
        ------
        StoreUnavailable
            What was taken and not archived is tried again after ten seconds.
        """
        taken = await self._store.take_due(self._accounts, limit=AT_A_PASS)
        gate = asyncio.Semaphore(AT_ONCE)
        try:
            async with asyncio.TaskGroup() as group:
                for due in taken:
                    group.create_task(self._archive(due, gate))
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        count, age = await self._store.owed(self._accounts)
        HISTORIES_OWED.set(count)
        OLDEST_HISTORY_OWED_AGE.set(age)
        return len(taken) == AT_A_PASS and age > PATIENCE_S

    async def _archive(self, due: DueHistory, gate: asyncio.Semaphore) -> None:
        async with gate:
            try:
                is_done = await self._archive_runs(due)
            except RPCError as error:  # one that Temporal does not tell must not keep the others from being archived
                log.warning("history_not_archived", extra={"workflow_id": due.workflow_id, "text": str(error)[:300]})
                is_done = False
            await (self._store.done(due) if is_done else self._store.postpone(due))

    async def _archive_runs(self, due: DueHistory) -> bool:
        """Archive the closed runs of a workflow; true when nothing of it is owed any more."""
        runs = [run async for run in self._client.list_workflows(f"WorkflowId = '{due.workflow_id}'")]
        closed = [run for run in runs if run.status is not WorkflowExecutionStatus.RUNNING]
        whole = [await self._keep(due, run) for run in closed if run.run_id not in due.kept]
        if due.standing:
            return all(whole)
        if not runs and not await self._is_known(due.workflow_id):
            await self._lose(due)
        return bool(runs) and all(whole) and len(closed) == len(runs)

    async def _is_known(self, workflow_id: str) -> bool:
        """Ask past the list of workflows, which may lag."""
        try:
            await self._client.get_workflow_handle(workflow_id).describe()
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            return False
        return True

    async def _lose(self, due: DueHistory) -> None:
        await self._store.gone(due)
        HISTORIES_LOST.labels(due.account).inc()
        log.error("history_lost", extra={"account": due.account, "order_id": due.order_id})

    async def _keep(self, due: DueHistory, execution: WorkflowExecution) -> bool:
        """Fetch a closed run's history and store it; false when it is not whole yet."""
        handle = self._client.get_workflow_handle(execution.id, run_id=execution.run_id)
        events = (await handle.fetch_history()).events
        if not is_complete(events):
            log.warning("history_not_whole", extra={"workflow_id": execution.id, "run_id": execution.run_id})
            return False
        written = History(events=events).SerializeToString(deterministic=True)
        await self._store.keep(_described(due, execution, events, written), pack(written))
        HISTORIES_ARCHIVED.labels(due.account).inc()
        return True


def _described(
    due: DueHistory, execution: WorkflowExecution, events: Sequence[HistoryEvent], written: bytes
) -> ArchivedRun:
    last: Any = events[-1]
    return ArchivedRun(
        account=due.account,
        workflow_id=execution.id,
        run_id=execution.run_id,
        workflow_type=execution.workflow_type,
        order_id=due.order_id,
        ending=EventType.Name(last.event_type).removeprefix("EVENT_TYPE_"),
        events=len(events),
        size_bytes=len(written),
        sha256=digest(written),
        closed_at=last.event_time.ToDatetime(UTC),
    )


async def keep_archiving(archiver: Archiver) -> None:
    """Archive what is owed, for ever."""
    watched = False

    async def archive() -> float | None:
        nonlocal watched
        if not watched:
            await archiver.watch()
            watched = True
        return 0.0 if await archiver.pass_once() else None

    await keep(archive, every_s=PASS_INTERVAL_S, failing="histories_not_archived", log=log)


__all__ = ["Archiver", "is_complete", "keep_archiving"]
