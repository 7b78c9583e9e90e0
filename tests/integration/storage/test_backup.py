"""The ledger in one file: as of one moment, refused when damaged, and never written over anything."""

import asyncio
import zipfile
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.errors import LedgerNotEmpty, RecordDamaged, StoreUnavailable
from embedded.child import free_port
from embedded.postgres_server import PostgresServer
from storage.audit_store import verify
from storage.backup import MANIFEST, back_up
from storage.backup_restore import restore
from storage.database import open_engine
from storage.order_reader import SqlOrderReader
from tests.conftest import new_database
from tests.factories import make_request
from tests.integration.storage.conftest import ACCOUNT, Life


async def bare_database(postgres: PostgresServer, name: str) -> str:
    """A database with nothing in it, not even a schema."""
    connection = await asyncpg.connect(postgres.url("postgres"))
    try:
        await connection.execute(f"CREATE DATABASE {name}")
    finally:
        await connection.close()
    return postgres.url(name)


async def contents(url: str) -> dict[str, list[Any]]:
    """Every row of every table, but the marks of trust, which a restored ledger has not."""
    connection = await asyncpg.connect(url)
    try:
        names = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
        told = {}
        for (name,) in names:
            if name != "account_states":
                told[name] = sorted(map(str, await connection.fetch(f"SELECT * FROM {name}")))
        return told
    finally:
        await connection.close()


@pytest.fixture
async def lived(life: Life) -> Life:
    """A ledger with orders at several places of their lives."""
    await life.fund(USDT="100000", BTC="5")
    await life.limit(max_order_notional="50000")
    await life.resting("resting")
    await life.sent(make_request("sent"))
    await life.admit(make_request("at-rest"))
    return life


@pytest.mark.parametrize("migrated", [False, True])
async def test_restored_ledger_is_the_one_that_was_backed_up_and_is_distrusted(
    lived: Life, database_url: str, postgres: PostgresServer, tmp_path: Path, migrated: bool
) -> None:
    file = tmp_path / "ledger.backup"
    manifest = await back_up(database_url, file)
    assert manifest.rows("orders") == 3 and file.stat().st_mode & 0o077 == 0
    url = await new_database(postgres) if migrated else await bare_database(postgres, "restored_bare")
    await restore(url, file)
    assert await contents(url) == await contents(database_url)
    engine = open_engine(url, application_name="test", pool_size=1)
    try:
        number = "SELECT nextval('order_number') > max(number) FROM orders"
        async with engine.connect() as connection:
            assert (await connection.exec_driver_sql(number)).scalar_one(), "the next order is a new one"
            trust = (await connection.exec_driver_sql("SELECT account, beat FROM account_states")).one()
            assert tuple(trust) == (ACCOUNT, -1), "nothing of the account moves before it was compared"
        verdict = await verify(engine)
        assert verdict.entries > 3 and not verdict.found, "the chains of the audit log came over as they were"
        assert (await SqlOrderReader(engine).order(ACCOUNT, make_request("sent").order_id)).attempt == 1
    finally:
        await engine.dispose()


async def test_backup_shows_one_moment_while_orders_go_on(lived: Life, database_url: str, tmp_path: Path) -> None:
    """What is committed after it began is in none of its tables."""
    file = tmp_path / "ledger.backup"
    blocker = await asyncpg.connect(database_url)
    try:
        # Copying waits at one table, while an order is admitted; reading table by table would see a part of it.
        await blocker.execute("CREATE TABLE zz_last (a int)")
        await blocker.execute("BEGIN; LOCK TABLE zz_last IN ACCESS EXCLUSIVE MODE")
        backing_up = asyncio.create_task(back_up(database_url, file))
        waits = "SELECT count(*) FROM pg_locks WHERE relation = 'zz_last'::regclass AND NOT granted"
        async with asyncio.timeout(10):
            while not await blocker.fetchval(waits):
                await asyncio.sleep(0.02)
        await lived.admit(make_request("later"))
        await blocker.execute("ROLLBACK")
        manifest = await backing_up
    finally:
        await blocker.close()
    assert (manifest.rows("orders"), manifest.rows("reservations")) == (3, 3)


async def test_ledger_that_holds_anything_is_refused_and_left_alone(
    lived: Life, database_url: str, tmp_path: Path
) -> None:
    file = tmp_path / "ledger.backup"
    await back_up(database_url, file)
    before = await contents(database_url)
    with pytest.raises(LedgerNotEmpty, match="orders"):
        await restore(database_url, file)
    assert await contents(database_url) == before


async def test_damaged_backup_is_refused_before_anything_is_written(
    lived: Life, database_url: str, postgres: PostgresServer, tmp_path: Path
) -> None:
    file = tmp_path / "ledger.backup"
    await back_up(database_url, file)
    empty = await new_database(postgres)
    for damage, told in (("tables/orders", "orders"), ("tables/fills", "fills"), (MANIFEST, "no backup of ours")):
        broken = tmp_path / "broken.backup"
        with zipfile.ZipFile(file) as whole, zipfile.ZipFile(broken, "w") as part:
            for name in whole.namelist():
                if name != damage:
                    part.writestr(name, whole.read(name))
                elif name == "tables/orders":
                    part.writestr(name, whole.read(name).replace(b"INITIALIZED", b"CANCELED"))
        with pytest.raises(RecordDamaged, match=told):
            await restore(empty, broken)
    (tmp_path / "text.backup").write_text("no ZIP")
    with pytest.raises(RecordDamaged):
        await restore(empty, tmp_path / "text.backup")
    await restore(empty, file)


async def test_backup_of_a_newer_build_is_refused(
    lived: Life, database_url: str, postgres: PostgresServer, tmp_path: Path
) -> None:
    file, newer = tmp_path / "ledger.backup", tmp_path / "newer.backup"
    manifest = await back_up(database_url, file)
    with zipfile.ZipFile(file) as whole, zipfile.ZipFile(newer, "w") as part:
        for name in whole.namelist():
            part.writestr(name, whole.read(name).replace(f'"{manifest.revision}"'.encode(), b'"9999"'))
    with pytest.raises(RecordDamaged, match="schema 9999"):
        await restore(await new_database(postgres), newer)


async def test_nothing_is_left_of_a_backup_that_failed(tmp_path: Path, engine: AsyncEngine) -> None:
    with pytest.raises(StoreUnavailable):
        await back_up(f"postgresql://volex:x@127.0.0.1:{free_port()}/volex", tmp_path / "ledger.backup")
    assert list(tmp_path.iterdir()) == []
