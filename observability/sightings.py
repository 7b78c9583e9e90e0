"""What this process has seen of its venues and feeds: noted where it happens, told to the ledger now and then.

Noting costs no I/O. Times are of the monotonic clock, and told as ages, so that no two clocks are compared.
"""

import time
from dataclasses import dataclass
from typing import Final

from domain.observing import Sighting


@dataclass(slots=True)
class Sightings:
    """One account. Times are monotonic seconds, `None` means never."""

    answered_at: float | None = None
    failed_at: float | None = None
    error: str | None = None
    measured_at: float | None = None
    latency_ms: int | None = None
    clock_skew_ms: int | None = None
    followed_at: float | None = None

    def answered(self) -> None:
        """Note a whole answer of the venue, whatever it said."""
        self.answered_at = time.monotonic()

    def failed(self, error: str) -> None:
        """Note a request that the venue gave no answer to, or none that serves."""
        self.failed_at, self.error = time.monotonic(), error

    def measured(self, *, latency_ms: int | None, clock_skew_ms: int | None) -> None:
        """Note a look at the venue's clock."""
        self.measured_at = time.monotonic()
        self.latency_ms, self.clock_skew_ms = latency_ms, clock_skew_ms

    def followed(self) -> None:
        """Note the end of a whole round of the account's feed."""
        self.followed_at = time.monotonic()

    def told(self) -> Sighting:
        """Return it as the ledger takes it."""
        now = time.monotonic()
        return Sighting(
            answered_ms_ago=_ms_ago(self.answered_at, now),
            failed_ms_ago=_ms_ago(self.failed_at, now),
            error=self.error,
            measured_ms_ago=_ms_ago(self.measured_at, now),
            latency_ms=self.latency_ms,
            clock_skew_ms=self.clock_skew_ms,
            followed_ms_ago=_ms_ago(self.followed_at, now),
        )


_SEEN: Final[dict[str, Sightings]] = {}


def seen(account: str) -> Sightings:
    """Return what this process has seen of an account."""
    return _SEEN.setdefault(account, Sightings())


def _ms_ago(moment: float | None, now: float) -> int | None:
    return None if moment is None else int((now - moment) * 1000)
