"""Runs the venue: two ports, a market that moves, a memory that survives. It speaks one of two protocols."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Literal

from aiohttp import web

from simulator import control_app, venue_app
from simulator.engine import MAKER_RATE, TAKER_RATE, Engine
from simulator.faults import FaultPlan
from simulator.gate import Gate
from simulator.journal import Journal
from simulator.kraken import app as kraken_app
from simulator.kraken.gate import KrakenGate
from simulator.request_log import RequestLog
from simulator.venue import Venue

API_KEY = "simulator-key"
SECRET_KEY = "simulator-secret"
"""Keys of the only account, unless others are given. They open nothing but this simulator."""
KRAKEN_SECRET_KEY = "c2ltdWxhdG9yLXNlY3JldC1vZi1rcmFrZW4="
"""The same for Kraken, whose secrets are base64."""
Protocol = Literal["binance", "kraken"]


def default_balances() -> dict[str, Decimal]:
    """Return what the account opens with."""
    return {
        "USDT": Decimal(1_000_000),
        "USD": Decimal(1_000_000),
        "BTC": Decimal(50),
        "ETH": Decimal(500),
        "SOL": Decimal(5000),
    }


@dataclass(frozen=True)
class Configuration:
    """How the venue is run. Port 0 takes a free one; with a tick interval of 0, only the control face moves time."""

    host: str = "127.0.0.1"
    port: int = 0
    control_port: int = 0
    seed: int = 7
    data_dir: Path | None = None
    protocol: Protocol = "binance"
    api_key: str = API_KEY
    secret_key: str | None = None
    """The protocol's own one unless it is given."""
    balances: dict[str, Decimal] = field(default_factory=default_balances)
    tick_interval_s: float = 0.25
    slices: int = 3
    weight_limit: int = 1_000_000
    """Request weight per minute; Kraken: the call counter's limit."""
    order_limit: int = 1_000_000
    """Kraken: limit of the counter of orders and cancels."""
    nonce_window_ms: int = 0
    """Kraken: the key's own setting; several processes that share the key need some seconds."""
    orders_in_window: dict[int, int] = field(default_factory=dict)
    """Binance: orders taken in an interval, by its length in milliseconds."""
    maker_rate: Decimal = MAKER_RATE
    taker_rate: Decimal = TAKER_RATE


@dataclass(frozen=True)
class Running:
    """A venue that runs."""

    venue: Venue
    url: str
    control_url: str


@contextlib.asynccontextmanager
async def running(configuration: Configuration) -> AsyncIterator[Running]:
    """Run the venue on the present loop."""
    skew = control_app.Skew()

    def clock_ms() -> int:
        return int(time.time() * 1000) + skew.skew_ms

    path = configuration.data_dir / "venue.jsonl" if configuration.data_dir is not None else None
    journal = Journal(path)
    engine = Engine(
        balances=configuration.balances,
        seed=configuration.seed,
        clock_ms=clock_ms,
        journal=journal,
        slices=configuration.slices,
        maker_rate=configuration.maker_rate,
        taker_rate=configuration.taker_rate,
        fees_in_quote=configuration.protocol == "kraken",
        takes_crossing_makers=configuration.protocol == "kraken",
    )
    requests = RequestLog(journal)
    for entry in journal.read():
        (requests if entry["kind"] == "request" else engine).remember(entry)
    gate = Gate(
        configuration.api_key,
        configuration.secret_key or SECRET_KEY,
        clock_ms,
        configuration.weight_limit,
        order_limits=configuration.orders_in_window,
    )
    venue = Venue(engine=engine, gate=gate, faults=FaultPlan(configuration.seed), requests=requests, clock_ms=clock_ms)
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(journal.close)
        url = await _serve(stack, _face(venue, configuration), configuration.host, configuration.port)
        control_url = await _serve(
            stack, control_app.build(venue, skew), configuration.host, configuration.control_port
        )
        if configuration.tick_interval_s > 0:
            ticking = asyncio.create_task(_tick(engine, configuration.tick_interval_s))
            stack.callback(ticking.cancel)
        yield Running(venue=venue, url=url, control_url=control_url)


def _face(venue: Venue, configuration: Configuration) -> web.Application:
    if configuration.protocol == "binance":
        return venue_app.build(venue)
    gate = KrakenGate(
        configuration.api_key,
        configuration.secret_key or KRAKEN_SECRET_KEY,
        venue.clock_ms,
        call_limit=configuration.weight_limit,
        order_limit=configuration.order_limit,
        nonce_window_ms=configuration.nonce_window_ms,
    )
    return kraken_app.build(venue, gate)


async def _serve(stack: contextlib.AsyncExitStack, app: web.Application, host: str, port: int) -> str:
    # aiohttp waits so long twice for a request that hangs; both must end within the second that a stop may take.
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    site = web.TCPSite(runner, host, port)
    await site.start()
    return f"http://{host}:{runner.addresses[0][1]}"


async def _tick(engine: Engine, interval_s: float) -> None:
    while True:
        await asyncio.sleep(interval_s)
        engine.tick()
