"""Real parts for every test that needs them: Postgres and its databases, one server for each pytest process."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncEngine

from embedded.child import Child, free_port
from embedded.postgres_server import PostgresServer
from storage.database import open_engine
from storage.migrate import upgrade
from storage.order_reader import SqlOrderReader
from storage.order_store import SqlOrderStore
from tests.timescale_server import TimescaleServer
from tests.vault_server import VaultServer

_database_number = count(1)


def utc_now() -> datetime:
    """Return the time, UTC."""
    return datetime.now(UTC)


async def _started(server: PostgresServer) -> Child:
    """Start the server; a port that somebody took between choosing and binding is chosen anew, twice at most."""
    for remaining in reversed(range(3)):
        server.port = free_port()
        child = await Child.start(server.spec())
        try:
            await server.until_ready(child)
        except RuntimeError:
            await child.stop()
            if not remaining:
                raise
        else:
            return child
    raise AssertionError("the loop above returns or raises")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def postgres(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PostgresServer]:
    """A Postgres server with a migrated template database."""
    directory: Path = tmp_path_factory.mktemp("postgres")
    for folder in (directory, *directory.parents[:3]):
        folder.chmod(folder.stat().st_mode | 0o001)
    server = PostgresServer(directory, port=free_port(), log_path=directory / "postgres.log")
    server.prepare()
    child = await _started(server)
    try:
        await upgrade(server.url())
        yield server
    finally:
        await child.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def database_url(postgres: PostgresServer) -> str:
    """The address of a database of the test's own, migrated and empty."""
    return await new_database(postgres)


async def new_database(postgres: PostgresServer) -> str:
    """Make a database, migrated and empty, and return its address."""
    name = f"test_{next(_database_number)}"
    connection = await asyncpg.connect(postgres.url("postgres"))
    try:
        await connection.execute(f"CREATE DATABASE {name} TEMPLATE volex")
    finally:
        await connection.close()
    return postgres.url(name)


@pytest_asyncio.fixture(loop_scope="session")
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    """An engine on the test's own database."""
    engine = open_engine(database_url, application_name="test")
    try:
        yield engine
    finally:
        await engine.dispose()


@pytest.fixture
def store(engine: AsyncEngine) -> SqlOrderStore:
    """The ledger as the order's life writes it."""
    return SqlOrderStore(engine)


@pytest.fixture
def reader(engine: AsyncEngine) -> SqlOrderReader:
    """The ledger as people read it."""
    return SqlOrderReader(engine)


@pytest.fixture(scope="session")
def vault_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VaultServer]:
    """A Vault server, unsealed; whoever seals it unseals it."""
    server = VaultServer(tmp_path_factory.mktemp("vault"))
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def timescale(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TimescaleServer]:
    """A TimescaleDB server."""
    server = TimescaleServer(tmp_path_factory.mktemp("timescale"))
    try:
        server.start()
        yield server
    finally:
        server.stop()
