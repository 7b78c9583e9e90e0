"""One per account, for ever: what the venue says about all its orders, told to each of them."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.calls import FollowCall
    from activities.feed_activities import FeedActivities
    from domain.identifiers import venue_queue
    from workflows import policies
    from workflows.messages import FEED_WORKFLOW, FeedInput


@workflow.defn(name=FEED_WORKFLOW)
class AccountFeedWorkflow:
    """Keeps one activity following the account, whichever worker is alive."""

    @workflow.run
    async def run(self, start: FeedInput) -> None:
        """Follow the account in stretches; continue as new before the history grows."""
        beat = start.beat
        for stretch in range(policies.FOLLOW_STRETCHES):
            followed = await workflow.execute_activity_method(
                FeedActivities.follow_account,
                FollowCall(account=start.account, beat=beat),
                task_queue=venue_queue(start.account),
                start_to_close_timeout=policies.FOLLOW_TIMEOUT,
                heartbeat_timeout=policies.FOLLOW_HEARTBEAT_TIMEOUT,
                retry_policy=policies.FOLLOW_RETRY,
                summary=f"follow all orders of {start.account}, stretch {stretch + 1}",
            )
            beat = max(beat, followed.beat)
        workflow.continue_as_new(start.model_copy(update={"beat": beat}))
