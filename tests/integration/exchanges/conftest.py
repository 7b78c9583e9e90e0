"""A Postgres of our own for the tests of durable exchanges; each test works an account of its own."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncEngine

from embedded.child import Child, free_port
from embedded.postgres_server import PostgresServer
from storage.database import open_engine
from storage.migrate import upgrade


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def database_url(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """The address of an upgraded database."""
    directory: Path = tmp_path_factory.mktemp("postgres")
    server = PostgresServer(directory, port=free_port(), log_path=directory / "postgres.log")
    server.prepare()
    child = await Child.start(server.spec())
    try:
        await server.until_ready(child)
        await upgrade(server.url())
        yield server.url()
    finally:
        await child.stop()


@pytest_asyncio.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    """A pool of connections."""
    engine = open_engine(database_url, application_name="tests", pool_size=5)
    yield engine
    await engine.dispose()
