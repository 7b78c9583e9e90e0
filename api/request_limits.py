"""How many requests a caller may make: a bucket for each API key, refilled evenly. Pure but for the clock it is given.

What stops things (cancels, kill switch, dead-man's beat) has a bucket of its own, so that a program that runs wild can
still be stopped with its own key. Each API process counts for itself.
"""

import hashlib
import math
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

CALLERS_MAX: Final = 10_000
"""Callers that are remembered; the one that was silent longest is forgotten, and begins anew with a full bucket."""
_STOPPING: Final = ("/risk/kill", "/risk/deadman")


class RequestLimits:
    """Buckets by caller.

    Parameters
    ----------
    per_minute
        Requests, 1 or more, that a bucket holds and that flow in within a minute.
    clock
        Monotonic seconds.
    """

    def __init__(self, per_minute: int, *, clock: Callable[[], float]) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._buckets: OrderedDict[tuple[str, bool], tuple[float, float]] = OrderedDict()

    def take(self, caller: str, *, method: str, path: str) -> int:
        """Count a request; return 0, or the seconds to wait when the caller has used up what it may."""
        key = (caller, _stops_something(method, path))
        now, per_s = self._clock(), self._per_minute / 60
        left, since = self._buckets.get(key, (float(self._per_minute), now))
        left = min(left + (now - since) * per_s, float(self._per_minute))
        allowed = left >= 1
        self._buckets[key] = (left - 1 if allowed else left, now)
        self._buckets.move_to_end(key)
        if len(self._buckets) > CALLERS_MAX:
            self._buckets.popitem(last=False)
        return 0 if allowed else max(math.ceil((1 - left) / per_s), 1)


def caller_of(key: bytes, peer: str) -> str:
    """Return who asks: the API key by its hash, so that no key is kept here; without one the peer's address."""
    return hashlib.sha256(key).hexdigest() if key else f"peer {peer}"


def _stops_something(method: str, path: str) -> bool:
    return method == "DELETE" or path.startswith(_STOPPING)
