"""The steps of an order that waits for a person: asking, approving, rejecting, ending. Queue `orders`."""

from collections.abc import Callable, Mapping
from datetime import datetime

from temporalio import activity

from activities.calls import ApproveCall, EndCall, OrderCall, RejectCall
from activities.failures import in_activity
from domain.approvals import ApprovalEnding, ApprovalStore, Asked, Decided
from domain.errors import UnknownAccount
from domain.order import Order
from domain.risk import AccountTerms, Answer, Finding
from domain.risk_agent import RiskAgent, question_of
from observability import metrics


class ApprovalActivities:
    """Activities over the `ApprovalStore` port; `terms`, `clock` and `agent` as for `LedgerActivities`."""

    def __init__(
        self,
        store: ApprovalStore,
        *,
        terms: Mapping[str, AccountTerms],
        clock: Callable[[], datetime],
        agent: RiskAgent | None = None,
    ) -> None:
        self._store = store
        self._agent = agent
        self._terms = terms
        self._clock = clock

    @activity.defn(name="ask_approval")
    async def ask_approval(self, call: OrderCall) -> Asked:
        """Put on record that a person is asked, and say so in the log, once."""
        async with in_activity():
            asked = await self._store.ask(call.account, call.order_id)
            approval = asked.approval
            if asked.fresh and approval is not None:
                metrics.APPROVALS_ASKED.labels(call.account).inc()
                told = {"account": call.account, "order_id": call.order_id, "ticket": approval.ticket.summary()}
                told |= {"reason": str(approval.reason), "expires_at": approval.expires_at.isoformat()}
                activity.logger.warning("order_held", extra=told)
            return asked

    @activity.defn(name="approve")
    async def approve(self, call: ApproveCall) -> Decided:
        """Pass the gate again for an order that a person approved."""
        async with in_activity():
            terms = self._terms_of(call.account)
            outside = await self._ask_agent(call, terms)
            decided = await self._store.approve(
                call.account,
                call.order_id,
                call.word,
                validated=call.validated,
                terms=terms,
                now=self._clock(),
                outside=outside,
            )
            if decided.decision is ApprovalEnding.APPROVED:
                ticket = decided.order.ticket
                metrics.ORDERS_PLACED.labels(call.account, ticket.side, ticket.order_type).inc()
            self._told(call, decided, call.word.by)
            return decided

    async def _ask_agent(self, call: ApproveCall, terms: AccountTerms) -> tuple[Finding, ...]:
        """Ask the risk agent once more. That it wants a person stays on record: here is one."""
        if self._agent is None:
            return ()
        found = await self._store.foresee(
            call.account, call.order_id, validated=call.validated, terms=terms, now=self._clock()
        )
        if found is None or not self._agent.concerns(found[0]):
            return ()
        question = question_of(found[0], call.validated, found[1], terms)
        if question is None:
            return ()
        finding = await self._agent.ask(question)
        metrics.RISK_AGENT_ANSWERS.labels(call.account, finding.answer).inc()
        asks_person = finding.answer is Answer.HOLD
        return (finding.model_copy(update={"shadow": True}) if asks_person else finding,)

    @activity.defn(name="reject")
    async def reject(self, call: RejectCall) -> Decided:
        """End an order that a person rejected."""
        async with in_activity():
            decided = await self._store.reject(call.account, call.order_id, call.word, now=self._clock())
            self._told(call, decided, call.word.by)
            return decided

    @activity.defn(name="end_held")
    async def end_held(self, call: EndCall) -> Order:
        """End an order that nobody decided on in time, or that was canceled."""
        async with in_activity():
            return await self._store.end_held(
                call.account, call.order_id, event_type=call.event_type, reason=call.reason, now=self._clock()
            )

    def _told(self, call: OrderCall, decided: Decided, by: str) -> None:
        if decided.decision is None or decided.decision is ApprovalEnding.KNOWN_BEFORE:
            return
        metrics.APPROVALS_DECIDED.labels(call.account, decided.decision).inc()
        told = {"account": call.account, "order_id": call.order_id, "decision": decided.decision, "by": by}
        activity.logger.warning("approval_decided", extra=told)

    def _terms_of(self, account: str) -> AccountTerms:
        try:
            return self._terms[account]
        except KeyError:
            raise UnknownAccount(f"no account {account!r} is configured here") from None


__all__ = ["ApprovalActivities"]
