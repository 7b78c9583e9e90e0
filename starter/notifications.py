"""From the feed to the orders: a signal, or a workflow that adopts the order when there is none."""

from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from domain.identifiers import order_workflow_id
from domain.ports import Notice
from starter.order_workflows import adopt


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
                await adopt(self._client, order)
