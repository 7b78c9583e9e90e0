"""`python -m simulator`: a local venue that speaks Binance or Kraken spot REST."""

import argparse
import asyncio
import contextlib
import json
import os
import signal
from decimal import Decimal
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # psutil ships no types

from simulator.engine import MAKER_RATE, TAKER_RATE
from simulator.running import API_KEY, Configuration, default_balances, running


def _balance(written: str) -> tuple[str, Decimal]:
    asset, _, amount = written.partition("=")
    return asset, Decimal(amount)


def _orders_in_window(written: str) -> tuple[int, int]:
    orders, _, seconds = written.partition("/")
    return int(float(seconds) * 1000), int(orders)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m simulator", description=__doc__)
    parser.add_argument("--protocol", choices=("binance", "kraken"), default="binance", help="what the venue speaks")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=0, help="port of the venue; 0 takes a free one")
    parser.add_argument("--control-port", type=int, default=0, help="port of the control face; 0 takes a free one")
    parser.add_argument("--ready-file", type=Path, help="gets {venue, control, pid} as JSON once both answer")
    parser.add_argument("--data-dir", type=Path, help="keeps orders, trades and balances over restarts")
    parser.add_argument("--seed", type=int, default=7, help="seed of market and faults")
    parser.add_argument("--api-key", default=API_KEY)
    parser.add_argument("--secret-key", help="the simulator's own for the protocol unless given; Kraken: base64")
    parser.add_argument("--balance", type=_balance, action="append", metavar="ASSET=AMOUNT", help="may be repeated")
    parser.add_argument(
        "--tick-interval-s", type=float, default=0.25, help="seconds between two moves of the market; 0 never"
    )
    parser.add_argument(
        "--slices", "--fill-slices", type=int, default=3, help="pieces that a resting order fills in once reached"
    )
    parser.add_argument(
        "--weight-limit",
        type=int,
        default=1_000_000,
        help="request weight per minute, Binance US: 1200; with Kraken the call counter's limit, there 15",
    )
    parser.add_argument(
        "--order-limit", type=int, default=1_000_000, help="with Kraken the order counter's limit, there 60"
    )
    parser.add_argument("--nonce-window-ms", type=int, default=0, help="with Kraken the key's setting of this name")
    parser.add_argument(
        "--orders-in-window",
        type=_orders_in_window,
        action="append",
        default=[],
        metavar="ORDERS/SECONDS",
        help="with Binance orders taken in an interval, may be repeated; Binance US: 100/10",
    )
    parser.add_argument("--maker-rate", type=Decimal, default=MAKER_RATE, help="commission as a share")
    parser.add_argument("--taker-rate", type=Decimal, default=TAKER_RATE, help="commission as a share")
    parser.add_argument("--parent-pid", type=int, help="end when this process has gone")
    return parser.parse_args()


async def _run(arguments: argparse.Namespace) -> None:
    configuration = Configuration(
        host=arguments.host,
        port=arguments.port,
        control_port=arguments.control_port,
        protocol=arguments.protocol,
        seed=arguments.seed,
        data_dir=arguments.data_dir,
        api_key=arguments.api_key,
        secret_key=arguments.secret_key,
        balances=dict(arguments.balance) if arguments.balance else default_balances(),
        tick_interval_s=arguments.tick_interval_s,
        slices=arguments.slices,
        weight_limit=arguments.weight_limit,
        order_limit=arguments.order_limit,
        nonce_window_ms=arguments.nonce_window_ms,
        orders_in_window=dict(arguments.orders_in_window),
        maker_rate=arguments.maker_rate,
        taker_rate=arguments.taker_rate,
    )
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with running(configuration) as venue:
        ready = json.dumps({"venue": venue.url, "control": venue.control_url, "pid": os.getpid()})
        print(ready, flush=True)
        if arguments.ready_file is not None:
            partial = arguments.ready_file.with_suffix(".part")
            partial.write_text(ready)
            partial.replace(arguments.ready_file)
        await _until_told_or_alone(stop, arguments.parent_pid)


async def _until_told_or_alone(stop: asyncio.Event, parent_pid: int | None) -> None:
    try:
        # Taken once, with its start time: a later process under the same number is not our parent.
        parent = psutil.Process(parent_pid) if parent_pid is not None else None
        while parent is None or (parent.is_running() and parent.status() != psutil.STATUS_ZOMBIE):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), 1)
                return
    except psutil.NoSuchProcess:
        return


if __name__ == "__main__":
    asyncio.run(_run(_arguments()))
