"""The same over the whole stack: callers of the REST interface, market orders that fill at once, workers killed.

What counts is what the venue has on record: exactly as many units as the limit allows, and no order beyond.
"""

import asyncio
import random
import time
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

from embedded.child import free_port
from embedded.stack import StackOptions
from simulator.running import API_KEY, SECRET_KEY
from storage.database import open_engine
from storage.exposure_audit import audit
from tests.campaign.limits.cases import UNIT
from tests.faults.audit import assert_one_post_per_attempt, read_books
from tests.faults.floor import RICH, Floor, live_account, open_stack

WORKERS = ("worker", "worker-2")
CODE = "POSITION_QUANTITY_ABOVE_LIMIT"


async def run(
    directory: Path, *, seed: int, tickets: int = 200, units: int = 64, callers: int = 64, kill_every_s: float = 1.5
) -> dict[str, Any]:
    """Run it in a directory, and return the report."""
    port, control_port = free_port(), free_port()
    account = live_account(directory, f"http://127.0.0.1:{port}", (API_KEY, SECRET_KEY))
    limit = f'[risk]\nmax_position_quantity = {{ "BTC/USDT" = "{UNIT * units}" }}\n'
    config: Path = account["config"]
    config.write_text(config.read_text().replace("[risk]\n", limit))
    options = StackOptions(
        **account,
        workers=len(WORKERS),
        ports={"simulator": port, "simulator_control": control_port},
        simulator_arguments=[word for held in RICH for word in ("--balance", held)],
    )
    async with open_stack(options, f"http://127.0.0.1:{control_port}") as floor:
        await floor.calm()
        await floor.until_reconciled()
        return await _attack(floor, seed, tickets, units, callers, kill_every_s)


async def _attack(
    floor: Floor, seed: int, tickets: int, units: int, callers: int, kill_every_s: float
) -> dict[str, Any]:
    began, left = time.monotonic(), iter(range(tickets))
    orders: list[dict[str, Any]] = []

    async def call() -> None:
        for number in left:
            orders.append(await floor.place(f"limit-{number}", amount=UNIT))

    killer = asyncio.create_task(_kill(floor, random.Random(seed), kill_every_s))
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(callers):
                group.create_task(call())
        seconds = time.monotonic() - began
        ended = [await floor.until_final(order["id"]) for order in orders]
    finally:
        killer.cancel()
    kills = (await asyncio.gather(killer, return_exceptions=True))[0]
    problems = await _problems(floor, ended, tickets, units)
    return {
        "seed": seed,
        "tickets": len(ended),
        "units": units,
        "orders_per_s": round(tickets / seconds, 1),
        "kills": kills,
        "endings": dict(Counter(order["lifecycle"] for order in ended)),
        "violations": problems,
    }


async def _kill(floor: Floor, dice: random.Random, every_s: float) -> int:
    """Kill workers with -9, one at a time, and never the last that serves."""
    kills = 0
    try:
        while True:
            await asyncio.sleep(every_s * dice.uniform(0.5, 1.5))
            if all(floor.stack.part(name).is_ready for name in WORKERS):
                floor.stack.part(dice.choice(WORKERS)).kill()
                kills += 1
    except asyncio.CancelledError:
        return kills


async def _problems(floor: Floor, orders: list[dict[str, Any]], tickets: int, units: int) -> list[str]:
    books = await read_books(floor.database, floor.venue)
    assert_one_post_per_attempt(books)
    bought = sum((Decimal(str(fill["qty"])) for fill in books.traded), Decimal(0))
    denied = [order for order in orders if order["lifecycle"] == "DENIED"]
    problems = []
    if len({order["id"] for order in orders}) != tickets or len(orders) - len(denied) != min(units, tickets):
        problems.append(f"{len(orders)} answered, {len(denied)} denied; the limit allows {units} of {tickets}")
    if bought != UNIT * min(units, tickets):
        problems.append(f"the venue has sold {bought}, the limit allows {UNIT * units}")
    for order in denied:
        reason = order["reason"]
        if reason["code"] != CODE or "max_position_quantity" not in reason["numbers"]:
            problems.append(f"{order['id']}: {reason}")
    engine = open_engine(floor.stack.ready["database"], application_name="judge", pool_size=1)
    problems += [f"audit: {difference}" for difference in await audit(engine)]
    await engine.dispose()
    return problems[:5]
