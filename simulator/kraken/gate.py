"""What stands before Kraken's private calls: key, signature, nonce and the call counter. As Kraken documents them."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass

from simulator.kraken.words import said

DECAY_PER_S = 0.33
"""By which the call counter of a starter account falls."""
ORDER_DECAY_PER_S = 1.0
CANCEL_COSTS = ((5, 8), (10, 6), (15, 5), (45, 4), (90, 2), (300, 1))
"""What a cancel adds to the orders' counter, by the order's age in seconds: the younger, the more."""
NONCES_KEPT = 10_000
LOCK_AFTER = 10
LOCK_MS = 900_000
"""Refused calls one after the other that lock the key for a quarter of an hour."""


@dataclass
class Counter:
    """A counter that falls with time and must stay at or below its limit."""

    limit: float
    decay_per_s: float
    clock_ms: Callable[[], int]
    count: float = 0
    at_ms: int = 0

    def add(self, cost: float) -> bool:
        """Add a cost if it fits, and tell whether it did."""
        now = self.clock_ms()
        self.count = max(self.count - (now - self.at_ms) / 1000 * self.decay_per_s, 0)
        self.at_ms = now
        if self.count + cost > self.limit:
            return False
        self.count += cost
        return True


class KrakenGate:
    """Key, nonce and counters of one account.

    Parameters
    ----------
    secret_key
        As Kraken gives it: base64.
    nonce_window_ms
        By how much a nonce may be below the greatest one if it was never used, as the key's setting says.
    call_limit, order_limit
        Limits of the two counters; Kraken: 15 and 60 for a starter account.
    """

    def __init__(
        self,
        api_key: str,
        secret_key: str,
        clock_ms: Callable[[], int],
        *,
        call_limit: float,
        order_limit: float,
        nonce_window_ms: int = 0,
    ) -> None:
        self._api_key = api_key
        self._secret = base64.b64decode(secret_key, validate=True)
        self._clock_ms = clock_ms
        self.calls = Counter(call_limit, DECAY_PER_S, clock_ms)
        self.orders = Counter(order_limit, ORDER_DECAY_PER_S, clock_ms)
        self._nonce_window_ms = nonce_window_ms
        self._nonces: set[int] = set()
        self._last_nonce = -1
        self._refused = 0
        self._locked_until_ms = 0

    def check(self, *, key: str | None, signature: str | None, path: str, nonce: str, body: str) -> None:
        """Check key, signature and nonce, in this order. Raises `Refusal`."""
        if key is None or not hmac.compare_digest(key.encode(errors="replace"), self._api_key.encode()):
            raise said("EAPI:Invalid key")
        signed = path.encode() + hashlib.sha256((nonce + body).encode(errors="replace")).digest()
        expected = hmac.new(self._secret, signed, hashlib.sha512).digest()
        try:
            told = base64.b64decode(signature or "", validate=True)
        except binascii.Error:
            told = b""
        if not hmac.compare_digest(told, expected):
            raise said("EAPI:Invalid signature")
        self._use(int(nonce) if nonce.isascii() and nonce.isdigit() else -1)

    def _use(self, nonce: int) -> None:
        lowest = self._last_nonce - self._nonce_window_ms
        if nonce < 0 or nonce in self._nonces or nonce <= min(lowest, self._last_nonce):
            raise said("EAPI:Invalid nonce")
        self._last_nonce = max(nonce, self._last_nonce)
        self._nonces.add(nonce)
        if len(self._nonces) > NONCES_KEPT:
            self._nonces = {used for used in self._nonces if used > self._last_nonce - self._nonce_window_ms}

    def count(self, cost: float) -> None:
        """Count a call. Raises `Refusal` over the limit, and for long to one who does not slow down."""
        if self._clock_ms() < self._locked_until_ms:
            raise said("EGeneral:Temporary lockout")
        if self.calls.add(cost):
            self._refused = 0
            return
        self._refused += 1
        if self._refused > LOCK_AFTER:
            self._locked_until_ms = self._clock_ms() + LOCK_MS
        raise said("EAPI:Rate limit exceeded")

    def count_order(self, *, canceled_age_s: float | None = None) -> None:
        """Count an order, or the cancel of one of that age in seconds. Raises `Refusal` over the limit."""
        cost = 1
        if canceled_age_s is not None:
            cost = next((cost for below_s, cost in CANCEL_COSTS if canceled_age_s < below_s), 0)
        if not self.orders.add(cost):
            raise said("EOrder:Rate limit exceeded")
