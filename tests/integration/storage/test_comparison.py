"""What should be there against what the venue tells, and what the venue owes: cases, once, with their figures."""

from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.comparison import BALANCE_MISMATCH, orphan
from domain.events import Fill
from domain.lifecycle import OrderStatus
from domain.reconciliation import OWED_FOR_S, TRADES_MISSING
from domain.reports import VenueOrderStatus
from storage.comparison import STANDS_FOR, SqlReconciliationStore
from storage.continuity import start_anew
from storage.restoring import SqlLedgerRepairStore
from tests.factories import NOW, make_fill, make_report, make_request, make_terms, make_validated
from tests.integration.storage.conftest import ACCOUNT, Life, Rows, balance

OPEN_CASES = "SELECT * FROM cases WHERE closed_at IS NULL ORDER BY case_id"
LATER = NOW + STANDS_FOR


@pytest.fixture
def comparison(engine: AsyncEngine) -> SqlReconciliationStore:
    """The ledger as the reconciler sees it."""
    return SqlReconciliationStore(engine)


async def test_balance_moved_by_our_own_fills_is_what_should_be_there(
    life: Life, comparison: SqlReconciliationStore
) -> None:
    await life.fund(USDT="1000")
    order = await life.resting()
    filled = make_report(status=VenueOrderStatus.CLOSED, cum_qty=Decimal("0.1"), trades=(make_fill(),))
    await life.store.record_report(ACCOUNT, order.order_id, filled, trades=(), now=NOW)
    told = [balance("USDT", "990"), balance("BTC", "0.0999")]
    for moment in (NOW, LATER):
        assert await comparison.compare_balances(ACCOUNT, told, asked_at=moment) == []


async def test_difference_is_a_case_once_it_has_stood_and_is_then_taken_for_what_is_there(
    life: Life, comparison: SqlReconciliationStore, rows: Rows
) -> None:
    await life.fund(USDT="1000")
    told = [balance("USDT", "900")]
    assert await comparison.compare_balances(ACCOUNT, told, asked_at=NOW) == []
    assert await comparison.compare_balances(ACCOUNT, told, asked_at=LATER - timedelta(seconds=1)) == []
    assert await comparison.compare_balances(ACCOUNT, told, asked_at=LATER) == ["USDT"]
    [case] = await rows(OPEN_CASES)
    assert (case.code, case.subject) == (BALANCE_MISMATCH, "asset USDT")
    assert case.reason["numbers"] == {"asset": "USDT", "expected": "1000", "at_venue": "900", "difference": "-100"}
    assert await comparison.compare_balances(ACCOUNT, told, asked_at=LATER + STANDS_FOR) == []


async def test_difference_that_changes_is_a_fill_on_its_way_and_no_case(
    life: Life, comparison: SqlReconciliationStore
) -> None:
    await life.fund(USDT="1000")
    for number, total in enumerate(("990", "980", "970", "1000")):
        moment = NOW + number * STANDS_FOR
        assert await comparison.compare_balances(ACCOUNT, [balance("USDT", total)], asked_at=moment) == []


async def test_order_in_doubt_explains_a_difference(life: Life, comparison: SqlReconciliationStore) -> None:
    await life.fund(USDT="1000")
    await life.sent(make_request())
    for moment in (NOW, LATER):
        assert await comparison.compare_balances(ACCOUNT, [balance("USDT", "990")], asked_at=moment) == []


async def test_position_that_is_not_the_sum_of_its_fills_is_a_case(
    life: Life, comparison: SqlReconciliationStore, engine: AsyncEngine, rows: Rows
) -> None:
    await life.fund(USDT="1000")
    order = await life.resting()
    report = make_report(cum_qty=Decimal("0.1"), trades=(make_fill(),), status=VenueOrderStatus.CLOSED)
    await life.store.record_report(ACCOUNT, order.order_id, report, trades=(), now=NOW)
    assert await comparison.compare_positions(ACCOUNT, now=NOW) == []
    async with engine.begin() as connection:
        await connection.exec_driver_sql("UPDATE exposures SET amount = 7")
    assert await comparison.compare_positions(ACCOUNT, now=NOW) == ["BTC/USDT"]
    assert await comparison.compare_positions(ACCOUNT, now=NOW) == []
    [case] = await rows(OPEN_CASES)
    assert case.reason["numbers"] == {"symbol": "BTC/USDT", "position": "7", "fills": "0.0999"}


async def test_trades_that_stay_away_are_a_case_and_conclude_nothing(life: Life, rows: Rows) -> None:
    await life.fund(USDT="1000")
    order = await life.resting()
    says_more = make_report(status=VenueOrderStatus.CANCELED, cum_qty=Decimal("0.05"))

    async def look(after_s: float, *trades: Fill) -> OrderStatus:
        now = NOW + timedelta(seconds=after_s)
        notice = await life.store.record_report(ACCOUNT, order.order_id, says_more, trades=trades, now=now)
        return notice.order.status

    assert await look(0) is OrderStatus.ACCEPTED
    assert await look(OWED_FOR_S - 1) is OrderStatus.ACCEPTED
    assert await rows(OPEN_CASES) == []
    assert await look(OWED_FOR_S) is OrderStatus.ACCEPTED
    assert await look(OWED_FOR_S + 1) is OrderStatus.ACCEPTED
    [case] = await rows(OPEN_CASES)
    assert (case.code, case.order_id) == (TRADES_MISSING, order.order_id)
    assert (case.reason["numbers"]["venue_cum_qty"], case.reason["numbers"]["cum_qty"]) == ("0.05", "0")
    assert (await life.store.order(ACCOUNT, order.order_id)).needs_attention
    late = make_fill(last_qty=Decimal("0.05"))
    assert await look(OWED_FOR_S + 2, late) is OrderStatus.CANCELED
    assert await rows(OPEN_CASES) == []
    ended = await life.store.order(ACCOUNT, order.order_id)
    assert (ended.needs_attention, ended.cum_qty, ended.owed_since) == (False, Decimal("0.05"), None)


async def test_orphan_is_reported_once_also_after_it_was_closed(comparison: SqlReconciliationStore) -> None:
    reason = orphan(make_report(client_order_id="stranger"))
    opened = [await comparison.open_case(ACCOUNT, "order BTC/USDT 7", reason, order_id=None, now=NOW) for _ in range(2)]
    closed = await comparison.close_others(ACCOUNT, reason.code, but=(), resolution="gone", now=NOW)
    again = await comparison.open_case(ACCOUNT, "order BTC/USDT 7", reason, order_id=None, now=NOW)
    assert (opened, closed, again) == ([True, False], ["order BTC/USDT 7"], False)


async def test_owner_of_a_venue_order_is_found_by_either_id(life: Life, comparison: SqlReconciliationStore) -> None:
    await life.fund(USDT="1000")
    order = await life.resting(venue_order_id="42")
    by_venue_id = make_report(venue_order_id="42")
    by_client_id = make_report(venue_order_id="43", client_order_id=order.client_order_id)
    stranger = make_report(venue_order_id="44", client_order_id="stranger")
    elsewhere = make_report(venue_order_id="42", symbol="ETH/USDT")
    owners = await comparison.owners(ACCOUNT, [by_venue_id, by_client_id, stranger, elsewhere])
    assert {key: owner.order_id for key, owner in owners.items()} == {
        ("BTC/USDT", "42"): order.order_id,
        ("BTC/USDT", "43"): order.order_id,
    }


async def test_nothing_is_admitted_before_the_account_was_reconciled_since_the_start(
    life: Life, comparison: SqlReconciliationStore
) -> None:
    await life.fund(USDT="1000")
    start = await comparison.ledger_time()
    request = make_request()

    async def admit() -> str:
        terms = make_terms(ACCOUNT).model_copy(update={"reconciled_since": start})
        return (await life.store.admit(request, make_validated(request), terms=terms, now=NOW)).answer

    assert await admit() == "UNAVAILABLE"
    await comparison.finish(ACCOUNT, began_at=start - timedelta(seconds=1))
    assert await admit() == "UNAVAILABLE"
    await comparison.finish(ACCOUNT, began_at=start)
    assert await admit() == "ALLOW"


async def test_fill_between_two_clocks_lessens_what_is_there_and_is_no_difference(
    life: Life, comparison: SqlReconciliationStore, rows: Rows
) -> None:
    await life.fund(asked_at=NOW, USDT="1000")
    order = await life.resting()
    early = make_fill(ts_event=NOW - timedelta(milliseconds=300))
    report = make_report(status=VenueOrderStatus.CLOSED, cum_qty=Decimal("0.1"), trades=(early,))
    await life.store.record_report(ACCOUNT, order.order_id, report, trades=(), now=NOW)
    [usdt] = await rows("SELECT total FROM balances WHERE asset = 'USDT'")
    assert usdt.total == Decimal(990), "spent money counts, whichever clock is right"
    told = [balance("USDT", "990"), balance("BTC", "0.0999")]
    for number in range(3):
        assert await comparison.compare_balances(ACCOUNT, told, asked_at=LATER + number * STANDS_FOR) == []


async def test_word_that_may_be_older_than_a_fill_does_not_undo_it(life: Life, rows: Rows) -> None:
    await life.fund(USDT="1000")
    order = await life.resting()
    report = make_report(status=VenueOrderStatus.CLOSED, cum_qty=Decimal("0.1"), trades=(make_fill(),))
    await life.store.record_report(ACCOUNT, order.order_id, report, trades=(), now=NOW)
    for after_ms, total in ((300, 990), (1100, 1000)):
        await life.fund(asked_at=NOW + timedelta(milliseconds=after_ms), USDT="1000")
        [usdt] = await rows("SELECT total FROM balances WHERE asset = 'USDT'")
        assert usdt.total == Decimal(total), after_ms


async def test_first_beat_and_the_first_after_silence_start_the_account_anew(engine: AsyncEngine, rows: Rows) -> None:
    repair = SqlLedgerRepairStore(engine)

    async def beat(known: int) -> tuple[int, bool] | None:
        counted = await repair.beat(ACCOUNT, known=known)
        return (counted.count, counted.started_anew) if counted is not None else None

    assert [await beat(0), await beat(1), await beat(2)] == [(1, True), (2, False), (3, False)]
    async with engine.begin() as connection:
        await connection.exec_driver_sql("UPDATE account_states SET beat_at = now() - interval '61 seconds'")
    assert [await beat(3), await beat(4)] == [(4, True), (5, False)]
    await start_anew(engine.url.render_as_string(hide_password=False))
    assert [await beat(5), await beat(6)] == [(6, True), (7, False)]
    assert await beat(9) is None, "Temporal remembers more: the ledger has lost facts"
