"""The ledger in memory: `domain.ports.OrderStore` with the contract of `storage/`, one method one transaction.

It decides nothing. What is admitted, sent, believed and reserved is decided by the product's own code: `domain/` and
the pure parts of `storage/`. `test_memory_store.py` holds it against the real ledger, call by call.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from domain import protocol, reconciliation
from domain.errors import DecisionContradicted, IdempotencyConflict, NotAmendable
from domain.events import Fill, OrderEvent, Reason
from domain.exposure import ScopeFigures
from domain.instrument import deny as make_reason
from domain.lifecycle import AMENDABLE, AT_VENUE, OrderEventType, OrderStatus
from domain.limits import LimitSet
from domain.numbers import subtract
from domain.order import Order, OrderRequest, OrderSide, OrderType
from domain.ports import Admission, Attempt, Notice
from domain.protocol import AttemptState, Subject
from domain.reconciliation import Belief
from domain.reports import Balance, OrderReport, SubmitOutcome, SubmitVerdict
from domain.risk import (
    AccountTerms,
    Answer,
    Decision,
    Exposure,
    Finding,
    Reservation,
    Validated,
    balance_denial,
    check_again,
    check_amendment,
)
from storage import admission, recording
from tests.campaign.simulation.memory_comparison import MemoryComparison
from tests.campaign.simulation.memory_rows import Account, OrderRow

ZERO = Decimal(0)


class MemoryOrderStore(MemoryComparison):
    """Implements `OrderStore`. Its `limit_set` holds those that the order alone is measured by."""

    limit_set = LimitSet()

    def _scopes(self, order: Order | OrderRequest) -> tuple[ScopeFigures, ...]:
        return tuple(ScopeFigures(scope=scope, limits=own) for scope, own in self.limit_set.of_order(order).items())

    # The intent.

    async def admit(
        self,
        request: OrderRequest,
        validated: Validated,
        *,
        terms: AccountTerms,
        now: datetime,
        outside: tuple[Finding, ...] = (),
    ) -> Admission:
        book = self.book(request.account)
        row = book.orders.get(request.order_id)
        if row is not None:
            return admission.as_recorded(admission.same_ticket(row.order, request))
        ticket = request.ticket
        base_asset, quote_asset = ticket.symbol.split("/")
        asset = quote_asset if ticket.side is OrderSide.BUY else base_asset
        since = terms.reconciled_since
        compared = since is None or (book.reconciled_at is not None and book.reconciled_at >= since)
        known = book.balances_at is not None
        exposure = Exposure(
            kill_reason=self.kill_reason(request.account),
            reconciled=compared and known,
            available=book.available(asset) if known else None,
            scopes=self._scopes(request),
        )
        order = request.new_order(exchange=terms.exchange, mode=terms.mode)
        decision = admission.check(ticket, validated, exposure=exposure, now=now, outside=outside)
        if decision.answer is Answer.UNAVAILABLE:
            return Admission(answer=decision.answer, order=order, reason=decision.reason)
        self._claim_key(book, request)
        event = admission._decided(decision, validated.arrival, validated, request, now)
        decided = order.apply(event)
        if decision.reservation is not None and not book.reserve(decided, decision.reservation):
            left = book.available(decision.reservation.asset)
            decision = Decision(answer=Answer.DENY, reason=balance_denial(decision.reservation, left))
            event = admission._decided(decision, validated.arrival, validated, request, now)
            decided = order.apply(event)
        self._add(book, decided, event)
        return Admission(answer=decision.answer, order=decided, reason=decision.reason)

    async def deny(self, request: OrderRequest, reason: Reason, *, terms: AccountTerms, now: datetime) -> Order:
        book = self.book(request.account)
        row = book.orders.get(request.order_id)
        if row is not None:
            return admission.same_ticket(row.order, request)
        self._claim_key(book, request)
        event = OrderEvent(event_type=OrderEventType.DENIED, ts_event=now, reason=reason)
        denied = request.new_order(exchange=terms.exchange, mode=terms.mode).apply(event)
        self._add(book, denied, event)
        return denied

    def _claim_key(self, book: Account, request: OrderRequest) -> None:
        key = request.idempotency_key
        if key is None:
            return
        other = book.keys.setdefault(key, request.order_id)
        if other != request.order_id:
            raise IdempotencyConflict(f"the key was used for order {other}", numbers={"order_id": other})

    def _add(self, book: Account, order: Order, event: OrderEvent) -> None:
        book.add(OrderRow(order, len(book.orders), event))
        if self._watch is not None:
            self._watch(None, order, (event,))

    # What the venue said.

    async def record_outcome(self, attempt: Attempt, outcome: SubmitOutcome, *, now: datetime) -> Order:
        book = self.book(attempt.account)
        row, mine = book.tokens[attempt.token]
        order = row.order
        event_type = protocol.fact_of(order, attempt.attempt, outcome)
        belief: Belief | None = None
        event: OrderEvent | None = None
        changed = order
        if event_type is OrderEventType.ACCEPTED and outcome.report is not None:
            belief = reconciliation.believe(
                order, outcome.report, trades=(), known=book.known(row, outcome.report), now=now
            )
        elif event_type is not None:
            event = OrderEvent(event_type=event_type, ts_event=now, reason=outcome.reason)
            changed = order.apply(event)
        if outcome.verdict is not SubmitVerdict.UNKNOWN or mine.outcome is None:
            mine.outcome = outcome
        if event_type is not None:
            mine.state = protocol.STATE_AFTER[event_type]
        if outcome.report is not None:
            mine.venue_order_id = outcome.report.venue_order_id
        if belief is not None:
            return self._take_over(book, row, belief, outcome.report, notify=False, now=now).order
        if event is not None:
            return self._save(book, row, changed, (event,), now=now)
        if outcome.report is not None and mine.state is AttemptState.VOID:
            return self._open_case(book, row, recording._unexpected(outcome.report))
        return order

    async def record_report(
        self, account: str, order_id: str, report: OrderReport, *, trades: Sequence[Fill], now: datetime
    ) -> Notice:
        book = self.book(account)
        row = self._load(book, order_id)
        order = row.order
        subject = protocol.subject_of(order, report, row.about(report))
        if subject is Subject.UNEXPECTED:
            return Notice(order=self._open_case(book, row, recording._unexpected(report)), settled=False)
        if subject is Subject.TOO_EARLY:
            return Notice(order=order, settled=False)
        if subject is Subject.EARLIER:
            report = protocol.trades_only(report)
        belief = reconciliation.believe(order, report, trades=trades, known=book.known(row, report), now=now)
        belief = self._take_over(book, row, belief, report, notify=True, now=now)
        if order.status in protocol.UNDECIDED and belief.order.status not in protocol.UNDECIDED:
            row.close(AttemptState.CLOSED)
        return Notice(order=belief.order, settled=belief.settled)

    async def record_never_placed(
        self, attempt: Attempt, *, reason: Reason, requested_by: str | None = None, now: datetime
    ) -> Order:
        book = self.book(attempt.account)
        row = self._load(book, attempt.order_id)
        order = row.order
        if order.attempt != attempt.attempt or order.status is not OrderStatus.IN_DOUBT:
            return order
        row.close(AttemptState.VOID)
        event = OrderEvent(
            event_type=OrderEventType.NEVER_PLACED, ts_event=now, reason=reason, requested_by=requested_by
        )
        return self._save(book, row, order.apply(event), (event,), now=now)

    async def record_look(self, attempt: Attempt, *, looked_at: datetime, fence_ends_at: datetime | None) -> Order:
        row = self._load(self.book(attempt.account), attempt.order_id)
        order = row.order
        if order.doubt is not None and order.attempt == attempt.attempt:
            doubt = order.doubt.model_copy(update={"last_looked_at": looked_at, "fence_ends_at": fence_ends_at})
            row.order = order.model_copy(update={"doubt": doubt})
        return row.order

    async def adopt(
        self,
        attempt: Attempt,
        report: OrderReport,
        *,
        trades: Sequence[Fill],
        reason: Reason,
        requested_by: str,
        now: datetime,
    ) -> Notice:
        book = self.book(attempt.account)
        row = self._load(book, attempt.order_id)
        order = row.order
        if order.status is not OrderStatus.IN_DOUBT or order.attempt != attempt.attempt:
            return Notice(order=order)
        owner = book.owner(order, report)
        if owner is not None:
            raise DecisionContradicted(
                "the venue's order is another order of ours",
                numbers={"venue_order_id": report.venue_order_id, "order_id": owner},
            )
        event = OrderEvent(
            event_type=OrderEventType.RESOLVED,
            ts_event=now,
            reason=reason,
            venue_order_id=report.venue_order_id,
            requested_by=requested_by,
        )
        self._save(book, row, order.apply(event), (event,))
        return await self.record_report(attempt.account, attempt.order_id, report, trades=trades, now=now)

    def _take_over(
        self, book: Account, row: OrderRow, belief: Belief, report: OrderReport, *, notify: bool, now: datetime
    ) -> Belief:
        before = row.order
        order_id = before.order_id
        fresh = [event.fill for event in belief.events if event.fill is not None]
        book.add_fills(row, fresh)
        after = reconciliation.with_owed(belief.order, settled=belief.settled, now=now)
        no_longer_owed = before.owed_since is not None and belief.settled
        if no_longer_owed and book.close_case(order_id, reconciliation.TRADES_MISSING):
            after = after.model_copy(update={"needs_attention": book.any_open(order_id)})
        for case in (belief.case, reconciliation.trades_missing(after, report, now=now)):
            if case is not None:
                book.open_once(order_id, case)
                after = after.model_copy(update={"needs_attention": True})
        if after is not belief.order:
            belief = belief.model_copy(update={"order": after})
        if belief.events:
            self._commit(book, row, before, after, belief.events, notify=notify)
        else:
            row.order = after
        replaced = any(event.event_type is OrderEventType.REPLACED for event in belief.events)
        if fresh or replaced or after.is_final != before.is_final:
            book.settle(after, fresh, now=now)
        return belief

    # What was asked for.

    async def request_cancel(self, account: str, order_id: str, *, reason: Reason, now: datetime) -> Order:
        book = self.book(account)
        row = self._load(book, order_id)
        order = row.order
        if order.is_final or (order.cancel_requested and order.status not in AMENDABLE):
            return order
        event = OrderEvent(event_type=OrderEventType.CANCEL_REQUESTED, ts_event=now, reason=reason)
        return self._save(book, row, order.apply(event), (event,), now=now)

    async def request_amend(
        self,
        account: str,
        order_id: str,
        *,
        quantity: Decimal,
        price: Decimal,
        terms: AccountTerms,
        requested_by: str,
        now: datetime,
    ) -> Order:
        book = self.book(account)
        row = self._load(book, order_id)
        order = row.order
        if (quantity, price) in ((order.amend_quantity, order.amend_price), (order.quantity, order.price)):
            return order
        self._check_amendment(order, quantity=quantity, price=price, now=now)
        event = OrderEvent(
            event_type=OrderEventType.AMEND_REQUESTED,
            ts_event=now,
            quantity=quantity,
            price=price,
            requested_by=requested_by,
        )
        amended = order.apply(event)
        missing = book.reserve_more(amended)
        if missing is not None:
            raise recording._not_amendable(balance_denial(missing, book.available(missing.asset)))
        return self._save(book, row, amended, (event,))

    def _check_amendment(self, order: Order, *, quantity: Decimal, price: Decimal, now: datetime) -> None:
        if order.status not in AMENDABLE or order.ticket.order_type is not OrderType.LIMIT or order.cancel_requested:
            raise NotAmendable(f"the order is {order.status}; only a resting limit order can be amended")
        if quantity <= order.cum_qty:
            filled = "the new quantity is filled already; cancel the order instead"
            raise recording._not_amendable(
                make_reason("QUANTITY_FILLED", filled, quantity=quantity, cum_qty=order.cum_qty)
            )
        kill_reason = self.kill_reason(order.account)
        if kill_reason is not None:
            raise NotAmendable(f"the kill switch is on: {kill_reason}")
        exposure = Exposure(reconciled=True, available=None, scopes=self._scopes(order))
        left = subtract(quantity, order.cum_qty)
        refused = check_amendment(order.ticket, quantity=left, price=price, exposure=exposure, now=now)
        if refused is not None:
            raise recording._not_amendable(refused)

    async def end_unsent(
        self, account: str, order_id: str, *, event_type: OrderEventType, reason: Reason, now: datetime
    ) -> Order:
        book = self.book(account)
        row = self._load(book, order_id)
        if row.order.is_final or row.order.status in AT_VENUE:
            return row.order
        event = OrderEvent(event_type=event_type, ts_event=now, reason=reason)
        return self._save(book, row, row.order.apply(event), (event,), now=now)

    async def finalize(self, account: str, order_id: str, *, now: datetime) -> Order:
        book = self.book(account)
        row = self._load(book, order_id)
        if row.order.finalized:
            return row.order
        event = OrderEvent(event_type=OrderEventType.FINALIZED, ts_event=now)
        return self._save(book, row, row.order.apply(event), (event,), now=now)

    # Reads, the outbox and the balances.

    async def order(self, account: str, order_id: str) -> Order:
        return self._load(self.book(account), order_id).order

    async def working_orders(self, account: str) -> Sequence[Order]:
        rows = sorted(self.book(account).at_venue.values(), key=_number)
        return [row.order for row in rows]

    async def ended_short(self, account: str, *, since: datetime) -> Sequence[Order]:
        ended = (OrderStatus.CANCELED, OrderStatus.EXPIRED)
        found = [row.order for row in self.book(account).orders.values() if row.order.status in ended]
        return [order for order in found if order.updated_at >= since and order.venue_order_id is not None]

    async def pending_notices(self, account: str, *, limit: int) -> Sequence[Notice]:
        rows = sorted(self.book(account).to_notify.values(), key=_number)[:limit]
        return [Notice(order=row.order) for row in rows]

    async def mark_notified(self, account: str, notices: Sequence[Notice]) -> None:
        book = self.book(account)
        for notice in notices:
            book.heard(notice.order.order_id, notice.order.seq)

    async def record_balances(
        self, account: str, balances: Sequence[Balance], *, asked_at: datetime, told_at: datetime | None = None
    ) -> None:
        self.book(account).record_balances(balances, asked_at, told_at or asked_at)

    # Cases.

    async def open_case(self, account: str, order_id: str, *, reason: Reason, now: datetime) -> bool:
        return self.book(account).open_case(order_id, reason)

    async def close_case(self, account: str, order_id: str, code: str, *, resolution: str, now: datetime) -> bool:
        return self.book(account).close_case(order_id, code)

    async def orders_with_open_case(self, account: str, code: str) -> Sequence[str]:
        return [subject for subject, of_code in self.book(account).open_cases if of_code == code]

    async def limits(self) -> LimitSet:
        return self.limit_set

    async def check_again(
        self, request: OrderRequest, validated: Validated, *, terms: AccountTerms, now: datetime
    ) -> Reason | None:
        row = self.book(request.account).reservations.get(request.order_id)
        reservation = Reservation(asset=row.asset, amount=row.amount) if row is not None else None
        return check_again(request.ticket, validated, scopes=self._scopes(request), reservation=reservation, now=now)


def _number(row: OrderRow) -> int:
    return row.number
