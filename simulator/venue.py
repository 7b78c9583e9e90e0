"""Everything behind the venue's face, as one object."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from simulator.engine import Engine
from simulator.faults import FaultPlan
from simulator.gate import Gate
from simulator.orders import Trade, VenueOrder
from simulator.parameters import INTEGER
from simulator.request_log import RequestLog


@dataclass
class Venue:
    """Everything behind the face: engine, gate, faults, and the record of requests."""

    engine: Engine
    gate: Gate
    faults: FaultPlan
    requests: RequestLog
    clock_ms: Callable[[], int]
    hidden_until_ms: dict[tuple[str, int], int] = field(default_factory=dict)
    trade_lag_ms: dict[tuple[str, int], int] = field(default_factory=dict)

    def shown(self, order: VenueOrder) -> bool:
        """Whether queries show the order yet."""
        return self.hidden_until_ms.get((order.symbol, order.order_id), 0) <= self.clock_ms()

    def trade_shown(self, trade: Trade, now_ms: int) -> bool:
        """Whether the list of trades shows the trade yet."""
        key = (trade.symbol, trade.order_id)
        visible_ms = max(self.hidden_until_ms.get(key, 0), trade.time_ms + self.trade_lag_ms.get(key, 0))
        return visible_ms <= now_ms

    def subject(self, parameters: dict[str, str]) -> dict[str, str]:
        """Return parameters with the client id and side of the order that they name by its number only."""
        number = parameters.get("orderId") or parameters.get("cancelOrderId") or ""
        orders = self.engine.orders.get(parameters.get("symbol", ""), [])
        if not re.fullmatch(INTEGER, number, re.ASCII) or not 1 <= int(number) <= len(orders):
            return parameters
        order = orders[int(number) - 1]
        return {"origClientOrderId": order.client_order_id, "side": order.side, **parameters}
