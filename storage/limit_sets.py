"""The limits that hold, by version: the newest row. Read inside the transactions that decide: a change counts at once.

A file of limits is taken over when it differs from the last file; until then what an operator has set stays.
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache

from sqlalchemy import Row, insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from domain.limits import LimitSet
from domain.risk_desk import LimitVersion
from storage.database import in_transaction
from storage.risk_tables import limit_sets

NEWEST = select(limit_sets.c.document).order_by(limit_sets.c.version.desc()).limit(1)
_OF_FILE = (
    select(limit_sets.c.digest).where(limit_sets.c.digest.is_not(None)).order_by(limit_sets.c.version.desc()).limit(1)
)
_ONE_AT_A_TIME = text("LOCK TABLE limit_sets IN SHARE ROW EXCLUSIVE MODE")


@lru_cache(maxsize=16)
def parsed(document: str | None) -> LimitSet:
    """Read a set of limits from its JSON text; no limits when there is none."""
    return LimitSet.model_validate_json(document) if document is not None else LimitSet()


async def current(connection: AsyncConnection) -> LimitSet:
    """Return the limits that hold."""
    return parsed((await connection.execute(NEWEST)).scalar_one_or_none())


async def newest(connection: AsyncConnection) -> LimitVersion | None:
    """Return the version that holds; `None` when there is none."""
    found = await versions(connection, limit=1, before=None)
    return found[0] if found else None


async def add(
    connection: AsyncConnection, limits: LimitSet, *, source: str, changed_by: str, because: str, now: datetime
) -> LimitVersion:
    """Write a new version; it holds from the commit on. Whoever made it from the current one locks first."""
    row = await _write(connection, limits, source=source, digest=None, changed_by=changed_by, because=because, now=now)
    return _version(row)


async def lock(connection: AsyncConnection) -> LimitSet:
    """Return the limits that hold, and let nobody else change them until the transaction ends."""
    await connection.execute(_ONE_AT_A_TIME)
    return await current(connection)


async def follow_file(connection: AsyncConnection, limits: LimitSet, *, changed_by: str, now: datetime) -> bool:
    """Take over the configuration's limits, unless they are the last configuration's; tell whether they were."""
    document = limits.model_dump_json(exclude_none=True)
    digest = hashlib.sha256(document.encode()).hexdigest()
    await connection.execute(_ONE_AT_A_TIME)
    if (await connection.execute(_OF_FILE)).scalar_one_or_none() == digest:
        return False
    because = "the configuration says so"
    await _write(connection, limits, source="file", digest=digest, changed_by=changed_by, because=because, now=now)
    return True


async def follow_limits(engine: AsyncEngine, limits: LimitSet, *, identity: str, now: datetime) -> bool:
    """Take over the configuration's limits in a transaction of its own: a worker does at its start."""
    return await in_transaction(
        engine, lambda connection: follow_file(connection, limits, changed_by=identity, now=now)
    )


async def versions(connection: AsyncConnection, *, limit: int, before: int | None) -> Sequence[LimitVersion]:
    """Return up to `limit` versions below `before`, newest first."""
    query = select(limit_sets).order_by(limit_sets.c.version.desc()).limit(limit)
    if before is not None:
        query = query.where(limit_sets.c.version < before)
    return [_version(row) for row in await connection.execute(query)]


async def _write(
    connection: AsyncConnection,
    limits: LimitSet,
    *,
    source: str,
    digest: str | None,
    changed_by: str,
    because: str,
    now: datetime,
) -> Row[tuple[object, ...]]:
    row = insert(limit_sets).values(
        document=limits.model_dump_json(exclude_none=True),
        source=source,
        digest=digest,
        changed_by=changed_by,
        because=because,
        changed_at=now,
    )
    written: Row[tuple[object, ...]] = (await connection.execute(row.returning(limit_sets))).one()
    return written


def _version(row: Row[tuple[object, ...]]) -> LimitVersion:
    named = row._mapping
    return LimitVersion(
        version=named["version"],
        limits=parsed(named["document"]),
        source=named["source"],
        changed_by=named["changed_by"],
        because=named["because"],
        changed_at=named["changed_at"],
    )
