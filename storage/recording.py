"""What the venue said, and what was asked for, written as facts: outcome, report, cancel, amendment, end."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.errors import NotAmendable
from domain.events import Fill, OrderEvent, Reason
from domain.instrument import deny
from domain.lifecycle import AMENDABLE, AT_VENUE, OrderEventType, OrderStatus
from domain.numbers import subtract
from domain.order import Order, OrderType
from domain.ports import Attempt, Notice
from domain.protocol import STATE_AFTER, UNDECIDED, AttemptState, Subject, fact_of, subject_of, trades_only
from domain.reconciliation import TRADES_MISSING, Belief, believe, trades_missing, with_owed
from domain.reports import OrderReport, SubmitOutcome, VenueAnswer
from domain.risk import AccountTerms, Exposure, balance_denial, check_amendment
from storage import attempts, cases, evidence, exposures, gate, holdings, limit_sets, order_rows
from storage.kill_switch import why_stopped
from storage.tables import fills


async def record_outcome(
    connection: AsyncConnection, attempt: Attempt, outcome: SubmitOutcome, *, now: datetime
) -> Order:
    """Write what came of a send; see `domain.ports.OrderStore.record_outcome`."""
    order = await order_rows.load(connection, attempt.account, attempt.order_id)
    event_type = fact_of(order, attempt.attempt, outcome)
    wanted = STATE_AFTER[event_type] if event_type is not None else None
    state = await attempts.record_outcome(connection, attempt, outcome, state=wanted)
    if event_type is OrderEventType.ACCEPTED and outcome.report is not None:
        report = outcome.report.model_copy(update={"answer": outcome.answer})
        return (await _believe(connection, order, report, (), now)).order
    if event_type is not None:
        event = OrderEvent(event_type=event_type, ts_event=now, reason=outcome.reason)
        return await _change(connection, order, event, answer=outcome.answer)
    if outcome.report is not None and state is AttemptState.VOID:
        return await _open_case(connection, order, _unexpected(outcome.report))
    return order


async def record_report(
    connection: AsyncConnection,
    account: str,
    order_id: str,
    report: OrderReport,
    *,
    trades: Sequence[Fill],
    now: datetime,
) -> Notice:
    """Believe a report; see `domain.ports.OrderStore.record_report`."""
    order = await order_rows.load(connection, account, order_id)
    subject = subject_of(order, report, await attempts.about(connection, order, report))
    if subject is Subject.UNEXPECTED:
        return Notice(order=await _open_case(connection, order, _unexpected(report)), settled=False)
    if subject is Subject.TOO_EARLY:
        return Notice(order=order, settled=False)
    if subject is Subject.EARLIER:
        report = trades_only(report)
    belief = await _believe(connection, order, report, trades, now, notify=True)
    if order.status in UNDECIDED and belief.order.status not in UNDECIDED:
        await attempts.close(connection, belief.order)
    return Notice(order=belief.order, settled=belief.settled)


async def _believe(
    connection: AsyncConnection,
    order: Order,
    report: OrderReport,
    trades: Sequence[Fill],
    now: datetime,
    *,
    notify: bool = False,
) -> Belief:
    known = await _known_fills(connection, order, report)
    belief = believe(order, report, trades=trades, known=known, now=now)
    after = with_owed(belief.order, settled=belief.settled, now=now)
    if order.owed_since is not None and belief.settled:
        after = await _no_longer_owed(connection, after, now)
    for case in (belief.case, trades_missing(after, report, now=now)):
        if case is not None:
            after = await _open_case(connection, after, case)
    belief = belief.model_copy(update={"order": after})
    fresh = [event.fill for event in belief.events if event.fill is not None]
    if fresh:
        await connection.execute(insert(fills), [_fill_row(order, fill) for fill in fresh])
    if belief.events:
        told = {
            "evidence": evidence.of_report(report, report.answer),
            "body": report.answer.body if report.answer is not None else None,
        }
        await order_rows.save(connection, belief.order, belief.events, notify=notify, **told)
    elif belief.order != order:
        await order_rows.mark(connection, belief.order)
    # Balances and positions are shared by all orders of the account: they are locked last, and so the shortest.
    replaced = any(event.event_type is OrderEventType.REPLACED for event in belief.events)
    if fresh or replaced or belief.order.is_final != order.is_final:
        await holdings.settle(connection, belief.order, fresh, now=now)
    return belief


async def _known_fills(
    connection: AsyncConnection, order: Order, report: OrderReport
) -> frozenset[tuple[str, str, str]]:
    if order.cum_qty == 0:
        return frozenset()
    query = select(fills.c.symbol, fills.c.venue_order_id, fills.c.trade_id).where(
        fills.c.account == order.account,
        fills.c.symbol == report.symbol,
        fills.c.venue_order_id == report.venue_order_id,
    )
    return frozenset((row.symbol, row.venue_order_id, row.trade_id) for row in await connection.execute(query))


def _fill_row(order: Order, fill: Fill) -> dict[str, object]:
    figures = {name: getattr(fill, name) for name in Fill.model_fields}
    return {"account": order.account, "order_id": order.order_id, **figures}


def _unexpected(report: OrderReport) -> Reason:
    return deny(
        "UNEXPECTED_AT_VENUE",
        "the venue shows an order of ours that no open attempt accounts for",
        venue_order_id=report.venue_order_id,
        client_order_id=report.client_order_id or "",
        venue_status=str(report.status),
    )


async def _open_case(connection: AsyncConnection, order: Order, reason: Reason) -> Order:
    """Put the matter on record for a person, once per order and code; the order shows that it needs attention."""
    await cases.open_once(
        connection, order.account, order.order_id, reason, order_id=order.order_id, now=order.updated_at
    )
    return await order_rows.flag(connection, order)


async def _no_longer_owed(connection: AsyncConnection, order: Order, now: datetime) -> Order:
    """Close the case of trades that have come after all."""
    resolution = "the trades add up now"
    key = (order.account, order.order_id, TRADES_MISSING)
    if not await cases.close_case(connection, *key, resolution=resolution, now=now):
        return order
    return order.model_copy(update={"needs_attention": await cases.any_open(connection, order.account, order.order_id)})


async def _change(
    connection: AsyncConnection, order: Order, event: OrderEvent, *, answer: VenueAnswer | None = None
) -> Order:
    """Apply one fact; an order that ends with it gives its reservation back."""
    told, body = evidence.of_answer(answer), answer.body if answer is not None else None
    changed = await order_rows.change(connection, order, event, evidence=told, body=body)
    if changed.is_final and not order.is_final:
        await holdings.settle(connection, changed, (), now=event.ts_event)
    return changed


async def record_never_placed(
    connection: AsyncConnection, attempt: Attempt, *, reason: Reason, requested_by: str | None, now: datetime
) -> Order:
    """Write that the attempt is proven, or was decided by somebody, never to have been placed."""
    order = await order_rows.load(connection, attempt.account, attempt.order_id)
    if order.attempt != attempt.attempt or order.status is not OrderStatus.IN_DOUBT:
        return order
    await attempts.close(connection, order, state=AttemptState.VOID)
    event = OrderEvent(event_type=OrderEventType.NEVER_PLACED, ts_event=now, reason=reason, requested_by=requested_by)
    return await _change(connection, order, event)


async def request_cancel(
    connection: AsyncConnection, account: str, order_id: str, *, reason: Reason, now: datetime
) -> Order:
    """Write that the order shall end; asked again, it changes nothing.

    A wish that was recorded before the venue had answered is recorded once more when the order is known to rest
    there: only then does the order wait for its cancel.
    """
    order = await order_rows.load(connection, account, order_id)
    if order.is_final or (order.cancel_requested and order.status not in AMENDABLE):
        return order
    event = OrderEvent(event_type=OrderEventType.CANCEL_REQUESTED, ts_event=now, reason=reason)
    if order.waits_for_trigger:
        # Nothing else would wake its workflow: at the venue there is nothing that could end.
        canceled = order.apply(event)
        await order_rows.save(connection, canceled, [event], notify=True)
        return canceled
    return await _change(connection, order, event)


async def request_amend(
    connection: AsyncConnection,
    account: str,
    order_id: str,
    *,
    quantity: Decimal,
    price: Decimal,
    terms: AccountTerms,
    requested_by: str,
    now: datetime,
) -> Order:
    """Write new figures and reserve for the worse of old and new; see `domain.ports.OrderStore.request_amend`."""
    order = await order_rows.load(connection, account, order_id)
    asked = (quantity, price)
    if asked in ((order.amend_quantity, order.amend_price), (order.quantity, order.price)):
        return order
    await _check_amendment(connection, order, quantity=quantity, price=price, terms=terms, now=now)
    event = OrderEvent(
        event_type=OrderEventType.AMEND_REQUESTED,
        ts_event=now,
        quantity=quantity,
        price=price,
        requested_by=requested_by,
    )
    amended = order.apply(event)
    missing = await holdings.reserve_more(connection, amended)
    if missing is not None:
        left = await holdings.available(connection, account, missing.asset)
        raise _not_amendable(balance_denial(missing, left))
    await order_rows.save(connection, amended, [event])
    await exposures.rework(connection, amended, now=now)
    return amended


async def _check_amendment(
    connection: AsyncConnection, order: Order, *, quantity: Decimal, price: Decimal, terms: AccountTerms, now: datetime
) -> None:
    if order.status not in AMENDABLE or order.ticket.order_type is not OrderType.LIMIT or order.cancel_requested:
        raise NotAmendable(f"the order is {order.status}; only a resting limit order can be amended")
    if quantity <= order.cum_qty:
        raise _not_amendable(
            deny(
                "QUANTITY_FILLED",
                "the new quantity is filled already; cancel the order instead",
                quantity=quantity,
                cum_qty=order.cum_qty,
            )
        )
    kill_reason = await why_stopped(connection, order)
    if kill_reason is not None:
        raise NotAmendable(f"the kill switch is on: {kill_reason}")
    seen = await gate.figures(connection, order, await limit_sets.current(connection), mode=terms.mode)
    counted = await exposures.counted(connection, order)
    seen = gate.without(seen, order, working=counted.quantity, notional=counted.notional)
    exposure = Exposure(reconciled=True, available=None, scopes=seen.scopes, crossed=seen.crossed)
    left = subtract(quantity, order.cum_qty)
    refused = check_amendment(order.ticket, quantity=left, price=price, exposure=exposure, now=seen.now or now)
    if refused is not None:
        raise _not_amendable(refused)


def _not_amendable(reason: Reason) -> NotAmendable:
    return NotAmendable(f"{reason.text} ({reason})", numbers=reason.numbers)


async def end_unsent(
    connection: AsyncConnection,
    account: str,
    order_id: str,
    *,
    event_type: OrderEventType,
    reason: Reason,
    now: datetime,
) -> Order:
    """End an order of which nothing is at the venue; one that is, or may be, there is returned as it stands."""
    order = await order_rows.load(connection, account, order_id)
    if order.is_final or order.status in AT_VENUE:
        return order
    return await _change(connection, order, OrderEvent(event_type=event_type, ts_event=now, reason=reason))


async def finalize(connection: AsyncConnection, account: str, order_id: str, *, now: datetime) -> Order:
    """Write the final fact once. Reservation and attempt were released by the fact that ended the order."""
    order = await order_rows.load(connection, account, order_id)
    if order.finalized:
        return order
    return await _change(connection, order, OrderEvent(event_type=OrderEventType.FINALIZED, ts_event=now))
