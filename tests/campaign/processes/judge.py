"""The verdict on a run: every promise held against what is on record at the venue. Returns all that is wrong."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

from tests.campaign.processes.ledgers import CLOSED, Fact, Ledgers, OrderRecord
from tests.faults import audit

Row = Mapping[str, Any]
MOVES = ("SUBMITTED", "ADMITTED")


def violations(ledgers: Ledgers, *, fence_s: float, max_notional: Decimal) -> list[str]:
    """Return every broken promise as a sentence that names the order and the evidence."""
    by_order: dict[str, list[Row]] = defaultdict(list)
    for row in ledgers.books.attempts:
        by_order[row["order_id"]].append(row)
    found = [*_posts(ledgers.books), *_limits(ledgers.books, max_notional), *ledgers.left_over]
    placed: dict[str, list[Row]] = defaultdict(list)
    for entry in ledgers.books.placed:
        placed[entry["clientOrderId"]].append(entry)
    posts = {entry["newClientOrderId"]: entry for entry in ledgers.books.posts}
    for order in ledgers.orders.values():
        attempts = by_order[order.order_id]
        at_venue = [entry for row in attempts for entry in placed[row["client_order_id"]]]
        found += [f"{order.order_id} {order.status}: {text}" for text in _one_at_a_time(order, at_venue)]
        found += [f"{order.order_id} {order.status}: {text}" for text in _record(order)]
        found += [f"{order.order_id} {order.status}: {text}" for text in _evidence(order, attempts, at_venue, posts)]
        found += [
            f"{order.order_id} {order.status}: {text}" for text in _never_placed(order, attempts, placed, fence_s)
        ]
        try:
            audit.assert_order_agrees(order.as_rest_shows_it(), ledgers.books)
        except AssertionError as error:
            found.append(str(error))
    return found


def _posts(books: audit.Books) -> Iterator[str]:
    """One POST for each journaled attempt, one order for each POST, and nothing at the venue that we do not know."""
    journaled = {row["client_order_id"] for row in books.attempts}
    for name, count in Counter(entry["newClientOrderId"] for entry in books.posts).items():
        if name not in journaled:
            yield f"{name} was sent without a journal"
        if count > 1:
            yield f"{name} was sent {count} times"
    for name, count in Counter(entry["clientOrderId"] for entry in books.placed).items():
        if name not in journaled:
            yield f"{name} is at the venue and not ours"
        if count > 1:
            yield f"{name} is {count} times at the venue"


def _limits(books: audit.Books, max_notional: Decimal) -> Iterator[str]:
    """No order above the limit, and none that the venue had to refuse because we promised the same money twice."""
    for entry in books.placed:
        notional = Decimal(entry["origQty"]) * Decimal(entry["price"])
        if max(notional, Decimal(entry["cummulativeQuoteQty"])) > max_notional:
            yield f"{entry['clientOrderId']} is worth {notional}, above the limit of {max_notional}"
    for row in books.attempts:
        if "insufficient balance" in (row["outcome"] or ""):
            yield f"{row['client_order_id']} was admitted, and the venue had no balance for it"


def _one_at_a_time(order: OrderRecord, at_venue: Sequence[Row]) -> Iterator[str]:
    """One order per intent; of an amended one, the next begins only when the one before has ended."""
    if len(at_venue) > 1 and not order.amended:
        yield f"{len(at_venue)} orders at the venue: {[entry['clientOrderId'] for entry in at_venue]}"
    for earlier, later in pairwise(sorted(at_venue, key=lambda entry: int(entry["time"]))):
        if earlier["status"] in ("NEW", "PARTIALLY_FILLED") or earlier["updateTime"] > later["time"]:
            yield f"{earlier['clientOrderId']} and {later['clientOrderId']} were open at once"
    if order.amended and sum(Decimal(entry["executedQty"]) for entry in at_venue) > Decimal(order.document["quantity"]):
        yield "an amendment replaced more than what was left"


def _record(order: OrderRecord) -> Iterator[str]:
    """The record is complete and in order, and says what the row says."""
    numbers = [fact.seq for fact in order.facts]
    if numbers != list(range(1, order.seq + 1)):
        yield f"the record has facts {numbers} of {order.seq}"
    if any(later.recorded_at < earlier.recorded_at for earlier, later in pairwise(order.facts)):
        yield "the record is not in the order of time"
    fills = [fact.document["fill"] for fact in order.facts if fact.document.get("fill")]
    if sum((Decimal(fill["last_qty"]) for fill in fills), Decimal(0)) != Decimal(order.document["cum_qty"]):
        yield f"the record's fills are not the row's {order.document['cum_qty']}"
    if order.status not in CLOSED:
        yield f"it has not ended: {order.document.get('reason')}"
    elif order.facts and order.facts[-1].kind != "FINALIZED":
        yield f"the record ends with {order.facts[-1].kind}"


def _evidence(
    order: OrderRecord, attempts: Sequence[Row], at_venue: Sequence[Row], posts: Mapping[str, Row]
) -> Iterator[str]:
    """No ending without what proves it: the venue's own record, or a request of the caller's while nothing was sent."""
    kinds, reason = {fact.kind for fact in order.facts}, order.document.get("reason") or {}
    if order.status == "DENIED" and attempts:
        yield "denied, and an attempt was journaled"
    if order.status == "REJECTED":
        last = posts.get(attempts[-1]["client_order_id"]) if attempts else None
        refused = last is not None and last.get("refused") is not None
        never_there = bool(attempts) and all(row["state"] == "VOID" for row in attempts)
        if at_venue or not (refused or never_there):
            yield f"rejected without a refusal: {reason}, {len(at_venue)} at the venue"
    if order.status == "CANCELED" and not at_venue and "CANCEL_REQUESTED" not in kinds | {reason.get("code")}:
        yield f"canceled, never placed, and nobody asked: {reason}"
    if order.status == "EXPIRED" and not at_venue and order.document["ticket"].get("expires_at") is None:
        yield f"expired, never placed, and without a deadline: {reason}"
    if order.status == "FILLED" and not at_venue:
        yield "filled, and not at the venue"


def _never_placed(
    order: OrderRecord, attempts: Sequence[Row], placed: Mapping[str, Sequence[Row]], fence_s: float
) -> Iterator[str]:
    """What was taken for never placed is not at the venue, and was concluded only after the fence."""
    concluded: dict[int, Fact] = {}
    number = 0
    for fact in order.facts:
        number = fact.document.get("attempt") or number
        if fact.kind in ("NEVER_PLACED", "NOT_SENT"):
            concluded[number] = fact
    for row in attempts:
        fact = concluded.get(row["attempt"])
        if fact is None:
            continue
        if placed.get(row["client_order_id"]):
            yield f"attempt {row['attempt']} was taken for {fact.kind}, and it is at the venue"
        if fact.kind == "NEVER_PLACED" and (fact.document.get("reason") or {}).get("code") == "NEVER_PLACED":
            waited = datetime.fromisoformat(fact.document["ts_event"]) - row["signed_at"]
            if waited < timedelta(seconds=fence_s):
                yield f"attempt {row['attempt']} was taken for never placed after {waited}"


def recovery(ledgers: Ledgers, killed_at: Sequence[tuple[datetime, str]]) -> dict[str, dict[str, float]]:
    """Return, by kind of kill, the seconds until the orders in flight had moved on: p50, p95, max.

    Over the kills: until the last of its orders had moved. "each order": over all orders and kills of workers. The
    next kills come before that and are part of it: a figure for one kill alone is the benchmark's.
    In flight is an order whose next step was a worker's to take: admitted and not sent, sent and not answered, ended
    and not persisted. Orders in doubt are not: they wait for the venue's fence by intention. Neither are sends that
    the venue itself kept waiting.
    """
    waiting = {entry["newClientOrderId"] for entry in ledgers.books.posts if entry.get("fault") in ("hang", "delay")}
    spans = [span for order in ledgers.orders.values() for span in _in_flight(order, waiting)]
    took: dict[str, list[float]] = defaultdict(list)
    for killed, kind in killed_at:
        moved = [until for since, until in spans if since <= killed < until]
        if moved:
            took[kind].append((max(moved) - killed).total_seconds())
        if kind == "worker":
            took["worker, each order"] += [(until - killed).total_seconds() for until in moved]
    return {kind: spread(values) for kind, values in took.items()}


def _in_flight(order: OrderRecord, waiting: Collection[str]) -> Iterator[tuple[datetime, datetime]]:
    for fact, following in pairwise(order.facts):
        moving = fact.kind in MOVES or following.kind == "FINALIZED"
        if moving and fact.document.get("client_order_id") not in waiting:
            yield fact.recorded_at.astimezone(UTC), following.recorded_at.astimezone(UTC)


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return p50, p95, max and the number of values."""
    ordered = sorted(values)
    p95 = ordered[-(-len(ordered) * 95 // 100) - 1]
    figures = {"p50": ordered[len(ordered) // 2], "p95": p95, "max": ordered[-1]}
    return {name: round(value, 3) for name, value in figures.items()} | {"n": len(ordered)}
