"""The sweep on Temporal's test server, over a real ledger and a scripted venue."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import WorkflowHandle
from temporalio.service import RPCError

from activities.calls import Swept
from domain.identifiers import sweep_workflow_id
from domain.kill import KillEventKind, Switch
from domain.lifecycle import OrderStatus
from domain.limits import ScopeKind, scope_name
from domain.order import OrderType
from starter.kill import keep_sweeping, start_sweep
from storage import kill_switch
from storage.kill_sweeps import SqlSweepStore, SqlSwitches
from storage.order_reader import SqlOrderReader
from tests.workflow import scripted_exchange as scripts
from tests.workflow.conftest import RESULT_WITHIN_S, Desk
from workflows.kill_sweep import AccountSweepWorkflow


async def engage(desk: Desk, engine: AsyncEngine, **options: bool) -> Switch:
    """Pull the switch of the desk's account."""
    scope = scope_name(ScopeKind.ACCOUNT, desk.account)
    return (await kill_switch.engage(engine, scope, reason="drill", by="ann", **options)).switch


async def swept(desk: Desk) -> Swept:
    """Sweep the desk's account, and wait for the end."""
    await start_sweep(desk.client, desk.account)
    async with asyncio.timeout(RESULT_WITHIN_S):
        return await sweep_of(desk).result()


def sweep_of(desk: Desk) -> WorkflowHandle[AccountSweepWorkflow, Swept]:
    """The sweep of the desk's account."""
    return desk.client.get_workflow_handle_for(AccountSweepWorkflow.run, sweep_workflow_id(desk.account))


@contextlib.asynccontextmanager
async def watched(desk: Desk, engine: AsyncEngine) -> AsyncIterator[None]:
    """Watch as a worker does."""
    store = SqlSweepStore(engine)
    assert desk.kill is not None
    watching = asyncio.create_task(keep_sweeping(desk.client, store, [desk.account], desk.kill.cancel_now))
    try:
        yield
    finally:
        watching.cancel()


async def kinds(engine: AsyncEngine) -> list[KillEventKind]:
    """The switch's history, newest first."""
    return [event.kind for event in await SqlSwitches(engine).events(limit=9, before=None)]


async def test_what_rests_is_canceled_and_each_order_ends(desk: Desk, engine: AsyncEngine) -> None:
    placed = [await desk.place(f"key-{number}") for number in range(3)]
    await engage(desk, engine, cancel_orders=True)
    done = await swept(desk)
    assert (done.canceled, done.done) == (3, True)
    for view, handle in placed:
        order = await desk.store.order(desk.account, view.order_id)
        assert (order.status, order.reason and order.reason.code) == (OrderStatus.CANCELED, "KILL_SWITCH")
        await desk.report(view.order_id, handle)
        assert (await desk.result(handle)).order.status is OrderStatus.CANCELED
    assert await kinds(engine) == [KillEventKind.SWEPT, KillEventKind.ENGAGED]


async def test_venue_that_ignores_cancels_is_asked_until_nothing_rests(desk: Desk, engine: AsyncEngine) -> None:
    view, handle = await desk.place()
    desk.venue.ignores_cancels = 3
    await engage(desk, engine, cancel_orders=True)
    assert (await swept(desk)).done
    assert (await desk.store.order(desk.account, view.order_id)).status is OrderStatus.CANCELED
    assert len(desk.venue.cancels) >= 4
    await desk.result(handle)


async def test_venue_that_is_down_is_asked_until_it_is_back(desk: Desk, engine: AsyncEngine) -> None:
    view, handle = await desk.place()
    desk.venue.is_down = True
    await engage(desk, engine, cancel_orders=True)
    sweeping = asyncio.create_task(swept(desk))
    await asyncio.wait({sweeping}, timeout=1)
    assert not sweeping.done()
    order = await desk.store.order(desk.account, view.order_id)
    assert (order.status, order.cancel_requested) == (OrderStatus.PENDING_CANCEL, True), "the wish is on record"
    desk.venue.is_down = False
    assert (await sweeping).done
    assert (await desk.store.order(desk.account, view.order_id)).status is OrderStatus.CANCELED
    await desk.report(view.order_id, handle)
    await desk.result(handle)


async def test_order_in_doubt_keeps_the_wish_and_the_sweep_ends(desk: Desk, engine: AsyncEngine) -> None:
    desk.venue.on_submit = scripts.reply_is_lost
    view, handle = await desk.place()
    desk.venue.hides_orders = True
    await engage(desk, engine, cancel_orders=True)
    assert (await swept(desk)).done
    order = await desk.store.order(desk.account, view.order_id)
    assert (order.status, order.cancel_requested) == (OrderStatus.IN_DOUBT, True)
    desk.venue.hides_orders = False
    assert (await desk.result(handle)).order.status is OrderStatus.CANCELED


async def test_sweep_is_started_by_who_watches_and_again_when_temporal_lost_it(desk: Desk, engine: AsyncEngine) -> None:
    view, handle = await desk.place()
    desk.venue.is_down = True
    async with watched(desk, engine), asyncio.timeout(RESULT_WITHIN_S):
        await engage(desk, engine, cancel_orders=True)
        await until_it_runs(desk)
        await desk.terminate_at_work(sweep_of(desk), "lost")
        desk.venue.is_down = False
        while (await desk.store.order(desk.account, view.order_id)).status is not OrderStatus.CANCELED:
            await asyncio.sleep(0.05)
        assert (await swept(desk)).done
    await desk.report(view.order_id, handle)
    await desk.result(handle)


async def test_who_watches_cancels_at_once_past_temporal(desk: Desk, engine: AsyncEngine) -> None:
    view, handle = await desk.place()
    await engage(desk, engine, cancel_orders=True)
    assert desk.kill is not None
    for _ in range(2):
        await desk.kill.cancel_now(desk.account)
    assert len(desk.venue.cancels) == 1, "what was asked for is left to the sweep"
    assert (await desk.store.order(desk.account, view.order_id)).status is OrderStatus.PENDING_CANCEL
    assert (await swept(desk)).done
    assert (await desk.store.order(desk.account, view.order_id)).status is OrderStatus.CANCELED
    await desk.report(view.order_id, handle)
    await desk.result(handle)


async def until_it_runs(desk: Desk) -> None:
    """Wait until the sweep is there."""
    while True:
        with contextlib.suppress(RPCError):
            await sweep_of(desk).describe()
            return
        await asyncio.sleep(0.05)


async def test_position_is_closed_at_the_market_and_nothing_else_is_sent(desk: Desk, engine: AsyncEngine) -> None:
    desk.venue.on_submit = scripts.fills_at_once
    _, bought = await desk.place("bought", order_type=OrderType.MARKET, price=None)
    await desk.result(bought)
    [held] = await SqlOrderReader(engine).positions(desk.account)
    await engage(desk, engine, flatten=True)
    async with desk.skipping():
        assert (await swept(desk)).done
    closing = desk.venue.posts[-1]
    assert (len(desk.venue.posts), closing.side, closing.order_type) == (2, "sell", OrderType.MARKET)
    assert closing.quantity == held.amount
    assert await kinds(engine) == [KillEventKind.FLATTENED, KillEventKind.SWEPT, KillEventKind.ENGAGED]


async def test_position_of_another_mode_is_left_alone(desk: Desk, engine: AsyncEngine) -> None:
    desk.venue.on_submit = scripts.fills_at_once
    _, bought = await desk.place("bought", order_type=OrderType.MARKET, price=None)
    await desk.result(bought)
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE exposures SET scope = replace(scope, 'sandbox/', 'paper/')"))
    await engage(desk, engine, flatten=True)
    assert (await swept(desk)).done
    assert len(desk.venue.posts) == 1, "a paper position is not closed with other money"
