"""What stands before every request: signature, window, weight. As Binance documents them."""

import hashlib
import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from simulator.refusals import Refusal, missing, stale_timestamp

AHEAD_MAX_MS = 1000
DEFAULT_WINDOW_MS = 5000
WINDOW_MAX_MS = 60_000
BAN_AFTER = 10
"""Requests over the limit in one minute before 429 becomes 418."""
ORDER_INTERVALS = {"10S": 10_000, "1D": 86_400_000}


@dataclass
class Gate:
    """Keys, clock and weight of one account."""

    api_key: str
    secret_key: str
    clock_ms: Callable[[], int]
    weight_limit: int
    used_weight: int = 0
    minute: int = 0
    over: int = 0
    order_limits: dict[int, int] = field(default_factory=dict)
    """Orders by length of the interval in milliseconds; without an entry any number is taken."""
    order_counts: dict[int, tuple[int, int]] = field(default_factory=dict)
    """By length of the interval in milliseconds: which interval it is, and how many orders were placed in it."""
    further_keys: dict[str, str] = field(default_factory=dict)
    """Other keys of the same account that are taken, with their secrets."""
    revoked: set[str] = field(default_factory=set)
    """Keys that are taken no more."""
    may_withdraw: bool = False
    """What the venue tells of the keys when it is asked; nothing can be withdrawn here."""

    def weigh(self, weight: int) -> dict[str, str]:
        """Count a request; return the headers that tell. Raises `Refusal` 429, and 418 to who does not slow down."""
        now = self.clock_ms()
        if now // 60_000 != self.minute:
            self.minute, self.used_weight, self.over = now // 60_000, 0, 0
        self.used_weight += weight
        headers = {"X-MBX-USED-WEIGHT": str(self.used_weight), "X-MBX-USED-WEIGHT-1M": str(self.used_weight)}
        left_s = str(60 - now % 60_000 // 1000)
        if self.used_weight > self.weight_limit:
            self.over += 1
            status = 418 if self.over > BAN_AFTER else 429
            message = "Too many requests; current limit of request weight per minute was reached."
            raise Refusal(-1003, message, status=status, headers={**headers, "Retry-After": left_s})
        return headers

    def check_order_limits(self) -> None:
        """Raise `Refusal` 429 when an interval has its orders, and 418 to who does not slow down."""
        for length_ms, limit in self.order_limits.items():
            if self.orders_placed(length_ms) >= limit:
                self.over += 1
                left_s = str(-(-(length_ms - self.clock_ms() % length_ms) // 1000))
                message = f"Too many new orders; current limit is {limit} orders per {length_ms // 1000} SECOND."
                status = 418 if self.over > BAN_AFTER else 429
                raise Refusal(-1015, message, status=status, headers={"Retry-After": left_s})

    def count_order(self) -> None:
        """Count an order that was taken."""
        for length_ms in {*ORDER_INTERVALS.values(), *self.order_limits}:
            self.order_counts[length_ms] = (self.clock_ms() // length_ms, self.orders_placed(length_ms) + 1)

    def orders_placed(self, length_ms: int) -> int:
        """Return how many orders were placed in the present interval of that length."""
        interval, count = self.order_counts.get(length_ms, (0, 0))
        return count if interval == self.clock_ms() // length_ms else 0

    def order_headers(self) -> dict[str, str]:
        """Return the headers that tell how many orders were placed."""
        return {f"X-MBX-ORDER-COUNT-{name}": str(self.orders_placed(ms)) for name, ms in ORDER_INTERVALS.items()}

    def check_signature(self, key: str | None, sent: Sequence[str], parameters: dict[str, str]) -> None:
        """Check key and HMAC over exactly what was sent: query and body, joined by nothing, as Binance does."""
        if key is None:
            raise Refusal(-2014, "API-key format invalid.", status=401)
        secret = self._secret_of(key)
        if secret is None:
            raise Refusal(-2015, "Invalid API-key, IP, or permissions for action.", status=401)
        told = parameters.get("signature")
        if told is None:
            raise missing("signature")
        signed = "".join(map(_without_signature, sent))
        expected = hmac.new(secret.encode(), signed.encode(), hashlib.sha256).hexdigest()
        if not _same(told, expected):
            raise Refusal(-1022, "Signature for this request is not valid.")

    def _secret_of(self, key: str) -> str | None:
        """Return the secret of a key that is taken."""
        taken = {self.api_key: self.secret_key, **self.further_keys}
        return next((taken[own] for own in taken if _same(key, own) and own not in self.revoked), None)

    def check_window(self, parameters: dict[str, str]) -> None:
        """Check the timestamp against the window; asked again just before matching."""
        try:
            timestamp = int(parameters["timestamp"])
            window = int(parameters.get("recvWindow", DEFAULT_WINDOW_MS))
        except (KeyError, ValueError):
            raise missing("timestamp") from None
        if not 0 < window <= WINDOW_MAX_MS:
            raise Refusal(-1131, "recvWindow must be less than 60000.")
        now = self.clock_ms()
        if timestamp > now + AHEAD_MAX_MS:
            raise Refusal(-1021, "Timestamp for this request was 1000ms ahead of the server's time.")
        if timestamp < now - window:
            raise stale_timestamp()


def _same(told: str, expected: str) -> bool:
    # As bytes: of text, only ASCII can be compared in constant time, and what was told may be anything.
    return hmac.compare_digest(told.encode(errors="replace"), expected.encode())


def _without_signature(sent: str) -> str:
    return "&".join(part for part in sent.split("&") if not part.startswith("signature="))
