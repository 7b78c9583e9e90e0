"""Keeps the notifier going in a worker."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from domain.alerts import Alert
from domain.errors import ExecutionError

WATCH_INTERVAL_S: Final = 2.0
"""One small query of the ledger for the whole fleet, and one for each channel."""
log = logging.getLogger("volex.alerts")


async def keep_notifying(round_: Callable[[], Awaitable[Sequence[Alert]]]) -> None:
    """Look and tell, for ever."""
    while True:
        try:
            await round_()
        except ExecutionError as error:
            log.warning("alerts_not_watched", extra={"text": str(error)[:300]})
        await asyncio.sleep(WATCH_INTERVAL_S)


__all__ = ["keep_notifying"]
