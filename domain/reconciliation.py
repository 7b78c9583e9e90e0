"""How a venue's report becomes facts of ours. The one place where something is believed.

Proof obligations: a trade is counted once (its key); nothing is cut or summed in silence (a trade beyond the
quantity is a case); an order ends only when its trades add up to what the venue itself says was filled.
"""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal

from domain.events import Fill, OrderEvent, Reason
from domain.instrument import deny
from domain.lifecycle import OrderEventType, OrderStatus
from domain.numbers import add, subtract
from domain.order import Frozen, Order
from domain.reports import OrderReport, VenueOrderStatus

DEADLINE_REACHED = "DEADLINE_REACHED"
"""Reason code of a cancel that we ask for because the order's own deadline has passed: it ends EXPIRED."""

TRADES_MISSING = "TRADES_MISSING"
OWED_FOR_S = 60
"""Trades may show up this many seconds after the venue's own figure; then it is a case for a person."""

_UNSEEN_AT_VENUE = (OrderStatus.SUBMITTED, OrderStatus.IN_DOUBT)
_ENDINGS = {
    VenueOrderStatus.CANCELED: OrderEventType.CANCELED,
    VenueOrderStatus.EXPIRED: OrderEventType.EXPIRED,
    VenueOrderStatus.REJECTED: OrderEventType.REJECTED,
    VenueOrderStatus.CLOSED: OrderEventType.CANCELED,  # closed with less than the quantity: the rest is gone
}


class Belief(Frozen):
    """What follows from a report. `settled` is false while the venue says more than its trades show."""

    order: Order
    events: tuple[OrderEvent, ...]
    settled: bool
    case: Reason | None = None


def believe(order: Order, report: OrderReport, *, trades: Iterable[Fill], known: frozenset[tuple[str, str, str]],
            now: datetime) -> Belief:  # fmt: skip
    """Turn a report and the trades read with it into facts.

    Parameters
    ----------
    trades
        Trades as the venue told them, in any order, repeated or not; those of other orders are left out here.
    known
        Keys of the fills that are recorded already.
    """
    believer = _Believer(order, now)
    if order.status in _UNSEEN_AT_VENUE and report.status is not VenueOrderStatus.REJECTED:
        believer.add(OrderEventType.ACCEPTED, venue_order_id=report.venue_order_id)
    for fill in _new_fills(report, (*report.trades, *trades), known):
        believer.fill(fill)
    settled = believer.conclude(report)
    return Belief(order=believer.order, events=tuple(believer.events), settled=settled, case=believer.case)


def with_owed(order: Order, *, settled: bool, now: datetime) -> Order:
    """Return the order with the mark of since when trades are owed; nothing is invented for them."""
    if settled:
        return order if order.owed_since is None else order.model_copy(update={"owed_since": None})
    return order if order.owed_since is not None else order.model_copy(update={"owed_since": now})


def trades_missing(order: Order, report: OrderReport, *, now: datetime) -> Reason | None:
    """Return the case of an order whose trades have not added up for too long; `None` while there is hope."""
    if order.owed_since is None or (now - order.owed_since).total_seconds() < OWED_FOR_S:
        return None
    return deny(
        TRADES_MISSING,
        "the venue says that more was filled than its trades show; the order is not concluded",
        venue_status=str(report.status),
        venue_cum_qty=report.cum_qty if report.cum_qty is not None else "not told",
        cum_qty=subtract(order.cum_qty, order.replaced_qty),
        owed_since=order.owed_since.isoformat(),
    )


def _new_fills(report: OrderReport, trades: Iterable[Fill], known: frozenset[tuple[str, str, str]]) -> list[Fill]:
    fresh: dict[tuple[str, str, str], Fill] = {}
    for fill in trades:
        if fill.venue_order_id == report.venue_order_id and fill.symbol == report.symbol and fill.key not in known:
            fresh.setdefault(fill.key, fill)
    return sorted(fresh.values(), key=lambda fill: (fill.ts_event, len(fill.trade_id), fill.trade_id))


class _Believer:
    """Applies facts one after the other, so that each is checked by the lifecycle table against the one before."""

    def __init__(self, order: Order, now: datetime) -> None:
        self.order = order
        self.now = now
        self.events: list[OrderEvent] = []
        self.case: Reason | None = None

    def add(self, event_type: OrderEventType, *, reason: Reason | None = None, fill: Fill | None = None,
            venue_order_id: str | None = None) -> None:  # fmt: skip
        event = OrderEvent(
            event_type=event_type, ts_event=self.now, reason=reason, fill=fill, venue_order_id=venue_order_id
        )
        self.order = self.order.apply(event)
        self.events.append(event)

    def fill(self, fill: Fill) -> None:
        total = add(self.order.cum_qty, fill.last_qty)
        if total > self.order.quantity:
            self.case = deny(
                "FILLED_BEYOND_QUANTITY",
                "the venue traded more than was ordered",
                quantity=self.order.quantity,
                cum_qty=total,
            )
        complete = total >= self.order.quantity
        self.add(OrderEventType.FILLED if complete else OrderEventType.PARTIALLY_FILLED, fill=fill)

    def conclude(self, report: OrderReport) -> bool:
        """End the order if the venue says it ended and its trades are all here. Return whether nothing is owed."""
        attempt_qty = subtract(self.order.cum_qty, self.order.replaced_qty)
        if report.cum_qty is not None and report.cum_qty > attempt_qty:
            return False
        if report.status is VenueOrderStatus.OPEN or self.order.is_final:
            return True
        if report.cum_qty is None and report.status is not VenueOrderStatus.REJECTED:
            return False
        self._end(report)
        return True

    def _end(self, report: OrderReport) -> None:
        order = self.order
        replacing = order.amend_quantity is not None and not order.cancel_requested
        if replacing and (order.amend_quantity or Decimal(0)) > order.cum_qty:
            self.add(OrderEventType.REPLACED)
            return
        ending = _ENDINGS[report.status]
        if ending is OrderEventType.REJECTED and order.cum_qty > 0:  # what has traded was not rejected
            ending = OrderEventType.CANCELED
        if ending is OrderEventType.CANCELED and order.reason is not None and order.reason.code == DEADLINE_REACHED:
            ending = OrderEventType.EXPIRED
        self.add(ending, reason=None if order.cancel_requested else _ended_by_venue(report))


def _ended_by_venue(report: OrderReport) -> Reason:
    return deny("ENDED_BY_VENUE", f"the venue says {report.status}", venue_status=str(report.status))
