"""The kill switch: a row per scope, read inside the transactions that admit and that let bytes leave."""

from sqlalchemy import ColumnElement, Select, delete, literal, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from storage.database import in_transaction
from storage.tables import kill_switches

GLOBAL = "global"
SETTINGS = "settings"
"""Scope of the switch in the configuration: everything, for as long as `[risk] kill_switch` is true."""


def account_scope(account: str) -> str:
    """Name the scope of one account."""
    return f"account:{account}"


def reason_for(account: ColumnElement[str]) -> Select[tuple[str]]:
    """Return the query for why the switch is on for the account: no row while it is off."""
    scopes = (literal(GLOBAL), literal(SETTINGS), literal("account:") + account)
    told = kill_switches.c.reason + " (" + kill_switches.c.scope + ")"
    return select(told).where(kill_switches.c.scope.in_(scopes)).order_by(kill_switches.c.scope).limit(1)


async def engage(engine: AsyncEngine, scope: str, *, reason: str) -> None:
    """Switch on: from the moment this returns no order of the scope is admitted and no byte of one leaves."""
    row = insert(kill_switches).values(scope=scope, reason=reason)
    await in_transaction(engine, lambda connection: connection.execute(row.on_conflict_do_nothing()))


async def lift(engine: AsyncEngine, scope: str) -> None:
    """Switch off."""
    await in_transaction(
        engine, lambda connection: connection.execute(delete(kill_switches).where(kill_switches.c.scope == scope))
    )


async def follow_settings(engine: AsyncEngine, *, engaged: bool) -> None:
    """Make the configuration's switch what the configuration says now."""
    if engaged:
        await engage(engine, SETTINGS, reason="kill_switch is true in the configuration")
    else:
        await lift(engine, SETTINGS)
