"""Every fault of the venue against market and limit orders: the right ending, one order per ticket, equal ledgers.

Each fault waits for one order by its id, so all cases of a test run at the same time.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest

from domain.identifiers import derive_order_id
from tests.faults.floor import Floor, figures

pytestmark = pytest.mark.timeout(200)
LIMIT: dict[str, Any] = {"order_type": "limit", "price": Decimal("61200"), "amount": Decimal("0.2")}
POST, DELETE, LOOK = ({"method": method, "path": "/order"} for method in ("POST", "DELETE", "GET"))
Fault = dict[str, Any]

SUBMITS: dict[str, tuple[Sequence[Fault], int]] = {
    "drop_before": ([{**POST, "kind": "drop_before"}], 2),
    "drop_after": ([{**POST, "kind": "drop_after"}], 1),
    "hang": ([{**POST, "kind": "hang", "seconds": 6}], 1),
    "hang-refused": ([{**POST, "kind": "hang", "seconds": 6, "accepted": False}], 2),
    "truncated": ([{**POST, "kind": "truncated"}], 1),
    "cut_short": ([{**POST, "kind": "cut_short"}], 1),
    "empty_200": ([{**POST, "kind": "empty_200"}], 1),
    "html_200": ([{**POST, "kind": "html_200"}], 1),
    "http_502": ([{**POST, "kind": "http_status", "status": 502}], 1),
    "http_502-refused": ([{**POST, "kind": "http_status", "status": 502, "accepted": False}], 2),
    "error_1007": ([{**POST, "kind": "error"}], 1),
    "error_1007-refused": ([{**POST, "kind": "error", "accepted": False}], 2),
    "maintenance": ([{**POST, "kind": "maintenance"}], 2),
    "delay-past-the-window": ([{**POST, "kind": "delay", "seconds": 6}], 2),
    "visibility_lag": ([{"kind": "visibility_lag", "seconds": 1.5}, {**POST, "kind": "drop_after"}], 1),
    "fill_lag": ([{"kind": "fill_lag", "seconds": 4}, {**POST, "kind": "drop_after"}], 1),
    "looks-html": ([{**POST, "kind": "drop_after"}, {**LOOK, "kind": "html_200", "times": 7}], 1),
    "looks-empty": ([{**POST, "kind": "drop_after"}, {**LOOK, "kind": "empty_200", "times": 7}], 1),
    "looks-truncated": ([{**POST, "kind": "drop_after"}, {**LOOK, "kind": "truncated", "times": 7}], 1),
    "looks-502": ([{**POST, "kind": "drop_after"}, {**LOOK, "kind": "http_status", "times": 7}], 1),
}
"""Faults of one order's submit, and the attempts that it takes. Seven spoiled looks in a row outlast the time fence."""
CANCELS: dict[str, Fault] = {
    "drop_before": {"kind": "drop_before"},
    "drop_after": {"kind": "drop_after"},
    "hang": {"kind": "hang", "seconds": 6},
    "truncated": {"kind": "truncated"},
    "html_200": {"kind": "html_200"},
    "empty_200": {"kind": "empty_200"},
    "http_502": {"kind": "http_status"},
    "http_502-refused": {"kind": "http_status", "accepted": False},
    "error_1007": {"kind": "error"},
    "unknown-order": {"kind": "error", "accepted": False, "code": -2011, "msg": "Unknown order sent."},
}


async def _faulty(floor: Floor, key: str, faults: Sequence[Fault], ticket: dict[str, Any]) -> dict[str, Any]:
    """Carry one order to its end through its faults; a limit order is filled in two parts once it rests."""
    order_id = derive_order_id("binanceus", key)
    for fault in faults:
        await floor.fault(**{"times": 1, **fault}, client_order_id_prefix=order_id)
    placed = await floor.place(key, **ticket)
    if ticket:
        order = await floor.until(placed["id"], lambda order: order["lifecycle"] == "ACCEPTED", 90)
        for quantity in ("0.05", "0.15"):
            await floor.market(fill={"client_order_id": order["client_order_id"], "quantity": quantity})
    return await floor.until_final(placed["id"])


async def test_whatever_becomes_of_a_submit_there_is_one_order_per_ticket(floor: Floor) -> None:
    await floor.fault("repeat_trades")
    cases = {f"{kind}-{name}": (faults, ticket, attempts)
             for kind, (faults, attempts) in SUBMITS.items()
             for name, ticket in (("market", {}), ("limit", LIMIT))}  # fmt: skip
    ended = await asyncio.gather(*(_faulty(floor, key, faults, ticket) for key, (faults, ticket, _) in cases.items()))
    orders = dict(zip(cases, ended, strict=True))
    active = (await floor.venue.get("/faults")).json()["active"]
    assert not [fault for fault in active if not fault["hits"]], "every fault struck"
    await floor.calm()
    endings = {key: (order["lifecycle"], order["attempts"]) for key, order in orders.items()}
    assert endings == {key: ("FILLED", attempts) for key, (_, _, attempts) in cases.items()}
    resent = await floor.assert_the_venue_agrees(list(orders.values()))
    figures("faults of the submit", {"orders": len(orders), "sent anew after proof": resent, "faults": len(active)})
    assert resent == sum(1 for _, _, attempts in cases.values() if attempts == 2)
    await floor.assert_the_books_close()


async def _canceled(floor: Floor, name: str, fault: Fault) -> dict[str, Any]:
    placed = await floor.place(f"cancel-{name}", **LIMIT)
    await floor.market(fill={"client_order_id": placed["client_order_id"], "quantity": "0.07"})
    await floor.fault(**{**DELETE, "times": 1, **fault}, client_order_id_prefix=placed["id"])
    await floor.rest.delete(f"/orders/binanceus/{placed['id']}")
    return await floor.until_final(placed["id"])


async def test_whatever_becomes_of_a_cancel_the_order_ends_canceled_with_what_it_filled(floor: Floor) -> None:
    ended = await asyncio.gather(*(_canceled(floor, name, fault) for name, fault in CANCELS.items()))
    await floor.calm()
    endings = Counter((order["lifecycle"], str(order["filled"])) for order in ended)
    assert endings == {("CANCELED", "0.07"): len(CANCELS)}
    await floor.assert_the_venue_agrees(list(ended))
    await floor.assert_the_books_close()


async def test_an_order_that_fills_as_its_cancel_arrives_ends_filled(floor: Floor) -> None:
    placed = await floor.place("race", **LIMIT)
    await floor.fault("cancel_race", times=1)
    answer = await floor.rest.delete(f"/orders/binanceus/{placed['id']}")
    ended = await floor.until_final(placed["id"])
    assert ended["lifecycle"] == "FILLED", answer.text
    await floor.assert_the_venue_agrees([ended])


async def test_a_cancel_that_meets_a_submit_in_flight_is_carried_out_once_the_order_is_known(floor: Floor) -> None:
    held, lost = {"kind": "delay", "seconds": 1}, {"kind": "hang", "seconds": 1}
    cases = {"meet-market": (held, {}, "FILLED"), "meet-limit": (held, LIMIT, "CANCELED")}
    ended = []
    for key, (fault, ticket, lifecycle) in {**cases, "meet-lost": (lost, LIMIT, "CANCELED")}.items():
        order_id = derive_order_id("binanceus", key)
        await floor.fault(**POST, **fault, times=1, client_order_id_prefix=order_id)
        placing = asyncio.create_task(floor.place(key, **ticket))
        await floor.until_requests(1, prefix=order_id)
        await floor.rest.delete(f"/orders/binanceus/{order_id}")
        await placing
        ended.append(await floor.until_final(order_id))
        assert ended[-1]["lifecycle"] == lifecycle, key
    await floor.assert_the_venue_agrees(ended)


async def test_a_venue_that_asks_to_slow_down_gets_each_order_once(floor: Floor) -> None:
    await floor.fault("rate_limit", **POST, seconds=1, times=2)
    ended = await asyncio.gather(*(_faulty(floor, f"slow-{n}", [], {}) for n in range(3)))
    assert {order["lifecycle"] for order in ended} == {"FILLED"}
    assert max(order["attempts"] for order in ended) > 1
    await floor.assert_the_venue_agrees(list(ended))


async def test_a_refusal_ends_rejected_and_says_why(floor: Floor) -> None:
    await floor.fault("error", **POST, times=1, accepted=False, code=-2010,
                      msg="Account has insufficient balance for requested action.")  # fmt: skip
    ended = await floor.place("refused")
    assert ended["lifecycle"] == "REJECTED"
    assert "insufficient balance" in ended["reason"]["venue_text"]
    await floor.assert_the_venue_agrees([ended])
    await floor.assert_the_books_close()
