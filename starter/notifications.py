"""From the feed to the orders: a signal, or a workflow that adopts the order when there is none."""

from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.service import RPCError, RPCStatusCode

from domain.identifiers import order_workflow_id
from domain.order import Order, OrderRequest
from domain.ports import Notice
from starter.order_start import start_options
from workflows.messages import ORDER_WORKFLOW, OrderInput


class TemporalNotifier:
    """Tells orders through Temporal. Safe to repeat: what a workflow knows already, it ignores."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def notify(self, notice: Notice) -> None:
        """Signal the order's workflow; without a running one, start one that adopts an order with work left.

        Raises
        ------
        RPCError
            When Temporal does not answer; the notice stays in the outbox and is sent again.
        """
        order = notice.order
        handle = self._client.get_workflow_handle(order_workflow_id(order.account, order.order_id))
        try:
            await handle.signal("report", notice)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            if not order.finalized:
                await self._adopt(order)

    async def _adopt(self, order: Order) -> None:
        request = _request_of(order)
        await self._client.start_workflow(
            ORDER_WORKFLOW,
            OrderInput(request=request, adopt=order),
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            **start_options(request),
        )


def _request_of(order: Order) -> OrderRequest:
    return OrderRequest(
        order_id=order.order_id,
        account=order.account,
        ticket=order.ticket,
        idempotency_key=order.idempotency_key,
        requested_by="feed",
        requested_at=order.created_at,
    )
