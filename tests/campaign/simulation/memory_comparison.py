"""The ledger in memory as the reconciler sees it: `domain.comparison.ReconciliationStore`.

Whether a difference of a balance stands, and what follows, is decided by the product's own `storage.comparison`.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from domain.comparison import POSITION_MISMATCH
from domain.events import Fill, Reason
from domain.instrument import deny
from domain.order import Order, OrderSide
from domain.protocol import UNDECIDED
from domain.reports import Balance, OrderReport
from storage import comparison
from tests.campaign.simulation.memory_journal import MemoryJournal
from tests.campaign.simulation.memory_rows import Account

ZERO = Decimal(0)


class MemoryComparison(MemoryJournal):
    """Implements `ReconciliationStore`, but for `ledger_time`, which the world knows."""

    async def unfinished_orders(self, account: str) -> Sequence[Order]:
        return [row.order for row in self.book(account).orders.values() if not row.order.finalized]

    async def owners(self, account: str, reports: Sequence[OrderReport]) -> Mapping[tuple[str, str], Order]:
        named: dict[tuple[str, str], Order] = {}
        for row in self.book(account).orders.values():
            symbol = row.order.ticket.symbol
            for attempt in row.attempts:
                named[symbol, attempt.client_order_id] = row.order
                if attempt.venue_order_id is not None:
                    named[symbol, attempt.venue_order_id] = row.order
        found = {}
        for report in reports:
            key = (report.symbol, report.venue_order_id)
            owner = named.get(key) or named.get((report.symbol, report.client_order_id or ""))
            if owner is not None:
                found[key] = owner
        return found

    async def open_case_about(
        self, account: str, subject: str, reason: Reason, *, order_id: str | None, now: datetime
    ) -> bool:
        """Stand for the port's `open_case`: once for ever."""
        return self.book(account).open_once(subject, reason)

    async def close_others(
        self, account: str, code: str, *, but: Collection[str], resolution: str, now: datetime
    ) -> Sequence[str]:
        book = self.book(account)
        subjects = [subject for subject, of_code in book.open_cases if of_code == code and subject not in but]
        for subject in subjects:
            book.close_case(subject, code)
        return subjects

    async def compare_balances(self, account: str, told: Sequence[Balance], *, asked_at: datetime) -> Sequence[str]:
        book = self.book(account)
        explained = any(row.order.status in UNDECIDED for row in book.at_venue.values())
        totals = {balance.asset: balance.total for balance in told}
        opened = []
        for asset, row in sorted(book.balances.items()):
            shown: Any = row
            row.asset = asset
            total = totals.get(asset, ZERO)
            stands = not explained and comparison._stands(shown, total, asked_at)
            if stands:
                book.open_case(f"asset {asset}", comparison._mismatch(shown, total))
                opened.append(asset)
            if row.expected_at is None and book.at_venue:
                continue
            for name, value in comparison._after_comparison(shown, total, asked_at, accepted=stands).items():
                setattr(row, name, value)
        return opened

    async def compare_positions(self, account: str, *, now: datetime) -> Sequence[str]:
        book = self.book(account)
        traded = _traded(book)
        opened = []
        for symbol in sorted({*traded, *book.positions}):
            amount = book.positions[symbol].amount if symbol in book.positions else ZERO
            if amount != traded.get(symbol, ZERO):
                reason = deny(POSITION_MISMATCH, "the position is not the sum of the account's fills", symbol=symbol)
                if book.open_case(f"position {symbol}", reason):
                    opened.append(symbol)
        return opened

    async def finish(self, account: str, *, began_at: datetime) -> None:
        book = self.book(account)
        book.reconciled_at = max(book.reconciled_at or began_at, began_at)


def _traded(book: Account) -> dict[str, Decimal]:
    traded: dict[str, Decimal] = {}
    for row in book.orders.values():
        for fill in row.fills:
            traded[fill.symbol] = traded.get(fill.symbol, ZERO) + _moved(row.order, fill)
    return traded


def _moved(order: Order, fill: Fill) -> Decimal:
    amount = fill.last_qty if order.ticket.side is OrderSide.BUY else -fill.last_qty
    if fill.commission is not None and fill.commission_asset == fill.symbol.split("/")[0]:
        amount -= fill.commission
    return amount
