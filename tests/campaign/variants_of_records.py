"""Broken variants of the ledger, the limits, the feed and the arithmetic."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from decimal import Decimal
from typing import Any
from unittest.mock import patch

from activities.feed_activities import Follower
from domain import order as order_module
from domain import reconciliation
from domain.events import Fill
from domain.lifecycle import OrderEventType, OrderStatus
from domain.order import Order
from domain.ports import Notice
from domain.reports import OrderReport, VenueOrderStatus
from storage import holdings
from tests.campaign.simulation.memory_journal import MemoryJournal
from tests.campaign.simulation.memory_rows import Account, OrderRow
from tests.campaign.simulation.memory_store import MemoryOrderStore
from tests.campaign.simulation.plan import Plan
from tests.campaign.variants import CANCELS, USUAL, Variant, replaced

ZERO = Decimal(0)
POOR = Plan(orders=150, span_s=2.0, funds=0.4, amends=0.0, kill=0.002, submit_fault=0.3)
DOUBTFUL = Plan(orders=150, span_s=20.0, funds=0.25, amends=0.0, kill=0.002, submit_fault=0.9)
SWITCHED = Plan(orders=60, span_s=12.0, funds=3.0, amends=0.0, kill_switches=3)
CALM_FEED = Plan(orders=60, span_s=12.0, funds=3.0, amends=0.0, signal_fault=0.5)


# Limits.


@contextmanager
def _check_then_act() -> Iterator[None]:
    admit = MemoryOrderStore.admit

    async def broken(self: MemoryOrderStore, request: Any, validated: Any, **others: Any) -> Any:
        book = self.book(request.account)
        base, quote = request.ticket.symbol.split("/")
        asset = quote if request.ticket.side == "buy" else base
        seen = book.available(asset)
        await asyncio.sleep(1.0)  # between the check and the act others come in
        with patch.object(book, "available", lambda _: seen), patch.object(book, "_take", _takes_without_asking(book)):
            return await admit(self, request, validated, **others)

    with patch.object(MemoryOrderStore, "admit", broken):
        yield


def _takes_without_asking(book: Account) -> Any:
    def take(asset: str, more: Decimal) -> bool:
        row = book.balances.get(asset)
        if row is not None:
            row.reserved += more
        return row is not None

    return take


@contextmanager
def _position_only() -> Iterator[None]:
    def available(self: Account, asset: str) -> Decimal:
        row = self.balances.get(asset)
        return row.total if row is not None else ZERO

    def take(self: Account, asset: str, more: Decimal) -> bool:
        row = self.balances.get(asset)
        if row is None or row.total < more:
            return False
        row.reserved += more
        return True

    with patch.object(Account, "available", available), patch.object(Account, "_take", take):
        yield


@contextmanager
def _released_in_doubt() -> Iterator[None]:
    save = MemoryJournal._save

    def broken(self: MemoryJournal, book: Account, row: OrderRow, order: Order, *others: Any, **named: Any) -> Order:
        save(self, book, row, order, *others, **named)
        held = book.reservations.get(order.order_id)
        if order.status is OrderStatus.IN_DOUBT and held is not None:
            book.balances[held.asset].reserved -= held.amount
            held.amount = ZERO
        return order

    with patch.object(MemoryJournal, "_save", broken):
        yield


@contextmanager
def _never_released() -> Iterator[None]:
    needed = holdings._needed

    def broken(order: Order, unit_amount: Decimal, fee_rate: Decimal) -> Decimal:
        return needed(order.model_copy(update={"status": OrderStatus.ACCEPTED}), unit_amount, fee_rate)

    with patch.object(holdings, "_needed", broken):
        yield


def _switch_unseen(self: MemoryJournal, account: str) -> str | None:
    return None  # what it was when the worker first asked


# Believing.


def _conclude_without_trades(self: Any, report: OrderReport) -> bool:
    if report.status is VenueOrderStatus.OPEN or self.order.is_final:
        return True
    self._end(report)
    return True


@contextmanager
def _by_price_and_quantity() -> Iterator[None]:
    def known(self: Account, row: OrderRow, report: OrderReport) -> frozenset[Any]:
        return frozenset((fill.last_px, fill.last_qty) for fill in row.fills)

    def new_fills(report: OrderReport, trades: Any, known: frozenset[Any]) -> list[Fill]:
        fresh: dict[Any, Fill] = {}
        for fill in trades:
            figures = (fill.last_px, fill.last_qty)
            if fill.venue_order_id == report.venue_order_id and figures not in known:
                fresh.setdefault(figures, fill)
        return sorted(fresh.values(), key=lambda fill: (fill.ts_event, len(fill.trade_id), fill.trade_id))

    with patch.object(Account, "known", known), patch.object(reconciliation, "_new_fills", new_fills):
        yield


@contextmanager
def _no_dedupe() -> Iterator[None]:
    def every_trade(report: OrderReport, trades: Any, known: Any) -> list[Fill]:
        return [fill for fill in trades if fill.venue_order_id == report.venue_order_id]

    def keep_all(self: Account, row: OrderRow, fills: Sequence[Fill]) -> None:
        row.fills.extend(fills)

    with ExitStack() as stack:
        stack.enter_context(patch.object(reconciliation, "_new_fills", every_trade))
        stack.enter_context(patch.object(Account, "add_fills", keep_all))
        yield


@contextmanager
def _deltas() -> Iterator[None]:
    believe = reconciliation.believe

    def broken(order: Order, report: OrderReport, *, trades: Any, known: Any, now: Any) -> Any:
        made = order.cum_qty - order.replaced_qty
        delta = (report.cum_qty or ZERO) - made
        invented = []
        if delta > 0:
            invented.append(
                Fill(
                    symbol=report.symbol,
                    venue_order_id=report.venue_order_id,
                    trade_id=f"made-up-{report.cum_qty}",
                    last_qty=delta,
                    last_px=report.price or Decimal(100),
                    ts_event=now,
                )
            )
        told = report.model_copy(update={"trades": ()})
        return believe(order, told, trades=invented, known=known, now=now)

    with patch.object(reconciliation, "believe", broken):
        yield


@contextmanager
def _late_fills_dropped() -> Iterator[None]:
    believe = reconciliation.believe

    def broken(order: Order, report: OrderReport, *, trades: Any, known: Any, now: Any) -> Any:
        if order.status is OrderStatus.PENDING_CANCEL and report.status is not VenueOrderStatus.OPEN:
            held = order.cum_qty - order.replaced_qty
            report, trades = report.model_copy(update={"trades": (), "cum_qty": held}), ()
        return believe(order, report, trades=trades, known=known, now=now)

    with patch.object(reconciliation, "believe", broken):
        yield


@contextmanager
def _position_later() -> Iterator[None]:
    """The position moves in a transaction of its own, after the fills' one: a death between them loses it."""
    settle, report = Account.settle, MemoryOrderStore.record_report

    def without_position(self: Account, order: Order, fills: Sequence[Fill], *, now: Any) -> None:
        before = dict(self.positions)
        settle(self, order, fills, now=now)
        owed.append((self, {symbol: held for symbol, held in self.positions.items() if before.get(symbol) != held}))
        self.positions = before

    owed: list[tuple[Account, dict[str, Any]]] = []

    async def record_report(self: MemoryOrderStore, *arguments: Any, **named: Any) -> Notice:
        owed.clear()
        notice = await report(self, *arguments, **named)
        mine = list(owed)
        await asyncio.sleep(0.5)
        for book, moved in mine:
            book.positions.update(moved)
        return notice

    with (
        patch.object(Account, "settle", without_position),
        patch.object(MemoryOrderStore, "record_report", record_report),
    ):
        yield


def _as_float(left: Decimal, right: Decimal) -> Decimal:
    return Decimal(float(left) + float(right))


def _without_commission(commissions: Any, fill: Fill) -> Any:
    return commissions if fill.commission_asset == "BNB" else _with_commission(commissions, fill)


_with_commission = order_module._with_commission


@contextmanager
def _facts_skipped() -> Iterator[None]:
    write = Account.write

    def broken(self: Account, row: OrderRow, order: Order, events: Any, *, notify: bool) -> None:
        kept = [event for event in events if event.event_type is not OrderEventType.CANCEL_REQUESTED]
        write(self, row, order, kept, notify=notify)

    with patch.object(Account, "write", broken):
        yield


# The feed and its outbox.


async def _marked_before_told(self: Follower) -> None:
    notices = await self._store.pending_notices(self._account, limit=200)
    if notices:
        await self._store.mark_notified(self._account, notices)
    for notice in notices:
        await self._notifier.notify(notice)


@contextmanager
def _forgets_what_left() -> Iterator[None]:
    look = Follower._believe

    async def broken(self: Follower, symbol: str, moved: Any, now: Any) -> None:
        await look(self, symbol, [(order, report) for order, report in moved if report is not None], now)

    with patch.object(Follower, "_believe", broken):
        yield


@contextmanager
def _absence_is_end() -> Iterator[None]:
    look = Follower._believe

    def gone(order: Order) -> OrderReport:
        return OrderReport(
            symbol=order.ticket.symbol,
            venue_order_id=order.venue_order_id or "",
            client_order_id=order.client_order_id,
            status=VenueOrderStatus.CANCELED,
            cum_qty=order.cum_qty - order.replaced_qty,
        )

    async def broken(self: Follower, symbol: str, moved: Any, now: Any) -> None:
        await look(self, symbol, [(order, report or gone(order)) for order, report in moved], now)

    with patch.object(Follower, "_believe", broken):
        yield


LEDGER = (
    Variant("check_then_act", "the limit is read, and taken a moment later", _check_then_act, POOR),
    Variant("limit_on_position_only", "what open orders may use up is not counted", _position_only, POOR),
    Variant("released_in_doubt", "an order in doubt gives its reservation back", _released_in_doubt, DOUBTFUL),
    Variant("never_released", "an order that ended keeps its reservation", _never_released),
    Variant("kill_switch_cached", "the kill switch is read once", replaced(
        MemoryJournal, "kill_reason", _switch_unseen), SWITCHED),
    Variant("final_without_trades", "the venue's status ends the order, its trades come or not",
            replaced(reconciliation._Believer, "conclude", _conclude_without_trades)),
    Variant("dedupe_by_price_and_quantity", "two equal trades are one", _by_price_and_quantity),
    Variant("no_dedupe", "a trade that comes twice counts twice", _no_dedupe),
    Variant("deltas", "what the order's `filled` rose by is booked", _deltas),
    Variant("late_fill_dropped", "a trade that comes with the end of a canceled order is lost",
            _late_fills_dropped, CANCELS),
    Variant("position_later", "the position moves in a second transaction", _position_later),
    Variant("float_sums", "quantities are added as floats", replaced(order_module, "add", _as_float)),
    Variant("third_asset_fee_lost", "a fee in a third asset is left out",
            replaced(order_module, "_with_commission", _without_commission)),
    Variant("facts_skipped", "a wish to cancel is not written down", _facts_skipped, CANCELS),
    Variant("outbox_dropped", "told is noted before it is told",
            replaced(Follower, "_tell", _marked_before_told), CALM_FEED),
    Variant("feed_forgets", "an order that left the list of open ones is forgotten", _forgets_what_left, CALM_FEED),
    Variant("empty_list_believed", "what is not on the list is over", _absence_is_end, CALM_FEED),
)  # fmt: skip
__all__ = ["LEDGER", "USUAL"]
