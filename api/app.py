"""`create_app(settings)`: the composition root of the REST interface. It only wires."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator
from typing import Any, Final

from fastapi import Depends, FastAPI
from fastapi_swagger import patch_fastapi

from api import account, approvals, cases, equity, health, kill, market, orders, performance, problems, reports, risk
from api.auth import Entrance
from api.callers import KeyTable, authorize
from api.context import Context
from api.observing import Observed
from api.venues import Venues
from credentials import open_key_ring, open_vault
from credentials.vault_store import VaultCredentialStore
from domain.order import TradingMode
from domain.ports import Credentials, Exchange
from exchanges.opening import Fleet, open_exchange
from observability.traces import set_up_traces, stop_traces
from settings import Settings
from starter.client import ExecutionClient
from storage.accounting_store import SqlAccountingStore
from storage.api_keys import SqlApiKeys
from storage.approvals import SqlApprovalStore
from storage.database import open_engine
from storage.kill_sweeps import SqlSwitches
from storage.observing import SqlLedgerObserver
from storage.order_reader import SqlOrderReader
from storage.performance import SqlPerformanceReader
from storage.rate_ledger import SqlRateLedger
from storage.reports import SqlRecordReader
from storage.risk_reader import SqlRiskDesk

_DESCRIPTION: Final = """Every order is a durable Temporal workflow, placed exactly once.
Numbers are exact JSON numbers; errors are RFC 9457 problems with a code, the numbers, and what to do."""


def create_app(settings: Settings) -> FastAPI:
    """Make the application. It starts while Temporal, the ledger or a venue is down, and says so in `/health`.

    Raises
    ------
    ConfigurationError
        When an API key is needed and not set.
    """
    settings.check_api_key()

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with _wired(settings, keys) as context:
            app.state.context = context
            warming = asyncio.create_task(context.venues.warm_up())
            try:
                yield
            finally:
                warming.cancel()

    keys = KeyTable()
    app = FastAPI(
        title="volex",
        version="0.1.0",
        description=_DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
        dependencies=[Depends(authorize)],
    )
    # The pages at /docs come from our own disk: they show without a network.
    patch_fastapi(app, swagger_ui_parameters={"tryItOutEnabled": True, "filter": True})
    for part in (orders, approvals, market, account, equity, reports, performance, cases, kill, risk, health):
        app.include_router(part.router)
    problems.register(app)
    app.add_middleware(Entrance, settings=settings, keys=keys)
    app.add_middleware(Observed)
    _tell_of_keys(app)
    return app


def _tell_of_keys(app: FastAPI) -> None:
    """Say in the documentation how a key is shown, so that its page can."""
    plain = app.openapi

    def with_keys() -> dict[str, Any]:
        told = plain()
        shown = {"type": "http", "scheme": "bearer", "description": "a key of `volex keys create`, or API_KEY"}
        told.setdefault("components", {})["securitySchemes"] = {"key": shown}
        told["security"] = [{"key": []}]
        return told

    app.openapi = with_keys  # type: ignore[method-assign]  # FastAPI's own way to extend it


@contextlib.asynccontextmanager
async def _wired(settings: Settings, keys: KeyTable) -> AsyncIterator[Context]:
    identity = f"api@{socket.gethostname()}#{os.getpid()}"
    set_up_traces(**settings.traces(), service="volex-api", instance=identity)
    engine = open_engine(settings.database_url.get_secret_value(), application_name=identity)
    reader = SqlOrderReader(engine)
    client = await ExecutionClient.from_settings(settings, reader=reader, identity=identity, lazy=True)
    fleet = Fleet(identity, SqlRateLedger(engine), settings.rate_limit_per_minute, places_orders=False)
    vault = open_vault(settings) if settings.vault_addr else None
    keys.read_by(SqlApiKeys(engine).usable)
    tending = [asyncio.create_task(keys.keep())]
    tending += [asyncio.create_task(vault.keep())] if vault is not None else []
    venues = Venues(settings.accounts, open_exchange=lambda name: _open_public(settings, name, vault, fleet))
    checks = health.HealthChecks(
        settings,
        client=client,
        observer=SqlLedgerObserver(engine),
        probe_vault=vault.probe if vault is not None else None,
    )
    try:
        yield Context(
            settings=settings,
            client=client,
            reader=reader,
            approvals=SqlApprovalStore(engine),
            accounting=SqlAccountingStore(engine),
            records=SqlRecordReader(engine),
            performance=SqlPerformanceReader(engine),
            venues=venues,
            health=checks,
            switches=SqlSwitches(engine),
            risk=SqlRiskDesk(engine),
        )
    finally:
        for task in tending:
            task.cancel()
        await asyncio.gather(*tending, return_exceptions=True)
        await venues.close()
        await engine.dispose()
        await asyncio.to_thread(stop_traces)


async def _open_public(settings: Settings, name: str, vault: VaultCredentialStore | None, fleet: Fleet) -> Exchange:
    """Open the venue for its public data. Only a sandbox needs keys for that: they lead to another network."""
    sandbox = settings.mode_of(name) is TradingMode.SANDBOX
    keys = await open_key_ring(settings, name, vault=vault).open() if sandbox else Credentials()
    return await open_exchange(
        account=name,
        mode=TradingMode.SANDBOX if sandbox else TradingMode.PAPER,
        credentials=keys,
        paper=lambda market_data: market_data,
        fleet=fleet,
        **settings.accounts[name].at_venue(),
    )
