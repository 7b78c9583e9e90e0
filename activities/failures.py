"""Domain error to Temporal failure: the only such translation, and the only place where retry is decided."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from domain.errors import ExecutionError, RateLimited
from observability import traces
from observability.logs import bound, names_of

HEARTBEAT_INTERVAL_S = 1
"""Well below the heartbeat timeout, so that a dead worker is noticed in seconds and a live one never doubted."""
FIRST_BEAT_AFTER_S = 0.5
"""Most activities are over by then, and cost no heartbeat at all."""


def to_failure(error: ExecutionError) -> ApplicationError:
    """Translate an error of ours: its code is the type, and its numbers are the details."""
    return ApplicationError(
        error.message,
        {"code": error.code, "numbers": error.numbers, "what_to_do": error.what_to_do},
        type=error.code,
        non_retryable=not error.retryable,
        next_retry_delay=timedelta(seconds=error.retry_after_s) if isinstance(error, RateLimited) else None,
        category=ApplicationErrorCategory.BENIGN if error.retryable else ApplicationErrorCategory.UNSPECIFIED,
    )


@asynccontextmanager
async def in_activity(details: Callable[[], Sequence[Any]] = tuple) -> AsyncIterator[None]:
    """Frame of every activity: its names on each log line, heartbeats while it runs, and errors of ours translated.

    Parameters
    ----------
    details
        What each heartbeat tells Temporal: the activity's next run finds the latest of it.
    """
    info = activity.info()
    names = {"workflow_id": info.workflow_id, "activity_type": info.activity_type, "attempt": info.attempt}
    with bound(**names, **names_of(info.workflow_id), **traces.names()):
        beating = asyncio.create_task(_beat(details))
        try:
            yield
        except ExecutionError as error:
            raise to_failure(error) from error
        finally:
            beating.cancel()


async def _beat(details: Callable[[], Sequence[Any]]) -> None:
    await asyncio.sleep(FIRST_BEAT_AFTER_S)
    while True:
        activity.heartbeat(*details())
        await asyncio.sleep(HEARTBEAT_INTERVAL_S)
