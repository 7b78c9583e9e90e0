"""`SqlLedgerRepairStore`: brings a ledger that lost its last facts back to what Temporal remembers.

What it writes is marked as restored. Trades are never taken from Temporal: the venue tells them again.
"""

import secrets
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from domain.comparison import LEDGER_RESTORED, Beat
from domain.events import OrderEvent, Reason
from domain.identifiers import derive_client_order_id
from domain.instrument import deny
from domain.lifecycle import OrderEventType, OrderStatus
from domain.order import Order
from domain.protocol import AttemptState, next_submission, remembered
from storage import approvals, cases, continuity, exposures, holdings, order_rows
from storage.database import in_transaction
from storage.tables import attempts, balances, order_events, orders

_FACT_OF = {
    OrderStatus.INITIALIZED: OrderEventType.ADMITTED,
    OrderStatus.HELD: OrderEventType.HELD,
    OrderStatus.DENIED: OrderEventType.DENIED,
    OrderStatus.REJECTED: OrderEventType.REJECTED,
    OrderStatus.CANCELED: OrderEventType.CANCELED,
    OrderStatus.EXPIRED: OrderEventType.EXPIRED,
    OrderStatus.IN_DOUBT: OrderEventType.SUBMIT_UNKNOWN,
}
"""The fact that a restored order's state is written down with."""


class SqlLedgerRepairStore:
    """Implements `domain.comparison.LedgerRepairStore` over Postgres. What each method promises is said there."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def beat(self, account: str, *, known: int) -> Beat | None:
        """Count one beat of the account's feed."""
        return await in_transaction(self._engine, lambda connection: continuity.beat(connection, account, known=known))

    async def recorded_until(self) -> datetime:
        """Return when the ledger's latest fact was recorded; its server's start when there is none."""
        latest = func.coalesce(func.max(order_events.c.recorded_at), func.pg_postmaster_start_time())

        async def read(connection: AsyncConnection) -> datetime:
            moment: datetime = (await connection.execute(select(latest))).scalar_one()
            return moment

        return await in_transaction(self._engine, read)

    async def restore(self, told: Order, *, now: datetime) -> bool:
        """Write what Temporal remembers of an order beyond the ledger."""
        return await in_transaction(self._engine, lambda connection: _restore(connection, told, now))

    async def doubt_all(self, account: str, *, now: datetime) -> Sequence[str]:
        """Put every order in doubt of which an attempt may have been sent and forgotten."""
        return await in_transaction(self._engine, lambda connection: _doubt_all(connection, account, now))

    async def accept(self, account: str, *, beat: int, reason: Reason, now: datetime) -> None:
        """Take the ledger for the truth again."""

        async def write(connection: AsyncConnection) -> None:
            forgotten = {"expected_at": None, "difference": None, "differs_since": None}
            await connection.execute(update(balances).where(balances.c.account == account).values(**forgotten))
            await cases.open_another(connection, account, "ledger", reason, order_id=None, now=now)
            await continuity.accept(connection, account, beat=beat)

        await in_transaction(self._engine, write)


async def _restore(connection: AsyncConnection, told: Order, now: datetime) -> bool:
    found = await order_rows.find_unverified(connection, told.account, told.order_id)
    restored = remembered(told, found, now=now)
    if restored is None:
        return False
    if found is None:
        await order_rows.add(connection, restored)
    reason = _reason(found.seq if found is not None else 0, told.seq)
    fact = _FACT_OF[restored.status]
    event = OrderEvent(
        event_type=fact,
        ts_event=now,
        reason=reason if fact is OrderEventType.SUBMIT_UNKNOWN else restored.reason or reason,
        quantity=restored.quantity,
        attempt=restored.attempt or None,
        client_order_id=restored.client_order_id,
    )
    await order_rows.save(connection, restored, [event], notify=True, evidence=reason.model_dump_json())
    for number in range(1, restored.attempt + 1):
        present = number == restored.attempt and restored.status is OrderStatus.IN_DOUBT
        state = AttemptState.LEFT if present else AttemptState.CLOSED
        await _journal(connection, restored, number, state, now)
    await holdings.restore_reservation(connection, restored)
    await exposures.rework(connection, restored, now=now)
    await approvals.put_on_record(connection, restored)
    return True


async def _doubt_all(connection: AsyncConnection, account: str, now: datetime) -> list[str]:
    """An attempt that is SENDING here may have left since, and an order at rest may have had its next one sent.

    Not so one that waits for its trigger: nothing is sent before its workflow has heard of the trigger, and what the
    workflows have heard was restored before.
    """
    sending = (attempts.c.account == account, attempts.c.state == AttemptState.SENDING)
    await connection.execute(update(attempts).where(*sending).values(state=AttemptState.LEFT, left_at=now))
    resting = (
        select(orders.c.document)
        .where(orders.c.account == account, orders.c.status == OrderStatus.INITIALIZED, orders.c.is_open)
        .order_by(orders.c.number)
        .with_for_update()
    )
    doubted = []
    for row in (await connection.execute(resting)).all():
        order = Order.model_validate_json(row.document)
        if order.waits_for_trigger:
            continue
        number = order.attempt + 1
        submitted = OrderEvent(
            event_type=OrderEventType.SUBMITTED,
            ts_event=now,
            attempt=number,
            client_order_id=derive_client_order_id(order.order_id, attempt=number),
        )
        unknown = OrderEvent(
            event_type=OrderEventType.SUBMIT_UNKNOWN, ts_event=now, reason=_reason(order.seq, order.seq)
        )
        in_doubt = order.apply(submitted).apply(unknown)
        await order_rows.save(connection, in_doubt, [submitted, unknown], notify=True)
        await _journal(connection, in_doubt, number, AttemptState.LEFT, now)
        doubted.append(order.order_id)
    return doubted


async def _journal(connection: AsyncConnection, order: Order, number: int, state: AttemptState, now: datetime) -> None:
    """Write the row of an attempt that was lost; one that is there stays, but is not known to be unsent any more."""
    client_order_id = derive_client_order_id(order.order_id, attempt=number)
    at_rest = order.model_copy(update={"status": OrderStatus.INITIALIZED, "cancel_requested": False})
    unfilled = at_rest.model_copy(update={"cum_qty": min(order.cum_qty, order.replaced_qty)})
    submission = next_submission(unfilled, client_order_id=client_order_id, now=now)
    row = insert(attempts).values(
        account=order.account,
        order_id=order.order_id,
        attempt=number,
        client_order_id=client_order_id,
        token=secrets.token_hex(16),
        state=state,
        worker="restored",
        submission=submission.model_dump_json(exclude_none=True),
        signed_at=submission.signed_at,
        left_at=now,
    )
    keys = ["account", "order_id", "attempt"]
    there = row.on_conflict_do_update(
        index_elements=keys, set_={"state": state, "signed_at": submission.signed_at, "left_at": now}
    )
    await connection.execute(there if state is AttemptState.LEFT else row.on_conflict_do_nothing(index_elements=keys))


def _reason(found_seq: int, told_seq: int) -> Reason:
    return deny(
        LEDGER_RESTORED,
        "the ledger came back without its last facts; what became of the order is asked of the venue",
        facts_found=str(found_seq),
        facts_remembered=str(told_seq),
    )


__all__ = ["SqlLedgerRepairStore"]
