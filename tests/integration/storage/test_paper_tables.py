"""The paper venue's tables as the code knows them are those that the migrations make."""

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncEngine

from storage.paper_tables import paper_accounts

pytestmark = pytest.mark.asyncio(loop_scope="session")  # the engine lives in the session's loop


def _differences(connection: Connection) -> list[str]:
    options = {"compare_type": True, "include_name": _is_paper}
    found = compare_metadata(MigrationContext.configure(connection, opts=options), paper_accounts.metadata)
    return [text for text in map(str, found) if "paper_" in text]


def _is_paper(name: str | None, kind: str, parents: object) -> bool:
    return kind != "table" or (name or "").startswith("paper_")


async def test_migrations_make_the_paper_tables_that_the_code_knows(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        assert await connection.run_sync(_differences) == []
