"""The record of requests: what arrived, what became of it, and whether the answer went out."""

from collections import deque
from typing import Any

from simulator.journal import Journal

READS_KEPT = 20_000
_NOTED = (
    "symbol",
    "newClientOrderId",
    "origClientOrderId",
    "cancelOrigClientOrderId",
    "orderId",
    "timestamp",
    "side",
    "type",
    "quantity",
    "price",
)


class RequestLog:
    """Requests that change something are kept for ever and journaled; of the others, only the latest."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._changes: list[dict[str, Any]] = []
        self._reads: deque[dict[str, Any]] = deque(maxlen=READS_KEPT)
        self._number = 0
        self._changing: set[int] = set()
        """Numbers of the requests among `_changes` that have not ended."""

    def arrived(
        self, *, method: str, path: str, parameters: dict[str, str], time_ms: int, changes: bool | None = None
    ) -> dict[str, Any]:
        """Open the record of a request; `changes` says whether it could change something, where its method does not.

        `accepted`: it was carried out. `delivered`: its true answer or refusal was written to an open connection.
        `status`: what the client was sent, if anything; `refused`: the venue's code or words; `fault`: what struck it.
        """
        self._number += 1
        record = {
            "number": self._number,
            "method": method,
            "path": path,
            "time_ms": time_ms,
            "accepted": False,
            "delivered": False,
            **{name: parameters[name] for name in _NOTED if name in parameters},
        }
        if method != "GET" if changes is None else changes:
            self._changing.add(self._number)
            self._changes.append(record)
        else:
            self._reads.append(record)
        return record

    def ended(self, record: dict[str, Any]) -> None:
        """Keep what became of a request."""
        if record["number"] in self._changing:
            self._changing.discard(record["number"])
            self._journal.write("request", {"request": record})

    def remember(self, entry: dict[str, Any]) -> None:
        """Take an entry of the journal of an earlier run."""
        record = entry["request"]
        self._changes.append(record)
        self._number = max(self._number, record["number"])

    def changes(self) -> list[dict[str, Any]]:
        """Return all requests that could change something, as they arrived."""
        return self._changes

    def all(self) -> list[dict[str, Any]]:
        """Return all requests that are kept, as they arrived."""
        return sorted((*self._changes, *self._reads), key=lambda record: int(record["number"]))
