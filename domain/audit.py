"""The audit log: what an entry's hash is made of, and what is wrong with a chain. Computed here without the database.

The canonical form of a row is, for each column in its order, the length of the column's text in bytes, `:`, the text
and `,`; a column that is empty is `-,`. Numbers are in decimal, JSON is as Postgres writes JSONB, times are
microseconds since 1970 UTC, hashes are lowercase hex. The hash is SHA-256 over it in UTF-8.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple, Protocol

GENESIS: Final = bytes(32)
"""Stands before the first entry of a chain, and before the first checkpoint."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Entry(NamedTuple):
    """One entry, with its columns in the order in which they are hashed; JSON as the database's text."""

    entry_id: int
    chain: str
    seq: int
    action: str
    actor: str
    writer: str
    record: str
    evidence: str | None
    recorded_at: datetime
    prev_hash: bytes
    hash: bytes


class Checkpoint(NamedTuple):
    """Covers every entry up to `upto`: `entries` in all, and the heads of the `chains` that grew since the last."""

    number: int
    upto: int
    entries: int
    chains: int
    root: bytes
    made_by: str
    made_at: datetime
    prev_hash: bytes
    hash: bytes


class Head(NamedTuple):
    """The latest entry of a chain at a checkpoint."""

    chain: str
    seq: int
    entry_id: int
    hash: bytes


_NO_HEAD: Final = Head("", 0, 0, GENESIS)


@dataclass(frozen=True, slots=True)
class Tampering:
    """A row that is not what it was when it was written. `where` names table and row as people find it."""

    kind: str
    """`changed`, `missing` or `extra`."""
    table: str
    chain: str | None
    """The chain that the row belongs to; `None` where it belongs to none."""
    seq: int | None
    """Its place in the chain, for an order the number of the fact."""
    row: str
    """The row's key, such as `entry_id=17`."""
    text: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was read, and every row that is wrong. `last` is the newest checkpoint."""

    entries: int
    chains: int
    checkpoints: int
    uncovered: int
    """Entries that no checkpoint covers yet."""
    last: Checkpoint | None
    found: Sequence[Tampering]


class CheckpointMaker(Protocol):
    """Makes checkpoints. Raises `StoreUnavailable`."""

    async def checkpoint(self) -> Checkpoint | None:
        """Cover what was written before the call before; `None` when there is nothing new or another is at it."""


def canonical(values: Iterable[object]) -> bytes:
    """Return the canonical form of a row."""
    return "".join(_field(value) for value in values).encode()


def _field(value: object) -> str:
    if value is None:
        return "-,"
    if isinstance(value, bytes):
        text = value.hex()
    elif isinstance(value, datetime):
        text = str((value - _EPOCH) // timedelta(microseconds=1))
    else:
        text = str(value)
    return f"{len(text.encode())}:{text},"


def hash_of(row: Entry | Checkpoint) -> bytes:
    """Return what the row's hash must be: over every column before it."""
    return hashlib.sha256(canonical(row[:-1])).digest()


def root_of(heads: Iterable[Head]) -> bytes:
    """Return the hash over the heads of a checkpoint, in the order of their chains' names."""
    return hashlib.sha256(b"".join(canonical(head) for head in sorted(heads))).digest()


class ChainReader:
    """Reads the entries chain after chain, each by its seq, and says what is wrong with each."""

    def __init__(self) -> None:
        self._before: Entry | None = None
        self._before_hash = GENESIS
        self.entries = 0
        self.chains = 0

    def take(self, entry: Entry) -> Iterator[Tampering]:
        """Yield what is wrong at this entry."""
        before = self._before if self._before is not None and self._before.chain == entry.chain else None
        self.entries += 1
        self.chains += before is None
        expected = hash_of(entry)
        if expected != entry.hash:
            yield _at(entry, "changed", "its hash does not fit its columns: it was changed, or put there by hand")
        elif entry.prev_hash not in ((before.hash, self._before_hash) if before is not None else (GENESIS,)):
            yield _gap(before, entry)
        elif before is not None and entry.entry_id <= before.entry_id:
            yield _at(entry, "changed", f"it is numbered before entry {before.entry_id}, which it follows")
        self._before, self._before_hash = entry, expected


def _at(entry: Entry, kind: str, text: str) -> Tampering:
    return Tampering(kind, "audit_events", entry.chain, entry.seq, f"entry_id={entry.entry_id}", text)


def _gap(before: Entry | None, entry: Entry) -> Tampering:
    """Name the place where the entry is missing that this one was written after."""
    missing = entry.seq - 1
    text = "no entry has the hash that the next one follows"
    if before is not None and before.seq == missing:
        text = f"the entry that fact {entry.seq} follows was replaced by another, entry {before.entry_id}"
        return Tampering("changed", "audit_events", entry.chain, missing, f"entry_id={before.entry_id}", text)
    return Tampering("missing", "audit_events", entry.chain, missing, f"before entry_id={entry.entry_id}", text)


def check_checkpoints(checkpoints: Sequence[Checkpoint]) -> Iterator[Tampering]:
    """Yield what is wrong with the chain of checkpoints, each by itself and after the one before."""
    before: Checkpoint | None = None
    for checkpoint in checkpoints:
        row = f"number={checkpoint.number}"
        if hash_of(checkpoint) != checkpoint.hash:
            text = "its hash does not fit its columns"
            yield Tampering("changed", "audit_checkpoints", None, checkpoint.number, row, text)
        number, hashes = (before.number, (before.hash, hash_of(before))) if before is not None else (0, (GENESIS,))
        for missing in range(number + 1, checkpoint.number):
            text = "a later checkpoint follows it"
            yield Tampering("missing", "audit_checkpoints", None, missing, f"number={missing}", text)
        follows = checkpoint.number == number + 1
        if follows and hash_of(checkpoint) == checkpoint.hash and checkpoint.prev_hash not in hashes:
            text = "it does not follow the checkpoint before it"
            yield Tampering("changed", "audit_checkpoints", None, checkpoint.number, row, text)
        before = checkpoint


def check_heads(
    checkpoint: Checkpoint, heads: Sequence[Head], found: Sequence[Head], *, entries: int
) -> Iterator[Tampering]:
    """Yield where a checkpoint, the heads that it names and the entries as they are now do not agree.

    Parameters
    ----------
    heads
        As they are on record with the checkpoint.
    found
        The latest entry of each chain in the checkpoint's span, as the entries are now.
    entries
        How many entries there are now up to its end.
    """
    named, present = {head.chain: head for head in heads}, {head.chain: head for head in found}
    true, as_now = root_of(heads) == checkpoint.root, root_of(found) == checkpoint.root
    differing = sorted(chain for chain in named.keys() | present.keys() if named.get(chain) != present.get(chain))
    for chain in differing:
        head, now = named.get(chain), present.get(chain)
        if as_now and not true:  # the checkpoint was made of what the entries are: its own list was changed
            kind = "extra" if now is None else "changed" if head is not None else "missing"
            text = f"checkpoint {checkpoint.number} was made of another head than it names now"
            at = f"number={checkpoint.number} chain={chain}"
            yield Tampering(kind, "audit_heads", chain, (now or head or _NO_HEAD).seq, at, text)
        else:
            yield _differing(checkpoint, chain, head, now)
    if not differing and (not true or checkpoint.chains != len(heads) or checkpoint.entries != entries):
        text = f"it was not made of what it covers: {entries} entries and {len(heads)} heads"
        yield Tampering("changed", "audit_checkpoints", None, checkpoint.number, f"number={checkpoint.number}", text)


def _differing(checkpoint: Checkpoint, chain: str, head: Head | None, now: Head | None) -> Tampering:
    if head is None:
        assert now is not None, "one of the two is there"
        text = f"checkpoint {checkpoint.number} covers its number and does not know it: it was put there afterwards"
        return Tampering("extra", "audit_events", chain, now.seq, f"entry_id={now.entry_id}", text)
    kind = "missing" if now is None or now.seq < head.seq else "changed"
    text = f"checkpoint {checkpoint.number} saw it with its hash and its number"
    return Tampering(kind, "audit_events", chain, head.seq, f"entry_id={head.entry_id}", text)


__all__ = [
    "GENESIS",
    "ChainReader",
    "Checkpoint",
    "CheckpointMaker",
    "Entry",
    "Head",
    "Tampering",
    "Verdict",
    "canonical",
    "check_checkpoints",
    "check_heads",
    "hash_of",
    "root_of",
]
