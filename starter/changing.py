"""Orders that live on: cancel, amend, and decide on one in doubt. Each is an update of the order's workflow."""

import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final, TypeVar
from uuid import uuid4

from pydantic import BaseModel, ValidationError
from temporalio.client import WorkflowUpdateFailedError
from temporalio.service import RPCError, RPCStatusCode

from domain.errors import InvalidRequest, OrderClosed
from domain.numbers import Price, Quantity
from domain.order import Order
from domain.ports import Notice
from starter.bounded import repeated
from starter.failures import EngineUnavailable, to_domain_error
from starter.notifications import TemporalNotifier
from starter.reading import OrderReading
from workflows.messages import (
    AmendOrder,
    ApprovalAnswer,
    CancelOrder,
    DecideHeld,
    OrderView,
    ResolveAnswer,
    ResolveOrder,
)

CHANGE_TIMEOUT_S: Final = 25.0
"""Above the workflow's own wait for the venue's final word, so that it is the workflow that answers."""
CANCEL_WINDOW_S: Final = 20
"""Cancels of one order within this window are one request: a workflow takes ten updates at a time."""
LEAVE_WORD_TIMEOUT_S: Final = 5.0
"""How long Temporal may take to write a cancel down once no worker has answered it."""
Answer = TypeVar("Answer", OrderView, ResolveAnswer, ApprovalAnswer)
Message = TypeVar("Message", bound=BaseModel)
T = TypeVar("T")


class OrderChanging(OrderReading):
    """The changing half of `ExecutionClient`."""

    async def cancel_order(
        self,
        order_id: str,
        *,
        account: str,
        requested_by: str = "anonymous",
        because: str = "asked for",
        timeout_s: float = CHANGE_TIMEOUT_S,
    ) -> OrderView:
        """Cancel, and return what came of it: canceled, filled before, or still on its way when the time is over.

        Once this returns the wish is on disk: no death of a worker or of Temporal loses it.

        Raises
        ------
        OrderNotFound, OrderClosed
            When there is no such order, or it has ended before.
        EngineUnavailable
            When Temporal does not answer.
        """
        update_id = f"cancel-{int(time.time() // CANCEL_WINDOW_S)}"
        message = CancelOrder(requested_by=requested_by, because=because)
        try:
            return await self._updated(
                "request_cancel",
                message,
                account,
                order_id,
                update_id=update_id,
                timeout_s=timeout_s,
                result_type=OrderView,
            )
        except TimeoutError:
            # An update that no worker has taken is in Temporal's memory alone, and is lost with it. A signal is not.
            return await self._leave_word(message, account, order_id)

    async def amend_order(
        self,
        order_id: str,
        *,
        account: str,
        quantity: Quantity | None = None,
        price: Price | None = None,
        requested_by: str = "anonymous",
        timeout_s: float = CHANGE_TIMEOUT_S,
    ) -> OrderView:
        """Change a resting limit order's total quantity (base units) or price (quote units per base unit).

        Raises
        ------
        OrderNotFound, OrderClosed
            When there is no such order, or it has ended.
        NotAmendable
            When it is no resting limit order, or the figures do not fit; with the numbers.
        EngineUnavailable
            When Temporal does not answer.
        """
        message = AmendOrder(quantity=quantity, price=price, requested_by=requested_by)
        try:
            return await self._updated(
                "amend",
                message,
                account,
                order_id,
                update_id=f"amend-{uuid4()}",
                timeout_s=timeout_s,
                result_type=OrderView,
            )
        except TimeoutError:
            view = await self.get_order(order_id, account=account)
            if view.order is None or not _shows(view.order, message):
                raise EngineUnavailable(
                    "whether the order is amended is not known: no worker answered in time",
                    numbers={"order_id": order_id},
                    advice="Look the order up; if its figures are the old ones, amend it again.",
                ) from None
            return view

    async def resolve_order(
        self,
        order_id: str,
        *,
        account: str,
        placed: str | None = None,
        never_placed: bool = False,
        because: str,
        requested_by: str = "anonymous",
        timeout_s: float = CHANGE_TIMEOUT_S,
    ) -> ResolveAnswer:
        """Decide on an order in doubt: it is the venue's order `placed`, or it was `never_placed`; one of the two.

        The venue is asked before it counts. What it shows is adopted; else the ticket's `on_never_placed` follows.

        Parameters
        ----------
        because
            Why, for the record: printable ASCII, 1 to 200 characters.

        Raises
        ------
        InvalidRequest
            When it is not one of the two, or lacks its reason.
        OrderNotFound, OrderClosed, NotInDoubt
            When there is nothing to decide.
        DecisionContradicted
            When what the venue shows does not fit; with the numbers. Nothing was changed.
        VenueUnavailable
            When the venue gave no whole answer. Nothing was changed.
        EngineUnavailable
            When Temporal did not answer in time; look at the order then.
        """
        message = _said(
            ResolveOrder, placed=placed, never_placed=never_placed, because=because, requested_by=requested_by
        )
        return await self._decided("resolve", message, account, order_id, timeout_s, ResolveAnswer)

    async def approve_order(
        self,
        order_id: str,
        *,
        account: str,
        by: str,
        because: str,
        fingerprint: str | None = None,
        timeout_s: float = CHANGE_TIMEOUT_S,
    ) -> ApprovalAnswer:
        """Approve a held order. Price and limits are checked once more; then it is admitted, or denied with numbers.

        Parameters
        ----------
        by
            Who approves: a person's name, and not that of who asked for the order.
        because
            Why, for the record: printable ASCII, 1 to 200 characters.
        fingerprint
            If given, the approval counts for exactly that ticket.

        Raises
        ------
        InvalidRequest
            When name or reason cannot be taken.
        OrderNotFound, OrderClosed, NotHeld
            When there is nothing to decide.
        FourEyes, TicketDiffers
            When this person cannot approve it, or the ticket is another one. The order stays held.
        VenueUnavailable
            When price and limits cannot be checked now. The order stays held.
        EngineUnavailable
            When Temporal did not answer in time; look at the order then.
        """
        message = _said(DecideHeld, by=by, because=because, fingerprint=fingerprint)
        return await self._decided("approve", message, account, order_id, timeout_s, ApprovalAnswer)

    async def reject_order(
        self, order_id: str, *, account: str, by: str, because: str, timeout_s: float = CHANGE_TIMEOUT_S
    ) -> ApprovalAnswer:
        """End a held order; who asked for it may do so too. Arguments and errors as those of `approve_order`."""
        message = _said(DecideHeld, by=by, because=because)
        return await self._decided("reject", message, account, order_id, timeout_s, ApprovalAnswer)

    async def _decided(
        self,
        update: str,
        message: ResolveOrder | DecideHeld,
        account: str,
        order_id: str,
        timeout_s: float,
        result_type: type[Answer],
    ) -> Answer:
        """Send a person's decision and return what came of it."""
        try:
            return await self._updated(
                update,
                message,
                account,
                order_id,
                update_id=f"{update}-{uuid4()}",
                timeout_s=timeout_s,
                result_type=result_type,
            )
        except TimeoutError:
            raise EngineUnavailable(
                "whether the decision was taken is not known: Temporal did not answer in time",
                numbers={"order_id": order_id},
                advice="Look the order up; if it is as it was, decide again.",
            ) from None

    async def _leave_word(self, message: CancelOrder, account: str, order_id: str) -> OrderView:
        """Write the wish to cancel into the order's history, unless it is on record; return the order as it stands."""
        view = await self.get_order(order_id, account=account)
        if view.order is not None and (view.order.is_final or view.order.cancel_requested):
            return view
        handle = self._handle(account, order_id)

        async def once(left: timedelta) -> None:
            await handle.signal("cancel", message, rpc_timeout=left)

        try:
            await self._reaching(once, account, order_id, timeout_s=LEAVE_WORD_TIMEOUT_S)
        except TimeoutError:
            raise EngineUnavailable("whether the cancel was taken is not known: Temporal did not answer") from None
        return view

    async def _updated(
        self,
        update: str,
        message: CancelOrder | AmendOrder | ResolveOrder | DecideHeld,
        account: str,
        order_id: str,
        *,
        update_id: str,
        timeout_s: float,
        result_type: type[Answer],
    ) -> Answer:
        """Send an update and return its answer. Raises `TimeoutError` when the time is over first."""
        handle = self._handle(account, order_id)

        async def once(left: timedelta) -> Answer:
            answer: Answer = await handle.execute_update(
                update, message, id=update_id, result_type=result_type, rpc_timeout=left
            )
            return answer

        await self._refuse_if_ended(account, order_id)
        return await self._reaching(once, account, order_id, timeout_s=timeout_s)

    async def _reaching(
        self, once: Callable[[timedelta], Awaitable[T]], account: str, order_id: str, *, timeout_s: float
    ) -> T:
        """Call the order's workflow until it answers; raises `TimeoutError` when the time is over first."""
        deadline = time.monotonic() + timeout_s
        for adopts in (True, False):
            try:
                return await repeated(once, max(deadline - time.monotonic(), 1))
            except WorkflowUpdateFailedError as error:
                raise to_domain_error(error) from error
            except RPCError as error:
                if error.status is not RPCStatusCode.NOT_FOUND:
                    raise to_domain_error(error) from error
                order = await self._refuse_if_ended(account, order_id)
                if order is None or not adopts:
                    raise OrderClosed(f"the workflow of order {order_id} has ended") from error
                # Somebody ended the workflow of an order that lives on: another one takes the order over.
                await TemporalNotifier(self._client).notify(Notice(order=order))
        raise AssertionError("the loop above returns or raises")

    async def _refuse_if_ended(self, account: str, order_id: str) -> Order | None:
        order = (await self.get_order(order_id, account=account)).order
        if order is not None and order.is_final:
            raise OrderClosed(
                f"the order is {order.status}: nothing is left to change",
                numbers={"order_id": order_id, "status": order.status},
            )
        return order


def _shows(order: Order, amend: AmendOrder) -> bool:
    """Tell whether an amendment is on record: under way, or its figures are the order's."""
    figures = (amend.quantity or order.quantity, amend.price or order.price)
    return order.amend_quantity is not None or figures == (order.quantity, order.price)


def _said(kind: type[Message], **said: object) -> Message:
    """Read what a person says. Raises `InvalidRequest`."""
    try:
        return kind.model_validate(said)
    except ValidationError as error:
        found = error.errors()[0]
        field = ".".join(str(part) for part in found["loc"])
        raise InvalidRequest(f"{field + ': ' if field else ''}{found['msg'].removeprefix('Value error, ')}") from None
