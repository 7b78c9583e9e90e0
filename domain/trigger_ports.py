"""What holding stops needs of the ledger, as a small protocol."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from domain.order import Order
from domain.triggers import Crossing, Mark


class TriggerStore(Protocol):
    """The ledger as the watch over held stops uses it. Each method is one transaction. Raises `StoreUnavailable`."""

    async def waiting_orders(self, account: str) -> Sequence[Order]:
        """Return the stops that we hold and whose price has not come."""

    async def marks(self, account: str) -> Mapping[str, Mark]:
        """Return by symbol how far the public trades were looked at."""

    async def record_mark(self, account: str, mark: Mark) -> None:
        """Record how far a symbol's trades were looked at, in place of what was recorded before."""

    async def record_trigger(self, account: str, order_id: str, crossing: Crossing, *, now: datetime) -> Order:
        """Record what triggered the order, once, and that its workflow shall hear of it.

        An order that does not wait any more, or was asked to end, is returned as it is.
        """


__all__ = ["TriggerStore"]
