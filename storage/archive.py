"""`SqlArchive`: histories of closed workflows in the ledger, or at a location that the ledger points to."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final, Protocol

from sqlalchemy import delete, func, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from domain.archive import ArchivedRun, DueHistory, unpack
from domain.errors import RecordDamaged
from storage.archive_location import FsspecLocation
from storage.archive_tables import archive_due, archived_histories
from storage.database import in_transaction

LEASE_S: Final = 10
"""Whoever takes a workflow has it alone for this long; one whose taker died is tried again then. Twice does no harm."""
POSTPONE_MAX_S: Final = 30
"""One that is not closed yet is tried again after a pause that grows with its age, up to this."""
STANDING_INTERVAL_S: Final = 600
"""Workflows that live for ever are looked at this rarely: their runs close every few hours."""
_TAKE = text(
    f"""
    UPDATE archive_due AS due SET next_at = clock_timestamp() + interval '{LEASE_S} seconds'
    FROM (
        SELECT account, workflow_id FROM archive_due
        WHERE gone_at IS NULL AND next_at <= clock_timestamp() AND account = ANY (:accounts)
        ORDER BY next_at LIMIT :limit FOR UPDATE SKIP LOCKED
    ) AS taken
    WHERE due.account = taken.account AND due.workflow_id = taken.workflow_id
    RETURNING due.account, due.workflow_id, due.order_id, due.standing, due.changes, ARRAY(
        SELECT run_id FROM archived_histories AS done
        WHERE done.account = due.account AND done.workflow_id = due.workflow_id
    ) AS kept
    """
)
_POSTPONE = text(
    f"""
    UPDATE archive_due SET next_at = clock_timestamp()
        + least(interval '1 second' + (clock_timestamp() - since) / 2, interval '{POSTPONE_MAX_S} seconds')
    WHERE account = :account AND workflow_id = :workflow_id
    """
)
_OWED = text(
    """
    SELECT count(*), coalesce(extract(epoch FROM clock_timestamp() - min(since)), 0)::float FROM archive_due
    WHERE gone_at IS NULL AND NOT standing AND account = ANY (:accounts)
    """
)


class Location(Protocol):
    """A place outside the ledger that keeps histories. Raises `StoreUnavailable`."""

    async def write(self, path: str, packed: bytes) -> None:
        """Write a file; whoever reads it sees all of it or nothing."""

    async def read(self, path: str) -> bytes:
        """Return a file. Raises `RecordDamaged` when it is not there."""


class SqlArchive:
    """Implements `domain.archive.ArchiveStore` and `ArchiveReader` over Postgres; see there.

    Parameters
    ----------
    location
        Keeps the histories; `None`: the ledger itself does.
    """

    def __init__(self, engine: AsyncEngine, location: Location | None = None) -> None:
        self._engine = engine
        self._location = location

    async def watch(self, account: str, workflow_ids: Collection[str]) -> None:
        """Let workflows that live for ever be looked at."""
        rows = [{"account": account, "workflow_id": name, "standing": True} for name in workflow_ids]
        await in_transaction(
            self._engine,
            lambda connection: connection.execute(insert(archive_due).on_conflict_do_nothing(), rows),
        )

    async def take_due(self, accounts: Collection[str], *, limit: int) -> Sequence[DueHistory]:
        """Take what is owed and nobody else has; `SKIP LOCKED` shares it among a fleet."""

        async def take(connection: AsyncConnection) -> Sequence[DueHistory]:
            taken = await connection.execute(_TAKE, {"accounts": list(accounts), "limit": limit})
            return [DueHistory.model_validate({**row._mapping, "kept": tuple(row.kept)}) for row in taken]

        return await in_transaction(self._engine, take)

    async def keep(self, run: ArchivedRun, packed: bytes) -> None:
        """Write the file first, then the row that points to it: a crash between them leaves a file to be rewritten."""
        values: dict[str, object] = run.model_dump()
        if self._location is not None:
            values["location"] = f"{run.account}/{run.workflow_id}/{run.run_id}.zz"
            await self._location.write(str(values["location"]), packed)
        else:
            values["packed"] = packed
        row = insert(archived_histories).values(values).on_conflict_do_nothing()
        await in_transaction(self._engine, lambda connection: connection.execute(row))

    async def done(self, due: DueHistory) -> None:
        """Owe it no more; one that changed meanwhile stays owed."""
        found = (archive_due.c.account == due.account, archive_due.c.workflow_id == due.workflow_id)
        later = func.clock_timestamp() + text(f"interval '{STANDING_INTERVAL_S} seconds'")
        settled = (
            update(archive_due).where(*found).values(since=func.clock_timestamp(), next_at=later)
            if due.standing
            else delete(archive_due).where(*found, archive_due.c.changes == due.changes)
        )
        await in_transaction(self._engine, lambda connection: connection.execute(settled))

    async def postpone(self, due: DueHistory) -> None:
        """Try again soon, and rarely what has waited long."""
        key = {"account": due.account, "workflow_id": due.workflow_id}
        await in_transaction(self._engine, lambda connection: connection.execute(_POSTPONE, key))

    async def gone(self, due: DueHistory) -> None:
        """Keep on record that nobody has the history."""
        found = (archive_due.c.account == due.account, archive_due.c.workflow_id == due.workflow_id)
        lost = update(archive_due).where(*found).values(gone_at=func.clock_timestamp())
        await in_transaction(self._engine, lambda connection: connection.execute(lost))

    async def owed(self, accounts: Collection[str]) -> tuple[int, float]:
        """Return how many are owed, and the age of the oldest in seconds."""

        async def read(connection: AsyncConnection) -> tuple[int, float]:
            count, age = (await connection.execute(_OWED, {"accounts": list(accounts)})).one()
            return count, age

        return await in_transaction(self._engine, read)

    async def runs(
        self, *, account: str | None, order_id: str | None, after: tuple[datetime, str] | None, limit: int
    ) -> Sequence[ArchivedRun]:
        """Return archived runs in the order in which they ended."""
        own = archived_histories.c
        query = select(*(own[name] for name in ArchivedRun.model_fields)).order_by(own.closed_at, own.run_id)
        if account is not None:
            query = query.where(own.account == account)
        if order_id is not None:
            query = query.where(own.order_id == order_id)
        if after is not None:
            query = query.where(tuple_(own.closed_at, own.run_id) > tuple_(*after))

        async def read(connection: AsyncConnection) -> Sequence[ArchivedRun]:
            found = await connection.execute(query.limit(limit))
            return [ArchivedRun.model_validate(dict(row._mapping)) for row in found]

        return await in_transaction(self._engine, read)

    async def history(self, run: ArchivedRun) -> bytes:
        """Return a history, checked against the hash that was recorded with it."""
        return unpack(await self._packed(run), sha256=run.sha256)

    async def _packed(self, run: ArchivedRun) -> bytes:
        if run.location is not None:
            if self._location is None:
                raise RecordDamaged(
                    f"the history is at {run.location}, and no archive is configured", advice="Set ARCHIVE_URL."
                )
            return await self._location.read(run.location)
        own = archived_histories.c
        query = select(own.packed).where(
            own.account == run.account, own.workflow_id == run.workflow_id, own.run_id == run.run_id
        )

        async def read(connection: AsyncConnection) -> bytes:
            return bytes((await connection.execute(query)).scalar_one())

        return await in_transaction(self._engine, read)

    async def lost(self, *, account: str | None) -> int:
        """Return how many ended orders have a history that nobody has."""
        query = select(func.count()).select_from(archive_due).where(archive_due.c.gone_at.is_not(None))
        if account is not None:
            query = query.where(archive_due.c.account == account)

        async def read(connection: AsyncConnection) -> int:
            return int((await connection.execute(query)).scalar_one())

        return await in_transaction(self._engine, read)


def open_archive(engine: AsyncEngine, url: str | None) -> SqlArchive:
    """Return the archive of a ledger, and of a location if one is configured (`ARCHIVE_URL`)."""
    return SqlArchive(engine, FsspecLocation(url) if url is not None else None)


__all__ = ["Location", "open_archive", "SqlArchive"]
