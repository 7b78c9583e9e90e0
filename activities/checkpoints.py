"""Covers the audit log with a checkpoint now and then, for ever. Every worker tries; the ledger lets one at a time."""

import asyncio
import logging
from typing import Final

from domain.audit import CheckpointMaker
from domain.errors import ExecutionError

CHECKPOINT_INTERVAL_S: Final = 15
"""The newest facts of an order can be taken away unseen for two of these at most; each is three small statements."""
log = logging.getLogger("volex.audit")


async def keep_checkpoints(maker: CheckpointMaker) -> None:
    """Make them, and write each to the log: who keeps the log has a copy that the database's owner cannot change."""
    while True:
        await asyncio.sleep(CHECKPOINT_INTERVAL_S)
        try:
            made = await maker.checkpoint()
        except ExecutionError as error:
            log.warning("audit_checkpoint_failed", extra={"text": str(error)[:300]})
            continue
        if made is not None:
            told = {"number": made.number, "entries": made.entries, "upto": made.upto, "hash": made.hash.hex()}
            log.info("audit_checkpoint", extra=told)


__all__ = ["CHECKPOINT_INTERVAL_S", "keep_checkpoints"]
