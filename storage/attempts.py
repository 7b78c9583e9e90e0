"""The journal of sends. A row is SENDING until its sender's last look makes it LEFT, or somebody makes it VOID.

Both are compare-and-set on the same row: one of the two wins, and a sender that lost never lets a byte leave.
"""

import json
import secrets
from datetime import datetime

from sqlalchemy import insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql import Select

from domain.errors import OrderClosed
from domain.events import OrderEvent, Reason
from domain.identifiers import derive_client_order_id
from domain.lifecycle import OrderEventType, OrderStatus
from domain.numbers import subtract
from domain.order import Order
from domain.ports import Attempt
from domain.reports import Submission
from storage import order_rows
from storage.tables import attempts

_LAST_LOOK = text(
    """
    UPDATE attempts SET state = 'LEFT', left_at = :now
    FROM orders
    WHERE attempts.token = :token AND attempts.state = 'SENDING'
      AND orders.account = attempts.account AND orders.order_id = attempts.order_id
      AND orders.status = 'SUBMITTED'
      AND NOT (orders.document->>'cancel_requested')::boolean
      AND coalesce((orders.document->'ticket'->>'expires_at')::timestamptz > :now, true)
      AND NOT EXISTS (
          SELECT FROM kill_switches WHERE scope IN ('global', 'account:' || attempts.account)
      )
    """
)


async def open_attempt(
    connection: AsyncConnection, account: str, order_id: str, *, worker: str, now: datetime
) -> Attempt:
    """Journal the next attempt, or return the open one; see `domain.ports.OrderStore.open_attempt`."""
    order = await order_rows.load(connection, account, order_id)
    if order.status in (OrderStatus.SUBMITTED, OrderStatus.IN_DOUBT):
        found = await current(connection, account, order_id)
        if found is not None:
            return found
    if order.status is not OrderStatus.INITIALIZED or order.cancel_requested or order.leaves_qty <= 0:
        raise OrderClosed(f"order {order_id} is {order.status}: nothing is to be sent")
    number = order.attempt + 1
    client_order_id = derive_client_order_id(order_id, attempt=number)
    signed_at = now.replace(microsecond=now.microsecond // 1000 * 1000)
    submission = _submission(order, client_order_id, signed_at)
    token = secrets.token_hex(16)
    await connection.execute(
        insert(attempts).values(
            account=account,
            order_id=order_id,
            attempt=number,
            client_order_id=client_order_id,
            token=token,
            state="SENDING",
            worker=worker,
            submission=json.loads(submission.model_dump_json()),
            signed_at=signed_at,
        )
    )
    event = OrderEvent(
        event_type=OrderEventType.SUBMITTED,
        ts_event=now,
        attempt=number,
        client_order_id=client_order_id,
        quantity=submission.quantity,
        price=submission.price,
    )
    await order_rows.change(connection, order, event)
    return Attempt(
        order_id=order_id,
        account=account,
        attempt=number,
        client_order_id=client_order_id,
        token=token,
        signed_at=signed_at,
        submission=submission,
        fresh=True,
        may_have_left=False,
    )


async def pass_last_look(connection: AsyncConnection, attempt: Attempt, *, now: datetime) -> bool:
    """Let the bytes leave, or not; see `domain.ports.OrderStore.pass_last_look`."""
    passed = await connection.execute(_LAST_LOOK, {"token": attempt.token, "now": now})
    return passed.rowcount == 1


async def void(connection: AsyncConnection, attempt: Attempt, *, reason: Reason, now: datetime) -> Order | None:
    """Take back an attempt that has not left; `None` when it has."""
    order = await order_rows.load(connection, attempt.account, attempt.order_id)
    if not await _set_state(connection, attempt, "VOID", only_from="SENDING"):
        return None
    if order.status is not OrderStatus.SUBMITTED or order.attempt != attempt.attempt:
        return order
    event = OrderEvent(event_type=OrderEventType.NOT_SENT, ts_event=now, reason=reason)
    return await order_rows.change(connection, order, event)


async def current(connection: AsyncConnection, account: str, order_id: str) -> Attempt | None:
    """Return the latest attempt, to look with and never to send."""
    row = (await connection.execute(_latest(account, order_id))).first()
    if row is None:
        return None
    return Attempt(
        order_id=order_id,
        account=account,
        attempt=row.attempt,
        client_order_id=row.client_order_id,
        token=row.token,
        signed_at=row.signed_at,
        submission=Submission.model_validate(row.submission),
        fresh=False,
        may_have_left=row.state in ("LEFT", "CLOSED"),
    )


async def close(connection: AsyncConnection, attempt: Attempt, *, state: str, outcome: str | None = None) -> None:
    """Write how an attempt ended: CLOSED, or VOID when nothing of it is or was at the venue."""
    await _set_state(connection, attempt, state, outcome=outcome)


async def _set_state(
    connection: AsyncConnection,
    attempt: Attempt,
    state: str,
    *,
    only_from: str | None = None,
    outcome: str | None = None,
) -> bool:
    changes: dict[str, object] = {"state": state}
    if outcome is not None:
        changes["outcome"] = json.loads(outcome)
    statement = update(attempts).where(attempts.c.token == attempt.token)
    if only_from is not None:
        statement = statement.where(attempts.c.state == only_from)
    return (await connection.execute(statement.values(**changes))).rowcount == 1


def _latest(account: str, order_id: str) -> Select[tuple[object, ...]]:
    return (
        select(attempts)
        .where(attempts.c.account == account, attempts.c.order_id == order_id)
        .order_by(attempts.c.attempt.desc())
        .limit(1)
    )


def _submission(order: Order, client_order_id: str, signed_at: datetime) -> Submission:
    ticket = order.ticket
    return Submission(
        client_order_id=client_order_id,
        symbol=ticket.symbol,
        side=ticket.side,
        order_type=ticket.order_type,
        quantity=subtract(order.quantity, order.cum_qty),
        price=order.price,
        trigger_price=order.trigger_price,
        time_in_force=ticket.time_in_force,
        post_only=ticket.post_only,
        signed_at=signed_at,
    )
