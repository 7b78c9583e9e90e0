"""Orders as they stand: from the ledger where it is at hand, else from their workflows, always within a bound."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any, Final

from temporalio.client import (
    Client,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowQueryFailedError,
    WorkflowQueryRejectedError,
)
from temporalio.service import RPCError, RPCStatusCode

from domain.errors import ExecutionError, InvalidRequest, OrderNotFound, StoreUnavailable
from domain.identifiers import ACCOUNT, ORDER_ID, order_workflow_id, parse_order_workflow_id
from domain.lifecycle import OrderStatus
from domain.order import Order, OrderRequest
from domain.ports import OrderReader
from starter.accounts import AccountCalls
from starter.bounded import within
from starter.failures import EngineUnavailable, to_domain_error
from workflows.messages import ORDER_WORKFLOW, OrderInput, OrderResult, OrderView, Stage

READ_TIMEOUT_S: Final = 5.0
QUERY_TIMEOUT_S: Final = 2.0
"""A query passes through a worker. Without one it would wait for long; the order is then shown as far as known."""
WATCH_INTERVAL_S: Final = 0.25
QUERIES_AT_ONCE: Final = 8
LIST_MAX: Final = 500


class OrderReading(AccountCalls):
    """The reading half of `ExecutionClient`."""

    def __init__(self, client: Client, *, reader: OrderReader | None = None) -> None:
        self._client = client
        self._reader = reader

    @property
    def temporal(self) -> Client:
        """The connection, for what this class does not cover."""
        return self._client

    async def get_order(self, order_id: str, *, account: str) -> OrderView:
        """Return the order as it stands; its `order` is `None` while nothing is recorded yet.

        Raises
        ------
        OrderNotFound
            When neither the ledger nor Temporal knows it.
        EngineUnavailable, StoreUnavailable
            When one of them does not answer.
        """
        _check_names(account, order_id)
        failure: StoreUnavailable | None = None
        if self._reader is not None:
            try:
                return view_of(await self._reader.order(account, order_id))
            except OrderNotFound:
                pass  # it may be so young that only its workflow knows it
            except StoreUnavailable as error:
                failure = error
        try:
            return await self._from_workflow(account, order_id)
        except OrderNotFound:
            raise failure or OrderNotFound(f"account {account} has no order {order_id}") from None

    async def list_orders(
        self,
        *,
        account: str,
        is_open: bool | None = None,
        status: OrderStatus | None = None,
        symbol: str | None = None,
        limit: int = 100,
        before: str | None = None,
    ) -> Sequence[OrderView]:
        """Return up to `limit` (1 to 500) orders, newest first, that were placed before the order `before`.

        Without a ledger only orders that Temporal still keeps are found.

        Raises
        ------
        InvalidRequest, OrderNotFound
            When an argument is out of its range, or there is no order `before`.
        """
        if not 1 <= limit <= LIST_MAX:
            raise InvalidRequest(f"limit must be from 1 to {LIST_MAX}", numbers={"limit": str(limit)})
        if self._reader is not None:
            orders = await self._reader.orders(
                account, is_open=is_open, symbol=symbol, limit=limit, before=before, status=status
            )
            return [view_of(order) for order in orders]
        _check_names(account, before)
        wanted = [f'WorkflowType = "{ORDER_WORKFLOW}"', f'Account = "{account}"']
        if is_open is not None:
            wanted.append(f'ExecutionStatus {"=" if is_open else "!="} "Running"')
        if status is not None:
            wanted.append(f'OrderStatus = "{status.value}"')
        if symbol is not None:
            wanted.append(f'Symbol = "{_quoted(symbol)}"')
        if before is not None:
            started = (await self._describe(account, before)).start_time
            wanted.append(f'StartTime < "{started.isoformat()}"')
        return await self._listed(" AND ".join(wanted), limit)

    async def watch_order(self, order_id: str, *, account: str, timeout_s: float = 3600.0) -> AsyncIterator[OrderView]:
        """Yield the order now and after each change, until it has ended or the time is over.

        While Temporal or the ledger is out of reach it waits; a change is seen within half a second.

        Raises
        ------
        OrderNotFound
            When there is no such order.
        """
        deadline = time.monotonic() + timeout_s
        shown: tuple[object, ...] | None = None
        while True:
            try:
                view = await self.get_order(order_id, account=account)
            except ExecutionError as error:
                if not error.retryable:
                    raise
            else:
                order = view.order
                state = (view.stage,) if order is None else (order.seq, order.finalized)
                if state != shown:
                    shown = state
                    yield view
                if order is not None and order.is_final:
                    return
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return
            await asyncio.sleep(min(WATCH_INTERVAL_S, left_s))

    async def wait_order(self, order_id: str, *, account: str, timeout_s: float = 60.0) -> OrderView:
        """Return the order once it has ended or, when the time is over first, as it stands.

        Raises
        ------
        OrderNotFound
            When there is no such order.
        EngineUnavailable
            When nothing could be read for the whole time.
        """
        last: OrderView | None = None
        async for view in self.watch_order(order_id, account=account, timeout_s=timeout_s):
            last = view
        if last is None:
            raise EngineUnavailable("neither Temporal nor the ledger answered in time", numbers={"order_id": order_id})
        return last

    async def request_of(self, order_id: str, *, account: str) -> OrderRequest:
        """Return what the order's workflow was started with; no worker is needed for that. Raises `OrderNotFound`."""
        _check_names(account, order_id)

        async def first() -> OrderInput | None:
            async for event in self._handle(account, order_id).fetch_history_events(page_size=1):
                payloads = event.workflow_execution_started_event_attributes.input.payloads
                decoded = await self._client.data_converter.decode(payloads, [OrderInput])
                start: OrderInput = decoded[0]
                return start
            return None

        start: OrderInput | None = await self._asked(first(), account, order_id)
        if start is None:
            raise OrderNotFound(f"account {account} has no order {order_id}")
        return start.request

    # Temporal's side.

    def _handle(self, account: str, order_id: str) -> WorkflowHandle[Any, OrderResult]:
        return self._client.get_workflow_handle(order_workflow_id(account, order_id), result_type=OrderResult)

    async def _describe(self, account: str, order_id: str) -> Any:
        return await self._asked(self._handle(account, order_id).describe(), account, order_id)

    async def _from_workflow(self, account: str, order_id: str) -> OrderView:
        described = await self._describe(account, order_id)
        handle = self._handle(account, order_id)
        if described.status is WorkflowExecutionStatus.COMPLETED:
            try:
                result: OrderResult = await self._asked(handle.result(), account, order_id)
            except WorkflowFailureError as error:
                raise to_domain_error(error) from error
            return view_of(result.order)
        query = handle.query("view", result_type=OrderView, rpc_timeout=timedelta(seconds=QUERY_TIMEOUT_S))
        try:
            return await within(query, QUERY_TIMEOUT_S)
        except (RPCError, WorkflowQueryFailedError, WorkflowQueryRejectedError, TimeoutError):
            return OrderView(
                order_id=order_id, account=account, workflow_id=handle.id, stage=Stage.VALIDATE, order=None
            )

    async def _listed(self, query: str, limit: int) -> Sequence[OrderView]:
        async def identifiers() -> list[str]:
            return [found.id async for found in self._client.list_workflows(query, limit=limit)]

        try:
            found = await within(identifiers(), READ_TIMEOUT_S)
        except (RPCError, TimeoutError) as error:
            raise EngineUnavailable(f"Temporal does not list orders: {error}") from error
        places = asyncio.Semaphore(QUERIES_AT_ONCE)

        async def one(workflow_id: str) -> OrderView:
            account, order_id = parse_order_workflow_id(workflow_id)
            async with places:
                return await self._from_workflow(account, order_id)

        return await asyncio.gather(*(one(workflow_id) for workflow_id in dict.fromkeys(found)))

    async def _asked(self, call: Any, account: str, order_id: str) -> Any:
        try:
            return await within(call, READ_TIMEOUT_S)
        except TimeoutError as error:
            raise EngineUnavailable("Temporal does not answer in time") from error
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                raise OrderNotFound(f"account {account} has no order {order_id}") from None
            raise EngineUnavailable(f"Temporal does not answer: {error.status.name}") from error


def view_of(order: Order) -> OrderView:
    """Return the ledger's order in the form that its workflow shows."""
    stage = Stage.DONE if order.finalized else Stage.PERSIST if order.is_final else Stage.POLL_FILL
    return OrderView(
        order_id=order.order_id,
        account=order.account,
        workflow_id=order_workflow_id(order.account, order.order_id),
        stage=stage,
        order=order,
    )


def _check_names(account: str, order_id: str | None) -> None:
    """Refuse what cannot be a name, before it becomes part of a query or of a workflow id."""
    if not ACCOUNT.fullmatch(account):
        raise InvalidRequest(f"{account[:40]!r} is not the name of an account")
    if order_id is not None and not ORDER_ID.fullmatch(order_id):
        raise OrderNotFound(f"{order_id[:40]!r} is not an order id: 16 digits, 0-9 and a-f, the first a letter")


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
