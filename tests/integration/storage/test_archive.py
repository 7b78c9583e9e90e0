"""Histories kept beside the ledger: owed when an order ends, shared by a fleet, and found out when damaged."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.archive import ArchivedRun, DueHistory, digest, pack, unpack
from domain.errors import RecordDamaged, StoreUnavailable
from domain.events import Reason
from domain.identifiers import order_workflow_id
from domain.lifecycle import OrderEventType
from storage.archive import SqlArchive, open_archive
from tests.factories import NOW, make_request
from tests.integration.storage.conftest import ACCOUNT, Life, Rows

HISTORY = b"a history " * 100
AT_ONCE = "UPDATE archive_due SET next_at = clock_timestamp() RETURNING 1"


def run(run_id: str = "run", *, order_id: str = "a000000000000000", history: bytes = HISTORY) -> ArchivedRun:
    """A closed run of an order's workflow."""
    return ArchivedRun(
        account=ACCOUNT,
        workflow_id=order_workflow_id(ACCOUNT, order_id),
        run_id=run_id,
        workflow_type="order",
        order_id=order_id,
        ending="WORKFLOW_EXECUTION_COMPLETED",
        events=3,
        size_bytes=len(history),
        sha256=digest(history),
        closed_at=NOW,
    )


async def ended(life: Life, key: str) -> str:
    """An order that ended before it was sent, and is persisted."""
    request = make_request(key)
    await life.admit(request)
    reason = Reason(code="CANCEL_REQUESTED", text="asked for")
    canceled = {"event_type": OrderEventType.CANCELED, "reason": reason, "now": NOW}
    await life.store.end_unsent(ACCOUNT, request.order_id, **canceled)
    await life.store.finalize(ACCOUNT, request.order_id, now=NOW)
    return request.order_id


async def test_an_order_that_ends_owes_its_history_in_the_same_transaction(life: Life, rows: Rows) -> None:
    await life.fund(USDT="100000")
    await life.admit(make_request("still-open"))
    assert await rows("SELECT * FROM archive_due") == []
    order_id = await ended(life, "ended")
    (owed,) = await rows("SELECT order_id, workflow_id, standing FROM archive_due")
    assert tuple(owed) == (order_id, order_workflow_id(ACCOUNT, order_id), False)


async def test_a_fleet_takes_each_history_once(life: Life, engine: AsyncEngine, rows: Rows) -> None:
    await life.fund(USDT="100000")
    order_ids = {await ended(life, f"ended-{number}") for number in range(6)}
    async with engine.begin() as connection:
        await connection.exec_driver_sql(AT_ONCE)
    fleet = [SqlArchive(engine) for _ in range(4)]
    taken = await asyncio.gather(*(archive.take_due([ACCOUNT], limit=2) for archive in fleet))
    names = [due.order_id for some in taken for due in some]
    assert len(names) == len(set(names)) and set(names) <= order_ids
    rest = [due.order_id for _ in range(3) for due in await fleet[0].take_due([ACCOUNT], limit=6)]
    assert sorted([*names, *rest]) == sorted(order_ids), "none twice within the lease, none left out"
    assert await fleet[0].take_due(["another"], limit=6) == []
    await fleet[0].postpone(DueHistory(account=ACCOUNT, workflow_id=order_workflow_id(ACCOUNT, names[0])))
    (waits,) = await rows("SELECT min(next_at - clock_timestamp()) FROM archive_due")
    assert timedelta(0) < waits[0] < timedelta(seconds=5), "one that has just ended is tried again soon"
    count, age = await fleet[0].owed([ACCOUNT])
    assert count == 6 and age > 0


async def test_an_order_that_changes_while_it_is_archived_stays_owed(
    life: Life, engine: AsyncEngine, rows: Rows
) -> None:
    await life.fund(USDT="100000")
    order_id = await ended(life, "ended")
    archive = SqlArchive(engine)
    due = DueHistory(account=ACCOUNT, workflow_id=order_workflow_id(ACCOUNT, order_id), order_id=order_id)
    async with engine.begin() as connection:
        await connection.exec_driver_sql("UPDATE orders SET document = document")
    await archive.done(due)
    (left,) = await rows("SELECT changes FROM archive_due")
    await archive.done(due.model_copy(update={"changes": left.changes}))
    assert await rows("SELECT * FROM archive_due") == []


async def test_workflows_that_live_for_ever_are_looked_at_again_and_do_not_count_as_owed(
    engine: AsyncEngine, rows: Rows
) -> None:
    archive = SqlArchive(engine)
    for _ in range(2):
        await archive.watch(ACCOUNT, ["feed-binanceus", "kill-binanceus"])
    taken = await archive.take_due([ACCOUNT], limit=9)
    assert [due.standing for due in taken] == [True, True]
    await archive.done(taken[0])
    (later,) = await rows("SELECT count(*) FROM archive_due WHERE next_at > clock_timestamp() + interval '9 minutes'")
    assert later[0] == 1 and await archive.owed([ACCOUNT]) == (0, 0)


async def test_lost_history_is_on_record_and_no_longer_owed(life: Life, engine: AsyncEngine) -> None:
    await life.fund(USDT="100000")
    order_id = await ended(life, "ended")
    archive = SqlArchive(engine)
    await archive.gone(DueHistory(account=ACCOUNT, workflow_id=order_workflow_id(ACCOUNT, order_id)))
    assert (await archive.owed([ACCOUNT]))[0] == 0
    assert (await archive.lost(account=ACCOUNT), await archive.lost(account="another")) == (1, 0)


@pytest.mark.parametrize("outside", [False, True])
async def test_history_is_kept_once_and_read_page_by_page(engine: AsyncEngine, tmp_path: Path, outside: bool) -> None:
    archive = open_archive(engine, f"file://{tmp_path}/kept" if outside else None)
    kept = [run(f"run-{number}", order_id=f"a{number:015d}") for number in range(3)]
    for one in kept:
        await archive.keep(one, pack(HISTORY))
        await archive.keep(one.model_copy(update={"events": 99}), pack(HISTORY))
    first = await archive.runs(account=ACCOUNT, order_id=None, after=None, limit=2)
    rest = await archive.runs(account=ACCOUNT, order_id=None, after=(first[-1].closed_at, first[-1].run_id), limit=2)
    assert [one.run_id for one in (*first, *rest)] == ["run-0", "run-1", "run-2"]
    assert {one.events for one in (*first, *rest)} == {3}, "what is archived is never changed"
    assert await archive.history(first[0]) == HISTORY
    await archive.watch(ACCOUNT, [kept[0].workflow_id])
    (due,) = await archive.take_due([ACCOUNT], limit=9)
    assert due.kept == ("run-0",)
    files = list((tmp_path / "kept").rglob("*.zz")) if outside else []
    assert len(files) == (3 if outside else 0) and list(tmp_path.rglob("*.part")) == []


async def test_damaged_history_is_found_out(engine: AsyncEngine, tmp_path: Path) -> None:
    archive = open_archive(engine, f"file://{tmp_path}/kept")
    await archive.keep(run(), pack(HISTORY))
    (kept,) = await archive.runs(account=None, order_id="a000000000000000", after=None, limit=9)
    (file,) = tmp_path.rglob("*.zz")
    for damage in (pack(HISTORY + b"!"), pack(HISTORY)[:-5], b"no such thing"):
        file.write_bytes(damage)
        with pytest.raises(RecordDamaged):
            await archive.history(kept)
    file.unlink()
    with pytest.raises(RecordDamaged, match="not where the ledger says"):
        await archive.history(kept)
    with pytest.raises(RecordDamaged, match="no archive is configured"):
        await SqlArchive(engine).history(kept)


async def test_place_that_cannot_be_written_leaves_the_history_owed(engine: AsyncEngine, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("a file where a folder should be")
    archive = open_archive(engine, f"file://{tmp_path}/kept")
    with pytest.raises(StoreUnavailable, match="the archive does not answer"):
        await archive.keep(run(), pack(HISTORY))
    assert await archive.runs(account=None, order_id=None, after=None, limit=9) == []


def test_what_unpacks_to_something_else_is_refused() -> None:
    assert unpack(pack(HISTORY), sha256=digest(HISTORY)) == HISTORY
    with pytest.raises(RecordDamaged):
        unpack(pack(HISTORY), sha256=digest(b"another"))
