"""The kill switch: a row per scope, read inside the transactions that admit and that let bytes leave."""

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from storage.database import in_transaction
from storage.tables import kill_switches

GLOBAL = "global"


def account_scope(account: str) -> str:
    """Name the scope of one account."""
    return f"account:{account}"


async def kill_reason(connection: AsyncConnection, account: str) -> str | None:
    """Return why the switch is on for the account; `None` while it is off."""
    query = select(kill_switches.c.scope, kill_switches.c.reason).where(
        kill_switches.c.scope.in_((GLOBAL, account_scope(account)))
    )
    row = (await connection.execute(query.limit(1))).first()
    return f"{row.reason} ({row.scope})" if row is not None else None


async def engage(engine: AsyncEngine, scope: str, *, reason: str) -> None:
    """Switch on: from the moment this returns no order of the scope is admitted and no byte of one leaves."""
    row = insert(kill_switches).values(scope=scope, reason=reason)
    await in_transaction(engine, lambda connection: connection.execute(row.on_conflict_do_nothing()))


async def lift(engine: AsyncEngine, scope: str) -> None:
    """Switch off."""
    await in_transaction(
        engine, lambda connection: connection.execute(delete(kill_switches).where(kill_switches.c.scope == scope))
    )
