"""Every fault of the venue against market and limit orders: the right ending, one order per ticket, equal ledgers."""

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest
import pytest_asyncio

from tests.faults.floor import Floor, open_floor

pytestmark = [pytest.mark.xdist_group("stack"), pytest.mark.timeout(200)]
LIMIT: dict[str, Any] = {"order_type": "limit", "price": Decimal("61240"), "amount": Decimal("0.2")}

LOST_ANSWERS: list[tuple[str, dict[str, Any]]] = [
    ("drop_before", {}),
    ("drop_after", {}),
    ("hang", {"seconds": 6}),
    ("truncated", {}),
    ("empty_200", {}),
    ("html_200", {}),
    ("http_status", {"accepted": True}),
    ("http_status", {"accepted": False}),
    ("error", {"accepted": True}),
    ("error", {"accepted": False}),
    ("delay", {"seconds": 6}),
]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def floor(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Floor]:
    """One stack for the folder's cases."""
    async with open_floor(tmp_path_factory.mktemp("floor")) as opened:
        yield opened


async def test_lost_answers_end_in_one_order_per_ticket(floor: Floor) -> None:
    async def one(number: int, kind: str, details: dict[str, Any], ticket: dict[str, Any]) -> dict[str, Any]:
        placed = await floor.place(f"lost-{number}", **ticket)
        if ticket:
            order = await floor.until(placed["id"], lambda order: order["lifecycle"] == "ACCEPTED", 90)
            await floor.market(fill={"client_order_id": order["client_order_id"], "quantity": "0.2"})
        ended = await floor.until_final(placed["id"])
        assert ended["lifecycle"] == "FILLED", f"{kind} {details}: {ended['lifecycle']} {ended['reason']}"
        return ended

    cases = [(kind, details, ticket) for kind, details in LOST_ANSWERS for ticket in ({}, LIMIT)]
    running = []
    for number, (kind, details, ticket) in enumerate(cases):
        before = len((await floor.venue.get("/requests")).json())
        await floor.fault(kind, method="POST", path="/order", times=1, **details)
        running.append(asyncio.create_task(one(number, kind, details, ticket)))
        await _until_requests(floor, before + 1)
    orders = await asyncio.gather(*running)
    await floor.assert_the_venue_agrees(orders)
    await floor.calm()


async def test_orders_that_are_not_visible_yet_are_not_sent_again(floor: Floor) -> None:
    await floor.fault("visibility_lag", seconds=8, times=2)
    await floor.fault("drop_after", method="POST", path="/order", times=2)
    placed = await asyncio.gather(*(floor.place(f"lag-{number}") for number in range(2)))
    ended = [await floor.until_final(order["id"]) for order in placed]
    assert [(order["lifecycle"], order["attempts"]) for order in ended] == [("FILLED", 1)] * 2
    await floor.assert_the_venue_agrees(ended)
    await floor.calm()


async def test_fills_that_are_told_late_and_twice_are_counted_once(floor: Floor) -> None:
    await floor.fault("fill_lag", seconds=4, times=1)
    await floor.fault("repeat_trades")
    placed = await floor.place("late", **LIMIT)
    for _ in range(4):
        await floor.market(fill={"client_order_id": placed["client_order_id"], "quantity": "0.05"})
    ended = await floor.until_final(placed["id"])
    assert (ended["lifecycle"], ended["filled"]) == ("FILLED", Decimal("0.2"))
    await floor.assert_the_venue_agrees([ended])
    await floor.calm()


async def test_an_order_that_fills_as_its_cancel_arrives_ends_filled(floor: Floor) -> None:
    placed = await floor.place("race", **LIMIT)
    await floor.fault("cancel_race", times=1)
    answer = await floor.rest.delete(f"/orders/binanceus/{placed['id']}")
    ended = await floor.until_final(placed["id"])
    assert ended["lifecycle"] == "FILLED", answer.text
    await floor.assert_the_venue_agrees([ended])
    await floor.calm()


async def test_a_canceled_order_keeps_what_it_filled(floor: Floor) -> None:
    placed = await floor.place("kept", **LIMIT)
    await floor.market(fill={"client_order_id": placed["client_order_id"], "quantity": "0.07"})
    await floor.rest.delete(f"/orders/binanceus/{placed['id']}")
    ended = await floor.until_final(placed["id"])
    assert (ended["lifecycle"], ended["filled"]) == ("CANCELED", Decimal("0.07"))
    await floor.assert_the_venue_agrees([ended])


async def test_a_cancel_whose_answer_is_lost_is_looked_at(floor: Floor) -> None:
    placed = await floor.place("lost-cancel", **LIMIT)
    await floor.fault("drop_after", method="DELETE", path="/order", times=1)
    await floor.rest.delete(f"/orders/binanceus/{placed['id']}")
    ended = await floor.until_final(placed["id"])
    assert ended["lifecycle"] == "CANCELED"
    await floor.calm()


async def test_a_refusal_ends_rejected_and_says_why(floor: Floor) -> None:
    await floor.fault("error", method="POST", path="/order", times=1, accepted=False, code=-2010,
                      msg="Account has insufficient balance for requested action.")  # fmt: skip
    ended = await floor.place("refused")
    assert ended["lifecycle"] == "REJECTED"
    assert "insufficient balance" in ended["reason"]["venue_text"]
    await floor.assert_the_venue_agrees([ended])
    await floor.calm()


async def _until_requests(floor: Floor, count: int) -> None:
    async with asyncio.timeout(30):
        while len((await floor.venue.get("/requests")).json()) < count:
            await asyncio.sleep(0.02)
