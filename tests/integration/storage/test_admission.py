"""The gate's transaction: one intent is one order, and no two orders spend the same balance."""

import asyncio
from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.errors import IdempotencyConflict
from domain.instrument import NormalTicket, deny, normalize
from domain.lifecycle import OrderEventType, OrderStatus
from domain.limits import ScopeKind, scope_name
from domain.numbers import plain
from domain.order import OrderSide, OrderType
from domain.reports import Balance
from domain.risk import Answer, Validated
from storage import kill_switch
from storage.order_reader import SqlOrderReader
from storage.order_store import SqlOrderStore
from tests.factories import NOW, make_instrument, make_request, make_terms, make_validated
from tests.integration.storage.conftest import ACCOUNT, BEFORE, Life, Rows


async def test_admitted_order_reads_back_exactly_as_it_was_written(life: Life, store: SqlOrderStore) -> None:
    await life.fund(USDT="1000")
    request = make_request(
        quantity=Decimal("0.12345"), strategy="mean reversion", expires_at=NOW + timedelta(days=1, microseconds=1)
    )
    admission = await life.admit(request)
    assert admission.answer is Answer.ALLOW
    assert admission.order.quantity == Decimal("0.1234")
    assert admission.order.rounded_from == Decimal("0.12345")
    assert await store.order(ACCOUNT, request.order_id) == admission.order


async def test_hundred_equal_calls_at_once_are_one_order_and_one_reservation(life: Life, rows: Rows) -> None:
    await life.fund(USDT="1000")
    request = make_request()
    admissions = await asyncio.gather(*(life.admit(request) for _ in range(100)))
    assert {admission.model_dump_json() for admission in admissions} == {admissions[0].model_dump_json()}
    assert admissions[0].answer is Answer.ALLOW
    assert [row.count for row in await rows("SELECT count(*) AS count FROM orders")] == [1]
    assert [row.seq for row in await rows("SELECT seq FROM order_events")] == [1]
    assert [row.reserved for row in await rows("SELECT reserved FROM balances")] == [Decimal(10)]


async def test_concurrent_orders_are_admitted_exactly_as_far_as_the_balance_reaches(
    life: Life, rows: Rows, reader: SqlOrderReader
) -> None:
    await life.fund(USDT="170")
    requests = [make_request(f"key {number}") for number in range(64)]
    admissions = await asyncio.gather(*(life.admit(request) for request in requests))
    allowed = [admission for admission in admissions if admission.answer is Answer.ALLOW]
    denied = [admission for admission in admissions if admission.answer is Answer.DENY]
    assert (len(allowed), len(denied)) == (17, 47)
    assert {admission.reason.code for admission in denied if admission.reason} == {"BALANCE_INSUFFICIENT"}
    assert {admission.order.status for admission in denied} == {OrderStatus.DENIED}
    assert [row.reserved for row in await rows("SELECT reserved FROM balances")] == [Decimal(170)]
    for admission in denied:
        events = await reader.events(ACCOUNT, admission.order.order_id)
        assert [event.event.event_type for event in events] == [OrderEventType.DENIED]
        assert await reader.order(ACCOUNT, admission.order.order_id) == admission.order


async def test_same_id_for_another_ticket_is_a_conflict(life: Life) -> None:
    await life.fund(USDT="1000")
    await life.admit(make_request())
    with pytest.raises(IdempotencyConflict):
        await life.admit(make_request(quantity=Decimal("0.2")))


async def test_same_key_under_another_id_is_a_conflict_that_names_the_first(life: Life) -> None:
    await life.fund(USDT="1000")
    first = make_request()
    await life.admit(first)
    second = first.model_copy(update={"order_id": "a" * 16})
    with pytest.raises(IdempotencyConflict) as raised:
        await life.admit(second)
    assert raised.value.numbers == {"order_id": first.order_id}


async def test_same_key_under_many_ids_at_once_is_one_order(life: Life, rows: Rows) -> None:
    await life.fund(USDT="1000")
    request = make_request()
    calls = [life.admit(request.model_copy(update={"order_id": f"a{number:015x}"})) for number in range(10)]
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(isinstance(result, IdempotencyConflict) for result in results) == 9
    assert [row.count for row in await rows("SELECT count(*) AS count FROM orders")] == [1]


async def test_denial_by_a_limit_is_recorded_with_its_numbers_and_reserves_nothing(
    life: Life, rows: Rows, store: SqlOrderStore
) -> None:
    await life.fund(USDT="1000")
    request = make_request()
    admission = await life.admit(request, max_order_notional=Decimal(9))
    assert admission.answer is Answer.DENY
    assert admission.reason is not None
    assert admission.reason.numbers == {"notional": "10", "max_order_notional": "9"}
    assert await store.order(ACCOUNT, request.order_id) == admission.order
    assert await life.admit(request) == admission  # asked again, also under wider limits, it stays denied
    assert await rows("SELECT * FROM reservations") == []


async def test_missing_validation_is_denied_with_its_reason(store: SqlOrderStore) -> None:
    validated = Validated(denial=deny("SYMBOL_UNKNOWN", "not listed"))
    admission = await store.admit(make_request(), validated, terms=make_terms(), now=NOW)
    assert (admission.answer, admission.order.reason) == (Answer.DENY, validated.denial)


async def test_account_that_was_never_compared_is_unavailable_and_leaves_no_trace(life: Life, rows: Rows) -> None:
    admission = await life.admit(make_request())
    assert admission.answer is Answer.UNAVAILABLE
    assert admission.order.seq == 0
    assert await rows("SELECT * FROM orders") == []


async def test_asset_that_the_venue_did_not_list_counts_as_zero(life: Life) -> None:
    await life.fund(BTC="1")
    admission = await life.admit(make_request())
    assert admission.answer is Answer.DENY
    assert admission.reason is not None
    assert admission.reason.numbers == {"asset": "USDT", "needed": "10", "available": "0"}


async def test_kill_switch_denies_until_it_is_lifted(life: Life, engine: AsyncEngine) -> None:
    await life.fund(USDT="1000")
    await kill_switch.engage(engine, scope_name(ScopeKind.ACCOUNT, ACCOUNT), reason="drill")
    denied = await life.admit(make_request("first"))
    assert denied.reason is not None
    assert denied.reason.code == "KILL_SWITCH_ON"
    await kill_switch.lift(engine, scope_name(ScopeKind.ACCOUNT, ACCOUNT))
    assert (await life.admit(make_request("second"))).answer is Answer.ALLOW


async def test_kill_switch_of_another_account_does_not_matter(life: Life, engine: AsyncEngine) -> None:
    await life.fund(USDT="1000")
    await kill_switch.engage(engine, scope_name(ScopeKind.ACCOUNT, "other"), reason="drill")
    assert (await life.admit(make_request())).answer is Answer.ALLOW


async def test_market_buy_reserves_the_buffer_and_a_sell_reserves_base(life: Life, rows: Rows) -> None:
    await life.fund(USDT="1000", BTC="1")
    await life.admit(make_request("buy", order_type=OrderType.MARKET, price=None))
    await life.admit(make_request("sell", side=OrderSide.SELL))
    found = await rows("SELECT asset, amount FROM reservations ORDER BY asset")
    assert [(row.asset, row.amount) for row in found] == [("BTC", Decimal("0.1")), ("USDT", Decimal("10.1"))]


async def test_reservation_of_more_than_eighteen_decimals_is_rounded_up(life: Life, rows: Rows) -> None:
    await life.fund(USDT="1000")
    instrument = make_instrument(tick_size=Decimal("1e-10"), step_size=Decimal("1e-10"), min_notional=None)
    request = make_request(quantity=Decimal("0.0000000003"), price=Decimal("0.0000000005"))
    normal = normalize(request.ticket, instrument, now=NOW)
    validated = Validated(normal=NormalTicket.model_validate(normal), instrument=instrument)
    await life.store.admit(request, validated, terms=make_terms(), now=NOW)
    assert [row.amount for row in await rows("SELECT amount FROM reservations")] == [Decimal("1e-18")]


async def test_deny_records_once_and_leaves_a_recorded_order_as_it_is(life: Life, store: SqlOrderStore) -> None:
    await life.fund(USDT="1000")
    reason = deny("MARKET_PRICE_UNAVAILABLE", "no price in time")
    first = make_request("first")
    denied = await store.deny(first, reason, terms=make_terms(), now=NOW)
    assert (denied.status, denied.reason) == (OrderStatus.DENIED, reason)
    assert await store.deny(first, deny("OTHER", "other"), terms=make_terms(), now=NOW) == denied
    second = make_request("second")
    admitted = (await life.admit(second)).order
    assert await store.deny(second, reason, terms=make_terms(), now=NOW) == admitted


async def test_stale_word_on_balances_is_ignored_and_a_newer_one_counts(life: Life, reader: SqlOrderReader) -> None:
    await life.fund(USDT="100", BTC="1")
    await life.fund(asked_at=BEFORE - timedelta(seconds=1), USDT="7")
    assert [(sheet.asset, plain(sheet.total)) for sheet in await reader.balances(ACCOUNT)] == [
        ("BTC", "1"),
        ("USDT", "100"),
    ]
    await life.fund(asked_at=BEFORE + timedelta(seconds=1), USDT="50")
    assert [(sheet.asset, plain(sheet.total)) for sheet in await reader.balances(ACCOUNT)] == [
        ("BTC", "0"),
        ("USDT", "50"),
    ]


async def test_switch_in_the_configuration_denies_and_lifts(store: SqlOrderStore, engine: AsyncEngine) -> None:
    await kill_switch.follow_settings(engine, engaged=True)
    denied = make_request("settings-on")
    admission = await store.admit(denied, make_validated(denied), terms=make_terms(), now=NOW)
    assert admission.reason is not None
    assert admission.reason.code == "KILL_SWITCH_ON"
    await kill_switch.follow_settings(engine, engaged=False)
    await store.record_balances(
        "binanceus", [Balance(asset="USDT", free=Decimal(99), used=Decimal(0), total=Decimal(99))], asked_at=NOW
    )
    admitted = make_request("settings-off")
    admission = await store.admit(admitted, make_validated(admitted), terms=make_terms(), now=NOW)
    assert admission.answer is Answer.ALLOW
