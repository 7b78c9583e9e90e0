"""Approvals in the ledger: who was asked about which held order, and what came of it.

Locks, in this order: the order's row, what the gate takes (`storage/holdings.py`), and the approval last. Nobody reads
or writes an approval to decide on it without the order's lock, so that two decisions are one after the other.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row, Select, and_, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from domain import approvals as words
from domain.approvals import Approval, ApprovalEnding, ApprovalWord, Asked, Decided
from domain.errors import FourEyes, TicketDiffers
from domain.events import OrderEvent, Reason
from domain.instrument import deny
from domain.lifecycle import OrderEventType, OrderStatus
from domain.order import Order, OrderRequest
from domain.risk import AccountTerms, Answer, Decision, Finding, Validated, balance_denial, check
from storage import admission, entering, exposures, gate, holdings, limit_sets, order_rows
from storage.approval_tables import approvals
from storage.database import in_transaction
from storage.tables import orders

_GIVE_BACK: Final = text(
    """
    WITH held AS (
        DELETE FROM reservations WHERE account = :account AND order_id = :order_id RETURNING asset, amount
    )
    UPDATE balances SET reserved = reserved - held.amount FROM held
    WHERE balances.account = :account AND balances.asset = held.asset
    """
)
_UNDECIDED: Final = approvals.c.decision.is_(None)


class SqlApprovalStore:
    """Implements `ApprovalStore` and `ApprovalReader` of `domain.approvals` over Postgres. Promises stand there."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def ask(self, account: str, order_id: str) -> Asked:
        """Put on record that a person is asked."""

        async def work(connection: AsyncConnection) -> Asked:
            order = await order_rows.load(connection, account, order_id)
            fresh = await put_on_record(connection, order)
            return Asked(order=order, approval=await _find(connection, order), fresh=fresh)

        return await in_transaction(self._engine, work)

    async def foresee(
        self, account: str, order_id: str, *, validated: Validated, terms: AccountTerms, now: datetime
    ) -> tuple[OrderRequest, Decision] | None:
        """Ask the gate, and take back what it locked and wrote."""

        async def work(connection: AsyncConnection) -> tuple[OrderRequest, Decision] | None:
            order = await order_rows.load(connection, account, order_id)
            if order.status is not OrderStatus.HELD:
                return None
            asking = await connection.begin_nested()
            decision = await _pass_gate(connection, order, validated, terms, now)
            await asking.rollback()
            return _request(order), decision

        return await in_transaction(self._engine, work)

    async def approve(
        self,
        account: str,
        order_id: str,
        word: ApprovalWord,
        *,
        validated: Validated,
        terms: AccountTerms,
        now: datetime,
        outside: tuple[Finding, ...] = (),
    ) -> Decided:
        """Pass the gate again, and record what came of it."""

        async def work(connection: AsyncConnection) -> Decided:
            order = await order_rows.load(connection, account, order_id)
            if order.status is not OrderStatus.HELD:
                return words.known_before(order)
            await put_on_record(connection, order)
            approval = await _find(connection, order)
            assert approval is not None, "it was just put on record"
            _refuse(order, approval, word)
            if now >= approval.expires_at:
                return await _too_late(connection, order, approval, word, now)
            asking = await connection.begin_nested()
            decision = await _pass_gate(connection, order, validated, terms, now, outside)
            passed = decision.answer is Answer.ALLOW
            await (asking.commit() if passed else asking.rollback())  # what was reserved stays as it was
            if decision.answer is Answer.UNAVAILABLE:
                told = "the limits could not be checked; the order is held as before"
                return Decided(order=order, decision=None, told=told, reason=decision.reason)
            if not passed:
                return await _denied(connection, order, decision, word, now)
            return await _approved(connection, order, validated, decision, word, now)

        return await in_transaction(self._engine, work)

    async def reject(self, account: str, order_id: str, word: ApprovalWord, *, now: datetime) -> Decided:
        """End the order DENIED, with who and why."""

        async def work(connection: AsyncConnection) -> Decided:
            order = await order_rows.load(connection, account, order_id)
            if order.status is not OrderStatus.HELD:
                return words.known_before(order)
            await put_on_record(connection, order)
            event = OrderEvent(
                event_type=OrderEventType.DENIED,
                ts_event=now,
                reason=deny(words.REJECTED, f"{word.because} ({word.by})"),
                requested_by=word.by,
            )
            rejected = await _ended(connection, order, event, ApprovalEnding.REJECTED, word)
            told = f"{word.by} rejected the order, and it ended"
            return Decided(order=rejected, decision=ApprovalEnding.REJECTED, told=told)

        return await in_transaction(self._engine, work)

    async def end_held(
        self, account: str, order_id: str, *, event_type: OrderEventType, reason: Reason, now: datetime
    ) -> Order:
        """End an order that is held: EXPIRED or CANCELED."""

        async def work(connection: AsyncConnection) -> Order:
            order = await order_rows.load(connection, account, order_id)
            if order.status is not OrderStatus.HELD:
                return order
            await put_on_record(connection, order)
            canceled = event_type is OrderEventType.CANCELED
            ending = ApprovalEnding.CANCELED if canceled else ApprovalEnding.EXPIRED
            event = OrderEvent(event_type=event_type, ts_event=now, reason=reason)
            return await _ended(connection, order, event, ending, None)

        return await in_transaction(self._engine, work)

    async def listed(
        self, accounts: Collection[str], *, is_open: bool | None, limit: int, before: int | None
    ) -> Sequence[Approval]:
        """Return approvals, newest first."""
        query = _query().where(approvals.c.account.in_(accounts))
        if is_open is not None:
            open_ones = _UNDECIDED & (orders.c.status == OrderStatus.HELD)
            query = query.where(open_ones if is_open else ~open_ones)
        if before is not None:
            query = query.where(approvals.c.approval_id < before)
        query = query.order_by(approvals.c.approval_id.desc()).limit(limit)

        async def read(connection: AsyncConnection) -> Sequence[Approval]:
            return [_approval(row) for row in await connection.execute(query)]

        return await in_transaction(self._engine, read)


async def put_on_record(connection: AsyncConnection, order: Order) -> bool:
    """Write the approval of a held order unless it is there; a ledger that lost it gets it back from the order."""
    if order.status is not OrderStatus.HELD:
        return False
    reason = order.reason or deny(words.APPROVAL_REQUIRED, "a person must approve the order")
    row = insert(approvals).values(
        account=order.account,
        order_id=order.order_id,
        fingerprint=order.ticket.fingerprint(),
        reason=reason.model_dump_json(),
        asked_by=order.requested_by,
        asked_at=order.updated_at,
        expires_at=words.expires_at(order),
    )
    written = row.on_conflict_do_nothing(index_elements=["account", "order_id"]).returning(approvals.c.approval_id)
    return (await connection.execute(written)).first() is not None


def _refuse(order: Order, approval: Approval, word: ApprovalWord) -> None:
    """Hold to four eyes and to the exact ticket."""
    refusal = words.why_not_approved_by(order, word.by)
    if refusal is not None:
        raise FourEyes(refusal, numbers={"asked_by": order.requested_by or "not known", "by": word.by})
    fingerprint = order.ticket.fingerprint()
    for named in (approval.fingerprint, word.fingerprint):
        if named is not None and named != fingerprint:
            raise TicketDiffers("the approval is about another ticket", numbers={"held": fingerprint, "named": named})


def _request(order: Order) -> OrderRequest:
    """Return what a held order was asked for with, as the gate reads it."""
    return OrderRequest(
        order_id=order.order_id,
        account=order.account,
        ticket=order.ticket,
        requested_by=order.requested_by or "anonymous",
        requested_at=order.created_at,
    )


async def _pass_gate(
    connection: AsyncConnection,
    order: Order,
    validated: Validated,
    terms: AccountTerms,
    now: datetime,
    outside: tuple[Finding, ...] = (),
) -> Decision:
    """Ask the gate as if the order were new, and reserve at today's price what it then needs."""
    if order.mode is not terms.mode:
        reason = deny(words.MODE_CHANGED, "the account's mode is another now", held=order.mode, mode=terms.mode)
        return Decision(answer=Answer.DENY, reason=reason)
    request = _request(order)
    fitted = order.model_copy(update={"quantity": validated.normal.quantity}) if validated.normal else order
    limit_set = await limit_sets.current(connection)
    seen = await gate.figures(connection, order, limit_set, mode=terms.mode, validated=validated)
    held = await exposures.counted(connection, order)
    seen = gate.without(seen, order, working=held.quantity, notional=held.notional)
    await connection.execute(_GIVE_BACK, {"account": order.account, "order_id": order.order_id})
    exposure = seen.onto((await admission.look(connection, request, terms)).exposure)
    decision = check(order.ticket, validated, exposure=exposure, now=seen.now or now, held=True, outside=outside)
    if decision.reservation is not None:
        unit_price = admission.unit_price(fitted, validated)
        entered = await entering.enter(connection, fitted, decision.reservation, unit_price=unit_price, now=now)
        if not entered.taken:
            left = await holdings.available(connection, order.account, decision.reservation.asset)
            reason = balance_denial(decision.reservation, left)
            return Decision(answer=Answer.DENY, reason=reason, findings=decision.findings)
    await exposures.forget(connection, order, held, now=now)
    return decision


async def _approved(
    connection: AsyncConnection,
    order: Order,
    validated: Validated,
    decision: Decision,
    word: ApprovalWord,
    now: datetime,
) -> Decided:
    event = OrderEvent(
        event_type=OrderEventType.ADMITTED,
        ts_event=now,
        quantity=validated.normal.quantity if validated.normal is not None else None,
        reason=deny(words.APPROVED, f"{word.because} ({word.by})"),
        requested_by=word.by,
        placement=validated.placement,
        watch_since=validated.watch_since,
        arrival=validated.arrival,
    )
    admitted = order.apply(event)
    await order_rows.save(connection, admitted, [event], evidence=admission.evidence(decision))
    await _decide(connection, admitted, ApprovalEnding.APPROVED, by=word.by, because=word.because, now=now)
    told = f"{word.by} approved the order, and the limits hold: it goes to the venue"
    return Decided(order=admitted, decision=ApprovalEnding.APPROVED, told=told)


async def _denied(
    connection: AsyncConnection, order: Order, decision: Decision, word: ApprovalWord, now: datetime
) -> Decided:
    reason = decision.reason
    event = OrderEvent(event_type=OrderEventType.DENIED, ts_event=now, reason=reason, requested_by=word.by)
    evidence = admission.evidence(decision)
    denied = await _ended(connection, order, event, ApprovalEnding.DENIED, word, evidence=evidence)
    told = f"{word.by} approved the order, but it was denied: checked again now, {reason}"
    return Decided(order=denied, decision=ApprovalEnding.DENIED, told=told, reason=reason)


async def _too_late(
    connection: AsyncConnection, order: Order, approval: Approval, word: ApprovalWord, now: datetime
) -> Decided:
    expires_at = approval.expires_at.isoformat()
    text = f"nobody approved the order before {expires_at}; {word.by} did so later"
    reason = deny(words.EXPIRED, text, expires_at=expires_at)
    event = OrderEvent(event_type=OrderEventType.EXPIRED, ts_event=now, reason=reason, requested_by=word.by)
    expired = await _ended(connection, order, event, ApprovalEnding.EXPIRED, word)
    return Decided(order=expired, decision=ApprovalEnding.EXPIRED, told=f"too late: {text}", reason=reason)


async def _ended(
    connection: AsyncConnection,
    order: Order,
    event: OrderEvent,
    ending: ApprovalEnding,
    word: ApprovalWord | None,
    *,
    evidence: str | None = None,
) -> Order:
    """End a held order: its reservation is free again, and its approval is decided."""
    ended = order.apply(event)
    await order_rows.save(connection, ended, [event], evidence=evidence)
    await holdings.settle(connection, ended, (), now=event.ts_event)
    because = word.because if word is not None else event.reason.text if event.reason is not None else None
    await _decide(connection, ended, ending, by=word.by if word else None, because=because, now=event.ts_event)
    return ended


async def _decide(
    connection: AsyncConnection,
    order: Order,
    ending: ApprovalEnding,
    *,
    by: str | None,
    because: str | None,
    now: datetime,
) -> None:
    mine = (approvals.c.account == order.account, approvals.c.order_id == order.order_id, _UNDECIDED)
    decision = {"decision": ending, "decided_by": by, "decided_at": now, "because": because}
    await connection.execute(update(approvals).where(*mine).values(decision))


# Reading.


def _query() -> Select[Any]:
    same = and_(orders.c.account == approvals.c.account, orders.c.order_id == approvals.c.order_id)
    return select(approvals, orders.c.document).join(orders, same)


async def _find(connection: AsyncConnection, order: Order) -> Approval | None:
    """Return the order's approval; `None` when nobody was asked about it."""
    mine = (approvals.c.account == order.account, approvals.c.order_id == order.order_id)
    row = (await connection.execute(_query().where(*mine))).first()
    return _approval(row) if row is not None else None


def _approval(row: Row[Any]) -> Approval:
    order = Order.model_validate_json(row.document)
    kept = ("approval_id", "account", "order_id", "fingerprint", "asked_by", "asked_at", "expires_at")
    said = ("decided_by", "decided_at", "because")
    return Approval(
        **{name: getattr(row, name) for name in (*kept, *said)},
        mode=order.mode,
        ticket=order.ticket,
        reason=Reason.model_validate_json(row.reason),
        decision=ApprovalEnding(row.decision) if row.decision is not None else None,
    )


__all__ = ["SqlApprovalStore", "put_on_record"]
