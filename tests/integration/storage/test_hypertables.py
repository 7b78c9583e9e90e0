"""The same ledger on TimescaleDB and on plain Postgres: migrations, hypertables of the series, and their retention."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.order import TradingMode
from domain.performance import GroupBy
from domain.retention import SeriesTerms
from domain.valuation import Mark
from embedded.postgres_server import PostgresServer
from storage import hypertables
from storage.accounting_store import SqlAccountingStore
from storage.backup import back_up
from storage.backup_restore import restore
from storage.database import in_transaction, open_engine
from storage.hypertables import SERIES, Timescale
from storage.measuring import Measuring, measure_anew
from storage.migrate import upgrade
from storage.order_store import SqlOrderStore
from storage.performance import SqlPerformanceReader
from tests.conftest import new_database
from tests.factories import NOW, make_fill, make_report
from tests.integration.storage.conftest import ACCOUNT, Life
from tests.integration.storage.test_ledger_tables import differences
from tests.integration.storage.test_performance import LATER, SELECTION
from tests.timescale_server import TimescaleServer, make_extension

DAY = timedelta(days=1)


@pytest_asyncio.fixture(loop_scope="session")
async def hyper(timescale: TimescaleServer) -> AsyncIterator[AsyncEngine]:
    """A migrated ledger on TimescaleDB."""
    url = await timescale.new_database()
    seen = await upgrade(url)
    assert set(seen.hypertables) == set(SERIES), seen
    engine = open_engine(url, application_name="test")
    yield engine
    await engine.dispose()


async def look(engine: AsyncEngine) -> Timescale:
    return await in_transaction(engine, hypertables.look)


async def count(engine: AsyncEngine, query: str) -> Any:
    async with engine.connect() as connection:
        return (await connection.execute(text(query))).scalar_one()


async def keep_marks(engine: AsyncEngine, *, days: int, now: datetime) -> None:
    """Keep a mark of each of the last days."""
    price = Decimal(100)
    marks = [Mark(symbol="BTC/USDT", bid=price, ask=price, last=price, asked_at=now - day * DAY) for day in range(days)]
    for mark in marks:
        await SqlAccountingStore(engine).record_valuation(ACCOUNT, TradingMode.SANDBOX, [mark], now=now)


async def test_migrations_make_the_same_schema_on_timescaledb(hyper: AsyncEngine) -> None:
    async with hyper.connect() as connection:
        assert await connection.run_sync(differences) == []
    assert await count(hyper, "SELECT count(*) FROM timescaledb_information.hypertables") == len(SERIES)


async def test_upgrading_again_changes_nothing_but_the_chunks_that_are_to_come(timescale: TimescaleServer) -> None:
    url = await timescale.new_database()
    assert await upgrade(url) == await upgrade(url)
    seen = await upgrade(url, SeriesTerms(chunk_days=30))
    assert {own.chunk for own in seen.hypertables.values()} == {30 * DAY}
    assert (seen.license, seen.has_policies) == ("apache", False)
    assert {own.drop_after for own in seen.hypertables.values()} == {None}


async def test_extension_that_comes_later_takes_the_rows_over(timescale: TimescaleServer) -> None:
    url = await timescale.new_database(extension=False)
    seen = await upgrade(url)
    assert (seen.version, seen.hypertables) == (None, {})
    assert seen.available is not None
    engine = open_engine(url, application_name="test")
    try:
        await keep_marks(engine, days=20, now=NOW)
        await make_extension(url)
        assert not (await look(engine)).hypertables
        assert set((await upgrade(url)).hypertables) == set(SERIES)
        assert await count(engine, "SELECT count(*) FROM marks") == 20
        assert await count(engine, "SELECT count(*) FROM show_chunks('marks')") >= 3
    finally:
        await engine.dispose()


async def test_an_orders_life_and_its_measure_are_the_same_on_timescaledb(hyper: AsyncEngine) -> None:
    life = Life(SqlOrderStore(hyper))
    await life.fund(USDT="1000")
    order = await life.resting(venue_order_id="v0")
    report = make_report(venue_order_id="v0", cum_qty=Decimal("0.1"), status="closed")
    fill = make_fill(venue_order_id="v0", last_px=Decimal(99))
    await life.store.record_report(ACCOUNT, order.order_id, report, trades=[fill], now=NOW)
    await life.store.finalize(ACCOUNT, order.order_id, now=NOW)
    await keep_marks(hyper, days=1, now=NOW)
    measuring = Measuring(hyper, (ACCOUNT,))
    assert [await measuring.round(now=LATER) for _ in range(2)] == [1, 0]
    assert await measure_anew(hyper, (ACCOUNT,), since=NOW, now=LATER) == 1
    [group] = await SqlPerformanceReader(hyper).groups(SELECTION, GroupBy.SYMBOL)
    assert (group.orders, group.notional, group.mid_slippage_bps) == (1, Decimal("9.9"), -100)
    assert await count(hyper, "SELECT count(*) FROM show_chunks('performance')") == 1


@pytest.fixture(params=["engine", "hyper"])
def either(request: pytest.FixtureRequest) -> AsyncEngine:
    """A ledger on plain Postgres, then one on TimescaleDB."""
    found: AsyncEngine = request.getfixturevalue(request.param)
    return found


async def test_old_samples_go_and_the_rest_stays(either: AsyncEngine) -> None:
    engine, is_plain = either, (await look(either)).version is None
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    await keep_marks(engine, days=100, now=now)
    terms = SeriesTerms(marks_days=30)
    gone = await hypertables.thin(engine, terms, now=now)
    left = await count(engine, "SELECT count(*) FROM marks")
    if is_plain:
        assert (gone, left) == ({"marks": 69}, 31)
    else:
        assert 31 <= left <= 31 + 7, "a chunk of seven days goes when all of it is old"
        assert gone["marks"] >= 9
    assert await hypertables.thin(engine, terms, now=now) == {}
    assert await hypertables.thin(engine, SeriesTerms(marks_days=None), now=now + 1000 * DAY) == {}
    assert await count(engine, "SELECT count(*) FROM marks") == left


async def test_thinning_a_large_table_is_bounded(engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hypertables, "ROWS_A_BATCH", 4)
    monkeypatch.setattr(hypertables, "BATCHES_A_ROUND", 3)
    await keep_marks(engine, days=20, now=NOW)
    terms = SeriesTerms(marks_days=1)
    gone = [await hypertables.thin(engine, terms, now=NOW + DAY) for _ in range(3)]
    assert gone == [{"marks": 12}, {"marks": 7}, {}]


async def test_policies_are_asked_for_only_where_the_edition_has_them(
    hyper: AsyncEngine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The Apache edition refuses a policy; the refusal is told, and the upgrade goes on."""
    terms = SeriesTerms(marks_days=30)
    await in_transaction(hyper, lambda connection: hypertables.ensure(connection, terms))
    assert not caplog.records
    monkeypatch.setattr(hypertables, "FULL_EDITION", "apache")
    await in_transaction(hyper, lambda connection: hypertables.ensure(connection, terms))
    assert [record.message for record in caplog.records] == ["hypertable_refused"]
    assert 'not supported under the current "apache" license' in caplog.records[0].text


async def test_backup_crosses_from_timescaledb_to_plain_postgres_and_back(
    hyper: AsyncEngine, timescale: TimescaleServer, postgres: PostgresServer, tmp_path: Path
) -> None:
    """COPY of a hypertable by its name finds nothing: its rows are in its chunks."""
    await keep_marks(hyper, days=20, now=NOW)
    first, second = tmp_path / "hyper.backup", tmp_path / "plain.backup"
    url = hyper.url.render_as_string(hide_password=False)
    assert (await back_up(url, first)).rows("marks") == 20
    plain = await new_database(postgres)
    await restore(plain, first)
    assert (await back_up(plain, second)).rows("marks") == 20
    for extension in (True, False):
        again = await timescale.new_database(extension=extension)
        await restore(again, second)
        engine = open_engine(again, application_name="test", pool_size=1)
        try:
            assert await count(engine, "SELECT count(*) FROM marks") == 20
            assert set((await look(engine)).hypertables) == (set(SERIES) if extension else set())
        finally:
            await engine.dispose()
