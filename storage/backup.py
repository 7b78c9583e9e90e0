"""A ledger in one file: every table as of one moment, taken while everything runs.

One read-only transaction sees the ledger as it was when it began, however long the copying takes; nothing waits for
it. The file is a ZIP of a manifest and one member for each table, in the text form of COPY, which any version of
Postgres reads. The schema is not in it: it is that of a revision of our migrations, named in the manifest.
"""

import hashlib
import os
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from graphlib import TopologicalSorter
from pathlib import Path
from typing import IO, Any, Final

import asyncpg  # type: ignore[import-untyped]  # asyncpg ships no types
from pydantic import AwareDatetime, ValidationError
from sqlalchemy.engine import make_url

from domain.errors import RecordDamaged, StoreUnavailable
from domain.order import Frozen

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
LEVEL: Final = 6
CONNECT_TIMEOUT_S: Final = 10
WEATHER: Final = (OSError, TimeoutError, asyncpg.PostgresConnectionError, asyncpg.InterfaceError)
_TABLES: Final = """
    SELECT relation.relname AS name, array_agg(column_.attname ORDER BY column_.attnum) AS columns
    FROM pg_class AS relation
    JOIN pg_attribute AS column_ ON column_.attrelid = relation.oid
        AND column_.attnum > 0 AND NOT column_.attisdropped AND column_.attgenerated = ''
    WHERE relation.relnamespace = current_schema()::regnamespace AND relation.relkind IN ('r', 'p')
        AND NOT relation.relispartition AND relation.relname <> 'alembic_version'
    GROUP BY relation.relname ORDER BY relation.relname
"""
_REFERENCES: Final = """
    SELECT child.relname AS child, parent.relname AS parent FROM pg_constraint AS own
    JOIN pg_class AS child ON child.oid = own.conrelid
    JOIN pg_class AS parent ON parent.oid = own.confrelid
    WHERE own.contype = 'f' AND child.relnamespace = current_schema()::regnamespace AND child.oid <> parent.oid
"""
_SEQUENCES: Final = """
    SELECT sequencename AS name, last_value FROM pg_sequences WHERE schemaname = current_schema() ORDER BY sequencename
"""


class TableCopy(Frozen):
    """One table in a backup."""

    name: str
    columns: tuple[str, ...]
    rows: int
    sha256: str
    """Of its rows as COPY wrote them."""


class Manifest(Frozen):
    """What a backup holds."""

    format: int = FORMAT
    revision: str
    """Of our migrations: the schema that the rows fit."""
    server_version: str
    taken_at: AwareDatetime
    """The moment that the backup shows, by the ledger's clock."""
    tables: tuple[TableCopy, ...]
    """Each after those that its rows point to."""
    sequences: Mapping[str, int | None]
    """Last value of each sequence; `None` for one that was never asked."""

    def rows(self, table: str) -> int:
        """Return how many rows of a table it holds; 0 for a table that it does not know."""
        return next((copy.rows for copy in self.tables if copy.name == table), 0)


async def connect(url: str) -> asyncpg.Connection:
    """Open a connection that may take its time. Raises `StoreUnavailable`."""
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    try:
        return await asyncpg.connect(
            plain,
            timeout=CONNECT_TIMEOUT_S,
            command_timeout=None,
            server_settings={"application_name": "volex backup", "timezone": "UTC", "statement_timeout": "0"},
        )
    except (*WEATHER, asyncpg.PostgresError) as error:
        raise StoreUnavailable(f"the ledger does not answer: {type(error).__name__}") from None


async def tables(connection: asyncpg.Connection) -> Sequence[tuple[str, Sequence[str]]]:
    """Return the ledger's tables with their columns, each after those that its rows point to."""
    found = {row["name"]: tuple(row["columns"]) for row in await connection.fetch(_TABLES)}
    order: TopologicalSorter[str] = TopologicalSorter({name: set[str]() for name in found})
    for row in await connection.fetch(_REFERENCES):
        order.add(row["child"], row["parent"])
    return [(name, found[name]) for name in order.static_order()]


def quoted(name: str) -> str:
    """Return a name as SQL takes it."""
    return '"' + name.replace('"', '""') + '"'


async def back_up(url: str, path: Path) -> Manifest:
    """Write the ledger to a file that only its owner may read; it is there when it is whole, or not at all.

    Raises
    ------
    StoreUnavailable
        When the ledger does not answer, or has no schema of ours.
    OSError
        When the file cannot be written.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    connection = await connect(url)
    try:
        with open(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600), "w+b") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=LEVEL) as members:
                manifest = await _copy_out(connection, members)
                members.writestr(MANIFEST, manifest.model_dump_json(indent=1))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        return manifest
    except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise StoreUnavailable(f"the ledger could not be copied: {type(error).__name__}: {error}") from error
    finally:
        draft.unlink(missing_ok=True)
        connection.terminate()


async def _copy_out(connection: asyncpg.Connection, members: zipfile.ZipFile) -> Manifest:
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        revision = await connection.fetchval("SELECT version_num FROM alembic_version")
        taken_at = await connection.fetchval("SELECT now()")
        copied = [await _copy_table(connection, members, name, columns) for name, columns in await tables(connection)]
        # Sequences are outside of transactions: read last, none is behind the rows.
        sequences = {row["name"]: row["last_value"] for row in await connection.fetch(_SEQUENCES)}
        version = await connection.fetchval("SHOW server_version")
    return Manifest(
        revision=revision, server_version=version, taken_at=taken_at, tables=tuple(copied), sequences=sequences
    )


async def _copy_table(
    connection: asyncpg.Connection, members: zipfile.ZipFile, name: str, columns: Sequence[str]
) -> TableCopy:
    digest = hashlib.sha256()
    with members.open(f"tables/{name}", "w", force_zip64=True) as member:

        async def write(block: bytes) -> None:
            digest.update(block)
            member.write(block)

        # A query, for COPY of a TimescaleDB hypertable by its name finds no row: they are in its chunks.
        told = await connection.copy_from_query(
            f"SELECT {', '.join(quoted(column) for column in columns)} FROM {quoted(name)}", output=write
        )
    return TableCopy(name=name, columns=tuple(columns), rows=int(told.rpartition(" ")[2]), sha256=digest.hexdigest())


def read_manifest(members: zipfile.ZipFile) -> Manifest:
    """Return a backup's manifest. Raises `RecordDamaged` when it is none of ours."""
    try:
        manifest = Manifest.model_validate_json(members.read(MANIFEST))
    except (KeyError, ValidationError, zipfile.BadZipFile, zlib.error) as error:
        raise RecordDamaged(f"the file is no backup of ours: {type(error).__name__}") from None
    if manifest.format != FORMAT:
        raise RecordDamaged(f"the backup is of format {manifest.format}; this build reads {FORMAT}")
    return manifest


def check(members: zipfile.ZipFile, manifest: Manifest) -> None:
    """Compare every table with its hash. Raises `RecordDamaged` with the names of those that differ."""
    damaged = [copy.name for copy in manifest.tables if _digest(members, copy.name) != copy.sha256]
    if damaged:
        raise RecordDamaged(f"these tables of the backup are not what was written: {', '.join(damaged)}")


def _digest(members: zipfile.ZipFile, table: str) -> str | None:
    digest = hashlib.sha256()
    try:
        with members.open(f"tables/{table}") as member:
            while block := _read(member):
                digest.update(block)
    except (KeyError, zipfile.BadZipFile, zlib.error, OSError, EOFError):
        return None
    return digest.hexdigest()


def _read(member: IO[Any]) -> bytes:
    return bytes(member.read(1024 * 1024))


__all__ = ["Manifest", "TableCopy", "back_up", "check", "connect", "quoted", "read_manifest", "tables"]
