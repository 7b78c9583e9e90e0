"""A backup put into an empty ledger, which is then known to have lost what came after it.

Whatever was at rest or under way when the backup was taken may have been sent since. So the restored ledger is
distrusted (`storage/continuity.py`): each account's feed finds it behind in its first round, puts what may have been
sent in doubt, and has the account reconciled with its venue before anything of it moves. A Temporal that has lost its
store as well, and remembers nothing, changes nothing about that.
"""

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, Final

import asyncpg  # type: ignore[import-untyped]  # asyncpg ships no types

from domain.errors import LedgerNotEmpty, RecordDamaged, StoreUnavailable
from domain.retention import SeriesTerms
from storage import migrate
from storage.backup import WEATHER, Manifest, TableCopy, check, connect, quoted, read_manifest, tables

_DISTRUST: Final = """
    INSERT INTO account_states AS s (account, beat, verified_start)
    SELECT account, -1, '-infinity'::timestamptz
    FROM (SELECT account FROM orders UNION SELECT account FROM account_states) AS known
    ON CONFLICT (account) DO UPDATE SET beat = -1, verified_start = '-infinity', beat_at = NULL
"""
_TRIGGERS: Final = """
    SELECT relation.relname AS table, trigger.tgname AS name FROM pg_trigger AS trigger
    JOIN pg_class AS relation ON relation.oid = trigger.tgrelid
    WHERE relation.relnamespace = current_schema()::regnamespace AND NOT trigger.tgisinternal
        AND trigger.tgname NOT LIKE 'ts\\_%' AND trigger.tgtype & 4 <> 0
"""
"""Those that write something when a row comes. TimescaleDB's own send a hypertable's rows to its chunks, and stay."""


async def restore(url: str, path: Path, terms: SeriesTerms | None = None) -> Manifest:
    """Put a backup into the empty ledger at `url`, and bring its schema up to date.

    Raises
    ------
    RecordDamaged
        When the file is not what was written; nothing was changed.
    LedgerNotEmpty
        When there are orders, or anything else, or another schema; nothing was changed.
    StoreUnavailable
        When the ledger does not answer; nothing is there but, perhaps, an empty schema.
    """
    try:
        with zipfile.ZipFile(path) as members:
            manifest = read_manifest(members)
            check(members, manifest)
            is_new = await _prepare(url, manifest)
            await _copy_in(url, members, manifest, is_new=is_new)
    except zipfile.BadZipFile as error:
        raise RecordDamaged(f"the file is no backup of ours: {error}") from None
    await migrate.upgrade(url, terms)
    return manifest


async def _prepare(url: str, manifest: Manifest) -> bool:
    """Make the schema that the backup fits, unless it is there with nothing in it; tell whether it was made."""
    if not migrate.knows(manifest.revision):
        raise RecordDamaged(
            f"the backup has schema {manifest.revision}, which this build does not know",
            advice="Restore it with the build that wrote it, or a newer one.",
        )
    connection = await connect(url)
    try:
        there = dict(await tables(connection))
        if "account_states" in there:
            revision = await connection.fetchval("SELECT version_num FROM alembic_version")
            if revision != manifest.revision:
                raise LedgerNotEmpty(
                    f"the ledger has schema {revision} already, and the backup {manifest.revision}",
                    numbers={"here": str(revision), "backup": manifest.revision},
                )
            await _refuse_if_used(connection, list(there))
            return False
    finally:
        connection.terminate()
    await migrate.upgrade_to(url, manifest.revision)
    return True


async def _refuse_if_used(connection: asyncpg.Connection, names: Sequence[str]) -> None:
    used = [name for name in names if await connection.fetchval(f"SELECT EXISTS (SELECT FROM {quoted(name)})")]
    if used:
        raise LedgerNotEmpty(f"the ledger is not empty: {', '.join(sorted(used))}")


async def _copy_in(url: str, members: zipfile.ZipFile, manifest: Manifest, *, is_new: bool) -> None:
    """Fill the tables, all in one transaction: after a failure there is nothing of it."""
    connection = await connect(url)
    try:
        async with connection.transaction():
            triggers = [(row["table"], row["name"]) for row in await connection.fetch(_TRIGGERS)]
            used = {copy.name for copy in manifest.tables if copy.rows}
            await _switch(connection, triggers, used, on=False)
            if is_new:  # rows that a migration wrote are in the backup too
                for name, _ in reversed(await tables(connection)):
                    if await connection.fetchval(f"SELECT EXISTS (SELECT FROM {quoted(name)})"):
                        await connection.execute(f"DELETE FROM {quoted(name)}")
            for copy in manifest.tables:
                await _fill(connection, members, copy)
            for name, value in manifest.sequences.items():
                if value is not None:
                    await connection.execute("SELECT setval($1::regclass, $2)", quoted(name), value)
            await _switch(connection, triggers, used, on=True)
            await connection.execute(_DISTRUST)
    except asyncpg.PostgresError as error:
        raise RecordDamaged(f"the ledger does not take the backup: {type(error).__name__}: {error}") from error
    except WEATHER as error:
        raise StoreUnavailable(f"the ledger does not answer: {type(error).__name__}") from error
    finally:
        connection.terminate()


async def _switch(
    connection: asyncpg.Connection, triggers: Sequence[tuple[str, str]], used: set[str], *, on: bool
) -> None:
    """Hold our own triggers still: what they would write is in the backup."""
    word = "ENABLE" if on else "DISABLE"
    for table, name in triggers:
        if table in used:
            await connection.execute(f"ALTER TABLE {quoted(table)} {word} TRIGGER {quoted(name)}")


async def _fill(connection: asyncpg.Connection, members: zipfile.ZipFile, copy: TableCopy) -> None:
    if not copy.rows:
        return
    with members.open(f"tables/{copy.name}") as member:
        told = await connection.copy_to_table(copy.name, source=_Blocks(member), columns=copy.columns)
    rows = int(told.rpartition(" ")[2])
    if rows != copy.rows:
        raise RecordDamaged(f"table {copy.name} took {rows} rows of {copy.rows}")


class _Blocks:
    """A member's bytes, block by block, as asyncpg reads them."""

    def __init__(self, member: IO[Any]) -> None:
        self._member = member

    def read(self, size: int) -> bytes:
        """Return the next bytes; none at the end."""
        return bytes(self._member.read(size))


__all__ = ["restore"]
