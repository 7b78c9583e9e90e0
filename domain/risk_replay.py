"""The gate's figures of the past: what happened is replayed fact by fact, and the controls are asked along the way."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Final

from pydantic import AwareDatetime

from domain.controls import CONTROLS, RATE_WINDOWS, Control, Measured, Missing
from domain.events import Fill, Reason
from domain.exposure import ZERO, Asked, Exposure, ScopeFigures, SymbolExposure, Twin
from domain.limits import Limits, LimitSet, scope_row, scopes_of
from domain.numbers import EXACT, Price, Quantity, SignedAmount, add, divide_to_scale, multiply, subtract, to_scale
from domain.order import Frozen, Order, OrderSide, TradingMode
from domain.risk import Answer, Finding
from domain.valuation import Mark, Rates, conversions

PER_SYMBOL: Final[Mapping[str, str]] = {
    "max_position_quantity": "position",
    "max_position_notional": "position_notional",
    "max_concentration": "concentration",
}
PER_SCOPE: Final[Mapping[str, str]] = {
    "max_gross_exposure": "gross_exposure",
    "max_net_exposure": "net_exposure",
    "max_turnover_per_day": "turnover",
    "max_daily_loss": "loss",
    "max_drawdown": "drawdown",
    "max_stop_outs": "stop_outs",
}
"""What a control calls the figure that it compares with its limit."""
FIGURES: Final[Mapping[str, str]] = {
    **PER_SYMBOL,
    **PER_SCOPE,
    "max_price_deviation": "deviation",
    "max_slippage": "slippage",
    "max_book_share": "book_share",
}
OF_EVIDENCE: Final = frozenset(
    {
        "max_price_deviation",
        "max_slippage",
        "max_book_share",
        "max_daily_loss",
        "max_drawdown",
        "max_stop_outs",
        "cooldown_after_stop_s",
        "min_profit",
    }
)
"""Limits that nothing recorded but the decision's own evidence can say anything about."""
MARK_USABLE: Final = timedelta(seconds=150)
WARM_UP: Final = timedelta(days=1)
"""What is replayed before the first order that is judged: windows and the day's turnover begin full."""
_NO_REPLAY: Final = "the ledger holds no figure of then for this limit"


class RecordedOrder(Frozen):
    """One order as it was decided on, and when it ended."""

    order: Order
    answer: Answer
    reason: Reason | None
    findings: tuple[Finding, ...]
    decided_at: AwareDatetime
    ended_at: AwareDatetime | None
    unit_price: Price | None
    """What its base unit was measured at; `None` when that is not known."""
    filled_before: Quantity = ZERO
    """Base units that were filled before the replay begins."""


class RecordedFill(Frozen):
    """One fill, and when it was recorded."""

    account: str
    order_id: str
    at: AwareDatetime
    fill: Fill


class Recorded(Frozen):
    """What happened, and what it began from. Everything from `WARM_UP` before `since` on, in the order of time."""

    since: AwareDatetime
    until: AwareDatetime
    orders: tuple[RecordedOrder, ...]
    fills: tuple[RecordedFill, ...]
    held: Mapping[str, Mapping[str, SignedAmount]]
    """Base units that each scope row held of each symbol when the warm-up began."""
    marks: Mapping[TradingMode, tuple[Mark, ...]]
    is_whole: bool = True
    """False: there were more orders than were read; the oldest are left out."""


@dataclass
class Row:
    """What one scope row holds, works and has admitted, as the replay goes on."""

    traded: dict[str, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    turnover: dict[tuple[date, str], Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    working: dict[str, "Working"] = field(default_factory=lambda: defaultdict(Working))
    admitted: list[datetime] = field(default_factory=list)


@dataclass
class Working:
    """What open orders of one symbol may still trade, by side: base units, and quote units for them."""

    quantity: dict[OrderSide, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    notional: dict[OrderSide, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    orders: int = 0


@dataclass
class Open:
    """An order that has not ended."""

    recorded: RecordedOrder
    left: Decimal = ZERO

    @property
    def worth(self) -> Decimal:
        """Quote units of what is left, at what the order was measured at."""
        return to_scale(multiply(self.left, self.recorded.unit_price or ZERO))


class Replay:
    """The state that the recorded facts lead through."""

    def __init__(self, recorded: Recorded, limits: LimitSet) -> None:
        self._limits = limits
        self._by_scope: dict[str, Limits | None] = {}
        self._rows: dict[str, Row] = defaultdict(Row)
        for scope, held in recorded.held.items():
            self._rows[scope].traded.update(held)
        self._marks: dict[tuple[TradingMode, str], list[Mark]] = defaultdict(list)
        for mode, marks in recorded.marks.items():
            for mark in sorted(marks, key=lambda mark: mark.asked_at):
                self._marks[mode, mark.symbol].append(mark)
        self._open: dict[tuple[str, str], Open] = {}
        self._placed: list[RecordedOrder] = []

    def admit(self, recorded: RecordedOrder) -> None:
        """Count an order in its scopes."""
        order = recorded.order
        taken = self._open[order.account, order.order_id] = Open(recorded)
        self._placed.append(recorded)
        self._work(taken, max(subtract(order.quantity, recorded.filled_before), ZERO), orders=1)
        for row in self._rows_of(order):
            row.admitted.append(recorded.decided_at)

    def end(self, recorded: RecordedOrder) -> None:
        """Let an order end."""
        opened = self._open.pop((recorded.order.account, recorded.order.order_id), None)
        if opened is not None:
            self._work(opened, ZERO, orders=-1)

    def fill(self, order: Order, told: RecordedFill) -> None:
        """Move what the order's scopes hold."""
        quantity = told.fill.last_qty
        signed = quantity if order.ticket.side is OrderSide.BUY else EXACT.minus(quantity)
        notional = to_scale(multiply(quantity, told.fill.last_px))
        symbol = order.ticket.symbol
        for row in self._rows_of(order):
            row.traded[symbol] = add(row.traded[symbol], signed)
            day = (told.at.astimezone(UTC).date(), symbol)
            row.turnover[day] = add(row.turnover[day], notional)
        opened = self._open.get((order.account, order.order_id))
        if opened is not None:
            self._work(opened, max(subtract(opened.left, quantity), ZERO))

    def _work(self, opened: Open, left: Decimal, *, orders: int = 0) -> None:
        """Let an order work another quantity from now on."""
        order, before, worth = opened.recorded.order, opened.left, opened.worth
        opened.left = left
        side = order.ticket.side
        for row in self._rows_of(order):
            sums = row.working[order.ticket.symbol]
            sums.quantity[side] = add(sums.quantity[side], subtract(left, before))
            sums.notional[side] = add(sums.notional[side], subtract(opened.worth, worth))
            sums.orders += orders

    def ask(self, recorded: RecordedOrder) -> Iterator[tuple[Control, ScopeFigures, Measured | Missing]]:
        """Ask every control that one of the order's scopes has a limit for."""
        order, now = recorded.order, recorded.decided_at
        limits = self._limits_of(order)
        figures = {scope: self._figures(scope, recorded) for scope in limits}
        exposure = Exposure(
            reconciled=True, available=None, crossed=self._crossed(order), twin=self._twin(recorded, now)
        )
        for control in CONTROLS:
            for scope, own in limits.items():
                if getattr(own, control.limit) is not None:
                    yield control, figures[scope], self._judge(control, recorded, figures[scope], exposure)

    def _judge(
        self, control: Control, recorded: RecordedOrder, figures: ScopeFigures, exposure: Exposure
    ) -> Measured | Missing:
        order = recorded.order
        priceless = recorded.unit_price is None and control.limit not in _WITHOUT_PRICE
        asked = Asked(
            symbol=order.ticket.symbol,
            side=order.ticket.side,
            quantity=order.quantity,
            price=recorded.unit_price or ZERO,
            limit_price=order.ticket.price,
            ticker=None,
            book=None,
            scope=figures,
            exposure=exposure,
            now=recorded.decided_at,
        )
        if control.reducing_passes and asked.reduces:
            return Measured(True, {"reduces": "true"})
        found: Measured | Missing = Missing("NOT_RECORDED", _NO_REPLAY)
        if control.limit not in OF_EVIDENCE and not priceless:
            found = control.judge(asked)
        return found if isinstance(found, Measured) else _of_evidence(control, figures, recorded) or found

    def _figures(self, scope: str, recorded: RecordedOrder) -> ScopeFigures:
        order, now = recorded.order, recorded.decided_at
        row = self._rows[scope_row(order.mode, scope)]
        today = now.astimezone(UTC).date()
        symbols = {order.ticket.symbol, *row.traded, *row.working}
        limits = self._limits_of(order)[scope]
        return ScopeFigures(
            scope=scope,
            limits=limits,
            symbols=tuple(self._exposed(row, symbol, order.mode, now, today) for symbol in sorted(symbols)),
            earlier_admissions={
                name: row.admitted[-rate]
                for name in RATE_WINDOWS
                if (rate := getattr(limits, name)) and len(row.admitted) >= rate
            },
        )

    def _exposed(self, row: Row, symbol: str, mode: TradingMode, now: datetime, today: date) -> SymbolExposure:
        working = row.working[symbol]
        mark, rate = self._value(symbol, mode, now)
        return SymbolExposure(
            symbol=symbol,
            amount=row.traded[symbol],
            traded=row.traded[symbol],
            working_buy=working.quantity[OrderSide.BUY],
            working_sell=working.quantity[OrderSide.SELL],
            buy_notional=working.notional[OrderSide.BUY],
            sell_notional=working.notional[OrderSide.SELL],
            open_orders=working.orders,
            turnover=row.turnover.get((today, symbol), ZERO),
            mark=mark,
            rate=rate,
        )

    def _value(self, symbol: str, mode: TradingMode, now: datetime) -> tuple[Decimal | None, Decimal | None]:
        quote, currency = symbol.split("/")[1], self._limits.currency
        ways = conversions(quote, currency, self._limits.equal_assets)
        known = [mark for name in {symbol, *(name for way in ways for name in way)}
                 if (mark := self._mark(mode, name, now)) is not None]  # fmt: skip
        rates = Rates(known, equal_assets=self._limits.equal_assets)
        return rates.price(symbol), rates.rate(quote, currency)

    def _mark(self, mode: TradingMode, symbol: str, now: datetime) -> Mark | None:
        marks = self._marks.get((mode, symbol), [])
        position = bisect_right(marks, now, key=lambda mark: mark.asked_at)
        return marks[position - 1] if position and now - marks[position - 1].asked_at <= MARK_USABLE else None

    def _crossed(self, order: Order) -> str | None:
        for (account, order_id), opened in self._open.items():
            other = opened.recorded.order
            if account == order.account and other.ticket.symbol == order.ticket.symbol and _cross(order, other):
                return order_id
        return None

    def _twin(self, recorded: RecordedOrder, now: datetime) -> Twin | None:
        order = recorded.order
        windows = [own.duplicate_window_s for own in self._limits_of(order).values() if own.duplicate_window_s]
        oldest = now - timedelta(seconds=max(windows, default=0))
        for earlier in reversed(self._placed):
            if earlier.decided_at <= oldest:
                return None
            if earlier.order.account == order.account and _alike(earlier.order, order):
                return Twin(order_id=earlier.order.order_id, placed_at=earlier.decided_at)
        return None

    def _limits_of(self, order: Order) -> Mapping[str, Limits]:
        """Return the limits that hold for an order, each scope's reckoned once."""
        scopes = scopes_of(order)
        for scope in scopes:
            if scope not in self._by_scope:
                own = self._limits.of(scope)
                self._by_scope[scope] = None if own.is_empty else own
        return {scope: limits for scope in scopes if (limits := self._by_scope[scope]) is not None}

    def _rows_of(self, order: Order) -> Iterator[Row]:
        for scope in scopes_of(order):
            yield self._rows[scope_row(order.mode, scope)]


_WITHOUT_PRICE: Final = frozenset(
    {"allowed_symbols", "denied_symbols", "trading_hours", "max_order_quantity", "max_position_quantity",
     "max_open_orders", "duplicate_window_s", "forbid_self_trade", *RATE_WINDOWS}
)  # fmt: skip


def _cross(order: Order, other: Order) -> bool:
    if order.ticket.side is other.ticket.side:
        return False
    if order.ticket.price is None or other.price is None:
        return True
    buying = order.ticket.side is OrderSide.BUY
    return other.price <= order.ticket.price if buying else other.price >= order.ticket.price


def _alike(one: Order, other: Order) -> bool:
    names = ("symbol", "side", "order_type", "quantity", "quote_amount", "price", "trigger_price")
    return all(getattr(one.ticket, name) == getattr(other.ticket, name) for name in names)


def _of_evidence(control: Control, figures: ScopeFigures, recorded: RecordedOrder) -> Measured | None:
    """Hold the figure that was measured then against the other limit; `None` when none was, or there is no figure."""
    name = FIGURES.get(control.limit)
    own = [finding for finding in recorded.findings if finding.limit == control.limit]
    if control.limit not in ("max_price_deviation", "max_slippage", "max_book_share"):
        own = [finding for finding in own if finding.scope == figures.scope]  # the market is everybody's
    told = next((finding.numbers[name] for finding in own if name in finding.numbers), None) if name else None
    if name is None or told is None:
        return None
    cap = getattr(figures.limits, control.limit)
    holds = Decimal(told) < cap if control.limit in ("max_daily_loss", "max_drawdown", "max_stop_outs") else (
        Decimal(told) <= cap
    )  # fmt: skip
    return Measured(holds, {name: told, control.limit: str(cap), "measured": "then"})


def measured_at(order: Order, findings: Sequence[Finding], unit_price: Decimal | None) -> Decimal | None:
    """Return what an order's base unit was measured at: recorded, its own price, or what its findings tell."""
    if unit_price:
        return unit_price
    if order.ticket.price is not None or order.ticket.trigger_price is not None:
        return order.ticket.price or order.ticket.trigger_price
    worths = (finding.numbers["notional"] for finding in findings if "notional" in finding.numbers)
    worth = next(worths, None)
    return divide_to_scale(Decimal(worth), order.quantity) if worth is not None and order.quantity else None
