"""Today's code over yesterday's histories: whether every order that ever ended would be led the same way again."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from temporalio.api.history.v1 import History
from temporalio.client import Client, WorkflowHistory
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import Replayer

from domain.archive import ArchivedRun, ArchiveReader
from domain.errors import HistoryNotFound, RecordDamaged
from domain.identifiers import order_workflow_id, parse_order_workflow_id
from workflows.registry import WORKFLOWS
from workflows.temporal_plugin import volex_plugin

PAGE: Final = 200
LIVE: Final = "live"


@dataclass(frozen=True)
class Replayed:
    """What came of one history. `difference` is `None` when today's code does what was done."""

    account: str
    order_id: str | None
    workflow_id: str
    run_id: str
    events: int
    kept: str
    """`archive`, or `live` for a history that Temporal still has and the archive has not."""
    difference: str | None


class Replay:
    """Replays histories from the archive, and from Temporal.

    Parameters
    ----------
    workflows
        The code to run over them; that of this build unless told otherwise.
    sandboxed
        Whether the sandbox that refuses clocks, chance and I/O is used as well; ten times slower.
    """

    def __init__(
        self,
        archive: ArchiveReader,
        client: Client | None,
        *,
        workflows: Sequence[type] = WORKFLOWS,
        sandboxed: bool = False,
    ) -> None:
        self._archive = archive
        self._client = client
        self._replayer = Replayer(workflows=workflows, plugins=[volex_plugin(sandboxed=sandboxed)])

    async def every(self, *, account: str | None = None) -> AsyncIterator[Replayed]:
        """Replay all that is archived, oldest first."""
        async for replayed in self._replayed(self._pages(account, None)):
            yield replayed

    async def order(self, account: str, order_id: str) -> AsyncIterator[Replayed]:
        """Replay an order's archived runs, and the one that Temporal has beyond them.

        Raises
        ------
        HistoryNotFound
            When there is neither.
        """
        async for replayed in self._replayed(self._of_order(account, order_id)):
            yield replayed

    async def _of_order(self, account: str, order_id: str) -> AsyncIterator[ArchivedRun | WorkflowHistory]:
        kept = set[str]()
        async for run in self._pages(account, order_id):
            kept.add(run.run_id)
            yield run
        live = await self._live(account, order_id)
        if live is not None and live.run_id not in kept:
            yield live
        elif not kept:
            raise HistoryNotFound(f"no history of order {order_id} of {account} is kept anywhere")

    async def _pages(self, account: str | None, order_id: str | None) -> AsyncIterator[ArchivedRun]:
        after: tuple[datetime, str] | None = None
        while page := await self._archive.runs(account=account, order_id=order_id, after=after, limit=PAGE):
            for run in page:
                yield run
            after = (page[-1].closed_at, page[-1].run_id)

    async def _live(self, account: str, order_id: str) -> WorkflowHistory | None:
        if self._client is None:
            return None
        try:
            return await self._client.get_workflow_handle(order_workflow_id(account, order_id)).fetch_history()
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            return None

    async def _replayed(
        self, found: AsyncIterator[ArchivedRun] | AsyncIterator[ArchivedRun | WorkflowHistory]
    ) -> AsyncIterator[Replayed]:
        """Run the code over one history after the other; one that is damaged is named, and the others go on."""
        runs: dict[str, ArchivedRun] = {}
        damaged: list[Replayed] = []

        async def histories() -> AsyncIterator[WorkflowHistory]:
            async for one in found:
                if isinstance(one, WorkflowHistory):
                    yield one
                    continue
                runs[one.run_id] = one
                try:
                    yield await self._unpacked(one)
                except RecordDamaged as error:
                    damaged.append(_of_run(one, error.message))

        async with self._replayer.workflow_replay_iterator(histories()) as outcomes:
            async for outcome in outcomes:
                while damaged:
                    yield damaged.pop(0)
                failure = outcome.replay_failure
                told = f"{type(failure).__name__}: {failure}" if failure is not None else None
                run = runs.pop(outcome.history.run_id, None)
                yield _of_run(run, told) if run is not None else _of_live(outcome.history, told)
        for replayed in damaged:
            yield replayed

    async def _unpacked(self, run: ArchivedRun) -> WorkflowHistory:
        history = History.FromString(await self._archive.history(run))
        if len(history.events) != run.events:
            raise RecordDamaged(f"the archived history has {len(history.events)} events, and had {run.events}")
        return WorkflowHistory(run.workflow_id, history.events)


def _of_run(run: ArchivedRun, difference: str | None) -> Replayed:
    return Replayed(
        account=run.account,
        order_id=run.order_id,
        workflow_id=run.workflow_id,
        run_id=run.run_id,
        events=run.events,
        kept="archive",
        difference=difference,
    )


def _of_live(history: WorkflowHistory, difference: str | None) -> Replayed:
    account, order_id = parse_order_workflow_id(history.workflow_id)
    return Replayed(
        account=account,
        order_id=order_id,
        workflow_id=history.workflow_id,
        run_id=history.run_id,
        events=len(history.events),
        kept=LIVE,
        difference=difference,
    )


__all__ = ["Replay", "Replayed"]
