"""The venue's own ledger against ours, to the last digit. It reads database and venue, and asks no code of ours."""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import asyncpg
import httpx2

VENUE_STATUS = {"FILLED": ("FILLED",), "CANCELED": ("CANCELED",), "EXPIRED": ("EXPIRED", "CANCELED")}
"""What the venue calls our endings. An order that is ended at our own deadline expires here and is canceled there."""
Trade = tuple[str, str, Decimal, Decimal, Decimal, str]
"""Client order id, trade id, quantity, price, commission and its asset."""


@dataclass(frozen=True)
class Books:
    """What either side has on record at one moment."""

    attempts: Sequence[Mapping[str, Any]]
    fills: Sequence[Mapping[str, Any]]
    proofs: Sequence[Mapping[str, Any]]
    placed: Sequence[Mapping[str, Any]]
    traded: Sequence[Mapping[str, Any]]
    posts: Sequence[Mapping[str, Any]]


async def read_books(database: asyncpg.Connection, venue: httpx2.AsyncClient) -> Books:
    """Read both ledgers. Whatever is still under way shows up at the venue first."""
    attempts = await database.fetch("SELECT * FROM attempts ORDER BY order_id, attempt")
    fills = await database.fetch("SELECT * FROM fills")
    proofs = await database.fetch(
        "SELECT order_id, document->'reason'->>'code' AS code FROM order_events WHERE event_type = 'NEVER_PLACED'"
    )
    told = (await venue.get("/ledger")).json()
    posts = [entry for entry in told["requests"] if entry["method"] == "POST" and entry["path"].endswith("/order")]
    return Books(attempts, fills, proofs, told["orders"], told["fills"], posts)


def assert_one_post_per_attempt(books: Books) -> None:
    """Hold the heart of the promise: every POST belongs to one journaled attempt, and no attempt was sent twice."""
    journaled = {row["client_order_id"] for row in books.attempts}
    posts = Counter(entry["newClientOrderId"] for entry in books.posts)
    assert not posts.keys() - journaled, f"sent without a journal: {posts.keys() - journaled}"
    assert all(count == 1 for count in posts.values()), f"sent twice: {posts.most_common(3)}"
    orders = Counter(entry["clientOrderId"] for entry in books.placed)
    assert not orders.keys() - journaled, f"at the venue and not ours: {orders.keys() - journaled}"
    assert all(count == 1 for count in orders.values()), f"twice at the venue: {orders.most_common(3)}"


def assert_resent_only_after_the_fence(books: Books, *, fence_s: int) -> set[str]:
    """Hold "never placed" to its proof: the next send comes after the fence. Returns the orders that were sent anew."""
    by_order: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in books.attempts:
        by_order[row["order_id"]].append(row)
    sent_at = {entry["newClientOrderId"]: datetime.fromtimestamp(entry["time_ms"] / 1000, UTC) for entry in books.posts}
    proven = {row["order_id"] for row in books.proofs if row["code"] == "NEVER_PLACED"}
    resent = set[str]()
    for order_id in proven:
        attempts = by_order[order_id]
        for earlier, later in pairwise(attempts):
            if earlier["left_at"] is None or later["client_order_id"] not in sent_at:
                continue
            waited = sent_at[later["client_order_id"]] - earlier["signed_at"]
            assert waited >= timedelta(seconds=fence_s), f"{order_id} was sent anew after {waited}"
            assert later["client_order_id"] != earlier["client_order_id"]
            resent.add(order_id)
    return resent


def assert_order_agrees(order: Mapping[str, Any], books: Books) -> None:
    """Compare one ended or resting order: its orders at the venue, its trades one by one, its fees by asset."""
    ids = [row["client_order_id"] for row in books.attempts if row["order_id"] == order["id"]]
    at_venue = [entry for entry in books.placed if entry["clientOrderId"] in ids]
    lifecycle, name = order["lifecycle"], f"{order['id']} {order['lifecycle']}"
    live = [entry for entry in at_venue if entry["status"] in ("NEW", "PARTIALLY_FILLED")]
    resting = lifecycle in ("ACCEPTED", "PARTIALLY_FILLED")
    assert len(live) == (1 if resting else 0), f"{name}: {len(live)} open at the venue"
    if lifecycle in VENUE_STATUS and at_venue:
        assert at_venue[-1]["status"] in VENUE_STATUS[lifecycle], f"{name}, and {at_venue[-1]['status']} at the venue"
    ours = Counter(_our_trade(row) for row in books.fills if row["order_id"] == order["id"])
    theirs = Counter(_venue_trade(row, row["clientOrderId"]) for row in books.traded if row["clientOrderId"] in ids)
    named = {row["venue_order_id"]: row["client_order_id"] for row in books.attempts if row["order_id"] == order["id"]}
    ours = Counter({(named.get(key[0], key[0]), *key[1:]): count for key, count in ours.items()})
    assert ours == theirs, f"{name}: only here {ours - theirs}, only there {theirs - ours}"
    assert order["filled"] == sum((Decimal(entry["executedQty"]) for entry in at_venue), Decimal(0)), name
    assert order["cost"] == sum((Decimal(entry["cummulativeQuoteQty"]) for entry in at_venue), Decimal(0)), name
    fees: dict[str, Decimal] = defaultdict(Decimal)
    for _, _, _, _, commission, asset in theirs.elements():
        fees[asset] += commission
    assert {fee["currency"]: fee["cost"] for fee in order["fees"]} == fees, name


def orders_at_venue(order_id: str, books: Books) -> int:
    """Return how many orders the venue ever had of a ticket."""
    ids = {row["client_order_id"] for row in books.attempts if row["order_id"] == order_id}
    return sum(1 for entry in books.placed if entry["clientOrderId"] in ids)


async def assert_the_books_close(
    database: asyncpg.Connection, venue: httpx2.AsyncClient, *, within_s: float = 45
) -> None:
    """With nothing open: no case, no reservation, everything persisted and told, and balances equal to the venue's."""
    assert await database.fetch("SELECT order_id, code, reason FROM cases WHERE closed_at IS NULL") == []
    assert await database.fetch("SELECT * FROM attempts WHERE state NOT IN ('CLOSED', 'VOID')") == []
    deadline = time.monotonic() + within_s
    while differences := await open_ends(database, venue):
        assert time.monotonic() < deadline, differences
        await asyncio.sleep(0.2)


async def open_ends(database: asyncpg.Connection, venue: httpx2.AsyncClient) -> list[str]:
    """Return what is not finished: orders, notices, reservations, and balances that differ from the venue's."""
    unfinished = await database.fetchval("SELECT count(*) FROM orders WHERE NOT (document->>'finalized')::boolean")
    untold = await database.fetchval("SELECT count(*) FROM orders WHERE notify_seq > notified_seq")
    kept = await database.fetchval("SELECT coalesce(sum(amount), 0) FROM reservations")
    found = [f"{unfinished} not finalized"] * bool(unfinished) + [f"{untold} not told"] * bool(untold)
    found += [f"{kept} still reserved"] * bool(kept)
    theirs = (await venue.get("/balances")).json()
    for row in await database.fetch("SELECT * FROM balances"):
        told = theirs.get(row["asset"], {"free": "0", "locked": "0"})
        total = Decimal(told["free"]) + Decimal(told["locked"])
        if row["total"] != total or row["reserved"] != 0:
            found.append(f"{row['asset']}: {row['total']} (reserved {row['reserved']}) here, {total} there")
    return found


async def position_differences(
    database: asyncpg.Connection, venue: httpx2.AsyncClient, *, began_with: Mapping[str, Decimal]
) -> list[str]:
    """Return where positions and profit are not, to the last digit, what has become of the venue's balances.

    What was realized in a symbol less the cost of what is held is the money that its trades have brought in; a
    commission is taken from what a trade brings, so it is in either.
    """
    expected = defaultdict[str, Decimal](Decimal, began_with)
    rows = await database.fetch(
        "SELECT symbol, amount, cost, realized_pnl FROM exposures WHERE scope = 'live/account:binanceus'"
    )
    for row in rows:
        base_asset, quote_asset = row["symbol"].split("/")
        expected[base_asset] += row["amount"]
        expected[quote_asset] += row["realized_pnl"] - row["cost"]
    told = (await venue.get("/balances")).json()
    theirs = {asset: Decimal(row["free"]) + Decimal(row["locked"]) for asset, row in told.items()}
    return [
        f"{asset}: the positions say {expected[asset]}, the venue has {theirs.get(asset, Decimal(0))}"
        for asset in sorted(expected)
        if expected[asset] != theirs.get(asset, Decimal(0))
    ]


def _our_trade(row: Mapping[str, Any]) -> Trade:
    return (
        row["venue_order_id"], row["trade_id"], row["last_qty"], row["last_px"], row["commission"],
        row["commission_asset"],
    )  # fmt: skip


def _venue_trade(row: Mapping[str, Any], client_order_id: str) -> Trade:
    return (
        client_order_id, str(row["id"]), Decimal(row["qty"]), Decimal(row["price"]), Decimal(row["commission"]),
        row["commissionAsset"],
    )  # fmt: skip
