"""What a worker does beside its orders, for ever. No order waits for it, and what a round has missed the next makes up.

`keep` is the loop of them all: a round that fails is told, and another follows.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, NoReturn

from temporalio.service import RPCError

from domain.alerts import Alert
from domain.audit import CheckpointMaker
from domain.errors import ExecutionError

MEASURE_INTERVAL_S: Final = 2.0
"""One small query when no order has ended."""
BACKLOG_PAUSE_S: Final = 0.2
BACKLOG_FROM: Final = 100
"""A round that measured so many has more before it."""
THIN_INTERVAL_S: Final = 600.0
NOTIFY_INTERVAL_S: Final = 2.0
"""One small query of the ledger for the whole fleet, and one for each channel."""
CHECKPOINT_INTERVAL_S: Final = 15.0
"""The newest facts of an order can be taken away unseen for two of these at most; each is three small statements."""
TELL_INTERVAL_S: Final = 5.0
FIRST_ROUNDS: Final = 10
FIRST_INTERVAL_S: Final = 1.0
"""A worker that has just started soon knows more than it told first."""
log = logging.getLogger("volex.upkeep")


async def keep(
    round_: Callable[[], Awaitable[float | None]], *, every_s: float, failing: str, log: logging.Logger = log
) -> NoReturn:
    """Do a round again and again.

    Parameters
    ----------
    round_
        Returns the seconds until the next one, or `None` for the usual.
    failing
        Name of the log line for a round that failed.
    """
    while True:
        pause_s = None
        try:
            pause_s = await round_()
        except (ExecutionError, RPCError) as error:
            log.warning(failing, extra={"text": str(error)[:300]})
        except Exception:  # a defect of ours: told, and no reason to stop
            log.exception(failing)
        await asyncio.sleep(every_s if pause_s is None else pause_s)


async def keep_measuring(round_: Callable[[], Awaitable[int]]) -> None:
    """Measure orders that have ended."""

    async def measure() -> float | None:
        return BACKLOG_PAUSE_S if await round_() >= BACKLOG_FROM else None

    await keep(measure, every_s=MEASURE_INTERVAL_S, failing="orders_not_measured")


async def keep_thin(round_: Callable[[], Awaitable[Mapping[str, int]]]) -> None:
    """Let go of samples that are older than the settings keep them."""

    async def thin() -> None:
        for table, count in (await round_()).items():
            log.info("samples_let_go", extra={"table": table, "count": count})

    await keep(thin, every_s=THIN_INTERVAL_S, failing="samples_not_let_go")


async def keep_notifying(round_: Callable[[], Awaitable[Sequence[Alert]]]) -> None:
    """Look what people are to be told, and tell them."""

    async def notify() -> None:
        await round_()

    await keep(notify, every_s=NOTIFY_INTERVAL_S, failing="alerts_not_watched")


async def keep_checkpoints(maker: CheckpointMaker) -> None:
    """Cover the audit log with checkpoints. Every worker tries; the ledger lets one at a time.

    Each is written to the log too: who keeps the log has a copy that the database's owner cannot change.
    """

    async def cover() -> None:
        made = await maker.checkpoint()
        if made is not None:
            told = {"number": made.number, "entries": made.entries, "upto": made.upto, "hash": made.hash.hex()}
            log.info("audit_checkpoint", extra=told)

    await keep(cover, every_s=CHECKPOINT_INTERVAL_S, failing="audit_checkpoint_failed")


async def keep_telling(round_: Callable[[], Awaitable[None]]) -> None:
    """Tell the ledger what is seen of venues and feeds."""
    rounds = 0

    async def tell() -> float | None:
        nonlocal rounds
        rounds += 1
        await round_()
        return FIRST_INTERVAL_S if rounds < FIRST_ROUNDS else None

    await keep(tell, every_s=TELL_INTERVAL_S, failing="sightings_not_told")


__all__ = ["keep", "keep_checkpoints", "keep_measuring", "keep_notifying", "keep_telling", "keep_thin"]
