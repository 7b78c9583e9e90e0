"""What stands before every request: signature, window, weight. As Binance documents them."""

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass, field

from simulator.refusals import Refusal, missing, stale_timestamp

AHEAD_MAX_MS = 1000
DEFAULT_WINDOW_MS = 5000
WINDOW_MAX_MS = 60_000


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
    orders_placed: int = 0
    banned_until_ms: int = 0
    headers: dict[str, str] = field(default_factory=dict)

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
            status = 418 if self.over > 10 else 429
            message = "Too many requests; current limit of request weight per minute was reached."
            raise Refusal(-1003, message, status=status, headers={**headers, "Retry-After": left_s})
        return headers

    def check_signature(self, key: str | None, signed: str, parameters: dict[str, str]) -> None:
        """Check key and HMAC over exactly what was sent."""
        if key is None:
            raise Refusal(-2014, "API-key format invalid.", status=401)
        if not hmac.compare_digest(key, self.api_key):
            raise Refusal(-2015, "Invalid API-key, IP, or permissions for action.", status=401)
        told = parameters.get("signature")
        if told is None:
            raise missing("signature")
        body = "&".join(part for part in signed.split("&") if not part.startswith("signature="))
        expected = hmac.new(self.secret_key.encode(), body.encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(told, expected):
            raise Refusal(-1022, "Signature for this request is not valid.")

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
