"""`SqlOrderStore`: the ledger as the order's life writes it, each method one transaction."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import bindparam, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from domain.events import Fill, Reason
from domain.lifecycle import OrderEventType
from domain.limits import LimitSet
from domain.numbers import Price, Quantity
from domain.order import Order, OrderRequest
from domain.ports import Admission, Attempt, Notice
from domain.reports import Balance, OrderReport, SubmitOutcome
from domain.risk import AccountTerms, Decision, Finding, Validated
from storage import admission, attempts, cases, doubts, holdings, limit_sets, order_rows, recording
from storage.database import in_transaction
from storage.tables import orders

_HEARD = (
    update(orders)
    .where(
        orders.c.account == bindparam("of_account"),
        orders.c.order_id == bindparam("of_order"),
        orders.c.notified_seq < bindparam("heard"),
    )
    .values(notified_seq=bindparam("heard"))
)


class SqlOrderStore:
    """Implements `domain.ports.OrderStore` over Postgres. What each method promises is said there."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def admit(
        self,
        request: OrderRequest,
        validated: Validated,
        *,
        terms: AccountTerms,
        now: datetime,
        outside: tuple[Finding, ...] = (),
    ) -> Admission:
        """Record the intent and its decision."""
        return await in_transaction(
            self._engine,
            lambda connection: admission.admit(connection, request, validated, terms=terms, now=now, outside=outside),
        )

    async def foresee(
        self, request: OrderRequest, validated: Validated, *, terms: AccountTerms, now: datetime
    ) -> Decision | None:
        """Return what `admit` would say."""

        async def work(connection: AsyncConnection) -> Decision | None:
            asked = await admission.foresee(connection, request, validated, terms=terms, now=now)
            return asked.decision if isinstance(asked, admission.Asked) else None

        return await in_transaction(self._engine, work)

    async def deny(self, request: OrderRequest, reason: Reason, *, terms: AccountTerms, now: datetime) -> Order:
        """Record an order that was denied."""
        return await in_transaction(
            self._engine, lambda connection: admission.deny(connection, request, reason, terms=terms, now=now)
        )

    async def open_attempt(self, account: str, order_id: str, *, worker: str, now: datetime) -> Attempt:
        """Journal the next attempt, or return the open one."""
        return await in_transaction(
            self._engine,
            lambda connection: attempts.open_attempt(connection, account, order_id, worker=worker, now=now),
        )

    async def pass_last_look(self, attempt: Attempt, *, now: datetime) -> bool:
        """Compare-and-set just before the bytes leave."""
        return await in_transaction(
            self._engine, lambda connection: attempts.pass_last_look(connection, attempt, now=now)
        )

    async def void_attempt(self, attempt: Attempt, *, reason: Reason, now: datetime) -> Order | None:
        """Take an attempt back that has not left."""
        return await in_transaction(
            self._engine, lambda connection: attempts.void(connection, attempt, reason=reason, now=now)
        )

    async def record_outcome(self, attempt: Attempt, outcome: SubmitOutcome, *, now: datetime) -> Order:
        """Record what came of the send."""
        return await in_transaction(
            self._engine, lambda connection: recording.record_outcome(connection, attempt, outcome, now=now)
        )

    async def record_report(
        self, account: str, order_id: str, report: OrderReport, *, trades: Sequence[Fill], now: datetime
    ) -> Notice:
        """Believe a report."""
        return await in_transaction(
            self._engine,
            lambda connection: recording.record_report(connection, account, order_id, report, trades=trades, now=now),
        )

    async def record_never_placed(
        self, attempt: Attempt, *, reason: Reason, requested_by: str | None = None, now: datetime
    ) -> Order:
        """Record that an attempt is proven, or was decided, never to have been placed."""
        return await in_transaction(
            self._engine,
            lambda connection: recording.record_never_placed(
                connection, attempt, reason=reason, requested_by=requested_by, now=now
            ),
        )

    async def record_look(self, attempt: Attempt, *, looked_at: datetime, fence_ends_at: datetime | None) -> Order:
        """Note that the venue did not show the order."""
        return await in_transaction(
            self._engine,
            lambda connection: doubts.record_look(
                connection, attempt, looked_at=looked_at, fence_ends_at=fence_ends_at
            ),
        )

    async def adopt(
        self,
        attempt: Attempt,
        report: OrderReport,
        *,
        trades: Sequence[Fill],
        reason: Reason,
        requested_by: str,
        now: datetime,
    ) -> Notice:
        """Record a person's decision and believe the venue's word on the order that was named."""
        return await in_transaction(
            self._engine,
            lambda connection: doubts.adopt(
                connection, attempt, report, trades=trades, reason=reason, requested_by=requested_by, now=now
            ),
        )

    async def current_attempt(self, account: str, order_id: str) -> Attempt | None:
        """Return the latest attempt."""
        return await in_transaction(self._engine, lambda connection: attempts.current(connection, account, order_id))

    async def request_cancel(self, account: str, order_id: str, *, reason: Reason, now: datetime) -> Order:
        """Record that the order shall end."""
        return await in_transaction(
            self._engine,
            lambda connection: recording.request_cancel(connection, account, order_id, reason=reason, now=now),
        )

    async def request_amend(
        self,
        account: str,
        order_id: str,
        *,
        quantity: Quantity,
        price: Price,
        terms: AccountTerms,
        requested_by: str,
        now: datetime,
    ) -> Order:
        """Record new total quantity and price."""
        return await in_transaction(
            self._engine,
            lambda connection: recording.request_amend(
                connection,
                account,
                order_id,
                quantity=quantity,
                price=price,
                terms=terms,
                requested_by=requested_by,
                now=now,
            ),
        )

    async def end_unsent(
        self, account: str, order_id: str, *, event_type: OrderEventType, reason: Reason, now: datetime
    ) -> Order:
        """End an order of which nothing is at the venue."""
        return await in_transaction(
            self._engine,
            lambda connection: recording.end_unsent(
                connection, account, order_id, event_type=event_type, reason=reason, now=now
            ),
        )

    async def finalize(self, account: str, order_id: str, *, now: datetime) -> Order:
        """Write the final facts once."""
        return await in_transaction(
            self._engine, lambda connection: recording.finalize(connection, account, order_id, now=now)
        )

    async def order(self, account: str, order_id: str) -> Order:
        """Return the order."""
        return await in_transaction(
            self._engine, lambda connection: order_rows.load(connection, account, order_id, lock=False)
        )

    async def working_orders(self, account: str) -> Sequence[Order]:
        """Return the orders of which something is, or may be, at the venue."""
        query = (
            select(orders.c.document).where(orders.c.account == account, orders.c.is_at_venue).order_by(orders.c.number)
        )

        async def read(connection: AsyncConnection) -> Sequence[Order]:
            return [Order.model_validate_json(row.document) for row in await connection.execute(query)]

        return await in_transaction(self._engine, read)

    async def ended_short(self, account: str, *, since: datetime) -> Sequence[Order]:
        """Return the orders that ended at the venue with less than their quantity filled."""
        short = (text("status IN ('CANCELED', 'EXPIRED')"), orders.c.updated_at >= since)
        query = select(orders.c.document).where(orders.c.account == account, *short).order_by(orders.c.updated_at)

        async def read(connection: AsyncConnection) -> Sequence[Order]:
            found = [Order.model_validate_json(row.document) for row in await connection.execute(query)]
            return [order for order in found if order.venue_order_id is not None]

        return await in_transaction(self._engine, read)

    async def pending_notices(self, account: str, *, limit: int) -> Sequence[Notice]:
        """Return orders whose workflow has not heard of their latest fact from the feed."""
        query = (
            select(orders.c.document)
            .where(orders.c.account == account, orders.c.notify_seq > orders.c.notified_seq)
            .order_by(orders.c.number)
            .limit(limit)
        )

        async def read(connection: AsyncConnection) -> Sequence[Notice]:
            return [Notice(order=Order.model_validate_json(row.document)) for row in await connection.execute(query)]

        return await in_transaction(self._engine, read)

    async def mark_notified(self, account: str, notices: Sequence[Notice]) -> None:
        """Record that the workflows heard of these."""

        async def write(connection: AsyncConnection) -> None:
            heard = sorted((notice.order.order_id, notice.order.seq) for notice in notices)
            rows = [{"of_account": account, "of_order": order_id, "heard": seq} for order_id, seq in heard]
            await connection.execute(_HEARD, rows)

        if notices:
            await in_transaction(self._engine, write)

    async def open_case(self, account: str, order_id: str, *, reason: Reason, now: datetime) -> bool:
        """Open the order's case of the reason's code."""
        return await in_transaction(
            self._engine,
            lambda connection: cases.open_case(connection, account, order_id, reason, order_id=order_id, now=now),
        )

    async def close_case(self, account: str, order_id: str, code: str, *, resolution: str, now: datetime) -> bool:
        """Close a case with what came of it."""
        return await in_transaction(
            self._engine,
            lambda connection: cases.close_case(connection, account, order_id, code, resolution=resolution, now=now),
        )

    async def orders_with_open_case(self, account: str, code: str) -> Sequence[str]:
        """Return the ids of the orders with an open case of that code."""
        return await in_transaction(
            self._engine, lambda connection: cases.orders_with_open_case(connection, account, code)
        )

    async def limits(self) -> LimitSet:
        """Return the limits that hold now."""
        return await in_transaction(self._engine, limit_sets.current)

    async def check_again(
        self, request: OrderRequest, validated: Validated, *, terms: AccountTerms, now: datetime
    ) -> Reason | None:
        """Say why what is left of an order must not be sent anew."""
        return await in_transaction(
            self._engine, lambda connection: admission.check_again(connection, request, validated, terms=terms, now=now)
        )

    async def record_balances(
        self, account: str, balances: Sequence[Balance], *, asked_at: datetime, told_at: datetime | None = None
    ) -> None:
        """Record the venue's word on the balances."""
        await in_transaction(
            self._engine,
            lambda connection: holdings.record_balances(
                connection, account, balances, asked_at=asked_at, told_at=told_at
            ),
        )
