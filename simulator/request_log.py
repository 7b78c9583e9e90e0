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

    def arrived(self, *, method: str, path: str, parameters: dict[str, str], time_ms: int) -> dict[str, Any]:
        """Open the record of a request.

        `accepted`: it was carried out. `delivered`: its true answer or refusal was written to an open connection.
        `status`: what the client was sent, if anything; `refused`: Binance's code; `fault`: what struck it.
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
        (self._reads if method == "GET" else self._changes).append(record)
        return record

    def ended(self, record: dict[str, Any]) -> None:
        """Keep what became of a request."""
        if record["method"] != "GET":
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
