"""The fleet's budgets of requests in Postgres: one short transaction tells what was spent and leases anew."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import bindparam, literal_column, select, text
from sqlalchemy.dialects.postgresql import ARRAY, TEXT
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from domain.rate_budget import Ask, Count, Lease, Pause, Shared, Told, settle
from storage.database import in_transaction
from storage.rate_tables import rate_budgets

_NOW_MS = "floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
_LEFT_MS = "ceil(extract(epoch FROM paused_until - clock_timestamp()) * 1000)::bigint"
_LOCK: Final = text(
    f"SELECT budget, document::text, {_NOW_MS} AS now_ms FROM rate_budgets "
    "WHERE account = :account AND budget = ANY(:names) ORDER BY budget FOR UPDATE"
).bindparams(bindparam("names", type_=ARRAY(TEXT)))
_OPEN: Final = text(
    "INSERT INTO rate_budgets (account, budget, whole, window_ms, document) "
    "VALUES (:account, :budget, :whole, :window_ms, '{}') ON CONFLICT DO NOTHING"
)
_WRITE: Final = text(
    "UPDATE rate_budgets SET whole = :whole, window_ms = :window_ms, document = CAST(:document AS jsonb) "
    "WHERE account = :account AND budget = :budget"
)
_PAUSE: Final = text(
    "INSERT INTO rate_pauses AS known (account, paused_until, why, told_by) "
    "VALUES (:account, clock_timestamp() + :for_ms * interval '1 millisecond', :why, :told_by) "
    "ON CONFLICT (account) DO UPDATE SET paused_until = excluded.paused_until, why = excluded.why, "
    "told_by = excluded.told_by WHERE known.paused_until < excluded.paused_until"
)
_PAUSED: Final = text(
    f"SELECT {_LEFT_MS} AS left_ms, why FROM rate_pauses WHERE account = :account AND paused_until > clock_timestamp()"
)
_COUNTS: Final = (
    select(
        rate_budgets.c.budget,
        rate_budgets.c.whole,
        rate_budgets.c.window_ms,
        rate_budgets.c.document,
        literal_column(_NOW_MS).label("now_ms"),
    )
    .where(rate_budgets.c.account == bindparam("account"))
    .order_by(rate_budgets.c.budget)
)


class SqlRateLedger:
    """Implements `domain.rate_budget.RateLedger`. The database's clock alone counts: no worker's clock can err."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def settle(self, account: str, holder: str, asks: Sequence[Ask]) -> Told:
        """Tell what was spent, and lease anew. Told twice after a lost connection, it counts twice: never too little.

        Raises `StoreUnavailable`.
        """
        wanted = {ask.budget.name: ask for ask in asks}

        async def work(connection: AsyncConnection) -> Told:
            locked = await _locked(connection, account, wanted)
            leases: dict[str, Lease] = {}
            written: list[dict[str, Any]] = []
            for name, (shared, now_ms) in locked.items():
                ask = wanted[name]
                after, leases[name] = settle(shared, ask, holder=holder, now_ms=now_ms)
                written.append({**_key(account, ask), "document": after.model_dump_json()})
            if written:
                await connection.execute(_WRITE, written)
            return Told(leases=leases, pause=await _pause_left(connection, account))

        return await in_transaction(self._engine, work)

    async def pause(self, account: str, *, for_ms: int, why: str, told_by: str) -> None:
        """Let no request of the fleet leave for so long. Raises `StoreUnavailable`."""
        values = {"account": account, "for_ms": for_ms, "why": why, "told_by": told_by}
        await in_transaction(self._engine, lambda connection: connection.execute(_PAUSE, values))

    async def pause_left(self, account: str) -> Pause | None:
        """Return the pause that holds now. Raises `StoreUnavailable`."""
        return await in_transaction(self._engine, lambda connection: _pause_left(connection, account))

    async def counts(self, account: str) -> Sequence[Count]:
        """Return what counts now of each budget, spent and leased. Raises `StoreUnavailable`."""

        async def work(connection: AsyncConnection) -> Sequence[Count]:
            rows = await connection.execute(_COUNTS, {"account": account})
            return [
                Count(
                    name=row.budget,
                    limit=row.whole,
                    window_ms=row.window_ms,
                    used=_read(row.document).counting(row.now_ms),
                )
                for row in rows
            ]

        return await in_transaction(self._engine, work)


async def _locked(
    connection: AsyncConnection, account: str, wanted: Mapping[str, Ask]
) -> Mapping[str, tuple[Shared, int]]:
    values = {"account": account, "names": sorted(wanted)}
    found = {row.budget: (_read(row.document), row.now_ms) for row in await connection.execute(_LOCK, values)}
    missing = [_key(account, wanted[name]) for name in sorted(wanted) if name not in found]
    if missing:
        await connection.execute(_OPEN, missing)
        found = {row.budget: (_read(row.document), row.now_ms) for row in await connection.execute(_LOCK, values)}
    return found


async def _pause_left(connection: AsyncConnection, account: str) -> Pause | None:
    row = (await connection.execute(_PAUSED, {"account": account})).one_or_none()
    return None if row is None else Pause(left_ms=max(row.left_ms, 1), why=row.why)


def _read(document: str) -> Shared:
    return Shared.model_validate_json(document)


def _key(account: str, ask: Ask) -> dict[str, Any]:
    return {
        "account": account,
        "budget": ask.budget.name,
        "whole": ask.budget.limit,
        "window_ms": ask.budget.window_ms,
    }
