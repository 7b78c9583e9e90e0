"""The rows of one account in memory: orders and their facts, attempts, fills, balances, reservations, positions.

What a fill or an order's end does to a balance is decided by the product's own `storage.holdings._Row`.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal

from domain.events import Fill, OrderEvent, Reason
from domain.lifecycle import AT_VENUE
from domain.numbers import subtract
from domain.order import Order
from domain.position import Holding
from domain.protocol import AttemptState
from domain.reports import Balance, OrderReport, Submission, SubmitOutcome
from domain.risk import Reservation
from storage import holdings

ZERO = Decimal(0)
Key = tuple[str, str, str]


class AttemptRow:
    """One send in the journal."""

    __slots__ = (
        "client_order_id", "left_at", "number", "outcome", "state", "submission", "token", "venue_order_id", "worker",
    )  # fmt: skip

    def __init__(self, number: int, client_order_id: str, token: str, worker: str, submission: Submission) -> None:
        self.number = number
        self.client_order_id = client_order_id
        self.token = token
        self.worker = worker
        self.submission = submission
        self.state = AttemptState.SENDING
        self.venue_order_id: str | None = None
        self.outcome: SubmitOutcome | None = None
        self.left_at: datetime | None = None


class OrderRow:
    """One order, its facts, and how far its workflow has heard of them."""

    __slots__ = ("attempts", "events", "fills", "notified_seq", "notify_seq", "number", "order")

    def __init__(self, order: Order, number: int, event: OrderEvent) -> None:
        self.order = order
        self.number = number
        self.events: list[OrderEvent] = [event]
        self.attempts: list[AttemptRow] = []
        self.fills: list[Fill] = []
        self.notify_seq = 0
        self.notified_seq = 0

    def close(self, state: AttemptState) -> None:
        """End the present attempt."""
        for attempt in self.attempts:
            if attempt.number == self.order.attempt:
                attempt.state = state
                attempt.venue_order_id = self.order.venue_order_id

    def about(self, report: OrderReport) -> tuple[int, AttemptState] | None:
        """Return number and state of the latest attempt that the report can be about."""
        for attempt in reversed(self.attempts):
            if attempt.venue_order_id == report.venue_order_id or attempt.client_order_id == report.client_order_id:
                return attempt.number, attempt.state
        return None


class BalanceRow:
    """One asset: the venue's word as moved on by our fills, and what our orders have reserved."""

    __slots__ = (
        "asked_at", "asset", "difference", "differs_since", "expected", "expected_at", "free", "moved_at", "reserved",
        "told_at", "total", "used",
    )  # fmt: skip

    def __init__(self, free: Decimal, used: Decimal, total: Decimal, asked_at: datetime) -> None:
        self.free = free
        self.used = used
        self.total = total
        self.reserved = ZERO
        self.asked_at = asked_at
        self.told_at: datetime | None = None
        self.moved_at: datetime | None = None
        self.expected = total
        self.expected_at: datetime | None = asked_at - holdings.CLOCKS
        self.difference: Decimal | None = None
        self.differs_since: datetime | None = None
        self.asset = ""


class ReservationRow:
    """What one order may use up at worst."""

    __slots__ = ("amount", "asset", "fee_rate", "unit_amount")

    def __init__(self, reservation: Reservation, unit_amount: Decimal) -> None:
        self.asset = reservation.asset
        self.amount = reservation.amount
        self.fee_rate = reservation.fee_rate
        self.unit_amount = unit_amount


class Account:
    """All rows of one account."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.orders: dict[str, OrderRow] = {}
        self.at_venue: dict[str, OrderRow] = {}
        self.to_notify: dict[str, OrderRow] = {}
        self.tokens: dict[str, tuple[OrderRow, AttemptRow]] = {}
        self.keys: dict[str, str] = {}
        self.fills: dict[Key, Fill] = {}
        self.balances: dict[str, BalanceRow] = {}
        self.reservations: dict[str, ReservationRow] = {}
        self.positions: dict[str, Holding] = {}
        self.open_cases: dict[tuple[str, str], Reason] = {}
        self.closed_cases: set[tuple[str, str]] = set()
        self.balances_at: datetime | None = None
        self.reconciled_at: datetime | None = None

    # Orders and facts.

    def add(self, row: OrderRow) -> None:
        """Write the row of a new order."""
        self.orders[row.order.order_id] = row

    def write(self, row: OrderRow, order: Order, events: Sequence[OrderEvent], *, notify: bool) -> None:
        """Write new state and the facts that led to it."""
        row.order = order
        row.events.extend(events)
        if order.status in AT_VENUE:
            self.at_venue[order.order_id] = row
        else:
            self.at_venue.pop(order.order_id, None)
        if notify:
            row.notify_seq = order.seq
            if row.notify_seq > row.notified_seq:
                self.to_notify[order.order_id] = row

    def heard(self, order_id: str, seq: int) -> None:
        """Write that the order's workflow heard of the fact with that number."""
        row = self.orders[order_id]
        row.notified_seq = max(row.notified_seq, seq)
        if row.notify_seq <= row.notified_seq:
            self.to_notify.pop(order_id, None)

    def known(self, row: OrderRow, report: OrderReport) -> frozenset[Key]:
        """Return the keys of the recorded fills that a report's trades are compared with."""
        if row.order.cum_qty == 0:
            return frozenset()
        return frozenset(fill.key for fill in row.fills if fill.venue_order_id == report.venue_order_id)

    def add_fills(self, row: OrderRow, fills: Sequence[Fill]) -> None:
        """Write fills. Their key is unique: a second one is an error of the caller, as in the database."""
        for fill in fills:
            if fill.key in self.fills:
                raise RuntimeError(f"duplicate key value violates unique constraint: {fill.key}")
        for fill in fills:
            self.fills[fill.key] = fill
            row.fills.append(fill)

    def owner(self, order: Order, report: OrderReport) -> str | None:
        """Return another order that the venue's order belongs to."""
        for order_id, row in self.orders.items():
            if order_id != order.order_id and row.order.ticket.symbol == report.symbol:
                for attempt in row.attempts:
                    if attempt.venue_order_id == report.venue_order_id:
                        return order_id
        return None

    # Cases.

    def open_case(self, subject: str, reason: Reason) -> bool:
        """Open a case, unless it is open."""
        key = (subject, reason.code)
        if key in self.open_cases:
            return False
        self.open_cases[key] = reason
        return True

    def open_once(self, subject: str, reason: Reason) -> bool:
        """Open a case, unless there ever was one."""
        return (subject, reason.code) not in self.closed_cases and self.open_case(subject, reason)

    def close_case(self, subject: str, code: str) -> bool:
        """Close a case; false when it is not open."""
        if self.open_cases.pop((subject, code), None) is None:
            return False
        self.closed_cases.add((subject, code))
        return True

    def any_open(self, subject: str) -> bool:
        """Tell whether a subject has an open case."""
        return any(named == subject for named, _ in self.open_cases)

    # Balances, reservations, positions.

    def available(self, asset: str) -> Decimal:
        """Return what no order has reserved."""
        row = self.balances.get(asset)
        return max(subtract(row.total, row.reserved), ZERO) if row is not None else ZERO

    def _take(self, asset: str, more: Decimal) -> bool:
        row = self.balances.get(asset)
        if row is None or subtract(row.total, row.reserved) < more:
            return False
        row.reserved = row.reserved + more
        return True

    def reserve(self, order: Order, reservation: Reservation) -> bool:
        """Take a new order's reservation, or nothing."""
        if not self._take(reservation.asset, reservation.amount):
            return False
        self.reservations[order.order_id] = ReservationRow(reservation, holdings.unit_amount(reservation, order))
        return True

    def reserve_more(self, order: Order) -> Reservation | None:
        """Raise the reservation to what the order needs now; return what was missing."""
        row = self.reservations[order.order_id]
        more = subtract(holdings._needed(order, row.unit_amount, row.fee_rate), row.amount)
        if more <= 0:
            return None
        if not self._take(row.asset, more):
            return Reservation(asset=row.asset, amount=more)
        row.amount = row.amount + more
        return None

    def settle(self, order: Order, fills: Sequence[Fill], *, now: datetime) -> None:
        """Do what fills and an order's new state do to balances, reservation and position."""
        assets = set(order.ticket.symbol.split("/"))
        for fill in fills:
            assets.update(asset for asset, _ in holdings._deltas(order, fill))
        if fills and self.balances_at is not None:
            for asset in sorted(assets - self.balances.keys()):
                self.balances[asset] = BalanceRow(ZERO, ZERO, ZERO, self.balances_at)
        reservation = self.reservations.get(order.order_id)
        for asset in sorted(assets):
            row = self.balances.get(asset)
            if row is not None:
                self._move(row, asset, order, fills, reservation)
        if fills:
            holding = self.positions.get(order.ticket.symbol) or Holding()
            for fill in fills:
                holding = holding.after(fill, side=order.ticket.side)
            self.positions[order.ticket.symbol] = holding

    def _move(
        self, row: BalanceRow, asset: str, order: Order, fills: Sequence[Fill], reservation: ReservationRow | None
    ) -> None:
        mine = reservation is not None and reservation.asset == asset
        if not mine and not fills:
            return
        moved = holdings._Row(
            account=self.name,
            asset=asset,
            free=row.free,
            used=row.used,
            total=row.total,
            reserved=row.reserved,
            asked_at=row.asked_at,
            told_at=row.told_at,
            moved_at=row.moved_at,
            expected=row.expected,
            expected_at=row.expected_at,
            held=reservation.amount if mine else None,
            unit_amount=reservation.unit_amount if mine else None,
            fee_rate=reservation.fee_rate if mine else None,
        ).after(order, fills)
        row.free, row.used, row.total = moved.free, moved.used, moved.total
        row.reserved, row.moved_at = moved.reserved, moved.moved_at
        row.expected, row.expected_at = moved.expected, moved.expected_at
        if mine:
            reservation.amount = moved.held

    def record_balances(self, told: Iterable[Balance], asked_at: datetime, told_at: datetime) -> None:
        """Take over the venue's word, asset by asset, unless later news is in it already."""
        before = self.balances_at
        self.balances_at = max(before or asked_at, asked_at)
        named = {balance.asset: (balance.free, balance.used, balance.total) for balance in told}
        for asset in self.balances:
            named.setdefault(asset, (ZERO, ZERO, ZERO))
        for asset in sorted(named):
            free, used, total = named[asset]
            row = self.balances.get(asset)
            if row is None:
                row = self.balances[asset] = BalanceRow(free, used, total, asked_at)
                row.told_at = told_at
                if before is not None:
                    row.expected, row.expected_at = ZERO, before - holdings.CLOCKS
            elif row.asked_at < asked_at and (row.moved_at is None or row.moved_at < asked_at - holdings.CLOCKS):
                row.free, row.used, row.total, row.asked_at, row.told_at = free, used, total, asked_at, told_at
