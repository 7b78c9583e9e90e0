"""The journal of sends: one row is one send, and either its sender or whoever gives it up wins, never both."""

import asyncio
from datetime import timedelta
from decimal import Decimal
from itertools import product
from typing import Any

import pytest
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.errors import OrderClosed, StoreUnavailable
from domain.identifiers import derive_client_order_id
from domain.instrument import deny
from domain.lifecycle import OrderEventType, OrderStatus
from domain.limits import FIRM, ScopeKind, scope_name
from domain.ports import Attempt
from domain.protocol import AttemptState, may_leave
from domain.reports import SubmitOutcome, SubmitVerdict
from storage import kill_switch
from storage.order_reader import SqlOrderReader
from storage.order_store import SqlOrderStore
from storage.tables import attempts
from tests.factories import NOW, make_report, make_request
from tests.integration.storage.conftest import ACCOUNT, Life, Rows

LOST = deny("SENDER_LOST", "the worker is gone")


async def opened(life: Life, **ticket: Any) -> Attempt:
    """An admitted order's first attempt."""
    await life.fund(USDT="1000")
    request = make_request(**ticket)
    await life.admit(request)
    return await life.store.open_attempt(ACCOUNT, request.order_id, worker="w", now=NOW)


def outcome(verdict: SubmitVerdict) -> SubmitOutcome:
    """What came of a send, without a report."""
    return SubmitOutcome(verdict=verdict, reason=deny("WORDS", "of the venue"))


async def test_fifty_opens_at_once_are_fresh_for_one_caller_only(life: Life, store: SqlOrderStore) -> None:
    await life.fund(USDT="1000")
    request = make_request()
    await life.admit(request)
    found = await asyncio.gather(
        *(store.open_attempt(ACCOUNT, request.order_id, worker=f"w{number}", now=NOW) for number in range(50))
    )
    assert sum(attempt.fresh for attempt in found) == 1
    assert len({attempt.token for attempt in found}) == 1
    assert (await store.order(ACCOUNT, request.order_id)).status is OrderStatus.SUBMITTED


async def test_attempt_holds_what_will_be_sent_signed_to_the_millisecond(life: Life, store: SqlOrderStore) -> None:
    await life.fund(USDT="1000")
    request = make_request(quantity=Decimal("0.12345"), post_only=True)
    await life.admit(request)
    now = NOW + timedelta(microseconds=123_456)
    attempt = await store.open_attempt(ACCOUNT, request.order_id, worker="w", now=now)
    assert attempt.client_order_id == request.order_id
    assert attempt.submission.quantity == Decimal("0.1234")
    assert attempt.submission.post_only
    assert attempt.signed_at == attempt.submission.signed_at == NOW + timedelta(milliseconds=123)
    found = await store.current_attempt(ACCOUNT, request.order_id)
    assert found == attempt.model_copy(update={"fresh": False})


async def test_last_look_passes_once(life: Life, store: SqlOrderStore) -> None:
    attempt = await opened(life)
    looks = await asyncio.gather(*(store.pass_last_look(attempt, now=NOW) for _ in range(10)))
    assert sorted(looks) == [False] * 9 + [True]
    found = await store.current_attempt(ACCOUNT, attempt.order_id)
    assert found is not None
    assert found.may_have_left


async def test_last_look_and_void_at_once_let_one_of_them_win(life: Life, store: SqlOrderStore) -> None:
    await life.fund(USDT="1000")
    for number in range(20):
        request = make_request(f"key {number}")
        await life.admit(request)
        attempt = await store.open_attempt(ACCOUNT, request.order_id, worker="w", now=NOW)
        passed, voided = await asyncio.gather(
            store.pass_last_look(attempt, now=NOW), store.void_attempt(attempt, reason=LOST, now=NOW)
        )
        assert passed == (voided is None)


async def test_attempt_that_has_left_cannot_be_voided(life: Life, store: SqlOrderStore) -> None:
    attempt = await opened(life)
    assert await store.pass_last_look(attempt, now=NOW)
    assert await store.void_attempt(attempt, reason=LOST, now=NOW) is None
    assert (await store.order(ACCOUNT, attempt.order_id)).status is OrderStatus.SUBMITTED


async def test_voided_attempt_stays_void_and_never_leaves(life: Life, store: SqlOrderStore) -> None:
    attempt = await opened(life)
    voided = await store.void_attempt(attempt, reason=LOST, now=NOW)
    assert voided is not None
    assert voided.status is OrderStatus.INITIALIZED
    assert not await store.pass_last_look(attempt, now=NOW)
    assert await store.void_attempt(attempt, reason=LOST, now=NOW) == voided


async def test_attempt_after_a_voided_one_has_its_own_client_order_id(life: Life, store: SqlOrderStore) -> None:
    first = await opened(life)
    await store.void_attempt(first, reason=LOST, now=NOW)
    second = await store.open_attempt(ACCOUNT, first.order_id, worker="w", now=NOW)
    assert second.fresh
    assert (second.attempt, second.client_order_id) == (2, derive_client_order_id(first.order_id, attempt=2))
    assert not await store.pass_last_look(first, now=NOW)
    assert await store.pass_last_look(second, now=NOW)


async def test_last_look_fails_once_a_cancel_is_asked_for(life: Life, store: SqlOrderStore) -> None:
    attempt = await opened(life)
    await store.request_cancel(ACCOUNT, attempt.order_id, reason=deny("CANCEL_REQUESTED", "asked"), now=NOW)
    assert not await store.pass_last_look(attempt, now=NOW)


async def test_last_look_fails_from_the_deadline_on(life: Life, store: SqlOrderStore) -> None:
    attempt = await opened(life, expires_at=NOW + timedelta(seconds=5))
    assert not await store.pass_last_look(attempt, now=NOW + timedelta(seconds=5))
    assert await store.pass_last_look(attempt, now=NOW + timedelta(seconds=4))


@pytest.mark.parametrize("scope", [FIRM, scope_name(ScopeKind.ACCOUNT, ACCOUNT)])
async def test_last_look_fails_while_the_kill_switch_is_on(life: Life, engine: AsyncEngine, scope: str) -> None:
    attempt = await opened(life)
    await kill_switch.engage(engine, scope, reason="drill")
    assert not await life.store.pass_last_look(attempt, now=NOW)
    await kill_switch.lift(engine, scope)
    assert await life.store.pass_last_look(attempt, now=NOW)


async def test_order_that_was_asked_to_cancel_or_is_final_opens_no_attempt(life: Life, store: SqlOrderStore) -> None:
    await life.fund(USDT="1000")
    request = make_request()
    await life.admit(request)
    reason = deny("CANCEL_REQUESTED", "asked")
    await store.request_cancel(ACCOUNT, request.order_id, reason=reason, now=NOW)
    with pytest.raises(OrderClosed):
        await store.open_attempt(ACCOUNT, request.order_id, worker="w", now=NOW)
    await store.end_unsent(ACCOUNT, request.order_id, event_type=OrderEventType.CANCELED, reason=reason, now=NOW)
    with pytest.raises(OrderClosed):
        await store.open_attempt(ACCOUNT, request.order_id, worker="w", now=NOW)


async def test_order_that_was_recorded_and_is_gone_stops_the_account(store: SqlOrderStore) -> None:
    with pytest.raises(StoreUnavailable):
        await store.open_attempt(ACCOUNT, "a" * 16, worker="w", now=NOW)
    assert await store.current_attempt(ACCOUNT, "a" * 16) is None


async def test_refusal_ends_the_order_and_gives_the_reservation_back(life: Life, rows: Rows) -> None:
    attempt = await opened(life)
    await life.store.pass_last_look(attempt, now=NOW)
    order = await life.store.record_outcome(attempt, outcome(SubmitVerdict.REFUSED), now=NOW)
    assert order.status is OrderStatus.REJECTED
    assert order.reason == outcome(SubmitVerdict.REFUSED).reason
    assert await life.store.record_outcome(attempt, outcome(SubmitVerdict.REFUSED), now=NOW) == order
    assert [(row.state, row.outcome["verdict"]) for row in await rows("SELECT * FROM attempts")] == [
        ("CLOSED", "refused")
    ]
    assert [row.reserved for row in await rows("SELECT reserved FROM balances")] == [0]
    assert [row.amount for row in await rows("SELECT amount FROM reservations")] == [0]


async def test_unsent_attempt_brings_the_order_back_and_keeps_the_reservation(life: Life, rows: Rows) -> None:
    attempt = await opened(life)
    order = await life.store.record_outcome(attempt, outcome(SubmitVerdict.NOT_SENT), now=NOW)
    assert order.status is OrderStatus.INITIALIZED
    assert [row.state for row in await rows("SELECT state FROM attempts")] == ["VOID"]
    assert [row.reserved for row in await rows("SELECT reserved FROM balances")] == [10]


async def test_unknown_outcome_is_in_doubt_until_never_placed_is_proven(life: Life, store: SqlOrderStore) -> None:
    attempt = await opened(life)
    await store.pass_last_look(attempt, now=NOW)
    doubted = await store.record_outcome(attempt, outcome(SubmitVerdict.UNKNOWN), now=NOW)
    assert (doubted.status, doubted.needs_attention) == (OrderStatus.IN_DOUBT, True)
    assert await store.record_outcome(attempt, outcome(SubmitVerdict.UNKNOWN), now=NOW) == doubted
    proof = deny("NEVER_PLACED", "the time fence has passed")
    cleared = await store.record_never_placed(attempt, reason=proof, now=NOW)
    assert cleared.status is OrderStatus.INITIALIZED
    assert await store.record_never_placed(attempt, reason=proof, now=NOW) == cleared
    assert (await store.open_attempt(ACCOUNT, attempt.order_id, worker="w", now=NOW)).attempt == 2


async def test_senders_proof_that_nothing_was_sent_clears_an_order_that_others_doubted(
    life: Life, store: SqlOrderStore, reader: SqlOrderReader
) -> None:
    attempt = await opened(life)
    await store.pass_last_look(attempt, now=NOW)
    await store.record_outcome(attempt, outcome(SubmitVerdict.UNKNOWN), now=NOW)
    order = await store.record_outcome(attempt, outcome(SubmitVerdict.NOT_SENT), now=NOW)
    assert order.status is OrderStatus.INITIALIZED
    assert [entry.event.event_type for entry in await reader.events(ACCOUNT, attempt.order_id)][-2:] == [
        OrderEventType.SUBMIT_UNKNOWN,
        OrderEventType.NEVER_PLACED,
    ]


async def test_acceptance_that_comes_after_the_order_was_doubted_counts(life: Life, store: SqlOrderStore) -> None:
    attempt = await opened(life)
    await store.pass_last_look(attempt, now=NOW)
    await store.record_outcome(attempt, outcome(SubmitVerdict.UNKNOWN), now=NOW)
    accepted = SubmitOutcome(verdict=SubmitVerdict.ACCEPTED, report=make_report())
    order = await store.record_outcome(attempt, accepted, now=NOW)
    assert (order.status, order.venue_order_id, order.needs_attention) == (OrderStatus.ACCEPTED, "7", False)
    assert await store.record_outcome(attempt, accepted, now=NOW) == order
    assert await store.record_outcome(attempt, outcome(SubmitVerdict.UNKNOWN), now=NOW) == order


async def test_later_unknown_does_not_overwrite_what_was_learned(life: Life, rows: Rows) -> None:
    attempt = await opened(life)
    await life.store.pass_last_look(attempt, now=NOW)
    await life.store.record_outcome(attempt, outcome(SubmitVerdict.REFUSED), now=NOW)
    await life.store.record_outcome(attempt, outcome(SubmitVerdict.UNKNOWN), now=NOW)
    assert [row.outcome["verdict"] for row in await rows("SELECT outcome FROM attempts")] == ["refused"]


async def test_acceptance_of_an_attempt_given_up_as_unsent_opens_a_case(life: Life, rows: Rows) -> None:
    attempt = await opened(life)
    await life.store.void_attempt(attempt, reason=LOST, now=NOW)
    accepted = SubmitOutcome(verdict=SubmitVerdict.ACCEPTED, report=make_report())
    order = await life.store.record_outcome(attempt, accepted, now=NOW)
    assert (order.status, order.needs_attention) == (OrderStatus.INITIALIZED, True)
    assert [row.code for row in await rows("SELECT code FROM cases")] == ["UNEXPECTED_AT_VENUE"]


async def test_ledgers_last_look_is_the_protocols(life: Life, engine: AsyncEngine) -> None:
    await life.fund(USDT="100000")
    for number, (expires_in_s, cancel, killed, state) in enumerate(
        product((None, 1, 3), (False, True), (False, True), AttemptState)
    ):
        expires_at = NOW + timedelta(seconds=expires_in_s) if expires_in_s is not None else None
        request = make_request(f"look {number}", expires_at=expires_at)
        await life.admit(request)
        attempt = await life.store.open_attempt(ACCOUNT, request.order_id, worker="w", now=NOW)
        if cancel:
            await life.store.request_cancel(ACCOUNT, request.order_id, reason=deny("CANCEL", "asked"), now=NOW)
        async with engine.begin() as connection:
            await connection.execute(update(attempts).where(attempts.c.token == attempt.token).values(state=state))
        if killed:
            await kill_switch.engage(engine, FIRM, reason="drill")
        order, later = await life.store.order(ACCOUNT, request.order_id), NOW + timedelta(seconds=2)
        decided = may_leave(order, state, kill_reason="drill" if killed else None, now=later)
        assert await life.store.pass_last_look(attempt, now=later) == decided, (expires_in_s, cancel, killed, state)
        await kill_switch.lift(engine, FIRM)
