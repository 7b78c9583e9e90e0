"""The public tape of one symbol: what anybody can see of its trades."""

from collections import deque
from dataclasses import dataclass
from decimal import Decimal

PRINTS_KEPT = 20_000


@dataclass(frozen=True)
class Print:
    """One public trade. Ids rise by one, and start at the time of the first, so that a restart repeats none."""

    trade_id: int
    time_ms: int
    price: Decimal
    quantity: Decimal


class Tape:
    """The latest prints of a symbol, oldest first."""

    def __init__(self) -> None:
        self._prints: deque[Print] = deque(maxlen=PRINTS_KEPT)

    @property
    def last_price(self) -> Decimal | None:
        """The price of the latest print; `None` before the first."""
        return self._prints[-1].price if self._prints else None

    def add(self, time_ms: int, price: Decimal, quantity: Decimal) -> None:
        """Show a trade."""
        trade_id = self._prints[-1].trade_id + 1 if self._prints else time_ms
        self._prints.append(Print(trade_id, time_ms, price, quantity))

    def latest(self, limit: int) -> list[Print]:
        """Return the latest prints."""
        return list(self._prints)[-limit:]

    def from_id(self, trade_id: int, limit: int) -> list[Print]:
        """Return the first prints from an id on."""
        return [entry for entry in self._prints if entry.trade_id >= trade_id][:limit]

    def between(self, start_ms: int, end_ms: int, limit: int) -> list[Print]:
        """Return the first prints of a stretch of time, both ends included."""
        return [entry for entry in self._prints if start_ms <= entry.time_ms <= end_ms][:limit]
