"""Doubts in the ledger: who alerts, once, and what a decision may claim."""

import logging
from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from activities.doubt_watch import DoubtWatch
from domain.errors import DecisionContradicted
from domain.instrument import deny
from domain.lifecycle import OrderStatus
from domain.order import Order
from domain.ports import Attempt
from domain.reports import SubmitOutcome, SubmitVerdict
from observability import metrics
from storage.order_reader import SqlOrderReader
from tests.factories import NOW, make_report, make_request
from tests.integration.storage.conftest import ACCOUNT, Life, Rows

UNKNOWN = SubmitOutcome(verdict=SubmitVerdict.UNKNOWN, reason=deny("NO_ANSWER", "no answer came"))
DECIDED = deny("DECIDED_BY_PERSON", "seen there (jo)")
CASES = "SELECT order_id, code, closed_at IS NULL AS is_open, resolution FROM cases WHERE account = 'binanceus'"


async def doubtful(life: Life, key: str = "key") -> tuple[Attempt, Order]:
    """Send an order of which nobody hears again."""
    attempt = await life.sent(make_request(key))
    return attempt, await life.store.record_outcome(attempt, UNKNOWN, now=NOW)


async def look(watch: DoubtWatch, life: Life, after_s: int) -> None:
    """Let a round of the feed look at the doubts."""
    await watch.look(await life.store.working_orders(ACCOUNT), NOW + timedelta(seconds=after_s))


def alerts() -> float:
    """Return how many alerts were counted."""
    return metrics.ALERTS.labels(ACCOUNT, "ORDER_IN_DOUBT")._value.get()


async def test_doubt_of_30_s_is_alerted_once_whoever_looks_and_its_case_ends_with_it(
    life: Life, rows: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    await life.fund(USDT="1000")
    attempt, order = await doubtful(life)
    before = alerts()
    caplog.set_level(logging.ERROR)
    first = DoubtWatch(life.store, ACCOUNT)
    await look(first, life, 29)
    assert await rows(CASES) == []
    for watch in (first, first, DoubtWatch(life.store, ACCOUNT)):
        await look(watch, life, 31)
    assert [tuple(row)[:3] for row in await rows(CASES)] == [(order.order_id, "IN_DOUBT", True)]
    assert alerts() == before + 1
    told = [vars(record).get("code") for record in caplog.records if record.message.startswith("order_in_doubt")]
    assert told == ["ORDER_IN_DOUBT"]
    await life.store.record_never_placed(attempt, reason=DECIDED, requested_by="jo", now=NOW)
    await look(DoubtWatch(life.store, ACCOUNT), life, 40)
    ((_, _, is_open, resolution),) = await rows(CASES)
    assert not is_open and "the order is INITIALIZED" in resolution


async def test_second_doubt_of_an_order_is_a_case_of_its_own(life: Life, rows: Rows) -> None:
    await life.fund(USDT="1000")
    attempt, order = await doubtful(life)
    watch = DoubtWatch(life.store, ACCOUNT)
    await look(watch, life, 31)
    await life.store.record_never_placed(attempt, reason=DECIDED, now=NOW)
    await look(watch, life, 32)
    again = await life.store.open_attempt(ACCOUNT, order.order_id, worker="w", now=NOW)
    assert await life.store.pass_last_look(again, now=NOW)
    await life.store.record_outcome(again, UNKNOWN, now=NOW)
    await look(watch, life, 62)
    assert sorted(row.is_open for row in await rows(CASES)) == [False, True]


async def test_last_look_is_a_mark_and_no_fact(life: Life) -> None:
    await life.fund(USDT="1000")
    attempt, order = await doubtful(life)
    looked = await life.store.record_look(attempt, looked_at=NOW, fence_ends_at=NOW + timedelta(seconds=16))
    assert looked.seq == order.seq and looked.doubt is not None
    assert (looked.doubt.last_looked_at, looked.doubt.fence_ends_at) == (NOW, NOW + timedelta(seconds=16))
    assert await life.store.order(ACCOUNT, order.order_id) == looked


async def test_order_of_ours_is_not_adopted_twice(life: Life) -> None:
    await life.fund(USDT="1000")
    owner = await life.resting("owner", venue_order_id="7")
    attempt, order = await doubtful(life)
    told = make_report(venue_order_id="7", quantity=Decimal("0.1"))
    with pytest.raises(DecisionContradicted) as refusal:
        await life.store.adopt(attempt, told, trades=(), reason=DECIDED, requested_by="jo", now=NOW)
    assert refusal.value.numbers == {"venue_order_id": "7", "order_id": owner.order_id}
    assert await life.store.order(ACCOUNT, order.order_id) == order


async def test_decision_that_comes_after_the_end_of_the_doubt_changes_nothing(life: Life) -> None:
    await life.fund(USDT="1000")
    attempt, order = await doubtful(life)
    told = make_report(venue_order_id="8", client_order_id=attempt.client_order_id)
    await life.store.record_report(ACCOUNT, order.order_id, told, trades=(), now=NOW)
    known = await life.store.order(ACCOUNT, order.order_id)
    late = await life.store.adopt(attempt, told, trades=(), reason=DECIDED, requested_by="jo", now=NOW)
    assert late.order == known and known.status is OrderStatus.ACCEPTED
    assert await life.store.record_never_placed(attempt, reason=DECIDED, now=NOW) == known


async def test_doubts_are_listed_apart(life: Life, engine: AsyncEngine) -> None:
    await life.fund(USDT="1000")
    await life.resting("other")
    _, order = await doubtful(life)
    reader = SqlOrderReader(engine)
    listed = await reader.orders(ACCOUNT, is_open=None, symbol=None, limit=10, before=None, status=OrderStatus.IN_DOUBT)
    assert [found.order_id for found in listed] == [order.order_id]
