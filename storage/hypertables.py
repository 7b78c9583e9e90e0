"""Series of samples as hypertables where TimescaleDB is, and their retention everywhere (decision 0015).

A series is only appended to, nothing refers to it, and its key holds the time: so its chunks can go as a whole. The
same schema serves plain Postgres, where old rows are deleted some thousand at a time.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from domain.retention import SeriesTerms
from storage.database import in_transaction

SERIES: Final[Mapping[str, str]] = {"marks": "minute", "equity_snapshots": "taken_at", "performance": "placed_at"}
"""Their time columns."""
_SEGMENTS: Final[Mapping[str, str]] = {
    "marks": "mode, symbol, account", "equity_snapshots": "account, mode", "performance": "account",
}  # fmt: skip
ROWS_A_BATCH: Final = 5_000
BATCHES_A_ROUND: Final = 20
FULL_EDITION: Final = "timescale"
"""The license under which TimescaleDB has policies and compression; the other is `apache`."""
_LOCK: Final = 0x766F6C657874
_EXTENSION: Final = text(
    """
    SELECT (SELECT extversion FROM pg_extension WHERE extname = 'timescaledb') AS version,
        (SELECT default_version FROM pg_available_extensions WHERE name = 'timescaledb') AS available,
        current_setting('timescaledb.license', true) AS license
    """
)
_HYPERTABLES: Final = text(
    """
    SELECT hypertable_name AS name, d.time_interval AS chunk, h.compression_enabled AS compressed, (
        SELECT (j.config->>'drop_after')::interval FROM timescaledb_information.jobs j
        WHERE j.hypertable_schema = h.hypertable_schema AND j.hypertable_name = h.hypertable_name
          AND j.proc_name = 'policy_retention'
    ) AS drop_after
    FROM timescaledb_information.dimensions d
    JOIN timescaledb_information.hypertables h USING (hypertable_schema, hypertable_name)
    WHERE hypertable_schema = current_schema() AND hypertable_name = ANY(:tables) AND d.dimension_number = 1
    """
)
_CREATE: Final = text(
    "SELECT create_hypertable(CAST(:table AS regclass), CAST(:time AS name), chunk_time_interval => CAST(:chunk AS"
    " interval), create_default_indexes => false, migrate_data => true, if_not_exists => true)"
)
_SET_CHUNK: Final = text("SELECT set_chunk_time_interval(CAST(:table AS regclass), CAST(:chunk AS interval))")
_FORGET_POLICY: Final = text("SELECT remove_retention_policy(CAST(:table AS regclass), if_exists => true)")
_ADD_POLICY: Final = text("SELECT add_retention_policy(CAST(:table AS regclass), CAST(:kept AS interval))")
_COMPRESS: Final = text(
    "SELECT add_compression_policy(CAST(:table AS regclass), CAST(:after AS interval), if_not_exists => true)"
)
_DROP_CHUNKS: Final = text("SELECT drop_chunks(CAST(:table AS regclass), older_than => CAST(:oldest AS timestamptz))")
log = logging.getLogger("volex.storage")


@dataclass(frozen=True)
class Hypertable:
    """A series that is one."""

    chunk: timedelta
    drop_after: timedelta | None
    """By the retention policy of TimescaleDB's own; `None`: there is none."""
    compressed: bool = False


@dataclass(frozen=True)
class Timescale:
    """What the database has of TimescaleDB."""

    version: str | None
    """`None`: plain Postgres."""
    available: str | None
    """The version that `CREATE EXTENSION timescaledb` would make."""
    license: str | None
    hypertables: Mapping[str, Hypertable]

    @property
    def has_policies(self) -> bool:
        """Tell whether this edition has retention and compression policies."""
        return self.version is not None and self.license == FULL_EDITION


async def look(connection: AsyncConnection) -> Timescale:
    """Return what the database has of TimescaleDB, and which series are hypertables."""
    row = (await connection.execute(_EXTENSION)).one()
    found: dict[str, Hypertable] = {}
    if row.version is not None:
        rows = await connection.execute(_HYPERTABLES, {"tables": list(SERIES)})
        found = {one.name: Hypertable(one.chunk, one.drop_after, one.compressed) for one in rows}
    return Timescale(row.version, row.available, row.license, found)


async def ensure(connection: AsyncConnection, terms: SeriesTerms) -> Timescale:
    """Make hypertables of the series, with chunks and policies as the terms say; nothing on plain Postgres.

    Part of the upgrade. Rows that are there are moved into chunks, under a lock. What the database refuses is logged,
    and the table stays as it is: it serves as well.
    """
    seen = await look(connection)
    if seen.version is None:
        return seen
    for table in SERIES:
        try:
            async with connection.begin_nested():
                await _arrange(connection, table, seen, terms)
        except DBAPIError as error:
            log.warning("hypertable_refused", extra={"table": table, "text": str(error.orig)[:300]})
    return await look(connection)


async def _arrange(connection: AsyncConnection, table: str, seen: Timescale, terms: SeriesTerms) -> None:
    chunk = timedelta(days=terms.chunk_days)
    key: dict[str, Any] = {"table": table}
    own = seen.hypertables.get(table)
    if own is None:
        await connection.execute(_CREATE, {**key, "time": SERIES[table], "chunk": chunk})
    elif own.chunk != chunk:
        await connection.execute(_SET_CHUNK, {**key, "chunk": chunk})
    if not seen.has_policies:
        return
    kept = terms.kept().get(table)
    if kept != (own.drop_after if own is not None else None):
        await connection.execute(_FORGET_POLICY, key)
        if kept is not None:
            await connection.execute(_ADD_POLICY, {**key, "kept": kept})
    if terms.compress_after_days is not None and not (own is not None and own.compressed):
        settings = f"timescaledb.compress, timescaledb.compress_segmentby = '{_SEGMENTS[table]}'"
        await connection.execute(text(f"ALTER TABLE {table} SET ({settings})"))
        await connection.execute(_COMPRESS, {**key, "after": timedelta(days=terms.compress_after_days)})


async def thin(engine: AsyncEngine, terms: SeriesTerms, *, now: datetime) -> Mapping[str, int]:
    """Let go of samples that are older than they are kept; return the rows, or chunks, that went, by table.

    Bounded: what is left waits for the next round. One process at a time works, the others have nothing to do. Where
    TimescaleDB has a policy for the table, it does it by itself. Raises `StoreUnavailable`.
    """
    gone: dict[str, int] = {}
    for table, kept in terms.kept().items():
        work = partial(_thin, table=table, oldest=now - kept)
        for _ in range(BATCHES_A_ROUND):
            went, whole = await in_transaction(engine, work)
            gone[table] = gone.get(table, 0) + went
            if whole:
                break
    return {table: count for table, count in gone.items() if count}


async def _thin(connection: AsyncConnection, *, table: str, oldest: datetime) -> tuple[int, bool]:
    """Return how much went, and whether nothing is left to do."""
    if not (await connection.execute(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": _LOCK})).scalar():
        return 0, True
    own = (await look(connection)).hypertables.get(table)
    if own is not None:
        if own.drop_after is not None:
            return 0, True
        dropped = await connection.execute(_DROP_CHUNKS, {"table": table, "oldest": oldest})
        return len(dropped.all()), True
    rows = f"SELECT ctid FROM {table} WHERE {SERIES[table]} < :oldest LIMIT {ROWS_A_BATCH}"
    deleted = await connection.execute(text(f"DELETE FROM {table} WHERE ctid = ANY(ARRAY({rows}))"), {"oldest": oldest})
    return deleted.rowcount, deleted.rowcount < ROWS_A_BATCH
