"""The simulation's ledger against the real one: the same calls get the same answers and leave the same rows."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.errors import ExecutionError
from domain.instrument import deny
from domain.lifecycle import OrderEventType
from domain.limits import Limits, LimitSet
from domain.order import OrderSide
from domain.ports import Admission, Attempt, Notice
from domain.reports import Balance, OrderReport, SubmitOutcome, SubmitVerdict, VenueOrderStatus
from storage.limit_sets import follow_limits
from storage.order_store import SqlOrderStore
from tests.campaign.simulation.memory_store import MemoryOrderStore
from tests.factories import NOW, make_fill, make_report, make_request, make_terms, make_validated

ACCOUNT = "binanceus"
CALLS = 240
ORDERS = 6
SEEDS = range(1, 9)
_STATUSES = (*[VenueOrderStatus.OPEN] * 3, *VenueOrderStatus)


@dataclass
class Both:
    """Two ledgers that are asked the same. Attempts come in pairs, for their tokens differ."""

    sql: SqlOrderStore
    memory: MemoryOrderStore
    attempts: list[tuple[Attempt, Attempt]] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    answers: int = 0
    refusals: int = 0

    async def ask(self, name: str, *args: Any, pair: tuple[Attempt, Attempt] | None = None, **named: Any) -> Any:
        """Call the method on both; the answers must be equal, or the refusals."""
        self.log.append(f"{name} {args} {named}")
        told = []
        for number, store in enumerate((self.sql, self.memory)):
            first = (pair[number],) if pair is not None else ()
            try:
                told.append(await getattr(store, name)(*first, *args, **named))
                self.answers += 1
            except ExecutionError as error:
                told.append((type(error).__name__, error.numbers))
                self.refusals += 1
            except (IntegrityError, RuntimeError) as error:
                told.append("duplicate key" if "duplicate key" in str(error) else error)
        ours, theirs = (_shown(answer) for answer in told)
        assert ours == theirs, "\n".join((*self.log[-8:], f"sql    {ours}", f"memory {theirs}"))
        if isinstance(told[0], Attempt):
            self.attempts.append((told[0], told[1]))
        return told[0]


def _shown(answer: Any) -> Any:
    if isinstance(answer, Attempt):
        return answer.model_copy(update={"token": ""})
    if isinstance(answer, list):
        return [_shown(one) for one in answer]
    return answer


@dataclass
class Chance:
    """What is asked next, from one seed."""

    rng: Random
    both: Both
    now: datetime = NOW
    trades: int = 0

    def key(self) -> str:
        return str(self.rng.randrange(ORDERS))

    def request(self) -> Any:
        key = self.key()
        side = OrderSide.BUY if int(key) % 2 else OrderSide.SELL
        quantity = Decimal(self.rng.choice(("0.1", "0.1", "0.1", "0.2"))) if key == "0" else Decimal("0.1")
        return make_request(key, side=side, quantity=quantity)

    def reason(self, code: str) -> Any:
        return deny(code, "said by the test", number=Decimal(self.rng.randrange(9)))

    def report(self, order_id: str) -> OrderReport:
        """The venue's word on some attempt of the order, or on nothing of ours."""
        mine = [pair[0] for pair in self.both.attempts if pair[0].order_id == order_id]
        attempt = self.rng.choice(mine) if mine and self.rng.random() < 0.9 else None
        client_order_id = attempt.client_order_id if attempt else None
        venue_order_id = f"v{client_order_id}" if attempt and self.rng.random() < 0.95 else "v-other"
        cum_qty = Decimal(self.rng.choice(("0", "0", "0.03", "0.06", "0.1")))
        return make_report(
            venue_order_id=venue_order_id,
            client_order_id=client_order_id,
            status=self.rng.choice(_STATUSES),
            cum_qty=None if self.rng.random() < 0.1 else cum_qty,
            trades=tuple(self.fills(venue_order_id)) if self.rng.random() < 0.4 else (),
        )

    def fills(self, venue_order_id: str) -> list[Any]:
        return [
            make_fill(
                str(self.rng.randrange(1, 4)),
                venue_order_id=venue_order_id,
                last_qty=Decimal("0.03"),
                last_px=Decimal(self.rng.choice(("99.5", "100"))),
                commission_asset=self.rng.choice(("BTC", "USDT", "BNB")),
                ts_event=self.now + timedelta(seconds=self.rng.randrange(-5, 2)),
            )
            for _ in range(self.rng.randrange(3))
        ]

    async def step(self) -> None:
        """Ask one thing."""
        self.now += timedelta(milliseconds=self.rng.randrange(1, 20_000))
        name = self.rng.choice(_STEPS)
        await getattr(self, f"do_{name}")()

    async def do_admit(self) -> None:
        request = self.request()
        terms = make_terms(ACCOUNT)
        answer: Admission = await self.both.ask("admit", request, make_validated(request), terms=terms, now=self.now)
        assert answer is not None

    async def do_deny(self) -> None:
        if self.rng.random() < 0.2:
            reason = self.reason("VENUE_UNAVAILABLE")
            await self.both.ask("deny", self.request(), reason, terms=make_terms(ACCOUNT), now=self.now)

    async def do_open(self) -> None:
        order_id = self.request().order_id
        if order_id in self.both.memory.book(ACCOUNT).orders:
            await self.both.ask("open_attempt", ACCOUNT, order_id, worker="w", now=self.now)

    async def do_look(self) -> None:
        if self.both.attempts:
            await self.both.ask("pass_last_look", pair=self.rng.choice(self.both.attempts[-4:]), now=self.now)

    async def do_void(self) -> None:
        if self.both.attempts:
            pair, reason = self.rng.choice(self.both.attempts[-4:]), self.reason("SENDER_LOST")
            await self.both.ask("void_attempt", pair=pair, reason=reason, now=self.now)

    async def do_outcome(self) -> None:
        if not self.both.attempts:
            return
        pair = self.rng.choice(self.both.attempts[-4:])
        verdict = self.rng.choice((SubmitVerdict.ACCEPTED, SubmitVerdict.ACCEPTED, *SubmitVerdict))
        accepted = verdict is SubmitVerdict.ACCEPTED
        report = self.report(pair[0].order_id).model_copy(
            update={"client_order_id": pair[0].client_order_id, "venue_order_id": f"v{pair[0].client_order_id}"}
        )
        outcome = SubmitOutcome(
            verdict=verdict, report=report if accepted else None, reason=None if accepted else self.reason("SAID")
        )
        await self.both.ask("record_outcome", outcome, pair=pair, now=self.now)

    async def do_report(self) -> None:
        order_id = self.request().order_id
        if order_id in self.both.memory.book(ACCOUNT).orders:
            report = self.report(order_id)
            trades = self.fills(report.venue_order_id)
            notice: Notice = await self.both.ask(
                "record_report", ACCOUNT, order_id, report, trades=trades, now=self.now
            )
            assert notice is not None

    async def do_doubt(self) -> None:
        if not self.both.attempts:
            return
        pair = self.rng.choice(self.both.attempts[-4:])
        if self.rng.random() < 0.5:
            await self.both.ask("record_look", pair=pair, looked_at=self.now, fence_ends_at=None)
        else:
            await self.both.ask("record_never_placed", pair=pair, reason=self.reason("NEVER_PLACED"), now=self.now)

    async def do_change(self) -> None:
        order_id = self.request().order_id
        if order_id not in self.both.memory.book(ACCOUNT).orders:
            return
        draw = self.rng.random()
        if draw < 0.25:
            reason = self.reason("CANCEL_REQUESTED")
            await self.both.ask("request_cancel", ACCOUNT, order_id, reason=reason, now=self.now)
        elif draw < 0.7:
            await self.both.ask(
                "request_amend",
                ACCOUNT,
                order_id,
                quantity=Decimal(self.rng.choice(("0.05", "0.1", "0.14", "0.5"))),
                price=Decimal(self.rng.choice(("99", "100", "101"))),
                terms=make_terms(ACCOUNT),
                requested_by="test",
                now=self.now,
            )
        elif draw < 0.8:
            kind = self.rng.choice((OrderEventType.CANCELED, OrderEventType.EXPIRED, OrderEventType.REJECTED))
            await self.both.ask(
                "end_unsent", ACCOUNT, order_id, event_type=kind, reason=self.reason("END"), now=self.now
            )
        elif self.both.memory.book(ACCOUNT).orders[order_id].order.is_final:
            await self.both.ask("finalize", ACCOUNT, order_id, now=self.now)

    async def do_tell(self) -> None:
        notices = await self.both.ask("pending_notices", ACCOUNT, limit=3)
        await self.both.ask("working_orders", ACCOUNT)
        if notices and self.rng.random() < 0.7:
            await self.both.ask("mark_notified", ACCOUNT, notices)

    async def do_balances(self) -> None:
        told = [
            Balance(asset=asset, free=total, used=Decimal(0), total=total)
            for asset, total in (("USDT", Decimal(self.rng.randrange(60))), ("BTC", Decimal("0.4")))
        ]
        asked_at = self.now - timedelta(seconds=self.rng.randrange(6))
        told_at = asked_at + timedelta(seconds=self.rng.randrange(3))
        await self.both.ask("record_balances", ACCOUNT, told, asked_at=asked_at, told_at=told_at)


_STEPS = (
    "admit", "admit", "open", "open", "look", "look", "void", "outcome", "outcome", "report", "report", "report",
    "doubt", "change", "change", "tell", "balances", "deny",
)  # fmt: skip


def _row_key(row: tuple[Any, ...]) -> str:
    return "|".join(str(value.normalize() if isinstance(value, Decimal) else value) for value in row)


async def _rows(engine: AsyncEngine) -> dict[str, Any]:
    queries = {
        "attempts": "SELECT client_order_id, state, venue_order_id FROM attempts",
        "orders": "SELECT order_id, seq, notify_seq, notified_seq FROM orders",
        "facts": "SELECT order_id, count(*), max(seq) FROM order_events GROUP BY order_id",
        "fills": "SELECT venue_order_id, trade_id, order_id, last_qty FROM fills",
        "balances": "SELECT asset, free, used, total, reserved, asked_at, moved_at, expected FROM balances",
        "reservations": "SELECT order_id, asset, amount, unit_amount FROM reservations",
        "positions": "SELECT symbol, amount, cost, realized_pnl FROM exposures WHERE scope LIKE '%/account:%'"
        " AND (amount <> 0 OR cost <> 0 OR realized_pnl <> 0)",
        "cases": "SELECT order_id, code FROM cases WHERE closed_at IS NULL",
    }
    found = {}
    async with engine.connect() as connection:
        for name, query in queries.items():
            found[name] = sorted((tuple(row) for row in await connection.execute(text(query))), key=_row_key)
    return found


def _rows_in_memory(memory: MemoryOrderStore) -> dict[str, Any]:
    book = memory.book(ACCOUNT)
    rows = book.orders
    return {
        name: sorted(entries, key=_row_key)
        for name, entries in {
            "attempts": [
                (attempt.client_order_id, str(attempt.state), attempt.venue_order_id)
                for row in rows.values()
                for attempt in row.attempts
            ],
            "orders": [(key, row.order.seq, row.notify_seq, row.notified_seq) for key, row in rows.items()],
            "facts": [(key, len(row.events), row.order.seq) for key, row in rows.items()],
            "fills": [
                (fill.venue_order_id, fill.trade_id, key, fill.last_qty)
                for key, row in rows.items()
                for fill in row.fills
            ],
            "balances": [
                (asset, b.free, b.used, b.total, b.reserved, b.asked_at, b.moved_at, b.expected)
                for asset, b in book.balances.items()
            ],
            "reservations": [(key, r.asset, r.amount, r.unit_amount) for key, r in book.reservations.items()],
            "positions": [
                (key, h.amount, h.cost, h.realized_pnl)
                for key, h in book.positions.items()
                if h.amount or h.cost or h.realized_pnl
            ],
            "cases": list(book.open_cases),
        }.items()
    }


@pytest.mark.parametrize("seed", SEEDS)
async def test_the_same_calls_leave_the_same_rows_in_memory_and_in_postgres(
    seed: int, store: SqlOrderStore, engine: AsyncEngine
) -> None:
    both = Both(store, MemoryOrderStore())
    both.memory.limit_set = LimitSet(accounts=Limits(max_order_notional=Decimal(15)))
    await follow_limits(engine, both.memory.limit_set, identity="test", now=NOW)
    chance = Chance(Random(seed), both)
    for _ in range(CALLS):
        await chance.step()
    assert _rows_in_memory(both.memory) == await _rows(engine)
    for order_id, row in both.memory.book(ACCOUNT).orders.items():
        assert await store.order(ACCOUNT, order_id) == row.order
    assert both.answers > CALLS / 2 and both.attempts, "the calls reached both ledgers"
