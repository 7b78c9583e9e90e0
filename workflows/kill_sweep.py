"""One per account while there is something to do: cancels what the kill switch cancels, and closes what it closes."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.calls import SweepCall, Swept
    from activities.kill_activities import KillActivities
    from domain.identifiers import venue_queue
    from workflows import policies
    from workflows.messages import SWEEP_WORKFLOW, SweepInput


@workflow.defn(name=SWEEP_WORKFLOW)
class AccountSweepWorkflow:
    """Sweeps an account until nothing is left to be done, whichever worker is alive.

    Workers start it within half a second wherever the ledger says that something is left (`starter/kill.py`).
    """

    @workflow.run
    async def run(self, start: SweepInput) -> Swept:
        """Sweep, stretch by stretch; continue as new before the history grows."""
        for _ in range(policies.SWEEPS):
            swept: Swept = await workflow.execute_activity_method(
                KillActivities.sweep_account,
                SweepCall(account=start.account),
                task_queue=venue_queue(start.account),
                start_to_close_timeout=policies.SWEEP_TIMEOUT,
                heartbeat_timeout=policies.HEARTBEAT_TIMEOUT,
                retry_policy=policies.SWEEP_RETRY,
                summary=f"cancel what the kill switch cancels in {start.account}",
            )
            if swept.done:
                return swept
        workflow.continue_as_new(start)
