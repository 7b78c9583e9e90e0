"""The judge: a process that looks at the ledger again and again while it is written, in snapshots of its own.

It adds up orders and fills with plain SQL, past the code under test. At no instant may more be used than a limit
allows; and what the gate measures by must be the sum of what works and what was filled, to the last digit.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from multiprocessing.connection import Connection
from typing import Any

import asyncpg  # type: ignore[import-untyped]  # asyncpg ships no types

from storage.database import open_engine
from storage.exposure_audit import audit
from tests.campaign.limits.cases import PRICE, SYMBOL, UNIT, Front, Measure

ZERO = Decimal(0)
AUDIT_EVERY_S = 2.0
"""And never more than a fifth of the time: it reads every order."""
FIRM = "sandbox/firm"
_ORDERS = """
    SELECT account, count(*) AS admitted, count(*) FILTER (WHERE is_open) AS open, sum(cum_qty) AS told,
        coalesce(sum(quantity - cum_qty) FILTER (WHERE is_open), 0) AS working
    FROM orders WHERE status <> 'DENIED' GROUP BY account
"""
_FILLS = "SELECT account, sum(last_qty) AS filled FROM fills GROUP BY account"
_ROWS = "SELECT scope, traded, working_buy, buy_notional, open_orders FROM exposures WHERE symbol = $1"
_BALANCES = "SELECT account, total, reserved FROM balances WHERE asset = 'USDT'"


@dataclass(frozen=True)
class Use:
    """What an account uses, added up from orders and fills."""

    admitted: int = 0
    open: int = 0
    working: Decimal = ZERO
    filled: Decimal = ZERO

    def of(self, measure: Measure) -> Decimal:
        """Return it as a limit measures it, in tickets."""
        quantity = self.working + self.filled
        counts = {Measure.OPEN: self.open, Measure.ADMITTED: self.admitted}
        return Decimal(counts[measure]) if measure in counts else quantity / UNIT


@dataclass(frozen=True)
class Snapshot:
    """The ledger at one instant: use by account, and whatever does not fit."""

    uses: Mapping[str, Use]
    problems: list[str]


async def look(connection: asyncpg.Connection, fronts: list[Front]) -> Snapshot:
    """Add everything up in one snapshot."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        filled = {row["account"]: row["filled"] for row in await connection.fetch(_FILLS)}
        orders = await connection.fetch(_ORDERS)
        rows = {row["scope"]: row for row in await connection.fetch(_ROWS, SYMBOL)}
        balances = {row["account"]: row for row in await connection.fetch(_BALANCES)}
    uses: dict[str, Use] = defaultdict(Use)
    problems = []
    for row in orders:
        account = row["account"]
        uses[account] = Use(row["admitted"], row["open"], row["working"], filled.get(account, ZERO))
        if row["told"] != uses[account].filled:
            problems.append(f"{account}: orders say {row['told']} filled, fills say {uses[account].filled}")
    for front in fronts:
        used = uses[front.account].of(front.case.measure)
        if used > front.units:
            problems.append(f"{front.account}: {used} tickets used, the limit allows {front.units}")
        problems += _unequal(f"sandbox/account:{front.account}", uses[front.account], rows)
        problems += _overdrawn(front, uses[front.account], balances.get(front.account))
    working = sum((use.working for use in uses.values()), ZERO)
    firm = Use(0, sum(use.open for use in uses.values()), working, sum(filled.values(), ZERO))
    return Snapshot(uses, problems + _unequal(FIRM, firm, rows))


def _unequal(scope: str, use: Use, rows: Mapping[str, Any]) -> list[str]:
    """Compare what the gate measures by with what it should be."""
    row = rows.get(scope)
    told = tuple(row.values())[1:] if row is not None else (ZERO, ZERO, ZERO, 0)
    facts = (use.filled, use.working, use.working * PRICE, use.open)
    names = ("filled", "working", "working notional", "open orders")
    return [
        f"{scope}: {name} is {one}, the facts say {other}"
        for name, one, other in zip(names, told, facts, strict=True)
        if one != other
    ]


def _overdrawn(front: Front, use: Use, row: Any) -> list[str]:
    if row is None:
        return []
    left = front.funds() - (use.filled + use.working) * PRICE
    free = row["total"] - row["reserved"]
    return [f"{front.account}: {free} USDT is free, the facts say {left}"] if free != left or left < 0 else []


def serve(url: str, fronts: list[Front], line: Connection) -> None:
    """Look until told to stop; tell the first problems at once, and the number of looks at the end."""
    asyncio.run(_serve(url, fronts, line))


async def _serve(url: str, fronts: list[Front], line: Connection) -> None:
    connection = await asyncpg.connect(url)
    engine = open_engine(url, application_name="judge", pool_size=1)
    looks = audits = 0
    next_audit = time.monotonic() + AUDIT_EVERY_S
    while not line.poll():
        began = time.monotonic()
        problems = (await look(connection, fronts)).problems
        looks += 1
        if time.monotonic() > next_audit and not problems:
            audited = time.monotonic()
            problems = [f"audit: {difference}" for difference in await audit(engine)]
            audits, next_audit = audits + 1, time.monotonic() + max(AUDIT_EVERY_S, 4 * (time.monotonic() - audited))
        if problems:
            line.send(("problems", problems[:5]))
            break
        await asyncio.sleep(max(0.01, 2 * (time.monotonic() - began)))
    line.send(("looks", looks, audits))
    await engine.dispose()
    await connection.close()
