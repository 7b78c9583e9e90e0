"""Engine and transactions. A transaction is a function that may run again; its errors leave here as errors of ours."""

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from domain.errors import StoreUnavailable
from storage.continuity import FactsMissing, distrust

T = TypeVar("T")

STATEMENT_TIMEOUT_MS: Final = 8_000
"""Below the activities' own timeout, so that a stuck statement ends in the database and not only at our side."""
LOCK_TIMEOUT_MS: Final = 5_000
IDLE_IN_TRANSACTION_MS: Final = 3_000
"""A worker that was paused, or whose machine is gone, in the middle of a transaction keeps its locks, and orders share
rows of their account: the server ends such a session. Ours never think between two statements."""
POOL_SIZE: Final = 10
"""Connections kept open; half as many again are opened under load. Many processes share one server's 100 or 200."""
POOL_TIMEOUT_S: Final = 10
"""Below the activities' own timeout, like the others."""
TRIES: Final = 3
_RUN_AGAIN: Final = frozenset({"40001", "40P01"})
"""Serialization failure and deadlock: nothing was written, and another try may pass."""
_WEATHER: Final = frozenset({"08", "28", "3D", "53", "55", "57", "58"})
"""SQLSTATE classes of a database that is unreachable, does not let us in, is not there, is out of means, waits for a
lock, or is stopping."""


def asyncpg_url(url: str) -> str:
    """Return the URL with the driver that we use; takes `postgresql://` and `postgresql+asyncpg://`."""
    return make_url(url).set(drivername="postgresql+asyncpg").render_as_string(hide_password=False)


def open_engine(url: str, *, application_name: str, pool_size: int = POOL_SIZE) -> AsyncEngine:
    """Make an engine. Nothing is connected yet."""
    return create_async_engine(
        asyncpg_url(url),
        pool_size=pool_size,
        max_overflow=pool_size // 2,
        pool_timeout=POOL_TIMEOUT_S,
        pool_use_lifo=True,  # a connection that has just worked knows our statements' plans
        connect_args={
            "timeout": 5,
            "server_settings": {
                "application_name": application_name,
                "statement_timeout": str(STATEMENT_TIMEOUT_MS),
                "lock_timeout": str(LOCK_TIMEOUT_MS),
                "idle_in_transaction_session_timeout": str(IDLE_IN_TRANSACTION_MS),
                "timezone": "UTC",
                "jit": "off",  # our statements are short; compiling one takes longer than running it
            },
        },
    )


async def in_transaction(engine: AsyncEngine, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
    """Run `work` in one transaction; again, up to three times in all, after a deadlock or a lost connection.

    Raises
    ------
    StoreUnavailable
        When the database does not answer. Whether the transaction was committed is then not known: `work` must be
        written so that it may run again.
    """
    for remaining in reversed(range(TRIES)):
        try:
            async with engine.begin() as connection:
                return await work(connection)
        except FactsMissing as missing:
            async with engine.begin() as connection:
                await distrust(connection, missing.account)
            raise
        except DBAPIError as error:
            state = _sqlstate(error)
            if remaining and (state in _RUN_AGAIN or error.connection_invalidated):
                continue
            if _is_weather(error, state):
                raise StoreUnavailable(f"the ledger does not answer: {type(error.orig).__name__} {state}") from error
            raise
        except (OSError, PoolTimeoutError) as error:
            raise StoreUnavailable(f"the ledger does not answer: {type(error).__name__}") from error
    raise AssertionError("the last try returns or raises")


def _sqlstate(error: DBAPIError) -> str:
    original: Any = error.orig
    return str(getattr(original, "sqlstate", None) or getattr(original, "pgcode", None) or "")


def _is_weather(error: DBAPIError, state: str) -> bool:
    if error.connection_invalidated or state[:2] in _WEATHER or state in _RUN_AGAIN:
        return True
    return isinstance(error, InterfaceError | OperationalError) and not state
