"""The orders as Temporal carries them: which are running, and how one of the ledger is taken over."""

from collections.abc import Collection

from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy

from domain.identifiers import parse_order_workflow_id
from domain.order import Order, OrderRequest
from starter.order_start import start_options
from workflows.messages import ORDER_WORKFLOW, OrderInput

_RUNNING = "WorkflowType = '{type}' AND Account = '{account}' AND ExecutionStatus = 'Running'"


class TemporalOrderWorkflows:
    """Implements `domain.comparison.OrderWorkflows`. Raises `RPCError` when Temporal does not answer."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def running(self, account: str) -> Collection[str]:
        """Return the ids of the account's orders with a running workflow."""
        query = _RUNNING.format(type=ORDER_WORKFLOW, account=account)
        found = self._client.list_workflows(query, page_size=1000)
        return {parse_order_workflow_id(execution.id)[1] async for execution in found}

    async def adopt(self, order: Order) -> None:
        """Start a workflow that carries on an order of the ledger, unless one runs."""
        await adopt(self._client, order)


async def adopt(client: Client, order: Order) -> None:
    """Start the workflow of an order that the ledger has, unless one runs; safe to repeat."""
    request = OrderRequest(
        order_id=order.order_id,
        account=order.account,
        ticket=order.ticket,
        idempotency_key=order.idempotency_key,
        requested_by="reconciler",
        requested_at=order.created_at,
    )
    await client.start_workflow(
        ORDER_WORKFLOW,
        OrderInput(request=request, adopt=order),
        id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        **start_options(request),
    )
