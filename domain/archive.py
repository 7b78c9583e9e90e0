"""Workflow histories that are kept after Temporal has forgotten them: what an archive holds, and how it is packed."""

import hashlib
import zlib
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final, Protocol

from pydantic import AwareDatetime

from domain.errors import RecordDamaged
from domain.order import Frozen

LEVEL: Final = 6
"""Of zlib. A history of 30 events shrinks to about a fifth; a higher level saves 2 % for twice the time."""
PACKED_MAX: Final = 256 * 1024 * 1024
"""Bytes that a history may unpack to: five times what Temporal lets one grow to."""


class ArchivedRun(Frozen):
    """One closed run of a workflow, and what its history must be."""

    account: str
    workflow_id: str
    run_id: str
    workflow_type: str
    order_id: str | None = None
    ending: str
    """The kind of its last event, such as `WORKFLOW_EXECUTION_COMPLETED`."""
    events: int
    size_bytes: int
    """Before it was packed."""
    sha256: str
    """Of the history before it was packed: Temporal's `History` message."""
    closed_at: AwareDatetime
    location: str | None = None
    """Path below the configured archive; `None` when the ledger holds it."""


class DueHistory(Frozen):
    """A workflow whose closed runs are to be archived."""

    account: str
    workflow_id: str
    order_id: str | None = None
    standing: bool = False
    """Whether the workflow lives for ever, so that it is looked at again and again."""
    changes: int = 0
    """Grows when something is known of the order after its end: then there is perhaps another run."""
    kept: tuple[str, ...] = ()
    """Runs that are archived already."""


class ArchiveStore(Protocol):
    """Where histories are kept, and which are still owed. Raises `StoreUnavailable`."""

    async def watch(self, account: str, workflow_ids: Collection[str]) -> None:
        """Let workflows that live for ever be looked at, from now on."""

    async def take_due(self, accounts: Collection[str], *, limit: int) -> Sequence[DueHistory]:
        """Take up to `limit` of what is owed; nobody else gets them for ten seconds."""

    async def keep(self, run: ArchivedRun, packed: bytes) -> None:
        """Store a history; once stored, it is never changed."""

    async def done(self, due: DueHistory) -> None:
        """Say that all runs of a workflow are archived."""

    async def postpone(self, due: DueHistory) -> None:
        """Say that a workflow has not closed yet: it is tried again soon, and rarely what has waited long."""

    async def gone(self, due: DueHistory) -> None:
        """Say that Temporal knows nothing of a workflow: its history is lost."""

    async def owed(self, accounts: Collection[str]) -> tuple[int, float]:
        """Return how many histories of ended orders are owed, and for how many seconds the oldest has been."""


class ArchiveReader(Protocol):
    """The archive as `volex replay` reads it. Raises `StoreUnavailable`."""

    async def runs(
        self, *, account: str | None, order_id: str | None, after: tuple[datetime, str] | None, limit: int
    ) -> Sequence[ArchivedRun]:
        """Return archived runs, by when they ended and run id; those behind `after`."""

    async def history(self, run: ArchivedRun) -> bytes:
        """Return a history as it was packed. Raises `RecordDamaged`."""

    async def lost(self, *, account: str | None) -> int:
        """Return how many ended orders have a history that nobody has."""


def pack(history: bytes) -> bytes:
    """Compress a history."""
    return zlib.compress(history, LEVEL)


def unpack(packed: bytes, *, sha256: str) -> bytes:
    """Return what was packed. Raises `RecordDamaged` when it is something else."""
    unpacking = zlib.decompressobj()
    try:
        history = unpacking.decompress(packed, PACKED_MAX)
    except zlib.error as error:
        raise RecordDamaged(f"the archived history cannot be unpacked: {error}") from None
    if not unpacking.eof or digest(history) != sha256:
        raise RecordDamaged("the archived history does not have the hash that was recorded with it")
    return history


def digest(history: bytes) -> str:
    """Return the SHA-256 of a history, in hex."""
    return hashlib.sha256(history).hexdigest()


__all__ = [
    "ArchiveReader",
    "ArchiveStore",
    "ArchivedRun",
    "DueHistory",
    "digest",
    "pack",
    "unpack",
]
