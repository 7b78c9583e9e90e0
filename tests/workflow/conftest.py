"""The order's life on Temporal's time-skipping server, over a real ledger and a scripted venue, with nothing cached."""

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest_asyncio
from google.protobuf.empty_pb2 import Empty
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.api.testservice.v1 import LockTimeSkippingRequest, UnlockTimeSkippingRequest
from temporalio.client import Client, WithStartWorkflowOperation, WorkflowExecutionStatus, WorkflowHandle
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Plugin, Worker

from activities.approval_activities import ApprovalActivities
from activities.kill_activities import KillActivities
from activities.ledger_activities import LedgerActivities
from activities.resolve_activities import ResolveActivities
from activities.trigger_watch import TriggerWatch
from activities.venue_activities import VenueActivities
from domain.identifiers import ORDERS_QUEUE, order_id_from_bytes, order_workflow_id, venue_queue
from domain.order import Order, OrderRequest
from domain.reports import Balance
from domain.triggers import PublicTrade
from starter.kill import TemporalOrderPlacer
from starter.notifications import TemporalNotifier
from storage.approvals import SqlApprovalStore
from storage.kill_sweeps import SqlSweepStore, SqlSwitches
from storage.order_reader import SqlOrderReader
from storage.order_store import SqlOrderStore
from storage.triggers import SqlTriggerStore
from tests.factories import Decimal, make_request, make_terms
from tests.workflow.scripted_exchange import ScriptedExchange
from workflows import search_attributes
from workflows.kill_sweep import AccountSweepWorkflow
from workflows.messages import OrderInput, OrderResult, OrderView, PlaceOrder
from workflows.order_workflow import OrderWorkflow
from workflows.temporal_plugin import volex_plugin

RESULT_WITHIN_S = 20
AT_REST_AFTER_S = 0.3


@dataclass
class Clock:
    """The activities' clock: real time, moved on by the test where the workflow's time was skipped."""

    ahead: timedelta = field(default_factory=timedelta)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


Handle = WorkflowHandle[Any, OrderResult]


@dataclass
class Desk:
    """One account's worker, its venue and its ledger, and the way to place on it."""

    client: Client
    account: str
    venue: ScriptedExchange
    store: SqlOrderStore
    clock: Clock
    handles: list[Handle] = field(default_factory=list)
    kill: KillActivities | None = None

    async def place(self, key: str = "key", **ticket: object) -> tuple[OrderView, Handle]:
        """Place an order and return the first answer and the workflow."""
        return await self.place_request(make_request(key, account=self.account, **ticket))

    async def report(self, order_id: str, handle: Handle, *, client_order_id: str | None = None) -> None:
        """Do what the account's feed does: believe the venue's word and tell the order."""
        said = self.venue.orders[client_order_id or order_id]
        notice = await self.store.record_report(self.account, order_id, said, trades=said.trades, now=self.clock())
        await handle.signal(OrderWorkflow.report, notice)

    async def trigger(self, order_id: str, price: str = "111") -> None:
        """Let the market trade at a price, and do what the account's feed does: watch, record, tell."""
        stamp = self.clock()
        trade = PublicTrade(trade_id=str(len(self.venue.tape) + 1), price=Decimal(price), ts_event=stamp)
        self.venue.tape.append(trade)
        await TriggerWatch(SqlTriggerStore(self.store._engine), self.venue, self.account, self.clock).look()
        await self.tell()

    async def tell(self) -> None:
        """Empty the outbox, as the account's feed does."""
        notices = await self.store.pending_notices(self.account, limit=100)
        for notice in notices:
            await TemporalNotifier(self.client).notify(notice)
        await self.store.mark_notified(self.account, notices)

    async def until(self, handle: Handle, reached: Callable[[Order], bool]) -> Order:
        """Wait until the order is as wanted."""
        async with asyncio.timeout(RESULT_WITHIN_S):
            while True:
                order = (await handle.query(OrderWorkflow.view)).order
                if order is not None and reached(order):
                    return order
                await asyncio.sleep(0.05)

    async def server_time(self) -> datetime:
        """Return the server's time, which other tests may have moved far ahead."""
        return (await self.client.test_service.get_current_time(Empty())).time.ToDatetime(UTC)

    async def result(self, handle: Handle) -> OrderResult:
        """Wait for the end of an order, skipping the time in which nothing happens."""
        waited = self.client.get_workflow_handle_for(OrderWorkflow.run, handle.id)
        async with self.skipping(), asyncio.timeout(RESULT_WITHIN_S):
            while True:
                # When the server's time jumps, its long poll may end without the event it waited for.
                with contextlib.suppress(RuntimeError):
                    return await waited.result()

    @asynccontextmanager
    async def skipping(self) -> AsyncIterator[None]:
        """Let the server skip time."""
        await self.client.test_service.unlock_time_skipping(UnlockTimeSkippingRequest())
        try:
            yield
        finally:
            await self.client.test_service.lock_time_skipping(LockTimeSkippingRequest())

    async def place_request(self, request: OrderRequest) -> tuple[OrderView, Handle]:
        """Place a request as it stands."""
        start = WithStartWorkflowOperation(
            OrderWorkflow.run,
            OrderInput(request=request),
            id=order_workflow_id(request.account, request.order_id),
            task_queue=ORDERS_QUEUE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        )
        view = await self.client.execute_update_with_start_workflow(
            OrderWorkflow.place,
            PlaceOrder(request=request),
            start_workflow_operation=start,
            id=f"place-{request.ticket.fingerprint()[:16]}",
        )
        handle = await start.workflow_handle()
        self.handles.append(handle)
        return view, handle

    async def clear(self) -> None:
        """End what still runs: its timers would keep the server's time from being skipped in the tests that follow."""
        for handle in self.handles:
            if await self.is_at_rest(handle):
                with contextlib.suppress(RPCError):
                    await handle.terminate("the test is over")

    async def terminate_at_work(self, handle: WorkflowHandle[Any, Any], because: str) -> None:
        """Terminate a workflow whose activity is under way, and give back the lock on time that the server forgets."""
        async with asyncio.timeout(RESULT_WITHIN_S):
            while not (await handle.describe()).raw_description.pending_activities:
                await asyncio.sleep(0.02)
        await handle.terminate(because)
        await self.client.test_service.unlock_time_skipping(UnlockTimeSkippingRequest())

    async def is_at_rest(self, handle: WorkflowHandle[Any, Any]) -> bool:
        """Wait until the workflow has ended (false) or only waits (true).

        If one is terminated while an activity of it is under way, the server never skips time again. And it loses a
        workflow whose task cancels a timer that fires meanwhile (temporalio/sdk-java#2606): who acts when a timer is
        due waits for this first.
        """
        seen, since = -1, 0.0
        async with asyncio.timeout(RESULT_WITHIN_S):
            while True:
                told = await handle.describe()
                if told.status is not WorkflowExecutionStatus.RUNNING:
                    return False
                if told.raw_description.pending_activities or told.history_length != seen:
                    seen, since = told.history_length, time.monotonic()
                elif time.monotonic() - since > AT_REST_AFTER_S:
                    return True
                await asyncio.sleep(0.02)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def time_skipping() -> AsyncIterator[WorkflowEnvironment]:
    """Temporal's time-skipping test server."""
    server = Path(sys.executable).parent / "temporal-test-server"
    async with await WorkflowEnvironment.start_time_skipping(
        test_server_existing_path=str(server), data_converter=pydantic_data_converter
    ) as environment:
        attributes = {
            key.name: IndexedValueType.ValueType(int(key.indexed_value_type)) for key in search_attributes.ALL
        }
        await environment.client.operator_service.add_search_attributes(
            AddSearchAttributesRequest(search_attributes=attributes, namespace="default")
        )
        yield environment


@pytest_asyncio.fixture(loop_scope="session")
async def desk(time_skipping: WorkflowEnvironment, store: SqlOrderStore) -> AsyncIterator[Desk]:
    """A desk of the test's own account, with 10,000 USDT and a tenth of a bitcoin."""
    async with open_desk(time_skipping.client, store, plugins=[volex_plugin()]) as opened:
        yield opened
        await opened.clear()


@asynccontextmanager
async def open_desk(
    client: Client, store: SqlOrderStore, *, plugins: Sequence[Plugin] = (), account: str | None = None
) -> AsyncIterator[Desk]:
    """Run the workers of one account, a new one unless it is named."""
    account = account or f"t{uuid4().hex[:12]}"
    clock, venue = Clock(), ScriptedExchange()
    balances = [
        Balance(asset="USDT", free=Decimal(10_000), used=Decimal(0), total=Decimal(10_000)),
        Balance(asset="BTC", free=Decimal(1), used=Decimal(0), total=Decimal(1)),
    ]
    await store.record_balances(account, balances, asked_at=clock())
    ledger = LedgerActivities(store, terms={account: make_terms(account)}, clock=clock)
    at_venue = VenueActivities(store, exchanges={account: venue}, identity="test", clock=clock)
    resolving = ResolveActivities(store, exchanges={account: venue}, clock=clock)
    held = ApprovalActivities(SqlApprovalStore(store._engine), terms=ledger._terms, clock=clock)
    kill = KillActivities(
        SqlSweepStore(store._engine),
        switches=SqlSwitches(store._engine),
        reader=SqlOrderReader(store._engine),
        ask_to_cancel=at_venue.ask_to_cancel,
        cancel=at_venue.cancel,
        notifier=TemporalNotifier(client),
        placer=TemporalOrderPlacer(client),
        modes={account: make_terms(account).mode},
        new_id=lambda: order_id_from_bytes(uuid4().bytes),
        clock=clock,
    )
    orders = Worker(
        client,
        task_queue=ORDERS_QUEUE,
        workflows=[OrderWorkflow, AccountSweepWorkflow],
        activities=[
            ledger.risk_check,
            ledger.risk_check_again,
            ledger.deny,
            ledger.request_amend,
            ledger.end_unsent,
            ledger.persist,
            held.ask_approval,
            held.approve,
            held.reject,
            held.end_held,
        ],
        max_cached_workflows=0,
        plugins=plugins,
    )
    steps = [at_venue.validate, at_venue.submit, at_venue.look_up, at_venue.cancel, resolving.resolve]
    queue = Worker(client, task_queue=venue_queue(account), activities=[*steps, kill.sweep_account], plugins=plugins)
    async with orders, queue:
        yield Desk(client=client, account=account, venue=venue, store=store, clock=clock, kill=kill)
