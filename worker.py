"""The worker process: settings → adapters → activities → Worker. It only wires; no logic lives here."""

import asyncio
import contextlib
import json
import logging
import os
import secrets
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client
from temporalio.worker import PollerBehaviorAutoscaling, Worker

from activities.approval_activities import ApprovalActivities
from activities.case_activities import CaseActivities
from activities.feed_activities import FeedActivities, FeedPace, Follower
from activities.kill_activities import KillActivities
from activities.ledger_activities import LedgerActivities
from activities.ledger_repair import LedgerRepair
from activities.reconcile_activities import ReconcileActivities
from activities.resolve_activities import ResolveActivities
from activities.sight_watch import SightWatch
from activities.trip_watch import TripWatch
from activities.valuing import Valuing
from activities.venue_activities import VenueActivities
from credentials import load_all_settings
from domain.errors import ConfigurationError
from domain.identifiers import ORDERS_QUEUE, order_id_from_bytes, venue_queue
from domain.ports import Exchange
from domain.risk_agent import RiskAgent
from domain.trips import TripTerms
from exchanges.opening import Fleet, system_clock
from observability.crashes import keep_no_core
from observability.logs import set_up_logs
from observability.sightings import seen
from observability.traces import stop_traces
from risk_agent import HttpRiskAgent
from settings import Settings
from starter.archiving import Archiver, keep_archiving
from starter.builds import deployment_of
from starter.connection import connect_with
from starter.feeds import keep_account_workflows, reconcile_soon, start_feed
from starter.kill import TemporalOrderPlacer, keep_sweeping, keep_watching
from starter.notifications import TemporalNotifier
from starter.order_workflows import TemporalOrderWorkflows
from starter.upkeep import keep_checkpoints, keep_notifying, keep_telling
from storage import kill_switch
from storage.accounting_store import SqlAccountingStore
from storage.approvals import SqlApprovalStore
from storage.archive import open_archive
from storage.audit_store import SqlAuditStore
from storage.comparison import SqlReconciliationStore
from storage.database import open_engine
from storage.kill_sweeps import SqlSweepStore, SqlSwitches, loss_trips
from storage.limit_sets import follow_limits
from storage.observing import SqlSightings
from storage.order_reader import SqlOrderReader
from storage.order_store import SqlOrderStore
from storage.rate_ledger import SqlRateLedger
from storage.restoring import SqlLedgerRepairStore
from storage.triggers import SqlTriggerStore
from worker_accounts import Stopped, once_there, open_exchanges, upkeep
from worker_alerts import open_alert_watch
from worker_sight import show_worker
from workflows.registry import WORKFLOWS

STICKY_TIMEOUT = timedelta(seconds=1)
"""Orders cached by a worker that died are deaf for this long."""
BEAT_INTERVAL = timedelta(seconds=1)
"""Heartbeats are passed on at least this often; the SDK's own 80 % of the timeout would leave no margin."""
log = logging.getLogger("volex.worker")


async def run(settings: Settings, stop: asyncio.Event) -> None:
    """Serve orders until `stop` is set, then let running venue calls finish."""
    identity = f"worker@{socket.gethostname()}#{settings.worker.number}"
    runtime = show_worker(settings, identity=identity)
    served = settings.worker.accounts or tuple(settings.accounts)
    engine = open_engine(settings.database_url.get_secret_value(), application_name=identity)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(engine.dispose)
        await once_there(stop, lambda: kill_switch.follow_settings(engine, engaged=settings.risk.kill_switch))
        await once_there(
            stop, lambda: follow_limits(engine, settings.risk.limit_set(), identity=identity, now=system_clock())
        )
        fleet = Fleet(identity, SqlRateLedger(engine), settings.rate_limit_per_minute)
        exchanges = await open_exchanges(settings, served, engine, fleet, stack, stop)
        client = await once_there(
            stop, lambda: connect_with(settings, identity=identity, sandboxed=False, runtime=runtime)
        )
        since = await once_there(stop, SqlReconciliationStore(engine).ledger_time)
        venue = VenueActivities(SqlOrderStore(engine), exchanges=exchanges, identity=identity, clock=system_clock)
        kill = _kill_activities(client, settings, engine, venue)
        agent = _risk_agent(settings)
        if agent is not None:
            stack.push_async_callback(agent.close)
        orders = _orders_worker(client, settings, engine, identity, kill, since=since, agent=agent)
        await stack.enter_async_context(orders)
        steps = _venue_steps(client, settings, engine, exchanges, venue, kill)
        for worker in _venue_workers(client, settings, tuple(exchanges), identity, steps):
            await stack.enter_async_context(worker)
        for account in served:
            await once_there(stop, partial(start_feed, client, account))
            await once_there(stop, partial(reconcile_soon, client, account, why=f"{identity} has started"))
        for endless in (
            keep_account_workflows(client, served),
            keep_sweeping(client, SqlSweepStore(engine), served, kill.cancel_now),
            keep_watching(_trip_watch(settings, engine, exchanges).round),
            *upkeep(settings, engine, served),
            keep_checkpoints(SqlAuditStore(engine, made_by=identity, clock=system_clock)),
            keep_archiving(Archiver(client, open_archive(engine, settings.archive_url), served)),
            keep_telling(_sights(engine, exchanges, identity).round),
        ):
            stack.callback(asyncio.create_task(endless).cancel)
        log.info("worker_ready", extra={"identity": identity, "accounts": list(served)})
        if settings.worker.ready_file is not None:
            settings.worker.ready_file.write_text(json.dumps({"pid": os.getpid()}))
        watch = open_alert_watch(settings, engine, identity)
        if watch is not None:
            stack.push_async_callback(watch.close)
            stack.callback(asyncio.create_task(keep_notifying(watch.round)).cancel)
        await stop.wait()
        log.info("worker_stopping", extra={"identity": identity})


def _sights(engine: AsyncEngine, exchanges: Mapping[str, Exchange], identity: str) -> SightWatch:
    store = SqlSightings(engine)
    return SightWatch(store, exchanges=exchanges, seen=lambda account: seen(account).told(), identity=identity)


def _risk_agent(settings: Settings) -> HttpRiskAgent | None:
    """Return the external risk agent, if one is configured; its settings have checked that there is a secret."""
    own = settings.risk.agent
    if own.url is None:
        return None
    if own.secret is None:
        raise ConfigurationError("risk.agent has a url and no secret", advice="Set RISK__AGENT__SECRET.")
    return HttpRiskAgent(own.url, own.secret, timeout_ms=own.timeout_ms, scopes=tuple(own.scopes), shadow=own.shadow)


def _kill_activities(client: Client, settings: Settings, engine: AsyncEngine, venue: VenueActivities) -> KillActivities:
    return KillActivities(
        SqlSweepStore(engine),
        switches=SqlSwitches(engine),
        reader=SqlOrderReader(engine),
        ask_to_cancel=venue.ask_to_cancel,
        cancel=venue.cancel,
        notifier=TemporalNotifier(client),
        placer=TemporalOrderPlacer(client),
        modes={account: terms.mode for account, terms in settings.terms().items()},
        new_id=lambda: order_id_from_bytes(secrets.token_bytes(8)),
        clock=system_clock,
    )


def _trip_watch(settings: Settings, engine: AsyncEngine, exchanges: Mapping[str, Exchange]) -> TripWatch:
    modes = {account: terms.mode for account, terms in settings.terms().items()}
    return TripWatch(
        terms=TripTerms(),
        exchanges=exchanges,
        open_cases=SqlSweepStore(engine).open_codes,
        working=SqlOrderStore(engine).working_orders,
        losses=lambda account, terms: loss_trips(engine, account, modes[account], terms, now=system_clock()),
        trip=lambda tripped: kill_switch.trip(engine, tripped),
        clock=system_clock,
    )


def _orders_worker(
    client: Client,
    settings: Settings,
    engine: AsyncEngine,
    identity: str,
    kill: KillActivities,
    *,
    since: datetime,
    agent: RiskAgent | None,
) -> Worker:
    """All workflows, and the steps that touch only the ledger. Nothing is admitted that was not reconciled `since`."""
    terms = {
        account: entry.model_copy(update={"reconciled_since": since}) for account, entry in settings.terms().items()
    }
    ledger = LedgerActivities(SqlOrderStore(engine), terms=terms, clock=system_clock, agent=agent)
    held = ApprovalActivities(SqlApprovalStore(engine), terms=terms, clock=system_clock, agent=agent)
    return Worker(
        client,
        task_queue=ORDERS_QUEUE,
        workflows=WORKFLOWS,
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
            CaseActivities(SqlReconciliationStore(engine)).close_case,
            kill.engage_kill,
        ],
        max_cached_workflows=settings.worker.max_cached_workflows,
        workflow_task_poller_behavior=PollerBehaviorAutoscaling(),
        activity_task_poller_behavior=PollerBehaviorAutoscaling(),
        sticky_queue_schedule_to_start_timeout=STICKY_TIMEOUT,
        graceful_shutdown_timeout=timedelta(seconds=settings.worker.graceful_shutdown_s),
        max_heartbeat_throttle_interval=BEAT_INTERVAL,
        identity=identity,
        deployment_config=deployment_of(settings.worker.build_id),
    )


def _venue_steps(
    client: Client,
    settings: Settings,
    engine: AsyncEngine,
    exchanges: Mapping[str, Exchange],
    venue: VenueActivities,
    kill: KillActivities,
) -> list[Callable[..., Any]]:
    """The steps that touch the venue."""
    store, notifier = SqlOrderStore(engine), TemporalNotifier(client)
    resolving = ResolveActivities(store, exchanges=exchanges, clock=system_clock)
    own, carried = settings.worker, TemporalOrderWorkflows(client)
    pace = FeedPace(open_interval_s=own.feed_open_interval_ms / 1000, idle_interval_s=own.feed_idle_interval_ms / 1000)
    repair = LedgerRepair(SqlLedgerRepairStore(engine), workflows=carried, clock=system_clock)
    modes = {account: terms.mode for account, terms in settings.terms().items()}
    valuing = Valuing(SqlAccountingStore(engine), exchanges=exchanges, modes=modes, interval_s=pace.idle_interval_s)
    feed = FeedActivities(
        store,
        exchanges=exchanges,
        notifier=notifier,
        pace=pace,
        clock=system_clock,
        repair=repair,
        valuing=valuing,
        triggers=SqlTriggerStore(engine),
    )
    reconciler = ReconcileActivities(
        SqlReconciliationStore(engine),
        exchanges=exchanges,
        workflows=carried,
        follower=lambda account: Follower(store, exchanges[account], notifier, pace, account, system_clock),
        interval_s=settings.worker.reconcile_interval_s,
        clock=system_clock,
    )
    return [
        venue.validate,
        venue.submit,
        venue.look_up,
        venue.cancel,
        resolving.resolve,
        feed.follow_account,
        reconciler.reconcile_account,
        kill.sweep_account,
    ]


def _venue_workers(
    client: Client, settings: Settings, accounts: Sequence[str], identity: str, steps: list[Callable[..., Any]]
) -> list[Worker]:
    """A queue for each account, for its rate limits are its own."""
    return [
        Worker(
            client,
            task_queue=venue_queue(account),
            activities=steps,
            activity_task_poller_behavior=PollerBehaviorAutoscaling(initial=2),
            graceful_shutdown_timeout=timedelta(seconds=settings.worker.graceful_shutdown_s),
            max_heartbeat_throttle_interval=BEAT_INTERVAL,
            identity=identity,
        )
        for account in accounts
    ]


@contextlib.asynccontextmanager
async def _stopped_by_signals() -> AsyncIterator[asyncio.Event]:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    yield stop


async def _main(settings: Settings) -> None:
    async with _stopped_by_signals() as stop:
        with contextlib.suppress(Stopped):
            await run(settings, stop)


def main() -> None:
    """Run the worker. Exit code 2 when the settings contradict each other."""
    keep_no_core()
    try:
        set_up_logs()
        settings = load_all_settings()
        set_up_logs(level="DEBUG" if settings.debug else settings.log_level)
        asyncio.run(_main(settings))
        code = 0
    except ConfigurationError as error:
        print(f"{error.code}: {error.message} {error.what_to_do}", file=sys.stderr)
        code = 2
    except Exception:
        log.exception("worker_failed")
        code = 1
    stop_traces()
    # The SDK's native threads can crash a process that ends in the ordinary way after its work is done.
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
