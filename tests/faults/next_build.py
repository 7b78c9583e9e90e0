"""The build after this one, as a worker of its own: its orders take one more step before their end, behind a patch."""

from datetime import timedelta
from typing import Final

from temporalio import workflow

import worker
from domain.order import Order
from workflows.messages import ORDER_WORKFLOW, OrderInput, OrderResult
from workflows.order_workflow import OrderWorkflow
from workflows.registry import WORKFLOWS

PATCH: Final = "rest-before-the-end"


@workflow.defn(name=ORDER_WORKFLOW)
class NextOrderWorkflow(OrderWorkflow):
    """The order's workflow as the next build has it."""

    @workflow.init
    def __init__(self, start: OrderInput) -> None:
        super().__init__(start)

    @workflow.run
    async def run(self, start: OrderInput) -> OrderResult:
        """Live the order's life."""
        return await super().run(start)

    async def _persist(self, order: Order) -> Order:
        if workflow.patched(PATCH):
            await workflow.sleep(timedelta(milliseconds=1), summary="a step that only the next build has")
        return await super()._persist(order)


NEXT: Final[tuple[type, ...]] = (NextOrderWorkflow, *WORKFLOWS[1:])


if __name__ == "__main__":
    worker.WORKFLOWS = NEXT  # type: ignore[misc]  # this process is that build
    worker.main()
