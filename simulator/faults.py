"""Faults on request: what a real venue and a real network do once in a while, done when a test asks for it."""

import random
from dataclasses import dataclass, field
from typing import Any

KINDS = {
    "drop_before": "the connection closes, and the request is not carried out",
    "drop_after": "the request is carried out, and the connection closes without an answer",
    "hang": "the request is carried out, and no answer comes for `seconds`",
    "delay": "the request waits for `seconds` before it is carried out, if its window still allows it",
    "http_status": "the request is carried out if `accepted`, and the answer is `status` with an HTML page",
    "error": "the request is carried out if `accepted`, and the answer is the error `code` with `msg`",
    "truncated": "the request is carried out, and the answer ends in the middle",
    "empty_200": "the request is carried out, and the answer is empty",
    "html_200": "the request is carried out, and the answer is an HTML page with status 200",
    "visibility_lag": "orders placed while it is set are not shown by queries for `seconds`",
    "fill_lag": "trades made while it is set appear in myTrades after `seconds`",
    "cancel_race": "an order fills just before its cancel arrives",
    "repeat_trades": "pages of trades are shuffled and say everything twice",
}


@dataclass
class Fault:
    """One fault that waits for its request."""

    kind: str
    method: str | None = None
    path: str | None = None
    symbol: str | None = None
    client_order_id_prefix: str | None = None
    times: int | None = None
    probability: float = 1.0
    seconds: float = 5.0
    status: int = 502
    accepted: bool = True
    code: int = -1007
    msg: str = "Timeout waiting for response from backend server. Send status unknown; execution status unknown."
    hits: int = 0

    def fits(self, method: str, path: str, parameters: dict[str, str]) -> bool:
        """Tell whether a request is one of those that this fault waits for."""
        return (
            (self.method is None or self.method == method)
            and (self.path is None or path.endswith(self.path))
            and (self.symbol is None or parameters.get("symbol") == self.symbol)
            and parameters.get("newClientOrderId", "").startswith(self.client_order_id_prefix or "")
        )


@dataclass
class FaultPlan:
    """The faults that are set, and the dice for those with a probability."""

    seed: int
    faults: list[Fault] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._dice = random.Random(self.seed)

    def add(self, description: dict[str, Any]) -> Fault:
        """Set a fault. Raises `ValueError` with what is known when a name is not."""
        if description.get("kind") not in KINDS:
            raise ValueError(f"unknown fault {description.get('kind')!r}; known: {', '.join(sorted(KINDS))}")
        try:
            fault = Fault(**description)
        except TypeError as error:
            raise ValueError(str(error)) from None
        self.faults.append(fault)
        return fault

    def strike(self, method: str, path: str, parameters: dict[str, str], *kinds: str) -> Fault | None:
        """Return the first fault of these kinds that strikes this request, and count it."""
        for fault in self.faults:
            spent = fault.times is not None and fault.hits >= fault.times
            fits = fault.kind in kinds and not spent and fault.fits(method, path, parameters)
            if fits and (fault.probability >= 1 or self._dice.random() < fault.probability):
                fault.hits += 1
                return fault
        return None
