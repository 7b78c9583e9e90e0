"""`volex doctor`: asks every part that an order needs, and says what to do about each that does not answer well."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from cli import render
from cli.exit_codes import EPILOG, ExitCode
from cli.stack import DataDir
from domain.errors import ConfigurationError, ExecutionError

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.ext.asyncio import AsyncConnection
    from temporalio.client import Client

    from cli.addresses import Addresses
    from domain.ports import Exchange
    from settings import Settings
    from storage.hypertables import Timescale

ASK_TIMEOUT_S: Final = 10.0
CASES_COUNTED: Final = 500
SKEW_WARNED_MS: Final = 500
SKEW_REFUSED_MS: Final = 1000
"""Venues of Binance's kind refuse a request that is signed further than this in their future."""


@dataclass(frozen=True)
class Finding:
    """What one check found. `what_to_do` is empty when nothing is to be done."""

    check: str
    state: Literal["ok", "warning", "failing"]
    found: str
    what_to_do: str = ""


def doctor(json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False, data_dir: DataDir = None) -> None:
    """Check settings, Temporal, workers, ledger, REST interface, venues, clock and keys, and say what to do.

    Exit code 5 when anything is failing, 2 when it is the settings.

    Example: volex doctor
    """
    from cli.addresses import find

    try:
        addresses = find(data_dir)
    except ConfigurationError as error:
        _show([Finding("settings", "failing", error.message, error.what_to_do)], json=json)
        raise typer.Exit(ExitCode.USAGE) from None
    findings = asyncio.run(_examine(addresses))
    _show(findings, json=json)
    failing = any(finding.state == "failing" for finding in findings)
    raise typer.Exit(ExitCode.UNREACHABLE if failing else ExitCode.DONE)


def _show(findings: Sequence[Finding], *, json: bool) -> None:
    if json:
        render.as_json([asdict(finding) for finding in findings])
        return
    render.table(
        ("check", "state", "found", "what to do"),
        ([finding.check, finding.state, finding.found, finding.what_to_do] for finding in findings),
    )


async def _examine(addresses: "Addresses") -> list[Finding]:
    settings = addresses.settings
    where = f"the stack in {addresses.stack}" if addresses.stack else "environment and file; no stack runs here"
    findings = [Finding("settings", "ok", f"from {where}")]
    for part in (_vault(settings), _temporal(settings), _database(settings), _cases(settings), _rest(addresses.api)):
        findings += [finding async for finding in part]
    for account in settings.accounts:
        findings += [finding async for finding in _venue(settings, account)]
    return findings


async def _vault(settings: "Settings") -> AsyncIterator[Finding]:
    """Tell whether Vault takes our log-in and shows what is written for the agent; nothing where none is configured."""
    from credentials import open_vault

    if not settings.vault_addr:
        return
    store = open_vault(settings)
    try:
        await asyncio.wait_for(store.probe(), ASK_TIMEOUT_S)
        told = await asyncio.wait_for(store.execution_settings(), ASK_TIMEOUT_S)
    except (ExecutionError, TimeoutError) as error:
        advice = error.what_to_do if isinstance(error, ExecutionError) else "Start or unseal Vault."
        yield Finding("vault", "failing", str(error) or f"{settings.vault_addr}: no answer in time", advice)
        return
    held = f"agents/execution holds {', '.join(told)}" if told else "agents/execution holds nothing"
    yield Finding("vault", "ok", f"{settings.vault_addr}: {held}")


async def _temporal(settings: "Settings") -> AsyncIterator[Finding]:
    from temporalio.service import RPCError

    from starter.client import ExecutionClient

    address = settings.temporal_address
    try:
        client = await asyncio.wait_for(ExecutionClient.from_settings(settings), ASK_TIMEOUT_S)
        await client.temporal.count_workflows(rpc_timeout=timedelta(seconds=ASK_TIMEOUT_S))
    except (ExecutionError, RPCError, TimeoutError) as error:
        advice = "Start it with `volex up`, or set TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE and TEMPORAL_TLS_*."
        yield Finding("temporal", "failing", f"{address}: {error or 'no answer in time'}", advice)
        return
    yield Finding("temporal", "ok", f"{address}, namespace {settings.temporal_namespace}")
    for check, ask in (("search attributes", _search_attributes), ("workers", _workers)):
        try:
            yield await ask(client.temporal, settings)
        except RPCError as error:
            # A hosted Temporal may not let its users ask for that.
            found = f"cannot be asked for: {error.status.name}"
            yield Finding(check, "warning", found, "If orders do not start, look at this in the Web UI.")


async def _search_attributes(client: "Client", _: "Settings") -> Finding:
    from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest

    from workflows import search_attributes

    told = await client.operator_service.list_search_attributes(
        ListSearchAttributesRequest(namespace=client.namespace), timeout=timedelta(seconds=ASK_TIMEOUT_S)
    )
    missing = [key.name for key in search_attributes.ALL if key.name not in told.custom_attributes]
    if not missing:
        return Finding("search attributes", "ok", f"all {len(search_attributes.ALL)} are there")
    advice = "Create each: temporal operator search-attribute create --name NAME --type Keyword (NeedsAttention: Bool)."
    return Finding("search attributes", "failing", f"missing: {', '.join(missing)}", advice)


async def _workers(client: "Client", settings: "Settings") -> Finding:
    from temporalio.api.enums.v1 import TaskQueueType
    from temporalio.api.taskqueue.v1 import TaskQueue
    from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest

    from domain.identifiers import ORDERS_QUEUE, venue_queue

    kinds = {ORDERS_QUEUE: TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW}
    kinds |= {venue_queue(account): TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY for account in settings.accounts}
    deserted = []
    for queue, kind in kinds.items():
        told = await client.workflow_service.describe_task_queue(
            DescribeTaskQueueRequest(
                namespace=client.namespace, task_queue=TaskQueue(name=queue), task_queue_type=kind
            ),
            timeout=timedelta(seconds=ASK_TIMEOUT_S),
        )
        if not told.pollers:
            deserted.append(queue)
    if deserted:
        advice = "Start one with `volex worker`; look at its log if it does not stay."
        return Finding("workers", "failing", f"nobody serves {', '.join(deserted)}", advice)
    return Finding("workers", "ok", f"serve {', '.join(kinds)}")


async def _database(settings: "Settings") -> AsyncIterator[Finding]:
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory

    from storage import hypertables
    from storage.database import in_transaction, open_engine
    from storage.migrate import MIGRATIONS

    def version(connection: "Connection") -> str | None:
        return MigrationContext.configure(connection).get_current_revision()

    async def look(connection: "AsyncConnection") -> "tuple[str | None, Timescale]":
        return await connection.run_sync(version), await hypertables.look(connection)

    engine = open_engine(settings.database_url.get_secret_value(), application_name="volex doctor", pool_size=1)
    try:
        found, timescale = await asyncio.wait_for(in_transaction(engine, look), ASK_TIMEOUT_S)
    except (ExecutionError, TimeoutError) as error:
        advice = "Start it with `volex up`, or set DATABASE_URL."
        yield Finding("database", "failing", str(error) or "no answer in time", advice)
        return
    finally:
        await engine.dispose()
    newest = ScriptDirectory(str(MIGRATIONS)).get_current_head()
    if found != newest:
        advice = "Run `volex db upgrade`."
        yield Finding("database", "failing", f"schema {found or 'without version'}, needed is {newest}", advice)
    else:
        yield Finding("database", "ok", f"schema {found}")
        yield _series(timescale)


def _series(seen: "Timescale") -> Finding:
    """Tell where samples are kept: in hypertables, or in plain tables, which serve as well."""
    from storage.hypertables import SERIES

    if seen.version is None:
        hint = f"; TimescaleDB {seen.available} could be made in it" if seen.available else ""
        advice = "To use it: CREATE EXTENSION timescaledb, then `volex db upgrade`." if seen.available else ""
        return Finding("samples", "ok", f"in plain tables{hint}", advice)
    missing = sorted(set(SERIES) - set(seen.hypertables))
    found = f"TimescaleDB {seen.version}, license {seen.license}"
    if missing:
        return Finding("samples", "warning", f"{found}: no hypertable: {', '.join(missing)}", "Run `volex db upgrade`.")
    return Finding("samples", "ok", f"{found}: hypertables {', '.join(sorted(seen.hypertables))}")


async def _cases(settings: "Settings") -> AsyncIterator[Finding]:
    """Warn of open cases. A ledger that does not answer, or is too old to have any, has been told of already."""
    from sqlalchemy.exc import DBAPIError

    from storage.database import open_engine
    from storage.order_reader import SqlOrderReader

    engine = open_engine(settings.database_url.get_secret_value(), application_name="volex doctor", pool_size=1)
    try:
        for account in settings.accounts:
            reading = SqlOrderReader(engine).cases(account, is_open=True, limit=CASES_COUNTED, before=None)
            found = len(await asyncio.wait_for(reading, ASK_TIMEOUT_S))
            if found:
                many = f"{found} or more" if found == CASES_COUNTED else str(found)
                advice = f"Look at them with `volex cases --account {account}`, and at docs/runbook.md."
                yield Finding(f"cases of {account}", "warning", f"open: {many}", advice)
            else:
                yield Finding(f"cases of {account}", "ok", "none is open")
    except (ExecutionError, DBAPIError, TimeoutError):
        return
    finally:
        await engine.dispose()


async def _rest(url: str) -> AsyncIterator[Finding]:
    import httpx2

    try:
        async with httpx2.AsyncClient(timeout=ASK_TIMEOUT_S, trust_env=False) as http:
            answer = await http.get(f"{url}/health/live")
    except httpx2.HTTPError as error:
        found = f"{url}: {type(error).__name__}"
        advice = "Orders can be placed without it. Start it with `volex api`, or set API_HOST and API_PORT."
        yield Finding("REST interface", "warning", found, advice)
        return
    state: Literal["ok", "warning"] = "ok" if answer.status_code == httpx2.codes.OK else "warning"
    yield Finding("REST interface", state, f"{url} answers with {answer.status_code}")


async def _venue(settings: "Settings", account: str) -> AsyncIterator[Finding]:
    from domain.order import TradingMode

    mode = settings.mode_of(account)
    try:
        exchange = await _open(settings, account)
    except ExecutionError as error:
        yield Finding(f"keys of {account}", "failing", error.message, error.what_to_do)
        return
    try:
        async for finding in _market(exchange, account):
            yield finding
        if mode is TradingMode.PAPER:
            yield Finding(f"keys of {account}", "ok", "none needed: paper mode")
        else:
            yield await _keys(exchange, account)
    finally:
        await exchange.close()


async def _open(settings: "Settings", account: str) -> "Exchange":
    from credentials import open_key_ring
    from exchanges.opening import open_exchange

    return await open_exchange(
        account=account,
        mode=settings.mode_of(account),
        credentials=await open_key_ring(settings, account).open(),
        paper=lambda market_data: market_data,
        **settings.accounts[account].at_venue(),
    )


async def _market(exchange: "Exchange", account: str) -> AsyncIterator[Finding]:
    try:
        status = await asyncio.wait_for(exchange.status(), ASK_TIMEOUT_S)
        markets = len(await asyncio.wait_for(exchange.instruments(), ASK_TIMEOUT_S))
    except (ExecutionError, TimeoutError) as error:
        found = str(error) or "no answer in time"
        yield Finding(f"venue of {account}", "failing", found, "Check the network, and the venue's status page.")
        return
    if not status.reachable:
        advice = "Check the network, the account's `ccxt.urls`, and the venue's status page."
        yield Finding(f"venue of {account}", "failing", status.last_error or "does not answer", advice)
        return
    yield Finding(f"venue of {account}", "ok", f"{markets} symbols, answers in {status.latency_ms} ms")
    skew_ms = status.clock_skew_ms
    if skew_ms is None:
        yield Finding(f"clock at {account}", "ok", "the venue does not tell its time")
        return
    state: Literal["ok", "warning", "failing"] = "ok"
    if abs(skew_ms) > SKEW_WARNED_MS:
        state = "warning" if abs(skew_ms) <= SKEW_REFUSED_MS else "failing"
    advice = (
        "" if state == "ok" else "Synchronize this machine's clock (NTP): the venue refuses orders signed too far off."
    )
    yield Finding(f"clock at {account}", state, f"{skew_ms} ms from the venue's", advice)


async def _keys(exchange: "Exchange", account: str) -> Finding:
    try:
        await asyncio.wait_for(exchange.fetch_balances(), ASK_TIMEOUT_S)
    except ExecutionError as error:
        return Finding(f"keys of {account}", "failing", f"{error.code}: {error.message}", error.what_to_do)
    except TimeoutError:
        return Finding(f"keys of {account}", "failing", "no answer in time", "Look at the venue's status page.")
    return Finding(f"keys of {account}", "ok", "the venue takes them")


def register(app: typer.Typer) -> None:
    """Mount the command."""
    app.command(epilog=EPILOG)(doctor)
