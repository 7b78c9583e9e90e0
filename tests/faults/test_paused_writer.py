"""A writer that stops in the middle of a transaction, as a paused process or a vanished machine does."""

import time

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from storage.database import IDLE_IN_TRANSACTION_MS, in_transaction, open_engine

LOCK = text("UPDATE account_states SET reconciled_at = now()")


async def _lock(connection: AsyncConnection) -> int:
    return (await connection.execute(LOCK)).rowcount


async def test_a_writer_that_stopped_lets_the_accounts_rows_go(engine: AsyncEngine, database_url: str) -> None:
    async with engine.begin() as connection:
        await connection.execute(text("INSERT INTO account_states (account, reconciled_at) VALUES ('a', now())"))
    stopped = open_engine(database_url, application_name="stopped")
    try:
        began = time.monotonic()
        tries = []

        async def stops_once(connection: AsyncConnection) -> int:
            tries.append(await _lock(connection))
            if len(tries) == 1:
                assert await in_transaction(engine, _lock) == 1
            return len((await connection.execute(text("SELECT 1"))).all())

        assert await in_transaction(stopped, stops_once) == 1
        assert len(tries) == 2, "the stopped transaction was taken back, and ran again as a whole"
        assert IDLE_IN_TRANSACTION_MS / 1000 - 0.5 < time.monotonic() - began < 5
    finally:
        await stopped.dispose()
