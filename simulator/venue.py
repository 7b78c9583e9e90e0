"""Everything behind the venue's face, as one object."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from simulator.engine import Engine
from simulator.faults import FaultPlan
from simulator.gate import Gate
from simulator.orders import VenueOrder


@dataclass
class Venue:
    """Everything behind the face: engine, gate, faults, and the record of requests that could change anything."""

    engine: Engine
    gate: Gate
    faults: FaultPlan
    clock_ms: Callable[[], int]
    requests: list[dict[str, Any]] = field(default_factory=list)
    hidden_until_ms: dict[tuple[str, int], int] = field(default_factory=dict)
    trades_hidden_until_ms: dict[tuple[str, int], int] = field(default_factory=dict)

    def shown(self, order: VenueOrder) -> bool:
        """Whether queries show the order yet."""
        return self.hidden_until_ms.get((order.symbol, order.order_id), 0) <= self.clock_ms()
