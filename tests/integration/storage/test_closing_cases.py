"""A person closes a case: once, with their words, and the order's mark goes off with the last of its cases."""

from datetime import timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.comparison import orphan
from domain.errors import CaseClosed, CaseNotFound
from domain.instrument import deny
from domain.reports import SubmitOutcome, SubmitVerdict
from storage.comparison import SqlReconciliationStore
from storage.order_reader import SqlOrderReader
from tests.factories import NOW, make_report, make_request
from tests.integration.storage.conftest import ACCOUNT, Life

WORDS = "closed by ann: a deposit"


@pytest.fixture
def comparison(engine: AsyncEngine) -> SqlReconciliationStore:
    """The ledger as the reconciler sees it."""
    return SqlReconciliationStore(engine)


async def an_orphan(comparison: SqlReconciliationStore, reader: SqlOrderReader, subject: str = "order A/B 1") -> int:
    """Open a case and return its number."""
    assert await comparison.open_case(ACCOUNT, subject, orphan(make_report()), order_id=None, now=NOW)
    return (await reader.cases(ACCOUNT, is_open=True, limit=1, before=None))[0].case_id


async def test_step_that_is_repeated_is_the_same_closing_and_another_is_refused(
    comparison: SqlReconciliationStore, reader: SqlOrderReader
) -> None:
    number = await an_orphan(comparison, reader)
    first = await comparison.close_case(ACCOUNT, number, resolution=WORDS, now=NOW)
    assert (first.closed_at, first.resolution) == (NOW, WORDS)
    assert await comparison.close_case(ACCOUNT, number, resolution=WORDS, now=NOW) == first
    for words, later in ((WORDS, NOW + timedelta(seconds=1)), ("closed by bob: no", NOW)):
        with pytest.raises(CaseClosed) as refused:
            await comparison.close_case(ACCOUNT, number, resolution=words, now=later)
        assert refused.value.numbers["resolution"] == WORDS
    assert await reader.cases(ACCOUNT, is_open=False, limit=9, before=None) == [first]


async def test_case_of_another_account_is_not_found(comparison: SqlReconciliationStore, reader: SqlOrderReader) -> None:
    number = await an_orphan(comparison, reader)
    with pytest.raises(CaseNotFound):
        await comparison.close_case("another", number, resolution=WORDS, now=NOW)
    assert len(await reader.cases(ACCOUNT, is_open=True, limit=9, before=None)) == 1


async def test_cases_page_by_number_newest_first(comparison: SqlReconciliationStore, reader: SqlOrderReader) -> None:
    numbers = [await an_orphan(comparison, reader, f"order A/B {number}") for number in range(3)]
    page = await reader.cases(ACCOUNT, is_open=None, limit=2, before=None)
    assert [case.case_id for case in page] == [numbers[2], numbers[1]]
    rest = await reader.cases(ACCOUNT, is_open=None, limit=2, before=page[-1].case_id)
    assert [case.case_id for case in rest] == [numbers[0]]


async def test_order_in_doubt_needs_attention_also_without_a_case(
    life: Life, comparison: SqlReconciliationStore, reader: SqlOrderReader
) -> None:
    await life.fund(USDT="1000")
    attempt = await life.sent(make_request())
    order = await life.store.record_outcome(attempt, SubmitOutcome(verdict=SubmitVerdict.UNKNOWN), now=NOW)
    assert await life.store.open_case(ACCOUNT, order.order_id, reason=deny("IN_DOUBT", "a test"), now=NOW)
    [case] = await reader.cases(ACCOUNT, is_open=True, limit=9, before=None)
    await comparison.close_case(ACCOUNT, case.case_id, resolution=WORDS, now=NOW)
    assert (await reader.order(ACCOUNT, order.order_id)).needs_attention


async def test_account_is_compared_at_the_moment_that_the_comparison_began(
    comparison: SqlReconciliationStore, reader: SqlOrderReader
) -> None:
    assert await reader.reconciled_at(ACCOUNT) is None
    await comparison.finish(ACCOUNT, began_at=NOW)
    assert await reader.reconciled_at(ACCOUNT) == NOW
