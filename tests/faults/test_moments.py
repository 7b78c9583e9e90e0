"""One kill -9 that meets an order at every moment of its life, and a second one on the way back."""

import asyncio
import time
from decimal import Decimal
from typing import Any

import pytest

from domain.identifiers import derive_order_id
from tests.faults import audit
from tests.faults.floor import FENCE_S, Floor, figures

pytestmark = pytest.mark.timeout(200)
LIMIT: dict[str, Any] = {"order_type": "limit", "price": Decimal("61200"), "amount": Decimal("0.2")}
POST, DELETE = {"method": "POST", "path": "/order"}, {"method": "DELETE", "path": "/order"}
IN_FLIGHT: dict[str, tuple[dict[str, Any], dict[str, Any], int]] = {
    "carried out after the kill": ({**POST, "kind": "delay", "seconds": 1.0}, {}, 1),
    "carried out, answer outstanding": ({**POST, "kind": "hang", "seconds": 3.0}, {}, 1),
    "never carried out": ({**POST, "kind": "hang", "seconds": 1.0, "accepted": False}, {}, 2),
    "too late for its window": ({**POST, "kind": "delay", "seconds": 6.0}, {}, 2),
    "limit order carried out after the kill": ({**POST, "kind": "delay", "seconds": 1.0}, LIMIT, 1),
    "limit order never carried out": ({**POST, "kind": "hang", "seconds": 1.0, "accepted": False}, LIMIT, 2),
}
"""The fault that holds the submit, the ticket, and the attempts that it may take."""


def _key(name: str) -> str:
    return name.replace(" ", "-")


async def _fill(floor: Floor, order: dict[str, Any], quantity: str) -> None:
    await floor.market(fill={"client_order_id": order["client_order_id"], "quantity": quantity})


async def _in_flight(floor: Floor, key: str, fault: dict[str, Any], ticket: dict[str, Any]) -> asyncio.Task[Any]:
    """Start placing an order, and return when its submit hangs at the venue."""
    order_id = derive_order_id("binanceus", key)
    await floor.fault(**fault, client_order_id_prefix=order_id, times=1)
    placing = asyncio.create_task(floor.place(key, **ticket))
    await floor.until_requests(1, prefix=order_id)
    return placing


async def _kill_twice(floor: Floor) -> None:
    """Kill the worker, and its successor as soon as that has begun to take over."""
    worker = floor.stack.part("worker")
    worker.kill()
    await asyncio.wait_for(worker.until_ready(), 30)
    worker.kill()
    await asyncio.wait_for(worker.until_ready(), 30)


async def test_an_order_survives_a_kill_at_every_moment_of_its_life(floor: Floor) -> None:
    names = ("resting", "partly filled", "filled while nobody looks", "cancel in flight", "amend in flight")
    at_rest = {name: await floor.place(_key(name), **LIMIT) for name in names}
    await _fill(floor, at_rest["partly filled"], "0.05")
    await _fill(floor, at_rest["amend in flight"], "0.05")
    for name in ("partly filled", "amend in flight"):
        await floor.until(at_rest[name]["id"], lambda order: order["lifecycle"] == "PARTIALLY_FILLED", 10)
    requests = await _changes_in_flight(floor, at_rest)
    await floor.fault("delay", method="GET", path="/ticker/24hr", symbol="ETHUSDT", seconds=1, times=1)
    validating = asyncio.create_task(floor.place("validate", symbol="ETH/USDT", amount=Decimal("0.1")))
    await floor.until_requests(1, method="GET", prefix="ETHUSDT")
    placing = {
        name: await _in_flight(floor, _key(name), fault, ticket) for name, (fault, ticket, _) in IN_FLIGHT.items()
    }
    began = time.monotonic()
    await _kill_twice(floor)
    await _fill(floor, at_rest["resting"], "0.2")
    await _fill(floor, at_rest["partly filled"], "0.15")
    orders = {name: await task for name, task in placing.items()} | {"validate": await validating}
    for name, (_, ticket, _) in IN_FLIGHT.items():
        if ticket:
            order = await floor.until(orders[name]["id"], lambda order: order["lifecycle"] == "ACCEPTED")
            await _fill(floor, order, "0.2")
    ended = {name: await floor.until_final(order["id"]) for name, order in orders.items()}
    changed = await _after_the_changes(floor, at_rest, requests)
    assert {name: order["lifecycle"] for name, order in ended.items()} == dict.fromkeys(ended, "FILLED")
    attempts = {name: ended[name]["attempts"] for name in IN_FLIGHT}
    assert attempts == {name: wanted for name, (_, _, wanted) in IN_FLIGHT.items()}
    whole = [await floor.until_final(at_rest[name]["id"]) for name in names[:3]]
    assert {order["lifecycle"] for order in whole} == {"FILLED"}
    resent = await _audit(floor, [*ended.values(), *whole, *changed])
    figures("two kills, every moment", {"seconds": round(time.monotonic() - began, 1), "sent anew": resent})
    assert resent >= 2


async def _changes_in_flight(floor: Floor, at_rest: dict[str, dict[str, Any]]) -> list[asyncio.Task[Any]]:
    """Ask for a cancel and for an amendment, and return when both cancels hang at the venue."""
    cancel, amend = at_rest["cancel in flight"]["id"], at_rest["amend in flight"]["id"]
    for order_id in (cancel, amend):
        await floor.fault("delay", **DELETE, client_order_id_prefix=order_id, seconds=1.0, times=1)
    requests = [
        asyncio.create_task(floor.rest.delete(f"/orders/binanceus/{cancel}")),
        asyncio.create_task(floor.rest.patch(f"/orders/binanceus/{amend}", json={"amount": 0.3, "price": 61100})),
    ]
    await floor.until_requests(2, method="DELETE")
    await _fill(floor, at_rest["filled while nobody looks"], "0.2")
    return requests


async def _after_the_changes(
    floor: Floor, at_rest: dict[str, dict[str, Any]], requests: list[asyncio.Task[Any]]
) -> list[dict[str, Any]]:
    """Return the canceled and the amended order, both ended."""
    await asyncio.gather(*requests)
    canceled = await floor.until_final(at_rest["cancel in flight"]["id"])
    assert (canceled["lifecycle"], canceled["filled"]) == ("CANCELED", 0)
    amended = await floor.until(at_rest["amend in flight"]["id"], _is_amended)
    assert (amended["amount"], amended["price"], amended["filled"]) == (
        Decimal("0.3"), Decimal(61100), Decimal("0.05")
    )  # fmt: skip
    await _fill(floor, amended, "0.25")
    return [canceled, await floor.until_final(amended["id"])]


def _is_amended(order: dict[str, Any]) -> bool:
    return order["price"] == Decimal(61100) and order["lifecycle"] in ("ACCEPTED", "PARTIALLY_FILLED")


async def _audit(floor: Floor, orders: list[dict[str, Any]]) -> int:
    """Compare everything; the amended order alone may have been at the venue twice, one after the other."""
    books = await audit.read_books(floor.database, floor.venue)
    audit.assert_one_post_per_attempt(books)
    for order in orders:
        audit.assert_order_agrees(order, books)
        expected = 2 if order["price"] == Decimal(61100) else 1
        assert audit.orders_at_venue(order["id"], books) == expected, order["id"]
    await floor.assert_the_books_close()
    resent = audit.assert_resent_only_after_the_fence(books, fence_s=FENCE_S)
    return len(resent & {order["id"] for order in orders})
