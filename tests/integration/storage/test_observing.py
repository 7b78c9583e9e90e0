"""What workers tell of their venues, and the state that health, metrics and alerts read, on the real ledger."""

from decimal import Decimal

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.kill import Engagement
from domain.observing import Sighting
from domain.rate_budget import Ask, Budget
from domain.reports import SubmitOutcome, SubmitVerdict
from storage.comparison import SqlReconciliationStore
from storage.database import in_transaction
from storage.kill_sweeps import SqlSwitches
from storage.observing import SqlLedgerObserver, SqlSightings
from storage.rate_ledger import SqlRateLedger
from tests.factories import NOW, make_request
from tests.integration.storage.conftest import ACCOUNT, Life


@pytest.fixture
def observer(engine: AsyncEngine) -> SqlLedgerObserver:
    """The observer of the test's own ledger."""
    return SqlLedgerObserver(engine)


async def execute(engine: AsyncEngine, statement: str) -> None:
    """Run one statement."""
    await in_transaction(engine, lambda connection: connection.execute(text(statement)))


async def test_ledger_without_accounts_has_nothing_to_tell(observer: SqlLedgerObserver) -> None:
    state = await observer.look()
    assert (state.accounts, state.orders, state.kill_switches) == ({}, {}, ())
    assert state.now_s > 1_700_000_000


async def test_the_later_word_of_two_workers_counts(engine: AsyncEngine, observer: SqlLedgerObserver) -> None:
    sightings = SqlSightings(engine)
    early = Sighting(answered_ms_ago=30_000, failed_ms_ago=40_000, error="old", measured_ms_ago=50_000,
                     latency_ms=9, clock_skew_ms=700, followed_ms_ago=20_000)  # fmt: skip
    late = Sighting(answered_ms_ago=2_000, failed_ms_ago=1_000, error="new", measured_ms_ago=3_000,
                    latency_ms=5, clock_skew_ms=-4, followed_ms_ago=900)  # fmt: skip
    for order in ((early, late), (late, early)):
        for number, seen in enumerate(order):
            await sightings.tell(ACCOUNT, seen, told_by=f"worker-{number}")
        account = (await observer.look_at_accounts())[ACCOUNT]
        venue = account.venue
        assert venue.answer_age_s == pytest.approx(2, abs=0.9)
        assert venue.failure_age_s == pytest.approx(1, abs=0.9)
        assert (venue.error, venue.latency_ms, venue.clock_skew_ms) == ("new", 5, -4)
        assert account.feed_age_s == pytest.approx(0.9, abs=0.8)
    told = await sightings.tell(ACCOUNT, Sighting(), told_by="worker that has seen nothing")
    assert (told.error, told.clock_skew_ms) == ("new", -4)
    assert told.answer_age_s is not None and told.measure_age_s is not None


async def test_account_is_ready_once_reconciled_since_it_is_served(
    engine: AsyncEngine, observer: SqlLedgerObserver, life: Life
) -> None:
    await SqlSightings(engine).tell(ACCOUNT, Sighting(), told_by="w")
    seen = (await observer.look_at_accounts())[ACCOUNT]
    assert (seen.reconciled, seen.is_ready, seen.reconciliation_age_s, seen.feed_age_s) == (False, False, None, None)
    await life.fund(USDT="1000")
    store = SqlReconciliationStore(engine)
    before = await store.ledger_time()
    await execute(engine, "UPDATE account_states SET beat_at = clock_timestamp(), served_since = clock_timestamp()")
    await store.finish(ACCOUNT, began_at=before)
    seen = (await observer.look_at_accounts())[ACCOUNT]
    assert not seen.is_ready, "that comparison began before the account was served"
    await store.finish(ACCOUNT, began_at=await store.ledger_time())
    seen = (await observer.look_at_accounts())[ACCOUNT]
    assert seen.is_ready and seen.reconciliation_age_s is not None
    await execute(engine, "UPDATE account_states SET beat_at = clock_timestamp() - interval '61 seconds'")
    assert not (await observer.look_at_accounts())[ACCOUNT].is_ready, "nobody serves it any more"


async def test_orders_doubts_cases_reservations_budgets_and_switches_are_seen(
    engine: AsyncEngine, observer: SqlLedgerObserver, life: Life
) -> None:
    await life.fund(USDT="1000000")
    await life.resting("rests")
    attempt = await life.sent(make_request("doubted"))
    await life.store.record_outcome(attempt, SubmitOutcome(verdict=SubmitVerdict.UNKNOWN), now=NOW)
    await execute(
        engine,
        "INSERT INTO cases (account, subject, code, reason) "
        f"VALUES ('{ACCOUNT}', 'asset USDT', 'BALANCE_MISMATCH', '{{}}')",
    )
    ledger = SqlRateLedger(engine)
    ask = Ask(budget=Budget(name="weight", limit=1_200_000, window_ms=60_000), spent=300_000)
    await ledger.settle(ACCOUNT, "w", [ask])
    await ledger.pause(ACCOUNT, for_ms=30_000, why="HTTP 418", told_by="w")
    await SqlSwitches(engine).engage(Engagement(scope="symbol:ETH/USDT", reason="a test"))
    state = await observer.look()
    seen = state.orders[ACCOUNT]
    assert seen.by_status == {"ACCEPTED": 1, "IN_DOUBT": 1}
    assert seen.oldest_doubt_age_s > 0
    assert seen.cases == {"BALANCE_MISMATCH": 1}
    assert seen.reserved["USDT"] > Decimal(0)
    assert [(count.name, count.limit, count.used) for count in seen.budgets] == [("weight", 1_200_000, 300_000)]
    assert state.kill_switches == ("symbol:ETH/USDT",)
    assert 25 < state.accounts[ACCOUNT].venue.pause_s <= 30
