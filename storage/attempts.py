"""The journal of sends: carries out what `domain/protocol.py` decides.

A row is SENDING until its sender's last look makes it LEFT, or somebody makes it VOID. Both are compare-and-set on the
same row: one of the two wins, and a sender that lost never lets a byte leave.
"""

import secrets
from datetime import datetime

from sqlalchemy import bindparam, func, insert, literal, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.events import OrderEvent, Reason
from domain.identifiers import derive_client_order_id
from domain.lifecycle import OrderEventType
from domain.order import Order
from domain.ports import Attempt
from domain.protocol import UNDECIDED, AttemptState, next_submission
from domain.reports import OrderReport, Submission, SubmitOutcome, SubmitVerdict
from storage import order_rows
from storage.kill_switch import SWITCHED_OFF
from storage.tables import Document, attempts

_LAST_LOOK = text(
    f"""
    UPDATE attempts SET state = 'LEFT', left_at = :now
    FROM orders
    WHERE attempts.token = :token AND attempts.state = 'SENDING'
      AND orders.account = attempts.account AND orders.order_id = attempts.order_id
      AND orders.status = 'SUBMITTED'
      AND NOT (orders.document->>'cancel_requested')::boolean
      AND coalesce((orders.document->'ticket'->>'expires_at')::timestamptz > :now, true)
      AND {SWITCHED_OFF}
      AND NOT EXISTS (
          SELECT FROM account_states s
          WHERE s.account = attempts.account AND s.verified_start <> pg_postmaster_start_time()
      )
    """
)
_LATEST = (
    select(attempts)
    .where(attempts.c.account == bindparam("account"), attempts.c.order_id == bindparam("order_id"))
    .order_by(attempts.c.attempt.desc())
    .limit(1)
)


async def open_attempt(
    connection: AsyncConnection, account: str, order_id: str, *, worker: str, now: datetime
) -> Attempt:
    """Journal the next attempt, or return the open one; see `domain.ports.OrderStore.open_attempt`."""
    order = await order_rows.load(connection, account, order_id)
    if order.status in UNDECIDED:
        found = await current(connection, account, order_id)
        if found is not None:
            return found
    number = order.attempt + 1
    client_order_id = derive_client_order_id(order_id, attempt=number)
    submission = next_submission(order, client_order_id=client_order_id, now=now)
    token = secrets.token_hex(16)
    await connection.execute(
        insert(attempts).values(
            account=account,
            order_id=order_id,
            attempt=number,
            client_order_id=client_order_id,
            token=token,
            state=AttemptState.SENDING,
            worker=worker,
            submission=submission.model_dump_json(exclude_none=True),
            signed_at=submission.signed_at,
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
        signed_at=submission.signed_at,
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
    mine = attempts.c.token == attempt.token
    voided = update(attempts).where(mine, attempts.c.state == AttemptState.SENDING).values(state=AttemptState.VOID)
    if (await connection.execute(voided)).rowcount == 1:
        event = OrderEvent(event_type=OrderEventType.NOT_SENT, ts_event=now, reason=reason)
        return await order_rows.change(connection, order, event)
    state = (await connection.execute(select(attempts.c.state).where(mine))).scalar_one_or_none()
    return order if state == AttemptState.VOID else None


async def current(connection: AsyncConnection, account: str, order_id: str) -> Attempt | None:
    """Return the latest attempt, to look with and never to send."""
    row = (await connection.execute(_LATEST, {"account": account, "order_id": order_id})).first()
    if row is None:
        return None
    return Attempt(
        order_id=order_id,
        account=account,
        attempt=row.attempt,
        client_order_id=row.client_order_id,
        token=row.token,
        signed_at=row.signed_at,
        submission=Submission.model_validate_json(row.submission),
        fresh=False,
        may_have_left=row.state in (AttemptState.LEFT, AttemptState.CLOSED),
    )


async def record_outcome(
    connection: AsyncConnection, attempt: Attempt, outcome: SubmitOutcome, *, state: AttemptState | None
) -> AttemptState | None:
    """Keep what came of the send, and set the state if one is given; return the state that the row has then.

    A later "unknown" never overwrites what was learned before it.
    """
    words = outcome.model_dump_json(exclude_none=True, exclude={"answer": {"body"}, "report": {"answer"}})
    unknown = outcome.verdict is SubmitVerdict.UNKNOWN
    changes: dict[str, object] = {
        "outcome": func.coalesce(attempts.c.outcome, literal(words, Document())) if unknown else words
    }
    if state is not None:
        changes["state"] = state
    if outcome.report is not None:
        changes["venue_order_id"] = outcome.report.venue_order_id
    statement = update(attempts).where(attempts.c.token == attempt.token).values(**changes).returning(attempts.c.state)
    found = (await connection.execute(statement)).scalar_one_or_none()
    return AttemptState(found) if found is not None else None


async def close(connection: AsyncConnection, order: Order, *, state: AttemptState = AttemptState.CLOSED) -> None:
    """End the order's present attempt: CLOSED when its outcome is known, VOID when nothing of it is at the venue."""
    mine = (
        attempts.c.account == order.account,
        attempts.c.order_id == order.order_id,
        attempts.c.attempt == order.attempt,
    )
    changes = {"state": state, "venue_order_id": order.venue_order_id}
    await connection.execute(update(attempts).where(*mine).values(**changes))


async def about(connection: AsyncConnection, order: Order, report: OrderReport) -> tuple[int, AttemptState] | None:
    """Return number and state of the latest attempt of this order that a report can be about."""
    query = (
        select(attempts.c.attempt, attempts.c.state)
        .where(
            attempts.c.account == order.account,
            attempts.c.order_id == order.order_id,
            or_(
                attempts.c.venue_order_id == report.venue_order_id,
                attempts.c.client_order_id == (report.client_order_id or ""),
            ),
        )
        .order_by(attempts.c.attempt.desc())
    )
    row = (await connection.execute(query)).first()
    return (row.attempt, AttemptState(row.state)) if row is not None else None
