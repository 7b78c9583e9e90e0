"""An order whose turn at the venue is far: nothing is journaled, it waits in its workflow, and a cancel ends it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from domain.errors import RateLimited
from domain.identifiers import order_workflow_id
from domain.lifecycle import OrderStatus
from tests.factories import make_request
from tests.workflow import scripted_exchange as scripts
from tests.workflow.conftest import Desk
from workflows.messages import CancelOrder
from workflows.order_workflow import OrderWorkflow


class Turns:
    """Sends the first so many orders away."""

    def __init__(self, times: int, *, retry_after_s: int = 1) -> None:
        self.left = times
        self._retry_after_s = retry_after_s
        self.strategies: list[str | None] = []

    @asynccontextmanager
    async def turn(self, strategy: str | None) -> AsyncIterator[None]:
        self.strategies.append(strategy)
        if self.left:
            self.left -= 1
            raise RateLimited("the venue's budget of orders is spent", retry_after_s=self._retry_after_s)
        yield


async def test_order_that_is_sent_away_comes_back_and_is_its_first_attempt(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = Turns(2)
    monkeypatch.setattr(desk.venue, "turn", turns.turn)
    desk.venue.on_submit = scripts.fills_at_once
    async with desk.skipping():
        _, handle = await desk.place(strategy="momentum")
    order = (await desk.result(handle)).order
    assert (order.status, order.attempt) == (OrderStatus.FILLED, 1)
    assert turns.strategies == ["momentum"] * 3
    assert len(desk.venue.posts) == 1


async def test_cancel_ends_an_order_that_waits_for_its_turn_without_a_request(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = Turns(1_000_000)
    monkeypatch.setattr(desk.venue, "turn", turns.turn)
    placing = asyncio.create_task(desk.place())
    order_id = make_request("key", account=desk.account).order_id
    handle = desk.client.get_workflow_handle_for(OrderWorkflow.run, order_workflow_id(desk.account, order_id))
    async with asyncio.timeout(20):
        while not turns.strategies:
            await asyncio.sleep(0.02)
    view = await handle.execute_update(OrderWorkflow.request_cancel, CancelOrder(requested_by="test"))
    assert view.order is not None and view.order.status is OrderStatus.CANCELED
    assert (desk.venue.posts, desk.venue.cancels, view.order.attempt) == ([], [], 0)
    placed, _ = await placing
    assert placed.order is not None and placed.order.status is OrderStatus.CANCELED


async def test_order_whose_turn_never_comes_is_given_up(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    turns = Turns(1_000_000, retry_after_s=100_000)  # of which five minutes are waited at a time
    monkeypatch.setattr(desk.venue, "turn", turns.turn)
    async with desk.skipping():
        _, handle = await desk.place()
    order = (await desk.result(handle)).order
    assert order.is_final and order.reason is not None and order.reason.code == "RATE_TURN_AWAITED"
    assert desk.venue.posts == []
    assert len(turns.strategies) == 6, "after 25 minutes it is not tried again"
