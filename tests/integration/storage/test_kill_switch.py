"""The kill switch on a real ledger: its scopes, its race against the last look, lifting in two steps, its history."""

import asyncio
import json
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.errors import LiftNotConfirmed, NotAmendable, SwitchNotOn, SwitchOfSettings
from domain.instrument import deny
from domain.kill import SETTINGS, Engagement, KillEventKind
from domain.limits import FIRM, scopes_of
from domain.numbers import parse_amount
from domain.order import OrderRequest
from domain.ports import Attempt
from domain.reports import SubmitOutcome, SubmitVerdict
from domain.trips import Trip
from exchanges.venue_rules import SEND_WITHIN_S
from storage import attempts, kill_switch
from storage.kill_sweeps import SqlSwitches
from storage.kill_switch import IN_FLIGHT_MAX_S
from storage.order_store import SqlOrderStore
from tests.factories import NOW, make_report, make_request, make_terms
from tests.integration.storage.conftest import ACCOUNT, Life, Rows

MINE = (FIRM, f"account:{ACCOUNT}", "symbol:BTC/USDT", "strategy:momentum", "key:test", SETTINGS)
OTHERS = ("account:other", "symbol:ETH/USDT", "strategy:carry", "key:desk")


@pytest.fixture
def switches(engine: AsyncEngine) -> SqlSwitches:
    """The switches of the test's own ledger."""
    return SqlSwitches(engine)


def request_of_all_scopes(key: str = "key") -> OrderRequest:
    """An order of strategy `momentum`, asked for by `test`."""
    return make_request(key, strategy="momentum")


async def opened(life: Life, key: str = "key") -> Attempt:
    """An attempt whose bytes have not left."""
    await life.fund(USDT="10000")
    request = request_of_all_scopes(key)
    await life.admit(request)
    return await life.store.open_attempt(ACCOUNT, request.order_id, worker="w", now=NOW)


async def left_now(engine: AsyncEngine) -> None:
    """Let every attempt that has left have left just now, by the ledger's clock."""
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE attempts SET left_at = clock_timestamp() WHERE state = 'LEFT'"))


@pytest.mark.parametrize("scope", MINE)
async def test_switch_of_each_of_an_orders_scopes_stops_its_bytes(life: Life, engine: AsyncEngine, scope: str) -> None:
    attempt = await opened(life)
    assert (scope in scopes_of(request_of_all_scopes())) == (scope != SETTINGS)
    await kill_switch.engage(engine, scope, reason="drill")
    assert not await life.store.pass_last_look(attempt, now=NOW)
    await kill_switch.lift(engine, scope)
    assert await life.store.pass_last_look(attempt, now=NOW)


@pytest.mark.parametrize("scope", MINE)
async def test_switch_of_each_of_an_orders_scopes_stops_an_amendment(
    life: Life, engine: AsyncEngine, scope: str
) -> None:
    await life.fund(USDT="10000")
    order = await life.resting(strategy="momentum")
    await kill_switch.engage(engine, scope, reason="drill")
    wanted = {"quantity": parse_amount("0.2"), "price": parse_amount("100"), "terms": make_terms()}
    with pytest.raises(NotAmendable, match="drill"):
        await life.store.request_amend(ACCOUNT, order.order_id, **wanted, requested_by="ann", now=NOW)


async def test_switches_of_other_scopes_do_not_matter(life: Life, engine: AsyncEngine) -> None:
    attempt = await opened(life)
    for scope in OTHERS:
        await kill_switch.engage(engine, scope, reason="drill")
    assert await life.store.pass_last_look(attempt, now=NOW)


async def test_order_that_nobody_named_is_in_no_scope_of_a_key(life: Life, engine: AsyncEngine) -> None:
    attempt = await opened(life)
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE orders SET document = document - 'requested_by'"))
    await kill_switch.engage(engine, "key:test", reason="drill")
    assert await life.store.pass_last_look(attempt, now=NOW)


async def test_engaging_waits_for_a_last_look_that_is_under_way(life: Life, engine: AsyncEngine) -> None:
    attempt = await opened(life)
    async with engine.connect() as connection:
        assert await attempts.pass_last_look(connection, attempt, now=NOW)
        engaging = asyncio.create_task(kill_switch.engage(engine, FIRM, reason="drill"))
        await asyncio.wait({engaging}, timeout=0.3)
        assert not engaging.done(), "it must wait for what has passed"
        await connection.commit()
    await asyncio.wait_for(engaging, 5)


async def test_last_look_that_comes_while_it_is_engaged_waits_and_sees_it(life: Life, engine: AsyncEngine) -> None:
    attempt = await opened(life)
    async with engine.connect() as connection:
        await connection.execute(text("LOCK TABLE kill_switches IN EXCLUSIVE MODE"))
        await connection.execute(text("INSERT INTO kill_switches (scope, reason) VALUES ('firm', 'drill')"))
        looking = asyncio.create_task(life.store.pass_last_look(attempt, now=NOW))
        await asyncio.wait({looking}, timeout=0.3)
        assert not looking.done(), "it must not decide by what it saw before"
        await connection.commit()
    assert not await asyncio.wait_for(looking, 5)


async def test_engaging_does_not_wait_for_a_backup(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        await connection.execute(text("LOCK TABLE kill_switches IN ACCESS SHARE MODE"))  # as pg_dump does
        engaged = await asyncio.wait_for(kill_switch.engage(engine, FIRM, reason="drill"), 2)
    assert engaged.fresh


async def test_engaging_answers_once_what_had_left_has_said_what_came_of_it(life: Life, engine: AsyncEngine) -> None:
    attempt = await opened(life)
    assert await life.store.pass_last_look(attempt, now=NOW)
    await left_now(engine)
    engaging = asyncio.create_task(kill_switch.engage(engine, FIRM, reason="drill"))
    await asyncio.wait({engaging}, timeout=0.3)
    assert not engaging.done(), "its bytes may be on their way"
    accepted = SubmitOutcome(
        verdict=SubmitVerdict.ACCEPTED, report=make_report(client_order_id=attempt.client_order_id)
    )
    await life.store.record_outcome(attempt, accepted, now=NOW)
    engaged = await asyncio.wait_for(engaging, 2)
    assert (engaged.in_flight, engaged.unanswered) == (1, 0)


async def test_word_of_somebody_else_does_not_count_and_the_wait_is_bounded(
    life: Life, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kill_switch, "IN_FLIGHT_MAX_S", 0.5)
    attempt = await opened(life)
    assert await life.store.pass_last_look(attempt, now=NOW)
    await left_now(engine)
    lost = deny("SENDER_LOST", "the worker that opened the attempt ended before it could say what came of it")
    await life.store.record_outcome(attempt, SubmitOutcome(verdict=SubmitVerdict.UNKNOWN, reason=lost), now=NOW)
    engaged = await asyncio.wait_for(kill_switch.engage(engine, FIRM, reason="drill"), 3)
    assert (engaged.in_flight, engaged.unanswered) == (1, 1), "the sender may be paused, and go on"


async def test_what_left_in_another_scope_is_not_waited_for(life: Life, engine: AsyncEngine) -> None:
    attempt = await opened(life)
    assert await life.store.pass_last_look(attempt, now=NOW)
    await left_now(engine)
    engaged = await asyncio.wait_for(kill_switch.engage(engine, "strategy:carry", reason="drill"), 2)
    assert engaged.in_flight == 0


def test_the_wait_is_longer_than_a_signed_order_may_leave() -> None:
    assert IN_FLIGHT_MAX_S > SEND_WITHIN_S


async def test_no_attempt_passes_after_the_answer_whatever_the_moment(
    life: Life, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kill_switch, "IN_FLIGHT_MAX_S", 0.05)
    await life.fund(USDT="100000")
    for number in range(30):
        request = request_of_all_scopes(f"race {number}")
        await life.admit(request)
        attempt = await life.store.open_attempt(ACCOUNT, request.order_id, worker="w", now=NOW)
        answered: list[str] = []

        async def look(attempt: Attempt = attempt, answered: list[str] = answered) -> bool:
            passed = await life.store.pass_last_look(attempt, now=NOW)
            answered.append("look")
            return passed

        async def pull(answered: list[str] = answered) -> None:
            await kill_switch.engage(engine, FIRM, reason="drill")
            answered.append("engaged")

        passed, _ = await asyncio.gather(look(), pull())
        assert not passed or answered[0] == "look", "a look that passes has done so before the answer"
        assert not await life.store.pass_last_look(attempt, now=NOW)
        await kill_switch.lift(engine, FIRM)


async def test_lifting_takes_two_steps(switches: SqlSwitches, rows: Rows) -> None:
    await switches.engage(Engagement(scope=FIRM, reason="drill", by="ann"))
    with pytest.raises(LiftNotConfirmed):
        await switches.lift(FIRM, confirm="000000", by="bob")
    asked = await switches.ask_lift(FIRM, because="the drill is over", by="bob")
    wrong = "000000" if asked.confirm != "000000" else "111111"
    with pytest.raises(LiftNotConfirmed):
        await switches.lift(FIRM, confirm=wrong, by="bob")
    assert [switch.scope for switch in await switches.switches()] == [FIRM]
    lifted = await switches.lift(FIRM, confirm=asked.confirm, by="carl")
    assert (lifted.kind, lifted.by) == (KillEventKind.LIFTED, "carl")
    assert await switches.switches() == []
    told = [(event.kind, event.by, event.why) for event in await switches.events(limit=10, before=None)]
    assert told == [
        (KillEventKind.LIFTED, "carl", "confirmed; asked for by bob"),
        (KillEventKind.LIFT_ASKED, "bob", "the drill is over"),
        (KillEventKind.ENGAGED, "ann", "drill"),
    ]
    assert asked.confirm not in json.dumps([dict(row._mapping) for row in await rows("SELECT * FROM kill_events")],
                                           default=str)  # fmt: skip


async def test_code_is_good_for_five_minutes_of_the_ledgers_time(switches: SqlSwitches, engine: AsyncEngine) -> None:
    await switches.engage(Engagement(scope=FIRM, reason="drill"))
    asked = await switches.ask_lift(FIRM, because="over", by="bob")
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE kill_switches SET lift_asked_at = lift_asked_at - interval '301 s'"))
    with pytest.raises(LiftNotConfirmed, match="too old"):
        await switches.lift(FIRM, confirm=asked.confirm, by="bob")


async def test_who_pulls_it_again_makes_the_code_worthless(switches: SqlSwitches) -> None:
    await switches.engage(Engagement(scope=FIRM, reason="drill"))
    asked = await switches.ask_lift(FIRM, because="over", by="bob")
    await switches.engage(Engagement(scope=FIRM, reason="no, it is not", by="ann"))
    with pytest.raises(LiftNotConfirmed):
        await switches.lift(FIRM, confirm=asked.confirm, by="bob")


async def test_switch_of_the_configuration_is_not_lifted_by_people(switches: SqlSwitches, engine: AsyncEngine) -> None:
    await kill_switch.follow_settings(engine, engaged=True)
    with pytest.raises(SwitchOfSettings):
        await switches.ask_lift(SETTINGS, because="over", by="bob")
    with pytest.raises(SwitchOfSettings):
        await switches.lift(SETTINGS, confirm="000000", by="bob")


async def test_what_is_not_on_cannot_be_lifted(switches: SqlSwitches) -> None:
    with pytest.raises(SwitchNotOn):
        await switches.ask_lift(FIRM, because="over", by="bob")
    with pytest.raises(SwitchNotOn):
        await switches.lift(FIRM, confirm="000000", by="bob")


async def test_pulled_again_it_keeps_its_reason_and_learns_what_else_is_asked(switches: SqlSwitches) -> None:
    first = await switches.engage(Engagement(scope=FIRM, reason="drill", by="ann"))
    again = await switches.engage(Engagement(scope=FIRM, reason="again", by="bob"))
    assert (first.fresh, again.fresh, again.switch) == (True, False, first.switch)
    more = await switches.engage(Engagement(scope=FIRM, reason="and cancel", by="bob", cancel_orders=True))
    less = await switches.engage(Engagement(scope=FIRM, reason="without", by="bob"))
    assert (more.switch.reason, more.switch.cancel_orders, less.switch.cancel_orders) == ("drill", True, True)
    kinds = [event.kind for event in await switches.events(limit=10, before=None)]
    assert kinds == [KillEventKind.EXTENDED, KillEventKind.ENGAGED]


async def test_trip_is_recorded_with_its_figures_once(switches: SqlSwitches, engine: AsyncEngine) -> None:
    tripped = Trip(scope=f"account:{ACCOUNT}", reason=deny("VENUE_ERRORS", "too many fail", failed="9", asked="10"))
    engaged = await kill_switch.trip(engine, tripped)
    assert engaged is not None and engaged.switch.code == "VENUE_ERRORS"
    assert await kill_switch.trip(engine, tripped) is None
    [event] = await switches.events(limit=10, before=None)
    assert (event.kind, event.by, event.numbers) == (
        KillEventKind.TRIPPED,
        "volex",
        {"failed": "9", "asked": "10"},
    )


async def test_history_is_paged_and_never_changed(switches: SqlSwitches, engine: AsyncEngine) -> None:
    for scope in OTHERS:
        await switches.engage(Engagement(scope=scope, reason="drill"))
    first = await switches.events(limit=3, before=None)
    second = await switches.events(limit=3, before=first[-1].event_id)
    assert [event.scope for event in (*first, *second)] == list(reversed(OTHERS))
    with pytest.raises(Exception, match="never changed"):
        async with engine.begin() as connection:
            await connection.execute(text("UPDATE kill_events SET why = 'another'"))


async def test_settings_are_recorded_when_they_change_and_not_at_every_start(
    switches: SqlSwitches, engine: AsyncEngine
) -> None:
    for engaged in (True, True, False, False, True):
        await kill_switch.follow_settings(engine, engaged=engaged)
    kinds = [event.kind for event in await switches.events(limit=10, before=None)]
    assert kinds == [KillEventKind.ENGAGED, KillEventKind.LIFTED, KillEventKind.ENGAGED]


async def test_positions_of_a_strategy_or_a_key_cannot_be_flattened() -> None:
    for scope in ("strategy:momentum", "key:test"):
        with pytest.raises(ValueError, match="positions belong to accounts"):
            Engagement(scope=scope, reason="drill", flatten=True)


async def test_exempt_order_passes_every_switch_but_the_configurations(
    life: Life, engine: AsyncEngine, store: SqlOrderStore
) -> None:
    attempt = await opened(life)
    engaged = await kill_switch.engage(engine, FIRM, reason="drill", flatten=True)
    values: dict[str, Any] = {"a": ACCOUNT, "o": attempt.order_id, "e": engaged.switch.event_id}
    async with engine.begin() as connection:
        await connection.execute(
            text("INSERT INTO kill_exemptions (account, order_id, event_id, symbol) VALUES (:a, :o, :e, 'BTC/USDT')"),
            values,
        )
    await kill_switch.engage(engine, SETTINGS, reason="drill")
    assert not await store.pass_last_look(attempt, now=NOW)
    await kill_switch.lift(engine, SETTINGS)
    assert await store.pass_last_look(attempt, now=NOW)
