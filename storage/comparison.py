"""`SqlReconciliationStore`: what the ledger holds against what the venue shows, asset by asset and order by order."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from sqlalchemy import Row, and_, func, or_, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from domain.comparison import BALANCE_MISMATCH, POSITION_MISMATCH, Case
from domain.errors import CaseClosed
from domain.events import Reason
from domain.instrument import deny
from domain.lifecycle import OrderStatus
from domain.numbers import subtract
from domain.order import Order
from domain.protocol import UNDECIDED
from domain.reports import Balance, OrderReport
from storage import cases, order_rows
from storage.database import in_transaction
from storage.tables import account_states, attempts, balances, orders

STANDS_FOR: Final = timedelta(seconds=20)
"""A difference must be the same this long later: a fill that is on its way here changes it."""
ZERO: Final = Decimal(0)

_NOT_SUM_OF_FILLS: Final = text(
    """
    WITH traded AS (
        SELECT f.symbol, sum(CASE WHEN o.document->'ticket'->>'side' = 'buy' THEN f.last_qty ELSE -f.last_qty END
            - CASE WHEN f.commission_asset = split_part(f.symbol, '/', 1) THEN coalesce(f.commission, 0) ELSE 0 END
            ) AS amount
        FROM fills f JOIN orders o ON o.account = f.account AND o.order_id = f.order_id
        WHERE f.account = :account GROUP BY f.symbol
    )
    SELECT coalesce(p.symbol, t.symbol) AS symbol, coalesce(p.amount, 0) AS amount, coalesce(t.amount, 0) AS traded
    FROM (
        SELECT symbol, sum(amount) AS amount FROM exposures
        WHERE scope IN ('paper/account:' || :account, 'sandbox/account:' || :account, 'live/account:' || :account)
        GROUP BY symbol
    ) p FULL JOIN traded t ON t.symbol = p.symbol
    WHERE coalesce(p.amount, 0) <> coalesce(t.amount, 0)
    """
)


class SqlReconciliationStore:
    """Implements `domain.comparison.ReconciliationStore` and `CaseStore` over Postgres. Promises stand there."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def ledger_time(self) -> datetime:
        """Return the ledger's time."""

        async def read(connection: AsyncConnection) -> datetime:
            now: datetime = (await connection.execute(select(func.clock_timestamp()))).scalar_one()
            return now

        return await in_transaction(self._engine, read)

    async def unfinished_orders(self, account: str) -> Sequence[Order]:
        """Return the orders that are not persisted to their end."""
        unfinished = text("NOT (document->>'finalized')::boolean")
        query = select(orders.c.document).where(orders.c.account == account, unfinished).order_by(orders.c.number)

        async def read(connection: AsyncConnection) -> Sequence[Order]:
            return [Order.model_validate_json(row.document) for row in await connection.execute(query)]

        return await in_transaction(self._engine, read)

    async def owners(self, account: str, reports: Sequence[OrderReport]) -> Mapping[tuple[str, str], Order]:
        """Return the orders that reports are about."""
        if not reports:
            return {}
        by_venue_id = tuple_(orders.c.symbol, attempts.c.venue_order_id).in_(
            [(report.symbol, report.venue_order_id) for report in reports]
        )
        by_client_id = attempts.c.client_order_id.in_([report.client_order_id or "" for report in reports])
        query = (
            select(orders.c.document, orders.c.symbol, attempts.c.venue_order_id, attempts.c.client_order_id)
            .join(attempts, and_(attempts.c.account == orders.c.account, attempts.c.order_id == orders.c.order_id))
            .where(orders.c.account == account, or_(by_venue_id, by_client_id))
        )

        async def read(connection: AsyncConnection) -> Mapping[tuple[str, str], Order]:
            named: dict[tuple[str, str], Order] = {}
            for row in await connection.execute(query):
                order = Order.model_validate_json(row.document)
                named[row.symbol, row.venue_order_id or ""] = order
                named[row.symbol, row.client_order_id] = order
            found = {}
            for report in reports:
                key = (report.symbol, report.venue_order_id)
                owner = named.get(key) or named.get((report.symbol, report.client_order_id or ""))
                if owner is not None:
                    found[key] = owner
            return found

        return await in_transaction(self._engine, read)

    async def open_case(
        self, account: str, subject: str, reason: Reason, *, order_id: str | None, now: datetime
    ) -> bool:
        """Open a case, once for ever."""
        return await in_transaction(
            self._engine,
            lambda connection: cases.open_once(connection, account, subject, reason, order_id=order_id, now=now),
        )

    async def close_others(
        self, account: str, code: str, *, but: Collection[str], resolution: str, now: datetime
    ) -> Sequence[str]:
        """Close the open cases of a code."""
        return await in_transaction(
            self._engine,
            lambda connection: cases.close_others(connection, account, code, but=but, resolution=resolution, now=now),
        )

    async def close_case(self, account: str, case_id: int, *, resolution: str, now: datetime) -> Case:
        """Close a case that a person has looked into; see `domain.comparison.CaseStore`."""

        async def close(connection: AsyncConnection) -> Case:
            found = await cases.numbered(connection, account, case_id)
            # The order before its case, as everywhere: who holds one of them and waits for the other ends in a knot.
            order = await order_rows.load(connection, account, found.order_id) if found.order_id is not None else None
            if await cases.close_numbered(connection, account, case_id, resolution=resolution, now=now):
                if order is not None and order.needs_attention and order.status is not OrderStatus.IN_DOUBT:
                    left = await cases.any_open_of_order(connection, account, order.order_id)
                    await order_rows.mark(connection, order, needs_attention=left)
                return found.model_copy(update={"closed_at": now, "resolution": resolution})
            closed = await cases.numbered(connection, account, case_id)
            if (closed.closed_at, closed.resolution) == (now, resolution):
                return closed
            told = {"closed_at": f"{closed.closed_at:%Y-%m-%dT%H:%M:%SZ}", "resolution": closed.resolution or ""}
            raise CaseClosed(f"case {case_id} was closed before", numbers=told)

        return await in_transaction(self._engine, close)

    async def compare_balances(self, account: str, told: Sequence[Balance], *, asked_at: datetime) -> Sequence[str]:
        """Compare the venue's totals with what should be there."""

        async def compare(connection: AsyncConnection) -> Sequence[str]:
            at_venue = select(orders.c.status).where(orders.c.account == account, orders.c.is_at_venue)
            statuses = set((await connection.execute(at_venue)).scalars())
            moving, explained = bool(statuses), not statuses.isdisjoint(UNDECIDED)
            totals = {balance.asset: balance.total for balance in told}
            rows = (
                await connection.execute(
                    select(balances).where(balances.c.account == account).order_by(balances.c.asset).with_for_update()
                )
            ).all()
            opened = []
            for row in rows:
                total = totals.get(row.asset, ZERO)
                stands = not explained and _stands(row, total, asked_at)
                if stands:
                    reason = _mismatch(row, total)
                    subject = f"asset {row.asset}"
                    await cases.open_another(connection, account, subject, reason, order_id=None, now=asked_at)
                    opened.append(row.asset)
                changes = _after_comparison(row, total, asked_at, accepted=stands)
                if changes and not (row.expected_at is None and moving):
                    mine = (balances.c.account == account, balances.c.asset == row.asset)
                    await connection.execute(update(balances).where(*mine).values(**changes))
            return opened

        return await in_transaction(self._engine, compare)

    async def compare_positions(self, account: str, *, now: datetime) -> Sequence[str]:
        """Compare positions with the sums of the fills."""

        async def compare(connection: AsyncConnection) -> Sequence[str]:
            opened = []
            for row in (await connection.execute(_NOT_SUM_OF_FILLS, {"account": account})).all():
                reason = deny(
                    POSITION_MISMATCH,
                    "the position is not the sum of the account's fills",
                    symbol=row.symbol,
                    position=row.amount,
                    fills=row.traded,
                )
                subject = f"position {row.symbol}"
                if await cases.open_case(connection, account, subject, reason, order_id=None, now=now):
                    opened.append(row.symbol)
            return opened

        return await in_transaction(self._engine, compare)

    async def finish(self, account: str, *, began_at: datetime) -> None:
        """Record that the account was compared with its venue."""
        row = insert(account_states).values(account=account, reconciled_at=began_at)
        latest = func.greatest(account_states.c.reconciled_at, row.excluded.reconciled_at)
        statement = row.on_conflict_do_update(index_elements=["account"], set_={"reconciled_at": latest})
        await in_transaction(self._engine, lambda connection: connection.execute(statement))


def _stands(row: Row[tuple[object, ...]], total: Decimal, asked_at: datetime) -> bool:
    """Tell whether a difference has stood, to the digit, long enough to be no fill that is on its way."""
    difference = subtract(total, row.expected)
    since = row.differs_since
    return difference != 0 and row.difference == difference and since is not None and asked_at - since >= STANDS_FOR


def _after_comparison(
    row: Row[tuple[object, ...]], total: Decimal, asked_at: datetime, *, accepted: bool
) -> dict[str, object]:
    """Return what changes in the row: a difference that was reported is what should be there from now on."""
    difference = subtract(total, row.expected)
    if accepted:
        return {"expected": total, "expected_at": asked_at, "difference": None, "differs_since": None}
    if row.expected_at is None:  # the ledger lost facts; a figure to begin anew with needs an account at rest
        return {"expected": total, "expected_at": asked_at}
    if difference == 0:
        return {"difference": None, "differs_since": None} if row.difference is not None else {}
    if row.difference == difference:
        return {}
    return {"difference": difference, "differs_since": asked_at}


def _mismatch(row: Row[tuple[object, ...]], total: Decimal) -> Reason:
    return deny(
        BALANCE_MISMATCH,
        "the venue's total is not what it was plus our fills: a deposit, a withdrawal or a trade not ours",
        asset=row.asset,
        expected=row.expected,
        at_venue=total,
        difference=subtract(total, row.expected),
    )
