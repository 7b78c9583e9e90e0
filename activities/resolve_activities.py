"""A person's decision on an order in doubt, compared with the venue before it counts. Queue `venue-{account}`.

The venue's word goes before a person's: an order that it shows is adopted, and one that it does not show is not.
"""

from collections.abc import Callable, Mapping
from datetime import datetime

from temporalio import activity

from activities.calls import ResolveCall
from activities.failures import in_activity
from activities.reading import exchange_of, trades_of
from domain.decisions import DECIDED_BY_PERSON, Decision, Ending, Resolution, misfit
from domain.errors import DecisionContradicted
from domain.events import Reason
from domain.instrument import deny
from domain.lifecycle import OrderStatus
from domain.order import Order
from domain.ports import Attempt, Exchange, OrderStore
from domain.protocol import proves_absence
from domain.reports import OrderRef, OrderReport
from observability import metrics


class ResolveActivities:
    """The activity behind the update `resolve`."""

    def __init__(self, store: OrderStore, *, exchanges: Mapping[str, Exchange], clock: Callable[[], datetime]) -> None:
        self._store = store
        self._exchanges = exchanges
        self._clock = clock

    @activity.defn(name="resolve")
    async def resolve(self, call: ResolveCall) -> Resolution:
        """Ask the venue, then record the decision or refuse it. A read that fails is no answer, and refuses it too.

        Raises `DecisionContradicted` with the figures, or the venue's own failure; the order is then as it was.
        """
        async with in_activity():
            exchange, decision = exchange_of(self._exchanges, call.account), call.decision
            order = await self._store.order(call.account, call.order_id)
            attempt = await self._store.current_attempt(call.account, call.order_id)
            if order.status is not OrderStatus.IN_DOUBT or attempt is None:
                return _known_before(order)
            if decision.placed is not None:
                resolution = await self._placed(exchange, attempt, decision, decision.placed)
            else:
                resolution = await self._never_placed(exchange, attempt, decision)
            if resolution.ending is not Ending.KNOWN_BEFORE:
                ending = "found" if resolution.ending is Ending.FOUND else "decided_by_person"
                metrics.DOUBTS_ENDED.labels(call.account, ending).inc()
            return resolution

    async def _placed(
        self, exchange: Exchange, attempt: Attempt, decision: Decision, venue_order_id: str
    ) -> Resolution:
        """Adopt the venue's order that was named, if the venue shows it and it is what was sent."""
        sent = attempt.submission
        report = await _ask(exchange, attempt, venue_order_id)
        if report is None:
            raise DecisionContradicted(
                f"the venue shows no order {venue_order_id} in {sent.symbol}",
                numbers={"venue_order_id": venue_order_id, "symbol": sent.symbol},
            )
        difference = misfit(sent, report)
        if difference is not None:
            raise DecisionContradicted(difference.text, numbers=difference.numbers)
        told = f"the venue's order {venue_order_id} is what was sent, and was adopted with its fills"
        if report.client_order_id is None:
            told += "; the venue tells no client order id, so that it is ours is the person's word"
        notice = await self._store.adopt(
            attempt,
            report,
            trades=await trades_of(exchange, attempt, report),
            reason=_decided(decision, attempt, venue_order_id=venue_order_id),
            requested_by=decision.requested_by,
            now=self._clock(),
        )
        if notice.order.venue_order_id != venue_order_id:
            return _known_before(notice.order)
        return Resolution(order=notice.order, ending=Ending.ADOPTED, told=told)

    async def _never_placed(self, exchange: Exchange, attempt: Attempt, decision: Decision) -> Resolution:
        """Ask once more by our id. What the venue shows is adopted whatever was decided."""
        asked_at = self._clock()
        report = await _ask(exchange, attempt, None)
        if report is not None:
            trades = await trades_of(exchange, attempt, report)
            notice = await self._store.record_report(
                attempt.account, attempt.order_id, report, trades=trades, now=self._clock()
            )
            told = f"the venue shows the order, as its number {report.venue_order_id}: it was adopted instead"
            return Resolution(order=notice.order, ending=Ending.FOUND, told=told)
        fence_s = exchange.time_fence_s()
        if fence_s is not None and not proves_absence(
            signed_at=attempt.signed_at, asked_at=asked_at, time_fence_s=fence_s
        ):
            raise DecisionContradicted(
                "the order may still appear: the venue's time fence has not passed",
                numbers={
                    "signed_at": attempt.signed_at.isoformat(),
                    "asked_at": asked_at.isoformat(),
                    "time_fence_s": str(fence_s),
                },
                advice="Wait: after the time fence it is decided by proof, without a person.",
            )
        reason = _decided(decision, attempt, asked_at=asked_at.isoformat(), venue_said="no such order")
        order = await self._store.record_never_placed(
            attempt, reason=reason, requested_by=decision.requested_by, now=self._clock()
        )
        if not order.never_placed:
            return _known_before(order)
        told = "the venue shows no such order, and the decision that it was never placed is on record"
        return Resolution(order=order, ending=Ending.NEVER_PLACED, told=told)


async def _ask(exchange: Exchange, attempt: Attempt, venue_order_id: str | None) -> OrderReport | None:
    ref = OrderRef(
        symbol=attempt.submission.symbol, client_order_id=attempt.client_order_id, venue_order_id=venue_order_id
    )
    with metrics.venue_request(attempt.account, "fetch_order"):
        return await exchange.fetch_order(ref)


def _known_before(order: Order) -> Resolution:
    told = f"the order is {order.status} already: nothing was left to decide"
    return Resolution(order=order, ending=Ending.KNOWN_BEFORE, told=told)


def _decided(decision: Decision, attempt: Attempt, **evidence: str) -> Reason:
    return deny(
        DECIDED_BY_PERSON,
        f"{decision.because} ({decision.requested_by})",
        client_order_id=attempt.client_order_id,
        signed_at=attempt.signed_at.isoformat(),
        **evidence,
    )
