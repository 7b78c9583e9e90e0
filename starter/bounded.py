"""Calls to Temporal with a bound on their time."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final, TypeVar

from temporalio.client import RPCTimeoutOrCancelledError
from temporalio.service import RPCError, RPCStatusCode

from starter.failures import EngineUnavailable

T = TypeVar("T")

_WEATHER: Final = frozenset(
    {
        RPCStatusCode.UNAVAILABLE,
        RPCStatusCode.DEADLINE_EXCEEDED,
        RPCStatusCode.CANCELLED,
        RPCStatusCode.RESOURCE_EXHAUSTED,
        RPCStatusCode.ABORTED,
        RPCStatusCode.INTERNAL,
        RPCStatusCode.UNKNOWN,
        RPCStatusCode.FAILED_PRECONDITION,  # the order's workflow is stuck for now, and takes nothing
    }
)
_PAUSE_FIRST_S: Final = 0.1
_PAUSE_MAX_S: Final = 2.0
_GRACE_S: Final = 0.25
"""The RPC's own deadline comes first: temporalio logs a call that is given up from outside as an error."""


async def within(call: Awaitable[T], timeout_s: float) -> T:
    """Await the call for at most that long. Raises `TimeoutError`; the call is then given up.

    A task of its own, for temporalio turns a cancellation inside its calls into an error of another kind. A connection
    that cannot be made is a `RuntimeError` there; it is `EngineUnavailable` here.
    """
    task = asyncio.ensure_future(call)
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    try:
        done, _ = await asyncio.wait({task}, timeout=timeout_s)
    finally:
        task.cancel()
    if not done:
        raise TimeoutError
    try:
        return task.result()
    except RuntimeError as error:
        raise EngineUnavailable(f"Temporal cannot be reached: {error}"[:200]) from error


async def repeated(call: Callable[[timedelta], Awaitable[T]], timeout_s: float) -> T:
    """Make the call again while Temporal does not answer, all within the time. The call must be safe to repeat.

    It is given the time that is left, for its own RPC.

    Raises
    ------
    TimeoutError
        When the time is over and Temporal was still at work.
    EngineUnavailable
        When the time is over and Temporal had refused or not answered at least once.
    """
    deadline = time.monotonic() + timeout_s
    pause_s = _PAUSE_FIRST_S
    weather: EngineUnavailable | None = None
    while (left_s := deadline - time.monotonic()) > 0:
        try:
            return await within(call(timedelta(seconds=left_s)), left_s + _GRACE_S)
        except RPCTimeoutOrCancelledError:
            pass
        except RPCError as error:
            if error.status not in _WEATHER:
                raise
            weather = EngineUnavailable(f"Temporal does not answer: {error.status.name}")
        except EngineUnavailable as error:
            weather = error
        await asyncio.sleep(min(pause_s, max(deadline - time.monotonic(), 0)))
        pause_s = min(pause_s * 2, _PAUSE_MAX_S)
    if weather is not None:
        raise weather
    raise TimeoutError


__all__ = ["repeated", "within"]
