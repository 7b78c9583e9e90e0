"""The floor's workflow: as many activities of the same kind as an order has, and nothing else."""

from datetime import timedelta

from temporalio import workflow

ORDERS_QUEUE = "floor-orders"
VENUE_QUEUE = "floor-venue"
LIMIT = timedelta(seconds=15)


@workflow.defn(name="floor")
class FloorWorkflow:
    """Four activities on two queues, answered by an update after the third."""

    @workflow.init
    def __init__(self, client_order_id: str) -> None:
        self._answer: str | None = None

    @workflow.run
    async def run(self, client_order_id: str) -> str:
        """Do what an order does, without a ledger."""
        for name, queue in (("validate", VENUE_QUEUE), ("risk_check", ORDERS_QUEUE)):
            await workflow.execute_activity(
                f"floor_{name}", client_order_id, task_queue=queue, start_to_close_timeout=LIMIT
            )
        self._answer = await workflow.execute_activity(
            "floor_submit",
            client_order_id,
            task_queue=VENUE_QUEUE,
            start_to_close_timeout=LIMIT,
            result_type=str,
        )
        await workflow.execute_activity(
            "floor_persist", client_order_id, task_queue=ORDERS_QUEUE, start_to_close_timeout=LIMIT
        )
        return self._answer

    @workflow.update
    async def place(self) -> str:
        """Answer once the venue has."""
        await workflow.wait_condition(lambda: self._answer is not None)
        return self._answer or ""
