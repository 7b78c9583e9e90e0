"""`SqlAuditStore`: makes checkpoints of the audit log, and reads all of it to find what was changed."""

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from domain.audit import (
    GENESIS,
    ChainReader,
    Checkpoint,
    Entry,
    Head,
    Tampering,
    Verdict,
    check_checkpoints,
    check_heads,
    hash_of,
    root_of,
)
from storage import audit_mirrors
from storage.database import in_transaction

STEP: Final = 20_000
"""A checkpoint covers this many entries at most: a ledger that never had one is caught up with in steps."""
_LOCK: Final = 0x6175646974
"""Key of the advisory lock: "audit" in ASCII."""
_MARK = text("SELECT CASE WHEN is_called THEN last_value ELSE 0 END AS upto FROM audit_entry")
_NEXT_TRANSACTION = text("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint")
_OLDEST_TRANSACTION = text("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
_WHERE = text(
    "SELECT pg_postmaster_start_time()::text || oid::text FROM pg_database WHERE datname = current_database()"
)
"""Changes when the database has come back: perhaps from a backup, where numbers begin again below the mark."""
_MINE = text(f"SELECT pg_try_advisory_xact_lock({_LOCK})")
_LAST = text("SELECT * FROM audit_checkpoints ORDER BY number DESC LIMIT 1")
_TOPS = """
    SELECT DISTINCT ON (chain) chain, seq, entry_id, hash FROM audit_events
    WHERE entry_id > :since AND entry_id <= :upto ORDER BY chain, seq DESC
"""
_COUNT = text("SELECT count(*) FROM audit_events WHERE entry_id > :since AND entry_id <= :upto")
_KEEP = text(
    """
    INSERT INTO audit_checkpoints (number, upto, entries, chains, root, made_by, made_at, prev_hash, hash)
    VALUES (:number, :upto, :entries, :chains, :root, :made_by, :made_at, :prev_hash, :hash)
    """
)
_KEEP_HEADS = text(
    """
    INSERT INTO audit_heads (number, chain, seq, entry_id, hash) SELECT :number, head.* FROM
        unnest(:chains ::text[], :seqs ::integer[], :entries ::bigint[], :hashes ::bytea[]) AS head
    """
)


class SqlAuditStore:
    """Implements `domain.audit.CheckpointMaker` over Postgres.

    An entry's number is drawn before its transaction commits, so numbers become visible out of order. A checkpoint
    ends at a number that was the latest when the call before was made, and is made once every transaction that ran
    then is over: nothing below it can still appear.
    """

    def __init__(self, engine: AsyncEngine, *, made_by: str, clock: Callable[[], datetime]) -> None:
        self._engine = engine
        self._made_by = made_by
        self._clock = clock
        self._mark: tuple[int, int, str] | None = None

    async def checkpoint(self) -> Checkpoint | None:
        """Cover what was written before the call before."""
        mark, self._mark = self._mark, await in_transaction(self._engine, _mark)
        if mark is None:
            return None
        return await in_transaction(self._engine, lambda connection: self._make(connection, mark))

    async def _make(self, connection: AsyncConnection, mark: tuple[int, int, str]) -> Checkpoint | None:
        upto, before, where = mark
        if (await connection.execute(_WHERE)).scalar_one() != where:
            return None
        if int((await connection.execute(_OLDEST_TRANSACTION)).scalar_one()) < before:
            self._mark = mark  # a transaction of then is still at work: the same again at the next call
            return None
        if not (await connection.execute(_MINE)).scalar_one():
            return None
        return await make_checkpoint(connection, upto=upto, made_by=self._made_by, now=self._clock())


async def _mark(connection: AsyncConnection) -> tuple[int, int, str]:
    """Return the latest number drawn, and the transaction that will be the next: who drew it came before that one."""
    upto = int((await connection.execute(_MARK)).scalar_one())
    following = int((await connection.execute(_NEXT_TRANSACTION)).scalar_one())
    return upto, following, str((await connection.execute(_WHERE)).scalar_one())


async def make_checkpoint(connection: AsyncConnection, *, upto: int, made_by: str, now: datetime) -> Checkpoint | None:
    """Cover the entries up to a number, below which nothing is still being written; `None` when there is no new one."""
    row = (await connection.execute(_LAST)).first()
    last = Checkpoint(*row) if row is not None else None
    span = {"since": last.upto if last is not None else 0}
    span["upto"] = min(upto, span["since"] + STEP)
    heads = [Head(*row) for row in await connection.execute(text(_TOPS), span)]
    if not heads:
        return None
    added = int((await connection.execute(_COUNT, span)).scalar_one())
    checkpoint = Checkpoint(
        number=last.number + 1 if last is not None else 1,
        upto=span["upto"],
        entries=added + (last.entries if last is not None else 0),
        chains=len(heads),
        root=root_of(heads),
        made_by=made_by,
        made_at=now,
        prev_hash=last.hash if last is not None else GENESIS,
        hash=GENESIS,
    )
    checkpoint = checkpoint._replace(hash=hash_of(checkpoint))
    await connection.execute(_KEEP, checkpoint._asdict())
    chains, seqs, entries, hashes = (list(column) for column in zip(*heads, strict=True))
    columns = {"chains": chains, "seqs": seqs, "entries": entries, "hashes": hashes}
    await connection.execute(_KEEP_HEADS, {"number": checkpoint.number, **columns})
    return checkpoint


# Reading.

_ENTRIES = """
    SELECT entry_id, chain, seq, action, actor, writer, record::text, evidence::text, recorded_at, prev_hash, hash
    FROM audit_events {where} ORDER BY chain, seq, entry_id
"""
_CHECKPOINTS = text("SELECT * FROM audit_checkpoints ORDER BY number")
_DIFFERING = text(
    f"""
    WITH spans AS (
        SELECT number, coalesce(lag(upto) OVER (ORDER BY number), 0) AS since, upto FROM audit_checkpoints
    ), tops AS (
        SELECT number, top.* FROM spans CROSS JOIN LATERAL ({_TOPS.replace(":", "spans.")}) AS top
    )
    SELECT DISTINCT number FROM tops FULL JOIN audit_heads AS head USING (number, chain)
    WHERE tops.seq IS DISTINCT FROM head.seq OR tops.entry_id IS DISTINCT FROM head.entry_id
       OR tops.hash IS DISTINCT FROM head.hash
    """
)
_HEADS = "SELECT number, chain, seq, entry_id, hash FROM audit_heads ORDER BY number"
_HEADS_OF = text("SELECT chain, seq, entry_id, hash FROM audit_heads WHERE number = :number")
_COUNTS = text(
    """
    SELECT number, (SELECT count(*) FROM audit_events WHERE entry_id > since AND entry_id <= upto) AS entries
    FROM (SELECT number, coalesce(lag(upto) OVER (ORDER BY number), 0) AS since, upto FROM audit_checkpoints) AS spans
    ORDER BY number
    """
)
_SETTINGS = (
    "SET LOCAL statement_timeout = 0",
    "SET LOCAL idle_in_transaction_session_timeout = 0",
    "SET LOCAL timezone = 'UTC'",
)


async def verify(engine: AsyncEngine, *, order: str | None = None, expected: bytes | None = None) -> Verdict:
    """Read the whole log at one moment and compare it with itself, its checkpoints and the tables it was taken from.

    Parameters
    ----------
    order
        Only the chains of this order, `{account}/{order_id}`; checkpoints are then not looked at.
    expected
        The hash of a checkpoint from a copy that was kept elsewhere: it must be among those of the ledger.
    """
    async with engine.connect() as connection:
        await connection.execution_options(isolation_level="REPEATABLE READ")
        async with connection.begin():
            return await verify_in(connection, order=order, expected=expected)


async def verify_in(connection: AsyncConnection, *, order: str | None = None, expected: bytes | None = None) -> Verdict:
    """Do the same in a transaction of the caller's."""
    for statement in _SETTINGS:
        await connection.execute(text(statement))
    reader, found = ChainReader(), list[Tampering]()
    async for entry in _entries(connection, order):
        found += reader.take(entry)
    checkpoints = [Checkpoint(*row) for row in await connection.execute(_CHECKPOINTS)] if order is None else []
    if order is None:
        found += await _check_checkpoints(connection, checkpoints)
    found += await audit_mirrors.differences(connection, order)
    if expected is not None and expected not in {checkpoint.hash for checkpoint in checkpoints}:
        told = f"hash={expected.hex()}"
        found.append(Tampering("missing", "audit_checkpoints", None, None, told, "the copy that was kept names it"))
    last = checkpoints[-1] if checkpoints else None
    uncovered = max(0, reader.entries - (last.entries if last is not None else 0))
    return Verdict(reader.entries, reader.chains, len(checkpoints), uncovered, last, _once(found))


async def _entries(connection: AsyncConnection, order: str | None) -> AsyncIterator[Entry]:
    where = "WHERE chain = ANY(:chains)" if order is not None else ""
    values = {"chains": [f"order:{order}", f"approval:{order}"]} if order is not None else {}
    options = {"yield_per": 1000}
    async with connection.stream(text(_ENTRIES.format(where=where)), values, execution_options=options) as rows:
        async for row in rows:
            yield Entry(*row)


async def _check_checkpoints(connection: AsyncConnection, checkpoints: Sequence[Checkpoint]) -> list[Tampering]:
    found = list(check_checkpoints(checkpoints))
    wrong = {row.seq for row in found}
    by_number = {checkpoint.number: checkpoint for checkpoint in checkpoints}
    heads_now = await _roots(connection)
    differing = {int(row.number) for row in await connection.execute(_DIFFERING)}
    total = 0
    for number, added in (await connection.execute(_COUNTS)).all():
        total += added
        checkpoint = by_number[number]
        untrue = heads_now.get(number) != (checkpoint.root, checkpoint.chains) or total != checkpoint.entries
        # Where a checkpoint, or the one before it, is wrong itself, what it spans is not known.
        if (number in differing or untrue) and not {number, number - 1} & wrong:
            since = by_number[number - 1].upto if number - 1 in by_number else 0
            found += await _check_heads(connection, checkpoint, since=since, entries=total)
    last = checkpoints[-1].number if checkpoints else 0
    for number in sorted(heads_now.keys() - by_number.keys() - wrong):
        if number == last + 1:
            row = f"number={number}"
            found.append(Tampering("missing", "audit_checkpoints", None, number, row, "its heads are there"))
        else:
            found += await _without_checkpoint(connection, number)
    return found


async def _check_heads(
    connection: AsyncConnection, checkpoint: Checkpoint, *, since: int, entries: int
) -> list[Tampering]:
    heads = [Head(*row) for row in await connection.execute(_HEADS_OF, {"number": checkpoint.number})]
    span = {"since": since, "upto": checkpoint.upto}
    present = [Head(*row) for row in await connection.execute(text(_TOPS), span)]
    return list(check_heads(checkpoint, heads, present, entries=entries))


async def _without_checkpoint(connection: AsyncConnection, number: int) -> list[Tampering]:
    """Name heads under a number that no checkpoint can have had."""
    heads = [Head(*row) for row in await connection.execute(_HEADS_OF, {"number": number})]
    at = f"number={number} chain="
    told = "there is no such checkpoint"
    return [Tampering("extra", "audit_heads", head.chain, head.seq, at + head.chain, told) for head in heads]


async def _roots(connection: AsyncConnection) -> dict[int, tuple[bytes, int]]:
    """Return the root that the heads of each checkpoint make, and how many there are."""
    roots: dict[int, tuple[bytes, int]] = {}
    heads: list[Head] = []
    number: int | None = None
    async with connection.stream(text(_HEADS), execution_options={"yield_per": 1000}) as rows:
        async for row in rows:
            if number is not None and row.number != number:
                roots[number], heads = (root_of(heads), len(heads)), []
            number = int(row.number)
            heads.append(Head(row.chain, row.seq, row.entry_id, row.hash))
    if number is not None:
        roots[number] = (root_of(heads), len(heads))
    return roots


def _once(found: Sequence[Tampering]) -> list[Tampering]:
    """Keep one word on each row: the first is the closest to it."""
    kept: dict[tuple[Any, ...], Tampering] = {}
    for row in found:
        kept.setdefault((row.table, row.row), row)
    return list(kept.values())


__all__ = ["SqlAuditStore", "make_checkpoint", "verify", "verify_in"]
