"""The steps that touch only our ledger: risk check, denial, amendment, ending and persisting. Queue `orders`."""

from collections.abc import Callable, Mapping
from datetime import datetime

from temporalio import activity

from activities.calls import AmendCall, DenyCall, EndCall, PersistCall, RiskCall
from activities.failures import in_activity
from domain.errors import UnknownAccount
from domain.events import Reason
from domain.faults import fault_of
from domain.order import Order
from domain.ports import Admission, OrderStore
from domain.risk import AccountTerms, Answer, Finding
from domain.risk_agent import RiskAgent, question_of
from observability import metrics


class LedgerActivities:
    """Activities over the `OrderStore` port.

    Parameters
    ----------
    terms
        What the configuration says of each account, by its name.
    clock
        Gives the time, UTC; the only place of this class that knows it.
    agent
        The external risk agent, where there is one.
    """

    def __init__(
        self,
        store: OrderStore,
        *,
        terms: Mapping[str, AccountTerms],
        clock: Callable[[], datetime],
        agent: RiskAgent | None = None,
    ) -> None:
        self._store = store
        self._terms = terms
        self._clock = clock
        self._agent = agent

    @activity.defn(name="risk_check")
    async def risk_check(self, call: RiskCall) -> Admission:
        """Decide and record the intent in one transaction: limits, reservation, order, facts."""
        async with in_activity():
            with metrics.stage("risk_check") as timed:
                timed(call.request.ticket.order_type)
                return await self._admit(call)

    async def _admit(self, call: RiskCall) -> Admission:
        terms = self._terms_of(call.request.account)
        outside = await self._ask_agent(call, terms)
        admission = await self._store.admit(
            call.request, call.validated, terms=terms, now=self._clock(), outside=outside
        )
        if admission.answer is Answer.ALLOW:
            ticket = call.request.ticket
            metrics.ORDERS_PLACED.labels(call.request.account, ticket.side, ticket.order_type).inc()
        return admission

    async def _ask_agent(self, call: RiskCall, terms: AccountTerms) -> tuple[Finding, ...]:
        """Ask the risk agent about an order that our own limits would let pass, before any lock is taken."""
        if self._agent is None or not self._agent.concerns(call.request):
            return ()
        foreseen = await self._store.foresee(call.request, call.validated, terms=terms, now=self._clock())
        question = question_of(call.request, call.validated, foreseen, terms) if foreseen is not None else None
        if question is None:
            return ()
        found = await self._agent.ask(question)
        metrics.RISK_AGENT_ANSWERS.labels(call.request.account, found.answer).inc()
        return (found,)

    @activity.defn(name="risk_check_again")
    async def risk_check_again(self, call: RiskCall) -> Reason | None:
        """Say why what is left of an order must not be sent anew, at today's price; `None` when it may."""
        async with in_activity():
            terms = self._terms_of(call.request.account)
            return await self._store.check_again(call.request, call.validated, terms=terms, now=self._clock())

    @activity.defn(name="deny")
    async def deny(self, call: DenyCall) -> Order:
        """Record an order that is denied for lack of an answer; nothing was sent."""
        async with in_activity():
            terms = self._terms_of(call.request.account)
            return await self._store.deny(call.request, call.reason, terms=terms, now=self._clock())

    @activity.defn(name="request_amend")
    async def request_amend(self, call: AmendCall) -> Order:
        """Record new figures and reserve for the worse of old and new."""
        async with in_activity():
            return await self._store.request_amend(
                call.account,
                call.order_id,
                quantity=call.quantity,
                price=call.price,
                terms=self._terms_of(call.account),
                requested_by=call.requested_by,
                now=self._clock(),
            )

    @activity.defn(name="end_unsent")
    async def end_unsent(self, call: EndCall) -> Order:
        """End an order of which nothing is at the venue."""
        async with in_activity():
            return await self._store.end_unsent(
                call.account, call.order_id, event_type=call.event_type, reason=call.reason, now=self._clock()
            )

    @activity.defn(name="persist")
    async def persist(self, call: PersistCall) -> Order:
        """Write the final facts once: reservation released, attempt closed."""
        async with in_activity():
            with metrics.stage("persist") as timed:
                order = await self._store.finalize(call.account, call.order_id, now=self._clock())
                timed(order.ticket.order_type)
            _count(order, call)
            return order

    def _terms_of(self, account: str) -> AccountTerms:
        try:
            return self._terms[account]
        except KeyError:
            known = ", ".join(sorted(self._terms))
            raise UnknownAccount(f"no account {account!r} is configured here; there are: {known}") from None


def _count(order: Order, call: PersistCall) -> None:
    """Count the order among those that ended, and how long it took."""
    metrics.ORDERS_FINAL.labels(order.account, order.status).inc()
    fault = fault_of(order)
    if fault is not None:
        metrics.ORDERS_FAILED.labels(order.account, fault).inc()
    for stage, took_ms in (("fill", call.fill_ms), ("whole", call.whole_ms)):
        if took_ms is not None:
            metrics.STAGE_DURATION.labels(stage, order.ticket.order_type).observe(took_ms / 1000)
    facts = {"status": order.status, "attempts": order.attempt, "whole_ms": call.whole_ms, "fault": fault}
    activity.logger.info("order_ended", extra={name: fact for name, fact in facts.items() if fact is not None})
