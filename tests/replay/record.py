"""`python -m tests.replay.record`: records a history of every ending from a real Temporal server, a real ledger and a
scripted venue. Run it when a new ending exists; never to make a failing replay pass. `--only NAME` records one."""

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path

from temporalio.client import Client, WorkflowHistory
from temporalio.worker import Worker

from activities import feed_activities
from activities.feed_activities import FeedActivities, FeedPace
from domain.identifiers import ORDERS_QUEUE, derive_order_id, feed_workflow_id, venue_queue
from embedded.child import Child, ChildSpec, free_port
from embedded.postgres_server import PostgresServer
from embedded.temporal_server import TemporalServer
from starter.connection import connect_temporal
from starter.feeds import start_feed
from starter.notifications import TemporalNotifier
from storage.database import open_engine
from storage.migrate import upgrade
from storage.order_store import SqlOrderStore
from tests.replay.scenarios import SCENARIOS
from tests.workflow.conftest import Clock, Desk, open_desk
from tests.workflow.scripted_exchange import ScriptedExchange, Submission, SubmitOutcome
from workflows.account_feed import AccountFeedWorkflow

HISTORIES = Path(__file__).parent / "histories"
KILLED = "worker_killed_with_the_order_at_the_venue"
FEED = "feed_continued_as_new"
DOOMED = "--doomed-worker"
NAMES = (*(scenario.__name__ for scenario in SCENARIOS), KILLED, FEED)


class Studio:
    """The servers that histories are recorded on."""

    def __init__(self, client: Client, store: SqlOrderStore, *, temporal: str, database: str) -> None:
        self.client = client
        self.store = store
        self.temporal = temporal
        self.database = database


async def record_scenario(studio: Studio, name: str) -> WorkflowHistory:
    """Lead an order to its ending; the account is named after it, so that a new recording differs in times alone."""
    scenario = next(scenario for scenario in SCENARIOS if scenario.__name__ == name)
    async with open_desk(studio.client, studio.store, account=name[:32]) as desk:
        handle = await scenario(desk)
        await asyncio.wait_for(handle.result(), 60)
        return await handle.fetch_history()


async def record_killed_worker(studio: Studio) -> WorkflowHistory:
    """Kill a worker process with -9 while its submit is at the venue; another one takes the order over."""
    account = "worker_killed"
    desk = Desk(studio.client, account, ScriptedExchange(), studio.store, Clock())
    argv = [sys.executable, "-m", "tests.replay.record", DOOMED, studio.temporal, studio.database, account]
    doomed = await Child.start(ChildSpec(name="doomed", argv=argv, log_path=Path(tempfile.gettempdir(), "doomed.log")))
    try:
        placing = asyncio.create_task(desk.place())
        order_id = derive_order_id(account, "key")
        async with asyncio.timeout(30):
            while not await _has_left(studio.store, account, order_id):
                await asyncio.sleep(0.05)
    finally:
        doomed.kill()
        await doomed.wait()
    async with open_desk(studio.client, studio.store, account=account) as survivor:
        attempt = await studio.store.current_attempt(account, order_id)
        assert attempt is not None
        survivor.venue.take(attempt.submission)
        survivor.venue.fill(order_id, "0.1")
        _, handle = await asyncio.wait_for(placing, 30)
        await asyncio.wait_for(handle.result(), 60)
        return await handle.fetch_history()


async def _has_left(store: SqlOrderStore, account: str, order_id: str) -> bool:
    attempt = await store.current_attempt(account, order_id)
    return attempt is not None and attempt.may_have_left


async def run_doomed_worker(temporal: str, database: str, account: str) -> None:
    """Serve an account whose venue never answers a submit, until somebody kills this process."""

    async def never_answers(submission: Submission, venue: ScriptedExchange) -> SubmitOutcome:
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    engine = open_engine(database, application_name="doomed")
    client = await connect_temporal(temporal, identity="doomed")
    async with open_desk(client, SqlOrderStore(engine), account=account) as desk:
        desk.venue.on_submit = never_answers
        await asyncio.Event().wait()


async def record_feed(studio: Studio) -> WorkflowHistory:
    """Record a feed's whole first run, with stretches that are over at once, up to where it continues as new."""
    account = "feed"
    stretch, feed_activities.FOLLOW_STRETCH = feed_activities.FOLLOW_STRETCH, timedelta(0)
    feed = FeedActivities(
        studio.store,
        exchanges={account: ScriptedExchange()},
        notifier=TemporalNotifier(studio.client),
        pace=FeedPace(),
        clock=Clock(),
    )
    orders = Worker(studio.client, task_queue=ORDERS_QUEUE, workflows=[AccountFeedWorkflow])
    queue = Worker(studio.client, task_queue=venue_queue(account), activities=[feed.follow_account])
    try:
        async with orders, queue:
            await start_feed(studio.client, account)
            handle = studio.client.get_workflow_handle(feed_workflow_id(account))
            first = studio.client.get_workflow_handle(handle.id, run_id=(await handle.describe()).run_id)
            async with asyncio.timeout(60):
                while (await first.describe()).close_time is None:
                    await asyncio.sleep(0.1)
            await handle.terminate("recorded")
            return await first.fetch_history()
    finally:
        feed_activities.FOLLOW_STRETCH = stretch


@asynccontextmanager
async def open_studio() -> AsyncIterator[Studio]:
    """Run Temporal and Postgres in a folder that goes away."""
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="volex-record-")))
        directory.chmod(0o711)
        postgres = PostgresServer(directory / "postgres", port=free_port(), log_path=directory / "postgres.log")
        postgres.prepare()
        temporal = TemporalServer(
            directory / "temporal.db", port=free_port(), ui_port=free_port(), log_path=directory / "temporal.log"
        )
        for server in (postgres, temporal):
            child = await Child.start(server.spec())
            stack.push_async_callback(child.stop)
            await server.until_ready(child)
        await upgrade(postgres.url())
        engine = open_engine(postgres.url(), application_name="recorder")
        stack.push_async_callback(engine.dispose)
        client = await connect_temporal(temporal.address, identity="recorder")
        yield Studio(client, SqlOrderStore(engine), temporal=temporal.address, database=postgres.url())


def keep(name: str, history: WorkflowHistory) -> None:
    """Write a history, one event a line."""
    events = ",\n".join(json.dumps(event, separators=(",", ":")) for event in history.to_json_dict()["events"])
    (HISTORIES / f"{name}.json").write_text(f'{{"events":[\n{events}\n]}}\n', "utf-8")
    print(f"{name}: {len(history.events)} events")


async def record(names: tuple[str, ...]) -> None:
    """Record the named endings anew."""
    HISTORIES.mkdir(exist_ok=True)
    special = {KILLED: record_killed_worker, FEED: record_feed}
    async with open_studio() as studio:
        for name in names:
            keep(name, await (special[name](studio) if name in special else record_scenario(studio, name)))


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.replay.record", description=__doc__)
    parser.add_argument("--only", choices=NAMES, action="append", help="record this ending alone")
    parser.add_argument(DOOMED, nargs=3, metavar=("TEMPORAL", "DATABASE", "ACCOUNT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.doomed_worker:
        asyncio.run(run_doomed_worker(*arguments.doomed_worker))
    else:
        asyncio.run(record(tuple(arguments.only or NAMES)))


if __name__ == "__main__":
    main()
