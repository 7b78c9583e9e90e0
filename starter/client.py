"""`ExecutionClient`: place, follow, amend and cancel orders from any process that reaches Temporal.

    client = await ExecutionClient.connect("127.0.0.1:7233")
    view = await client.place_order(ticket, account="binanceus", idempotency_key="rebalance-2026-11-24")

Placing is safe to repeat: the order's id is made before the first send, and the same id is the same order.
"""

import contextlib
import secrets
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Literal, Self

from temporalio.client import (
    Client,
    WithStartWorkflowOperation,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowUpdateFailedError,
)
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import TemporalError, WorkflowAlreadyStartedError
from temporalio.service import RPCError

from domain.errors import ExecutionError, IdempotencyConflict, OrderNotFound
from domain.identifiers import derive_order_id, order_id_from_bytes
from domain.lifecycle import OrderStatus
from domain.order import Order, OrderRequest, OrderTicket
from domain.ports import OrderReader
from settings import Settings
from starter.bounded import repeated, within
from starter.changing import OrderChanging
from starter.connection import connect_temporal, connect_with
from starter.failures import EngineUnavailable, to_domain_error
from starter.order_start import start_options
from starter.reading import view_of
from workflows.messages import (
    ORDER_WORKFLOW,
    OrderInput,
    OrderResult,
    OrderView,
    PlaceOrder,
)

Wait = Literal["venue", "final"]
"""What placing waits for: the venue's answer, or the order's end."""

PLACE_TIMEOUT_S: Final = 30.0
CHANGE_TIMEOUT_S: Final = 25.0
"""Above the workflow's own wait for the venue's final word, so that it is the workflow that answers."""
CANCEL_WINDOW_S: Final = 20
"""Cancels of one order within this window are one request: a workflow takes ten updates at a time."""
RESULT_TIMEOUT_S: Final = 5.0


class ExecutionClient(OrderChanging):
    """Orders over one connection to Temporal. Share one per process; it has no state of its own.

    Parameters
    ----------
    client
        Made by `starter.connection.connect_temporal`, for the data converter must be ours.
    reader
        The ledger, where it is at hand; reads then do not pass through a worker.
    """

    def __init__(self, client: Client, *, reader: OrderReader | None = None) -> None:
        super().__init__(client, reader=reader)

    @classmethod
    async def connect(
        cls,
        address: str = "127.0.0.1:7233",
        *,
        namespace: str = "default",
        api_key: str | None = None,
        tls_cert_path: Path | None = None,
        tls_key_path: Path | None = None,
        tls_ca_path: Path | None = None,
        tls_server_name: str | None = None,
        reader: OrderReader | None = None,
        identity: str | None = None,
        lazy: bool = False,
    ) -> Self:
        """Connect; with `lazy` the connection is made by the first call.

        Raises
        ------
        EngineUnavailable
            When Temporal does not answer.
        """
        try:
            client = await connect_temporal(
                address,
                namespace=namespace,
                api_key=api_key,
                tls_cert_path=tls_cert_path,
                tls_key_path=tls_key_path,
                tls_ca_path=tls_ca_path,
                tls_server_name=tls_server_name,
                identity=identity,
                lazy=lazy,
            )
        except RuntimeError as error:
            raise EngineUnavailable(f"Temporal does not answer at {address}") from error
        return cls(client, reader=reader)

    @classmethod
    async def from_settings(
        cls, settings: Settings, *, reader: OrderReader | None = None, identity: str | None = None, lazy: bool = False
    ) -> Self:
        """Connect to the Temporal server of the settings. Raises `EngineUnavailable`."""
        try:
            client = await connect_with(settings, identity=identity, lazy=lazy)
        except RuntimeError as error:
            raise EngineUnavailable(f"Temporal does not answer at {settings.temporal_address}") from error
        return cls(client, reader=reader)

    # Placing.

    async def place_order(
        self,
        ticket: OrderTicket,
        *,
        account: str,
        idempotency_key: str | None = None,
        wait: Wait = "venue",
        timeout_s: float = PLACE_TIMEOUT_S,
        requested_by: str = "anonymous",
    ) -> OrderView:
        """Place an order, once, and return it as the venue answered or, with `wait="final"`, as it ended.

        A denial or a rejection is an answer too: it is in the order's `status` and `reason`. When the time is over
        first, the order goes on, and the last known view is returned; its `order` is `None` while nothing is recorded.

        Parameters
        ----------
        idempotency_key
            The same key and ticket are the same order, for ever. Without one, each call is a new order.
        timeout_s
            Seconds to wait, above 0.

        Raises
        ------
        IdempotencyConflict
            When the key was used for another ticket; `numbers["order_id"]` names that order.
        EngineUnavailable
            When Temporal did not answer; `numbers["order_id"]` names the order that it may have taken.
        """
        request = new_request(ticket, account=account, idempotency_key=idempotency_key, requested_by=requested_by)
        return await self.place(request, wait=wait, timeout_s=timeout_s)

    async def place(self, request: OrderRequest, *, wait: Wait = "venue", timeout_s: float) -> OrderView:
        """Do the same for a request that has its id already; see `place_order`."""
        deadline = time.monotonic() + timeout_s
        try:
            view = await repeated(lambda left: self._place_once(request, wait, left), timeout_s)
        except WorkflowAlreadyStartedError:
            view = await self._placed_before(request, wait, deadline)
        except WorkflowUpdateFailedError as error:
            raise to_domain_error(error) from error
        except (TimeoutError, EngineUnavailable, RPCError):
            return await self._last_known(request)
        if view.order is not None and view.order.status in (OrderStatus.IN_DOUBT, OrderStatus.HELD):
            # The recorded answer of a repeated request would stay in doubt, or held, for ever; the order does not.
            return await self._last_known(request)
        return view

    async def _place_once(self, request: OrderRequest, wait: Wait, left: timedelta) -> OrderView:
        operation: WithStartWorkflowOperation[Any, OrderResult] = WithStartWorkflowOperation(
            ORDER_WORKFLOW,
            OrderInput(request=request),
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            **start_options(request),
        )
        try:
            view: OrderView = await self._client.execute_update_with_start_workflow(
                "place",
                PlaceOrder(request=request, wait_final=wait == "final"),
                start_workflow_operation=operation,
                id=_place_update_id(request.ticket, wait),
                result_type=OrderView,
                rpc_timeout=left,
            )
        except (TemporalError, RuntimeError):
            # The operation keeps the failure too, and would log it as one that nobody has seen.
            with contextlib.suppress(TemporalError, RuntimeError):
                await operation.workflow_handle()
            raise
        return view

    async def _placed_before(self, request: OrderRequest, wait: Wait, deadline: float) -> OrderView:
        """Answer for an order whose workflow has ended: as it was answered then, else with its result."""
        handle = self._handle(request.account, request.order_id)
        update = handle.get_update_handle(_place_update_id(request.ticket, wait), result_type=OrderView)
        left_s = max(deadline - time.monotonic(), RESULT_TIMEOUT_S)
        try:
            return await within(update.result(), left_s)
        except (RPCError, WorkflowUpdateFailedError, TimeoutError):
            pass  # asked for in another way then; the order's own end says it all
        order = await self._ended(request.account, request.order_id, handle)
        if order.ticket.fingerprint() != request.ticket.fingerprint():
            raise IdempotencyConflict(
                f"the key was used for order {order.order_id}, with another ticket",
                numbers={"order_id": order.order_id},
            )
        return view_of(order)

    async def _ended(self, account: str, order_id: str, handle: WorkflowHandle[Any, OrderResult]) -> Order:
        try:
            return (await within(handle.result(), RESULT_TIMEOUT_S)).order
        except WorkflowFailureError as error:
            failure = to_domain_error(error)
        except (RPCError, TimeoutError) as error:
            failure = EngineUnavailable(f"Temporal does not answer: {error}", numbers={"order_id": order_id})
        if self._reader is not None:
            try:
                return await self._reader.order(account, order_id)
            except OrderNotFound:
                pass
        raise failure

    async def _last_known(self, request: OrderRequest) -> OrderView:
        """Return what is known of an order that was not answered for in time."""
        try:
            return await self.get_order(request.order_id, account=request.account)
        except ExecutionError as error:
            if not error.retryable and not isinstance(error, OrderNotFound):
                raise
            raise EngineUnavailable(
                "whether the order was taken is not known: Temporal did not answer in time",
                numbers={"order_id": request.order_id},
                advice="Look the order up by its id, or repeat the request with the same Idempotency-Key.",
            ) from error


def new_request(
    ticket: OrderTicket, *, account: str, idempotency_key: str | None = None, requested_by: str = "anonymous"
) -> OrderRequest:
    """Give a ticket its order id: derived from the account and the key, or random without one."""
    key = idempotency_key
    return OrderRequest(
        order_id=derive_order_id(account, key) if key is not None else order_id_from_bytes(secrets.token_bytes(8)),
        account=account,
        ticket=ticket,
        idempotency_key=key,
        requested_by=requested_by,
        requested_at=datetime.now(UTC),
    )


def _place_update_id(ticket: OrderTicket, wait: Wait) -> str:
    """Name the update by its ticket: under one name, another ticket would be answered with the first one's outcome."""
    return f"place-{ticket.fingerprint()[:16]}" + ("-final" if wait == "final" else "")


__all__ = ["ExecutionClient", "Wait", "new_request"]
