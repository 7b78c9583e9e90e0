"""The paper venue's durable book on Postgres. Every change locks the account's row first, as a venue has one matching
engine: two processes that work the same account take turns, and the second sees what the first has filled.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import RowMapping, Select, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from domain.events import Fill, Reason
from domain.numbers import subtract
from domain.paper_ports import PaperDesk, PaperOrder
from domain.reports import Balance, OrderRef, VenueOrderStatus
from storage.database import in_transaction
from storage.paper_tables import (
    paper_absences,
    paper_accounts,
    paper_balances,
    paper_desks,
    paper_fills,
    paper_orders,
)

_DESK_FIELDS: Final = {"asks_taken", "bids_taken", "last_order_number", "last_trade_number"}
"""What a desk keeps in its own row; the rest are rows of other tables."""


class SqlPaperBook:
    """`PaperBook` on Postgres. Raises `StoreUnavailable`; a change may then have been stored or not."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def open_account(self, account: str, *, opening: Mapping[str, Decimal], now: datetime) -> None:
        """Open the account with these amounts, by asset; an account that is open stays as it is."""

        async def work(connection: AsyncConnection) -> None:
            opened = await connection.execute(
                insert(paper_accounts)
                .values(account=account, opened_at=now)
                .on_conflict_do_nothing()
                .returning(paper_accounts.c.account)
            )
            if opened.first() is not None and opening:
                rows = [{"account": account, "asset": a, "used": 0, "total": t} for a, t in opening.items()]
                await connection.execute(insert(paper_balances), rows)

        await in_transaction(self._engine, work)

    async def change(
        self,
        account: str,
        symbol: str,
        *,
        client_order_id: str | None = None,
        decide: Callable[[PaperDesk], PaperDesk | Reason],
    ) -> PaperDesk | Reason:
        """Read the desk under the account's lock, let `decide` make the new one, and store what differs."""

        async def work(connection: AsyncConnection) -> PaperDesk | Reason:
            await _lock(connection, account)
            before = await _read_desk(connection, account, symbol, client_order_id)
            after = decide(before)
            if isinstance(after, PaperDesk) and after != before:
                await _write_desk(connection, account, symbol, before=before, after=after)
            return after

        return await in_transaction(self._engine, work)

    async def find(self, account: str, ref: OrderRef) -> PaperOrder | None:
        """Return the order by its venue id where the reference has one, else by its client order id."""
        return await in_transaction(self._engine, lambda connection: _find(connection, account, ref))

    async def disown(self, account: str, client_order_id: str, *, now: datetime) -> PaperOrder | None:
        """Return the order, or record that there is none, under the lock that placing takes as well."""

        async def work(connection: AsyncConnection) -> PaperOrder | None:
            await _lock(connection, account)
            found = await _one_order(connection, _by_client_order_id(account, client_order_id))
            if found is None:
                row = {"account": account, "client_order_id": client_order_id, "answered_at": now}
                await connection.execute(insert(paper_absences).values(row).on_conflict_do_nothing())
            return found

        return await in_transaction(self._engine, work)

    async def open_orders(self, account: str, *, symbol: str | None = None) -> Sequence[PaperOrder]:
        """Return the open orders, of one symbol or by symbol, oldest first."""
        query = _open_orders(account, symbol)
        return await in_transaction(self._engine, lambda connection: _all_orders(connection, query))

    async def fills(
        self, account: str, symbol: str, *, since: datetime, venue_order_id: str | None = None
    ) -> Sequence[Fill]:
        """Return the trades in the symbol, or of one order, from `since` on, oldest first."""
        query = (
            select(paper_fills.c.document)
            .where(paper_fills.c.account == account, paper_fills.c.symbol == symbol, paper_fills.c.ts_event >= since)
            .order_by(paper_fills.c.trade_id)
        )
        if venue_order_id is not None:
            query = query.where(paper_fills.c.venue_order_id == _number(venue_order_id))

        async def work(connection: AsyncConnection) -> list[Fill]:
            return [Fill.model_validate(document) for document in (await connection.execute(query)).scalars()]

        return await in_transaction(self._engine, work)

    async def balances(self, account: str) -> Sequence[Balance]:
        """Return the balance of every asset that the account ever held, by asset."""
        return await in_transaction(self._engine, lambda connection: _balances(connection, account))


async def _lock(connection: AsyncConnection, account: str) -> None:
    query = select(paper_accounts.c.account).where(paper_accounts.c.account == account).with_for_update()
    (await connection.execute(query)).scalar_one()


async def _read_desk(connection: AsyncConnection, account: str, symbol: str, client_order_id: str | None) -> PaperDesk:
    desk = select(paper_desks.c.document).where(paper_desks.c.account == account, paper_desks.c.symbol == symbol)
    kept: dict[str, Any] = (await connection.execute(desk)).scalar_one_or_none() or {}
    disowned = False
    if client_order_id is None:
        orders = await _all_orders(connection, _open_orders(account, symbol))
    else:
        orders = await _all_orders(connection, _by_client_order_id(account, client_order_id))
        absence = select(paper_absences.c.account).where(
            paper_absences.c.account == account, paper_absences.c.client_order_id == client_order_id
        )
        disowned = (await connection.execute(absence)).first() is not None
    balances = tuple(await _balances(connection, account))
    return PaperDesk.model_validate({**kept, "orders": tuple(orders), "balances": balances, "disowned": disowned})


async def _write_desk(
    connection: AsyncConnection, account: str, symbol: str, *, before: PaperDesk, after: PaperDesk
) -> None:
    key = {"account": account, "symbol": symbol}
    await _upsert(connection, paper_desks, [{**key, "document": after.model_dump(mode="json", include=_DESK_FIELDS)}])
    known = {order.submission.client_order_id: order for order in before.orders}
    changed = [order for order in after.orders if order != known.get(order.submission.client_order_id)]
    await _upsert(connection, paper_orders, [_order_row(account, order) for order in changed])
    moved = [balance for balance in after.balances if balance not in before.balances]
    await _upsert(connection, paper_balances, [_balance_row(account, balance) for balance in moved])
    if after.fills:
        await connection.execute(insert(paper_fills), [_fill_row(account, fill) for fill in after.fills])


async def _upsert(connection: AsyncConnection, table: Any, rows: Sequence[Mapping[str, object]]) -> None:
    if not rows:
        return
    statement = insert(table)
    values = {column.name: statement.excluded[column.name] for column in table.c if not column.primary_key}
    await connection.execute(statement.on_conflict_do_update(index_elements=list(table.primary_key), set_=values), rows)


async def _find(connection: AsyncConnection, account: str, ref: OrderRef) -> PaperOrder | None:
    if ref.venue_order_id is None:
        return await _one_order(connection, _by_client_order_id(account, ref.client_order_id))
    by_venue_id = _orders(account).where(
        paper_orders.c.symbol == ref.symbol, paper_orders.c.venue_order_id == _number(ref.venue_order_id)
    )
    return await _one_order(connection, by_venue_id)


def _orders(account: str) -> Select[Any]:
    columns = paper_orders.c
    return select(columns.document).where(columns.account == account).order_by(columns.symbol, columns.venue_order_id)


def _open_orders(account: str, symbol: str | None) -> Select[Any]:
    query = _orders(account).where(paper_orders.c.is_open)
    return query.where(paper_orders.c.symbol == symbol) if symbol is not None else query


def _by_client_order_id(account: str, client_order_id: str) -> Select[Any]:
    return _orders(account).where(paper_orders.c.client_order_id == client_order_id)


async def _all_orders(connection: AsyncConnection, query: Select[Any]) -> list[PaperOrder]:
    return [PaperOrder.model_validate(document) for document in (await connection.execute(query)).scalars()]


async def _one_order(connection: AsyncConnection, query: Select[Any]) -> PaperOrder | None:
    return next(iter(await _all_orders(connection, query)), None)


async def _balances(connection: AsyncConnection, account: str) -> list[Balance]:
    query = select(paper_balances).where(paper_balances.c.account == account).order_by(paper_balances.c.asset)
    return [_balance(row) for row in (await connection.execute(query)).mappings()]


def _balance(row: RowMapping) -> Balance:
    free = subtract(row["total"], row["used"])
    return Balance(asset=row["asset"], free=free, used=row["used"], total=row["total"])


def _balance_row(account: str, balance: Balance) -> dict[str, object]:
    return {"account": account, "asset": balance.asset, "used": balance.used, "total": balance.total}


def _order_row(account: str, order: PaperOrder) -> dict[str, object]:
    return {
        "account": account,
        "symbol": order.submission.symbol,
        "venue_order_id": int(order.venue_order_id),
        "client_order_id": order.submission.client_order_id,
        "is_open": order.status is VenueOrderStatus.OPEN,
        "document": order.model_dump(mode="json"),
    }


def _fill_row(account: str, fill: Fill) -> dict[str, object]:
    return {
        "account": account,
        "symbol": fill.symbol,
        "trade_id": int(fill.trade_id),
        "venue_order_id": int(fill.venue_order_id),
        "ts_event": fill.ts_event,
        "document": fill.model_dump(mode="json"),
    }


def _number(venue_order_id: str) -> int:
    """Read a venue order id of ours; 0, which no order has, for anything else."""
    is_ours = venue_order_id.isascii() and venue_order_id.isdecimal() and len(venue_order_id) <= 18
    return int(venue_order_id) if is_ours else 0
