"""One feed per account: whoever comes first starts it, everybody else finds it running."""

from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy

from domain.identifiers import ORDERS_QUEUE, feed_workflow_id
from workflows.messages import FEED_WORKFLOW, FeedInput
from workflows.policies import TASK_TIMEOUT


async def start_feed(client: Client, account: str) -> None:
    """Start the account's feed, unless it runs already.

    Raises
    ------
    RPCError
        When Temporal does not answer.
    """
    await client.start_workflow(
        FEED_WORKFLOW,
        FeedInput(account=account),
        id=feed_workflow_id(account),
        task_queue=ORDERS_QUEUE,
        task_timeout=TASK_TIMEOUT,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        static_summary=f"follows all orders of {account} at its venue",
    )
