"""One per account, for ever: compares ledger, Temporal and venue at every start, at an interval, and on demand."""

from datetime import timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.calls import CloseCaseCall, EngageCall, ReconcileCall
    from activities.case_activities import CaseActivities
    from activities.kill_activities import KillActivities
    from activities.reconcile_activities import ReconcileActivities
    from domain.comparison import Case, Reconciled
    from domain.identifiers import venue_queue
    from domain.kill import Engagement
    from workflows import policies
    from workflows.messages import RECONCILER_WORKFLOW, CloseCase, EngageKill, ReconcileNow, ReconcilerInput


@workflow.defn(name=RECONCILER_WORKFLOW)
class AccountReconcilerWorkflow:
    """Keeps an account compared with its venue, whichever worker is alive."""

    @workflow.init
    def __init__(self, start: ReconcilerInput) -> None:
        self._asked = 0
        self._begun = 0
        self._ended = 0
        self._why = "start"
        self._account = start.account
        self._adopted = 0
        self._last: Reconciled | None = None

    @workflow.run
    async def run(self, start: ReconcilerInput) -> None:
        """Reconcile, wait, and again; continue as new before the history grows."""
        for _ in range(policies.RECONCILIATIONS):
            last = await self._reconcile(start.account)
            await self._wait(timedelta(seconds=last.interval_s))
        await workflow.wait_condition(workflow.all_handlers_finished)
        workflow.continue_as_new(start)

    async def _reconcile(self, account: str) -> Reconciled:
        self._begun = self._asked
        self._last = await workflow.execute_activity_method(
            ReconcileActivities.reconcile_account,
            ReconcileCall(account=account, why=self._why),
            task_queue=venue_queue(account),
            start_to_close_timeout=policies.RECONCILE_TIMEOUT,
            heartbeat_timeout=policies.HEARTBEAT_TIMEOUT,
            retry_policy=policies.UNTIL_DONE,
            summary=f"reconcile {account}: {self._why}",
        )
        self._adopted += len(self._last.adopted)
        self._last = self._last.model_copy(update={"adopted_in_all": self._adopted})
        self._ended, self._why = self._begun, "its interval"
        return self._last

    async def _wait(self, interval: timedelta) -> None:
        try:
            await workflow.wait_condition(
                lambda: self._asked > self._ended, timeout=interval, timeout_summary="reconcile again"
            )
        except TimeoutError:
            pass

    @workflow.update(name="reconcile", description="Compare now; answers with what was found")
    async def reconcile(self, message: ReconcileNow) -> Reconciled:
        """Answer with a reconciliation that began after this was asked."""
        self._asked += 1
        mine, self._why = self._asked, message.why
        await workflow.wait_condition(lambda: self._ended >= mine)
        assert self._last is not None, "one has just ended"
        return self._last

    @workflow.update(name="close_case", description="Close a case that a person has looked into")
    async def close_case(self, message: CloseCase) -> Case:
        """Record who closed the case and why; fails for one that is not there, or was closed before."""
        return await workflow.execute_activity_method(
            CaseActivities.close_case,
            CloseCaseCall(
                account=self._account,
                case_id=message.case_id,
                resolution=f"closed by {message.closed_by}: {message.because}",
                closed_at=workflow.now(),
            ),
            start_to_close_timeout=policies.LEDGER_TIMEOUT,
            heartbeat_timeout=policies.HEARTBEAT_TIMEOUT,
            retry_policy=policies.UNTIL_DONE,
            summary=f"close case {message.case_id}",
        )

    @workflow.signal(name="reconcile_soon", description="Compare now, without an answer")
    def reconcile_soon(self, message: ReconcileNow) -> None:
        """Do the same as `reconcile`, without an answer."""
        self._asked += 1
        self._why = message.why

    @workflow.signal(name="kill", description="Pull the kill switch: for who has only Temporal")
    async def kill(self, message: EngageKill) -> None:
        """Switch on; who waits for an answer asks over REST or by `volex kill on`."""
        await workflow.execute_activity_method(
            KillActivities.engage_kill,
            EngageCall(engagement=Engagement(**message.model_dump())),
            start_to_close_timeout=policies.LEDGER_TIMEOUT,
            heartbeat_timeout=policies.HEARTBEAT_TIMEOUT,
            retry_policy=policies.UNTIL_DONE,
            summary=f"kill switch of {message.scope}: {message.reason}",
        )

    @workflow.query(name="last", description="What the last reconciliation found")
    def last(self) -> Reconciled | None:
        """Return what the last reconciliation found; `None` before the first has ended."""
        return self._last
