"""How a worker comes to its accounts' exchanges: keys and servers that are not there yet are waited for."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.service import RPCError

from credentials import open_key_ring, open_vault
from credentials.key_ring import KeyRing
from domain.errors import CredentialsUnavailable, StoreUnavailable
from domain.ports import Exchange
from exchanges.ccxt_exchange import CcxtExchange
from exchanges.key_permissions import look_at_keys
from exchanges.opening import Fleet, check_venue, open_exchange, system_clock
from exchanges.paper_exchange import PaperExchange, PaperTerms
from settings import Settings
from starter.upkeep import keep_measuring, keep_thin
from storage import hypertables
from storage.measuring import Measuring
from storage.paper_store import SqlPaperBook

CREDENTIALS_RETRY_S = 2.0
SERVER_RETRY_S = 0.5
T = TypeVar("T")
log = logging.getLogger("volex.worker")


async def once_there(stop: asyncio.Event, step: Callable[[], Awaitable[T]]) -> T:
    """Do a step of the start, waiting for ledger and Temporal while they do not answer: a restart is no cure."""
    while True:
        try:
            return await step()
        except (StoreUnavailable, RPCError, RuntimeError) as error:
            log.warning("server_not_there_yet", extra={"text": str(error)[:300]})
            await _pause(stop, SERVER_RETRY_S)


async def _unless_stopped(stop: asyncio.Event, task: "asyncio.Task[None]") -> None:
    """Wait for a task that may take long, and raise what it raises."""
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not task.done():
        raise Stopped
    task.result()


class Stopped(Exception):
    """The worker was asked to stop while it was still waiting for what it needs."""


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
        raise Stopped


async def open_exchanges(
    settings: Settings,
    served: tuple[str, ...],
    engine: AsyncEngine,
    fleet: Fleet,
    stack: contextlib.AsyncExitStack,
    stop: asyncio.Event,
) -> Mapping[str, Exchange]:
    """Open what the worker serves; `stack` closes it, and ends what keeps its keys fresh."""
    exchanges: dict[str, Exchange] = {}
    vault = open_vault(settings) if settings.vault_addr else None
    if vault is not None:
        stack.callback(asyncio.create_task(vault.keep()).cancel)
    for account in served:
        keys = open_key_ring(settings, account, vault=vault)
        exchanges[account] = await _open(settings, account, engine, fleet, stop, keys)
        stack.push_async_callback(exchanges[account].close)
        opened = exchanges[account]
        if isinstance(opened, CcxtExchange):
            looking = asyncio.create_task(look_at_keys(opened, account, strict=settings.strict_keys))
            for task in (looking, asyncio.create_task(keys.keep(settings.vault_refresh_s))):
                stack.callback(task.cancel)
            if settings.strict_keys:
                await _unless_stopped(stop, looking)
    return exchanges


async def _open(
    settings: Settings, account: str, engine: AsyncEngine, fleet: Fleet, stop: asyncio.Event, keys: KeyRing
) -> Exchange:
    """Open one account; keys that cannot be had yet are waited for, and the log says so."""
    entry, mode = settings.accounts[account], settings.mode_of(account)
    generic, fence_s = entry.allow_generic, entry.time_fence_s
    # Before keys are waited for: no key helps an account that may not trade where it says.
    check_venue(account, entry.exchange, mode=mode, allow_generic=generic, time_fence_s=fence_s)
    paper = settings.paper
    terms = PaperTerms(opening_balances=paper.balances, maker_rate=paper.maker_rate, taker_rate=paper.taker_rate,
                       latency_ms=paper.latency_ms)  # fmt: skip
    while True:
        try:
            credentials = await keys.open()
        except CredentialsUnavailable as error:
            log.warning("credentials_unavailable", extra={"account": account, "text": str(error)})
            await _pause(stop, CREDENTIALS_RETRY_S)
            continue
        return await open_exchange(
            account=account,
            mode=mode,
            credentials=credentials,
            key_source=keys,
            fleet=fleet,
            **entry.at_venue(),
            paper=lambda market_data: PaperExchange(
                market_data, SqlPaperBook(engine), account=account, clock=system_clock, terms=terms
            ),
        )


def upkeep(settings: Settings, engine: AsyncEngine, served: tuple[str, ...]) -> Sequence[Coroutine[Any, Any, None]]:
    """Return what a worker does beside its orders, each for ever: measure them, and let old samples go."""
    measuring = Measuring(engine, served)
    return (
        keep_measuring(lambda: measuring.round(now=system_clock())),
        keep_thin(lambda: hypertables.thin(engine, settings.storage.terms(), now=system_clock())),
    )
