"""One feed and one reconciler per account: whoever comes first starts them, everybody else finds them running."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, Final

from temporalio.client import Client, WithStartWorkflowOperation
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.service import RPCError

from domain.comparison import Reconciled
from domain.identifiers import ORDERS_QUEUE, feed_workflow_id, reconciler_workflow_id
from workflows.messages import FEED_WORKFLOW, RECONCILER_WORKFLOW, FeedInput, ReconcileNow, ReconcilerInput
from workflows.policies import TASK_TIMEOUT

KEEP_INTERVAL_S: Final = 5.0
"""Each account's feed and reconciler are started again, if they do not run, at this interval."""
log = logging.getLogger("volex.starter")


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
        **account_options(feed_workflow_id(account), f"follows all orders of {account} at its venue"),
    )


async def reconcile_soon(client: Client, account: str, *, why: str) -> None:
    """Start the account's reconciler unless it runs, and ask for a reconciliation that begins after this.

    Raises
    ------
    RPCError
        When Temporal does not answer.
    """
    await _start_reconciler(client, account, start_signal="reconcile_soon", start_signal_args=[ReconcileNow(why=why)])


async def keep_account_workflows(client: Client, accounts: Sequence[str]) -> None:
    """Start feed and reconciler of each account wherever they do not run, for ever: Temporal may lose its store.

    A reconciler that is started begins by adopting every order of the ledger that no workflow carries.
    """
    while True:
        for account in accounts:
            await asyncio.sleep(KEEP_INTERVAL_S / len(accounts))
            try:
                await start_feed(client, account)
                await _start_reconciler(client, account)
            except RPCError as error:
                log.warning("account_workflows_not_kept", extra={"account": account, "text": str(error)})


def account_options(workflow_id: str, summary: str) -> dict[str, Any]:
    """Return the options with which a workflow of a whole account is started, unless it runs already."""
    return {
        "id": workflow_id,
        "task_queue": ORDERS_QUEUE,
        "task_timeout": TASK_TIMEOUT,
        "id_conflict_policy": WorkflowIDConflictPolicy.USE_EXISTING,
        "static_summary": summary,
    }


def _reconciler_options(account: str) -> dict[str, Any]:
    return account_options(reconciler_workflow_id(account), f"compares {account} with its venue")


async def _start_reconciler(client: Client, account: str, **signal: Any) -> None:
    await client.start_workflow(
        RECONCILER_WORKFLOW, ReconcilerInput(account=account), **_reconciler_options(account), **signal
    )


async def reconcile_now(client: Client, account: str, *, why: str) -> Reconciled:
    """Return what a reconciliation found that began after this was asked; starts the reconciler if need be.

    Raises
    ------
    RPCError, WorkflowUpdateFailedError
        When Temporal does not answer, or not in time.
    """
    start: WithStartWorkflowOperation[Any, Any] = WithStartWorkflowOperation(
        RECONCILER_WORKFLOW, ReconcilerInput(account=account), **_reconciler_options(account)
    )
    found: Reconciled = await client.execute_update_with_start_workflow(
        "reconcile", ReconcileNow(why=why), start_workflow_operation=start, result_type=Reconciled
    )
    return found
