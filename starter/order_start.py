"""What every start of an order's workflow has in common, whoever starts it."""

from datetime import timedelta
from typing import TypedDict

from temporalio.common import SearchAttributePair, TypedSearchAttributes

from domain.identifiers import ORDERS_QUEUE, order_workflow_id
from domain.order import OrderRequest
from workflows import search_attributes
from workflows.policies import TASK_TIMEOUT


class StartOptions(TypedDict):
    """Options of a workflow start that do not depend on who starts it."""

    id: str
    task_queue: str
    task_timeout: timedelta
    static_summary: str
    search_attributes: TypedSearchAttributes


def start_options(request: OrderRequest) -> StartOptions:
    """Return the options with which the order's workflow is started: name, queue, and what people search by."""
    ticket = request.ticket
    pairs: list[SearchAttributePair[str]] = [
        SearchAttributePair(search_attributes.ACCOUNT, request.account),
        SearchAttributePair(search_attributes.SYMBOL, ticket.symbol),
        SearchAttributePair(search_attributes.SIDE, ticket.side.value),
        SearchAttributePair(search_attributes.ORDER_TYPE, ticket.order_type.value),
        SearchAttributePair(search_attributes.CLIENT_ORDER_ID, request.order_id),
    ]
    if ticket.strategy is not None:
        pairs.append(SearchAttributePair(search_attributes.STRATEGY, ticket.strategy))
    return StartOptions(
        id=order_workflow_id(request.account, request.order_id),
        task_queue=ORDERS_QUEUE,
        task_timeout=TASK_TIMEOUT,
        static_summary=ticket.summary(),
        search_attributes=TypedSearchAttributes(pairs),
    )
