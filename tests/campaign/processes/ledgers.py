"""Everything that is on record on both sides at one moment, read without any code of ours."""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

import asyncpg
import httpx2

from tests.faults import audit

Row = Mapping[str, Any]
CLOSED = ("FILLED", "CANCELED", "DENIED", "EXPIRED", "REJECTED")


@dataclass(frozen=True)
class Fact:
    """One line of an order's record."""

    seq: int
    kind: str
    recorded_at: datetime
    document: Row


@dataclass(frozen=True)
class OrderRecord:
    """One order of ours: its row and its facts, in the order of their numbers."""

    order_id: str
    status: str
    seq: int
    document: Row
    facts: Sequence[Fact]

    @property
    def amended(self) -> bool:
        """Whether an amendment replaced an attempt."""
        return any(fact.kind == "REPLACED" for fact in self.facts)

    def as_rest_shows_it(self) -> dict[str, Any]:
        """Return the figures that `audit.assert_order_agrees` compares."""
        told = self.document
        fees = [{"currency": fee["asset"], "cost": Decimal(fee["amount"])} for fee in told.get("commissions", ())]
        filled, cost = Decimal(told["cum_qty"]), Decimal(told["cum_quote_qty"])
        return {"id": self.order_id, "lifecycle": self.status, "filled": filled, "cost": cost, "fees": fees}


@dataclass(frozen=True)
class Ledgers:
    """Both sides. `left_over` names what is still reserved, untold, open or differs in balance; `cases` counts them."""

    books: audit.Books
    orders: Mapping[str, OrderRecord]
    left_over: Sequence[str]
    cases: Mapping[str, int] = field(default_factory=dict)

    def denials(self) -> dict[str, int]:
        """Return how many orders were denied, by reason: an outage of ours is told apart from a limit."""
        denied = (order.document.get("reason") or {} for order in self.orders.values() if order.status == "DENIED")
        return dict(Counter(str(reason.get("code")) for reason in denied))


async def read(database: asyncpg.Connection, venue: httpx2.AsyncClient) -> Ledgers:
    """Read both sides."""
    facts: dict[str, list[Fact]] = defaultdict(list)
    for row in await database.fetch("SELECT * FROM order_events ORDER BY order_id, seq"):
        facts[row["order_id"]].append(
            Fact(row["seq"], row["event_type"], row["recorded_at"], json.loads(row["document"]))
        )
    orders = {
        row["order_id"]: OrderRecord(
            row["order_id"], row["status"], row["seq"], json.loads(row["document"]), facts.pop(row["order_id"], ())
        )
        for row in await database.fetch("SELECT * FROM orders")
    }
    left_over = [f"{order_id} has facts and no row" for order_id in facts]
    left_over += await audit.open_ends(database, venue)
    for row in await database.fetch("SELECT order_id, state FROM attempts WHERE state NOT IN ('CLOSED', 'VOID')"):
        left_over.append(f"{row['order_id']}: an attempt is left {row['state']}")
    cases = Counter[str]()
    for row in await database.fetch("SELECT subject, code, reason, closed_at FROM cases"):
        cases[f"{row['code']}, {'closed' if row['closed_at'] else 'open'}"] += 1
        if row["closed_at"] is None:
            left_over.append(f"{row['subject']}: an open case {row['code']}: {row['reason']}")
    return Ledgers(await audit.read_books(database, venue), orders, left_over, cases)
