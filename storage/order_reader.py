"""`SqlOrderReader`: the ledger as people and programs read it. Every query goes by account and pages by key."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from domain.comparison import Case
from domain.events import Fill, OrderEvent
from domain.lifecycle import AT_VENUE, OrderStatus
from domain.limits import ScopeKind, scope_name, scope_row
from domain.order import Order, TradingMode
from domain.ports import BalanceSheet, Position, RecordedAttempt, RecordedEvent
from domain.position import Holding
from storage import cases, order_rows
from storage.database import in_transaction
from storage.risk_tables import exposures
from storage.tables import account_states, attempts, balances, fills, order_events, orders


class SqlOrderReader:
    """Implements `domain.ports.OrderReader` over Postgres."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def order(self, account: str, order_id: str) -> Order:
        """Return the order."""
        return await in_transaction(self._engine, lambda connection: order_rows.look(connection, account, order_id))

    async def orders(
        self,
        account: str,
        *,
        is_open: bool | None,
        symbol: str | None,
        limit: int,
        before: str | None,
        status: OrderStatus | None = None,
    ) -> Sequence[Order]:
        """Return up to `limit` orders, newest first, that were placed before the one named.

        Raises `OrderNotFound` when there is none of that name.
        """
        query = select(orders.c.document).where(orders.c.account == account)
        if is_open is not None:
            query = query.where(orders.c.is_open.is_(is_open))
        if status is not None:
            query = query.where(orders.c.status == status)
            if status in AT_VENUE:
                query = query.where(orders.c.is_at_venue)  # they are few, and have an index of their own
        if symbol is not None:
            query = query.where(orders.c.symbol == symbol)
        if before is not None:
            named = select(orders.c.number).where(orders.c.account == account, orders.c.order_id == before)
            query = query.where(orders.c.number < named.scalar_subquery())
        query = query.order_by(orders.c.number.desc()).limit(limit)

        async def read(connection: AsyncConnection) -> Sequence[Order]:
            found = [Order.model_validate_json(row.document) for row in await connection.execute(query)]
            if before is not None and not found:
                await order_rows.look(connection, account, before)
            return found

        return await in_transaction(self._engine, read)

    async def events(self, account: str, order_id: str) -> Sequence[RecordedEvent]:
        """Return the order's facts, oldest first."""
        query = (
            select(order_events)
            .where(order_events.c.account == account, order_events.c.order_id == order_id)
            .order_by(order_events.c.seq)
        )

        async def read(connection: AsyncConnection) -> Sequence[RecordedEvent]:
            return [
                RecordedEvent(
                    seq=row.seq,
                    event=OrderEvent.model_validate_json(row.document),
                    recorded_at=row.recorded_at,
                    evidence=row.evidence,
                )
                for row in await connection.execute(query)
            ]

        return await in_transaction(self._engine, read)

    async def attempts(self, account: str, order_id: str) -> Sequence[RecordedAttempt]:
        """Return the order's attempts, first one first."""
        columns = [attempts.c[name] for name in RecordedAttempt.model_fields]
        query = (
            select(*columns)
            .where(attempts.c.account == account, attempts.c.order_id == order_id)
            .order_by(attempts.c.attempt)
        )

        async def read(connection: AsyncConnection) -> Sequence[RecordedAttempt]:
            rows = await connection.execute(query)
            return [RecordedAttempt.model_validate(dict(row._mapping)) for row in rows]

        return await in_transaction(self._engine, read)

    async def fills(self, account: str, order_id: str) -> Sequence[Fill]:
        """Return the order's fills, oldest first."""
        query = select(fills).where(fills.c.account == account, fills.c.order_id == order_id)

        async def read(connection: AsyncConnection) -> Sequence[Fill]:
            rows = [row._mapping for row in await connection.execute(query)]
            found = [Fill.model_validate({name: row[name] for name in Fill.model_fields}) for row in rows]
            return sorted(found, key=lambda fill: (fill.ts_event, len(fill.trade_id), fill.trade_id))

        return await in_transaction(self._engine, read)

    async def positions(self, account: str) -> Sequence[Position]:
        """Return what is held per symbol."""
        scopes = [scope_row(mode, scope_name(ScopeKind.ACCOUNT, account)) for mode in TradingMode]
        query = select(exposures).where(exposures.c.scope.in_(scopes)).order_by(exposures.c.symbol, exposures.c.scope)

        async def read(connection: AsyncConnection) -> Sequence[Position]:
            return [
                Position(
                    account=account,
                    mode=TradingMode(row.scope.partition("/")[0]),
                    symbol=row.symbol,
                    amount=row.amount,
                    entry_price=Holding(amount=row.amount, cost=row.cost).entry_price,
                    realized_pnl=row.realized_pnl,
                    updated_at=row.updated_at,
                )
                for row in await connection.execute(query)
            ]

        return await in_transaction(self._engine, read)

    async def balances(self, account: str) -> Sequence[BalanceSheet]:
        """Return every asset's balance as last told by the venue."""
        query = select(balances).where(balances.c.account == account).order_by(balances.c.asset)

        async def read(connection: AsyncConnection) -> Sequence[BalanceSheet]:
            rows = [row._mapping for row in await connection.execute(query)]
            return [
                BalanceSheet.model_validate({name: row[name] for name in BalanceSheet.model_fields}) for row in rows
            ]

        return await in_transaction(self._engine, read)

    async def cases(self, account: str, *, is_open: bool | None, limit: int, before: int | None) -> Sequence[Case]:
        """Return matters that need, or needed, a person; newest first."""
        return await in_transaction(
            self._engine,
            lambda connection: cases.listed(connection, account, is_open=is_open, limit=limit, before=before),
        )

    async def reconciled_at(self, account: str) -> datetime | None:
        """Return when the account was last compared with its venue."""
        query = select(account_states.c.reconciled_at).where(account_states.c.account == account)

        async def read(connection: AsyncConnection) -> datetime | None:
            found: datetime | None = (await connection.execute(query)).scalar_one_or_none()
            return found

        return await in_transaction(self._engine, read)

    async def ping(self) -> None:
        """Raise `StoreUnavailable` when the ledger does not answer."""
        await in_transaction(self._engine, lambda connection: connection.execute(text("SELECT 1")))
