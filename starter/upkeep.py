"""What a worker does beside its orders, for ever: measures how they were executed, and lets old samples go."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from domain.errors import ExecutionError

MEASURE_INTERVAL_S: Final = 2.0
"""One small query when no order has ended."""
BACKLOG_PAUSE_S: Final = 0.2
BACKLOG_FROM: Final = 100
"""A round that measured so many has more before it."""
THIN_INTERVAL_S: Final = 600.0
FAILURE_PAUSE_S: Final = 10.0
log = logging.getLogger("volex.upkeep")


async def keep_measuring(round_: Callable[[], Awaitable[int]]) -> None:
    """Measure orders that have ended. No order waits for it, and what it has missed is made up for."""
    while True:
        try:
            measured = await round_()
        except ExecutionError as error:
            log.warning("orders_not_measured", extra={"text": str(error)[:300]})
            await asyncio.sleep(FAILURE_PAUSE_S)
            continue
        except Exception:  # a defect of ours: told, and no reason to stop
            log.exception("measuring_failed")
            await asyncio.sleep(FAILURE_PAUSE_S)
            continue
        await asyncio.sleep(BACKLOG_PAUSE_S if measured >= BACKLOG_FROM else MEASURE_INTERVAL_S)


async def keep_thin(round_: Callable[[], Awaitable[Mapping[str, int]]]) -> None:
    """Let go of samples that are older than the settings keep them."""
    while True:
        await asyncio.sleep(FAILURE_PAUSE_S)
        try:
            for table, count in (await round_()).items():
                log.info("samples_let_go", extra={"table": table, "count": count})
        except ExecutionError as error:
            log.warning("samples_not_let_go", extra={"text": str(error)[:300]})
        except Exception:  # likewise
            log.exception("letting_samples_go_failed")
        await asyncio.sleep(THIN_INTERVAL_S)
