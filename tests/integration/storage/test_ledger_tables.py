"""What the database itself holds to: bounds, keys, facts that never change, migrations that many may run at once."""

import asyncio
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, Inspector, inspect, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

import storage.alert_tables
import storage.api_key_tables
import storage.approval_tables
import storage.archive_tables
import storage.audit_tables
import storage.kill_tables
import storage.paper_tables
import storage.performance_tables
import storage.rate_tables
import storage.venue_tables  # noqa: F401 -- likewise
from domain.errors import StoreUnavailable
from embedded.child import free_port
from embedded.postgres_server import PostgresServer
from storage.database import in_transaction, open_engine
from storage.migrate import upgrade
from storage.order_reader import SqlOrderReader
from storage.tables import metadata
from tests.factories import NOW, make_fill, make_report
from tests.integration.storage.conftest import ACCOUNT, Life

ROOT = Path(__file__).parents[3]


async def execute(engine: AsyncEngine, statement: str, **values: Any) -> None:
    """Run one statement in a transaction of its own."""
    async with engine.begin() as connection:
        await connection.execute(text(statement), values)


@pytest.mark.parametrize("column", ["free", "used", "total", "reserved"])
@pytest.mark.parametrize("figure", ["NaN", "Infinity", "-0.000000000000000001", "1e18"])
async def test_figure_out_of_bounds_is_refused(life: Life, engine: AsyncEngine, column: str, figure: str) -> None:
    await life.fund(USDT="1")
    with pytest.raises(DBAPIError):
        await execute(engine, f"UPDATE balances SET {column} = '{figure}'")


@pytest.mark.parametrize("figure", ["NaN", "Infinity", "-Infinity"])
async def test_position_that_is_no_number_is_refused(engine: AsyncEngine, figure: str) -> None:
    with pytest.raises(DBAPIError):
        await execute(
            engine,
            f"INSERT INTO exposures VALUES ('a', 'BTC/USDT', '{figure}', 0, 0, 0, 0, 0, 0, 0, 0, now(), 0, now())",
        )


async def test_every_numeric_column_has_its_bounds(engine: AsyncEngine) -> None:
    def unbounded(connection: Connection) -> list[str]:
        found: Inspector = inspect(connection)
        return [
            f"{table}.{column['name']}"
            for table in found.get_table_names()
            for column in found.get_columns(table)
            if "NUMERIC" in str(column["type"])
            and not any(f"{column['name']}" in check["sqltext"] for check in found.get_check_constraints(table))
        ]

    async with engine.connect() as connection:
        assert await connection.run_sync(unbounded) == []


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE order_events SET event_type = 'FILLED'",
        "DELETE FROM order_events",
        "TRUNCATE order_events",
        "UPDATE fills SET last_qty = 1",
        "DELETE FROM fills",
        "TRUNCATE fills CASCADE",
        "UPDATE audit_events SET actor = 'somebody'",
        "DELETE FROM audit_events",
        "TRUNCATE audit_events",
    ],
)
async def test_facts_are_never_changed(life: Life, engine: AsyncEngine, statement: str) -> None:
    await life.fund(USDT="1000")
    order = await life.resting()
    report = make_report(cum_qty=Decimal("0.1"))
    await life.store.record_report(ACCOUNT, order.order_id, report, trades=[make_fill()], now=NOW)
    with pytest.raises(DBAPIError, match="never changed"):
        await execute(engine, statement)


def differences(connection: Connection) -> list[Any]:
    """Return how the database's tables differ from those that the code knows."""
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    return list(compare_metadata(context, metadata))


async def test_migrations_make_the_tables_that_the_code_knows(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        assert await connection.run_sync(differences) == []


async def test_five_processes_may_upgrade_an_empty_database_at_once_and_again(postgres: PostgresServer) -> None:
    connection = await asyncpg.connect(postgres.url("postgres"))
    await connection.execute("CREATE DATABASE upgraded")
    await connection.close()
    program = "import asyncio, sys; from storage.migrate import upgrade; asyncio.run(upgrade(sys.argv[1]))"
    command = [sys.executable, "-c", program, postgres.url("upgraded")]
    processes = [await asyncio.create_subprocess_exec(*command, cwd=ROOT) for _ in range(5)]
    assert await asyncio.wait_for(asyncio.gather(*(process.wait() for process in processes)), timeout=60) == [0] * 5
    await upgrade(postgres.url("upgraded"))
    engine = open_engine(postgres.url("upgraded"), application_name="test")
    assert await SqlOrderReader(engine).positions(ACCOUNT) == []
    await engine.dispose()


async def test_ledger_that_is_not_there_is_unavailable() -> None:
    engine = open_engine(f"postgresql://nobody:x@127.0.0.1:{free_port()}/none", application_name="test")
    with pytest.raises(StoreUnavailable):
        await SqlOrderReader(engine).ping()
    await engine.dispose()


async def test_wrong_database_is_unavailable_and_not_a_crash(postgres: PostgresServer) -> None:
    engine = open_engine(postgres.url("no_such_database"), application_name="test")
    with pytest.raises(StoreUnavailable):
        await SqlOrderReader(engine).ping()
    await engine.dispose()


async def test_connections_that_the_server_closed_are_replaced_without_an_error(
    engine: AsyncEngine, postgres: PostgresServer, reader: SqlOrderReader
) -> None:
    await asyncio.gather(*(reader.ping() for _ in range(5)))
    connection = await asyncpg.connect(postgres.url("postgres"))
    ended = await connection.fetch(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", engine.url.database
    )
    await connection.close()
    assert ended
    await asyncio.gather(*(reader.ping() for _ in range(5)))


async def test_transaction_that_meets_a_deadlock_runs_again(life: Life, engine: AsyncEngine) -> None:
    await life.fund(USDT="1", BTC="1")
    both_hold_one = asyncio.Barrier(2)
    runs: list[str] = []

    async def swap(first: str, second: str) -> None:
        async def work(connection: Any) -> None:
            runs.append(first)
            statement = text("UPDATE balances SET free = free + 1 WHERE asset = :asset")
            await connection.execute(statement, {"asset": first})
            if len(runs) <= 2:
                await both_hold_one.wait()
            await connection.execute(statement, {"asset": second})

        await in_transaction(engine, work)

    await asyncio.wait_for(asyncio.gather(swap("BTC", "USDT"), swap("USDT", "BTC")), timeout=20)
    assert len(runs) > 2, "somebody met a deadlock and ran again; twice, when they met once more"
    assert {sheet.free for sheet in await SqlOrderReader(engine).balances(ACCOUNT)} == {Decimal(3)}
