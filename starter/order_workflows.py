"""The orders as Temporal carries them: which run, what they know, and how one of the ledger is taken over."""

import asyncio
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Final

from temporalio.client import Client, WorkflowExecution, WorkflowExecutionStatus
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy

from domain.identifiers import parse_order_workflow_id
from domain.order import Order, OrderRequest
from starter.feeds import reconcile_soon
from starter.order_start import start_options
from workflows.messages import ORDER_WORKFLOW, OrderInput, OrderResult, OrderView

AT_ONCE: Final = 20
"""Workflows asked at the same time for what they know."""
_OF_ACCOUNT: Final = "WorkflowType = '{type}' AND Account = '{account}'"


class TemporalOrderWorkflows:
    """Implements `domain.comparison.OrderWorkflows`. Raises `RPCError` when Temporal does not answer."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def running(self, account: str) -> Collection[str]:
        """Return the ids of the account's orders with a running workflow."""
        query = f"{_OF_ACCOUNT} AND ExecutionStatus = 'Running'".format(type=ORDER_WORKFLOW, account=account)
        found = self._client.list_workflows(query, page_size=1000)
        return {parse_order_workflow_id(execution.id)[1] async for execution in found}

    async def remembered(self, account: str, *, since: datetime) -> Sequence[Order]:
        """Return the account's orders as their workflows know them."""
        ended = f"CloseTime >= '{since.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}'"
        query = f"{_OF_ACCOUNT} AND (ExecutionStatus = 'Running' OR {ended})"
        found = self._client.list_workflows(query.format(type=ORDER_WORKFLOW, account=account), page_size=1000)
        gate = asyncio.Semaphore(AT_ONCE)
        told = await asyncio.gather(*[self._told(execution, gate) async for execution in found])
        latest: dict[str, Order] = {}
        for order in told:
            if order is not None and (order.order_id not in latest or latest[order.order_id].seq < order.seq):
                latest[order.order_id] = order
        return list(latest.values())

    async def _told(self, execution: WorkflowExecution, gate: asyncio.Semaphore) -> Order | None:
        """Ask one workflow; `None` while it knows of nothing recorded, and for one that failed."""
        async with gate:
            if execution.status is WorkflowExecutionStatus.RUNNING:
                handle = self._client.get_workflow_handle(execution.id, run_id=execution.run_id)
                view: OrderView = await handle.query("view", result_type=OrderView)
                return view.order
            if execution.status is not WorkflowExecutionStatus.COMPLETED:
                return None
            ended = self._client.get_workflow_handle(execution.id, run_id=execution.run_id, result_type=OrderResult)
            result: OrderResult = await ended.result(follow_runs=False)
            return result.order

    async def adopt(self, order: Order) -> None:
        """Start a workflow that carries on an order of the ledger, unless one runs."""
        await adopt(self._client, order)

    async def reconcile_soon(self, account: str, *, why: str) -> None:
        """Ask for a reconciliation of the account that begins after this."""
        await reconcile_soon(self._client, account, why=why)


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
