"""Watches an account's orders in doubt: how many, how old, and an alert, once, for each that lasts too long.

The alert's memory is the case in the ledger: a worker that starts anew finds it open, and does not alert again.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from temporalio import activity

from domain.instrument import deny
from domain.lifecycle import OrderStatus
from domain.order import Order
from domain.ports import OrderStore
from observability import metrics

ALERT_AFTER: Final = timedelta(seconds=30)
"""A doubt that lasts longer needs a person's eye: on venues with a time fence it is over before."""
CASE: Final = "IN_DOUBT"
ALERT: Final = "ORDER_IN_DOUBT"


class DoubtWatch:
    """The doubts of one account, as one stretch of following sees them."""

    def __init__(self, store: OrderStore, account: str) -> None:
        self._store = store
        self._account = account
        self._alerted: set[str] | None = None

    async def look(self, at_venue: Sequence[Order], now: datetime) -> None:
        """Alert for those that became too old, and close the cases of those that ended."""
        since = {order.order_id: _since(order) for order in at_venue if order.status is OrderStatus.IN_DOUBT}
        if self._alerted is None:
            self._alerted = set(await self._store.orders_with_open_case(self._account, CASE))
        for order_id in sorted(since.keys() - self._alerted):
            if now - since[order_id] >= ALERT_AFTER:
                await self._alert(order_id, since[order_id], now)
                self._alerted.add(order_id)
        for order_id in sorted(self._alerted - since.keys()):
            await self._close(order_id, now)
            self._alerted.discard(order_id)

    async def _alert(self, order_id: str, since: datetime, now: datetime) -> None:
        age_s = str(int((now - since).total_seconds()))
        reason = deny(CASE, "whether the venue has the order is not known", in_doubt_since=since.isoformat())
        if await self._store.open_case(self._account, order_id, reason=reason, now=now):
            metrics.ALERTS.labels(self._account, ALERT).inc()
            metrics.CASES_OPENED.labels(self._account, CASE).inc()
            told = {"code": ALERT, "account": self._account, "order_id": order_id, "age_s": age_s}
            activity.logger.error("order_in_doubt", extra=told)

    async def _close(self, order_id: str, now: datetime) -> None:
        order = await self._store.order(self._account, order_id)
        because = f": {order.reason}" if order.reason is not None else ""
        resolution = f"the doubt is over, the order is {order.status}{because}"[:300]
        await self._store.close_case(self._account, order_id, CASE, resolution=resolution, now=now)


def _since(order: Order) -> datetime:
    """Return since when an order is in doubt; those from before that was kept show their last change."""
    return order.doubt.since if order.doubt is not None else order.updated_at


__all__ = ["ALERT", "ALERT_AFTER", "CASE", "DoubtWatch"]
