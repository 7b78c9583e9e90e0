"""Brings the ledger's schema up to date. Any number of processes may call it at once: one works, the others wait."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.retention import SeriesTerms
from storage import hypertables
from storage.database import in_transaction, open_engine
from storage.exposure_audit import rebuild_if_empty
from storage.hypertables import Timescale

MIGRATIONS: Final = Path(__file__).parent / "migrations"
_LOCK: Final = 0x766F6C6578
"""Key of the advisory lock: "volex" in ASCII."""


async def upgrade(url: str, terms: SeriesTerms | None = None) -> Timescale:
    """Upgrade the database to the newest version, and make hypertables of the series where TimescaleDB is.

    Returns what the database has of TimescaleDB. Raises `StoreUnavailable` when it does not answer.
    """
    engine = open_engine(url, application_name="volex db upgrade", pool_size=1)
    try:
        return await in_transaction(engine, lambda connection: _upgrade_and_fill(connection, terms or SeriesTerms()))
    finally:
        await engine.dispose()


async def upgrade_to(url: str, revision: str) -> None:
    """Make the schema of one revision, with nothing in it. Raises `StoreUnavailable` when there is no answer."""
    engine = open_engine(url, application_name="volex restore", pool_size=1)
    try:
        await in_transaction(engine, lambda connection: connection.run_sync(_upgrade, revision))
    finally:
        await engine.dispose()


def knows(revision: str) -> bool:
    """Tell whether there is a migration of that name."""
    return any(script.revision == revision for script in ScriptDirectory(str(MIGRATIONS)).walk_revisions())


async def _upgrade_and_fill(connection: AsyncConnection, terms: SeriesTerms) -> Timescale:
    await connection.run_sync(_upgrade)
    await rebuild_if_empty(connection, now=datetime.now(UTC))
    return await hypertables.ensure(connection, terms)


def _upgrade(connection: Connection, revision: str = "head") -> None:
    connection.execute(text("SET LOCAL statement_timeout = 0"))
    connection.execute(text("SET LOCAL lock_timeout = 0"))
    connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
