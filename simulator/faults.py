"""Faults on request: what a real venue and a real network do once in a while, done when a test asks for it."""

import random
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

WHOLE_ANSWER = {
    "drop_before": "the connection closes, and the request is not carried out",
    "drop_after": "the request is carried out, and the connection closes without an answer",
    "hang": "the request is carried out if `accepted`, and after `seconds` the connection closes without an answer",
    "delay": "the request waits for `seconds` before it is carried out, if its window still allows it",
    "http_status": "the request is carried out if `accepted`, and the answer is `status` with an HTML page",
    "error": "the request is carried out if `accepted`, and the answer is the error `code` with `msg`; Kraken: `msg`",
    "truncated": "the request is carried out, and the answer is JSON that ends in the middle",
    "cut_short": "the request is carried out, and the connection closes in the middle of the answer",
    "empty_200": "the request is carried out, and the answer is empty",
    "html_200": "the request is carried out, and the answer is an HTML page with status 200",
    "rate_limit": "not carried out: -1003 with status 429 (or `status`) and Retry-After `seconds`; Kraken: its words",
    "maintenance": "the request is not carried out, and the answer is 503 with an HTML page",
}
"""What becomes of a request as a whole. `accepted` is true unless it is given."""
KINDS = {
    **WHOLE_ANSWER,
    "visibility_lag": "orders placed while it is set are shown by no query and found by no cancel for `seconds`",
    "fill_lag": "trades of orders placed while it is set appear in myTrades after `seconds`",
    "cancel_race": "an order fills just before its cancel arrives",
    "repeat_trades": "pages of trades are shuffled and say everything twice",
}


@dataclass
class Fault:
    """One fault that waits for its request. What is `None` fits every request."""

    kind: str
    method: str | None = None
    path: str | None = None
    """The end of the path, as in `/order`."""
    symbol: str | None = None
    side: str | None = None
    client_order_id_prefix: str | None = None
    times: int | None = None
    probability: float = 1.0
    seconds: float = 5.0
    status: int | None = None
    accepted: bool = True
    code: int = -1007
    msg: str = "Timeout waiting for response from backend server. Send status unknown; execution status unknown."
    hits: int = 0

    def fits(self, method: str, path: str, parameters: dict[str, str]) -> bool:
        """Tell whether a request is one of those that this fault waits for."""
        names = ("newClientOrderId", "origClientOrderId", "cancelOrigClientOrderId")
        client_ids = [parameters[name] for name in names if name in parameters] or [""]
        return (
            self.method in (None, method)
            and (self.path is None or path.endswith(self.path))
            and self.symbol in (None, parameters.get("symbol"))
            and self.side in (None, parameters.get("side"))
            and any(client_id.startswith(self.client_order_id_prefix or "") for client_id in client_ids)
        )


@dataclass
class FaultPlan:
    """The faults that are set, and the dice for those with a probability."""

    seed: int
    faults: list[Fault] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._dice = random.Random(self.seed)

    def add(self, description: dict[str, Any]) -> Fault:
        """Set a fault: the fields of `Fault`, flat or grouped under `match` and `params`.

        Raises `ValueError` with what is known when a name is not.
        """
        named = {name: value for name, value in description.items() if name not in ("match", "params")}
        named |= description.get("match", {}) | description.get("params", {})
        if named.get("kind") not in KINDS:
            raise ValueError(f"unknown fault {named.get('kind')!r}; known: {', '.join(sorted(KINDS))}")
        try:
            fault = Fault(**named)
        except TypeError as error:
            raise ValueError(str(error)) from None
        self.faults.append(fault)
        return fault

    def strike(self, method: str, path: str, parameters: dict[str, str], kinds: Collection[str]) -> Fault | None:
        """Return the first fault of these kinds that strikes this request, and count it."""
        for fault in self.faults:
            spent = fault.times is not None and fault.hits >= fault.times
            fits = fault.kind in kinds and not spent and fault.fits(method, path, parameters)
            if fits and (fault.probability >= 1 or self._dice.random() < fault.probability):
                fault.hits += 1
                return fault
        return None
