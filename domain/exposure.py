"""What the gate is told: the ticket as it fits the venue, the market, and what each scope holds, works and has lost."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

from pydantic import AwareDatetime

from domain.events import Arrival, Reason
from domain.instrument import Instrument, NormalTicket
from domain.limits import Limits
from domain.numbers import EXACT, Amount, Price, SignedAmount, add, multiply, subtract
from domain.order import Frozen, OrderSide
from domain.placement import Placement
from domain.reports import OrderBook, Ticker

ZERO = Decimal(0)


class Validated(Frozen):
    """What `validate` found out at the venue's side: the fitted ticket, or the denial, and the figures behind it."""

    normal: NormalTicket | None = None
    denial: Reason | None = None
    instrument: Instrument | None = None
    reference_price: Price | None = None
    """Quote units per base unit: what the order would cost now; `None` when the market gives no price."""
    ticker: Ticker | None = None
    book: OrderBook | None = None
    """Market data, where a limit needs it and the venue gave it."""
    arrival: Arrival | None = None
    """The market as it was told for this order; `None` when nothing of the check needed to ask."""
    placement: Placement | None = None
    """Where the order is worked."""
    watch_since: AwareDatetime | None = None
    """Of a stop that we hold: the venue's time of the prices that had not met its trigger. Trades count from there."""


class SymbolExposure(Frozen):
    """What a scope holds and works of one symbol. Base units, those named `notional` quote units."""

    symbol: str
    amount: SignedAmount = ZERO
    """Held by our own fills, below zero when short."""
    cost: SignedAmount = ZERO
    traded: SignedAmount = ZERO
    """What limits count of it: see `domain.position.Holding`."""
    working_buy: Amount = ZERO
    working_sell: Amount = ZERO
    """What open orders may still buy and sell at worst."""
    buy_notional: Amount = ZERO
    sell_notional: Amount = ZERO
    open_orders: int = 0
    turnover: Amount = ZERO
    """Quote units traded since midnight UTC."""
    mark: Price | None = None
    """Last known price; `None` when there is none, or none that is fresh."""
    rate: Amount | None = None
    """Units of the risk currency for one quote unit; `None` when it is not known."""

    @property
    def is_idle(self) -> bool:
        """Tell whether nothing is held and nothing is worked."""
        return not (self.traded or self.amount or self.working_buy or self.working_sell)

    def worst_quantity(self, side: OrderSide, quantity: Decimal) -> Decimal:
        """Return the base units that would be held in the order's direction if all of that side were filled."""
        if side is OrderSide.BUY:
            return add(add(self.traded, self.working_buy), quantity)
        return add(subtract(self.working_sell, self.traded), quantity)

    def worst_notional(self, side: OrderSide, notional: Decimal = ZERO) -> Decimal | None:
        """Return what it would be worth in quote units; below zero when it would still be on the other side.

        `None` when something is held and its price is not known.
        """
        if self.traded and self.mark is None:
            return None
        held = multiply(self.traded, self.mark or ZERO)
        if side is OrderSide.BUY:
            return add(add(held, self.buy_notional), notional)
        return add(subtract(self.sell_notional, held), notional)

    def unrealized(self) -> Decimal | None:
        """Return profit, in quote units, that closing at the mark would realize; `None` when the mark is missing."""
        if not self.amount:
            return EXACT.minus(self.cost)
        return subtract(multiply(self.amount, self.mark), self.cost) if self.mark is not None else None


class StopOuts(Frozen):
    """Stops that closed a position at a loss."""

    count: int = 0
    last_in_symbol_at: AwareDatetime | None = None


class ScopeFigures(Frozen):
    """One scope of an order: its limits and what it holds, works and has lost, read under its lock."""

    scope: str
    limits: Limits
    symbols: tuple[SymbolExposure, ...] = ()
    earlier_admissions: Mapping[str, AwareDatetime | None] = {}
    """By rate limit: when the order was admitted that must be out of its window; `None` when there are fewer."""
    realized_today: SignedAmount = ZERO
    realized_total: SignedAmount = ZERO
    peak_profit: SignedAmount = ZERO
    """Highest of realized and unrealized profit so far. All three in the risk currency."""
    stop_outs: StopOuts = StopOuts()
    realized_in_window: SignedAmount | None = None
    """Quote units that the symbol realized in the window of `min_profit`; `None` when it closed nothing in it."""

    def of(self, symbol: str) -> SymbolExposure:
        """Return what is held and worked of a symbol."""
        return next((row for row in self.symbols if row.symbol == symbol), SymbolExposure(symbol=symbol))

    def open_orders(self) -> int:
        """Return the number of orders that have not ended."""
        return sum(row.open_orders for row in self.symbols)

    def worth(self, worth_of: "Mapping[str, Decimal | None]") -> Decimal | None:
        """Return the sum of what each symbol is worth in quote units, in the risk currency; `None`: not known."""
        total = ZERO
        for row in self.symbols:
            told = worth_of.get(row.symbol)
            if told is None or (told and row.rate is None):
                return None
            total = add(total, multiply(told, row.rate or ZERO))
        return total

    def profit(self, realized: Decimal) -> Decimal | None:
        """Return realized and unrealized profit in the risk currency; `None` when a price or a rate is missing."""
        unrealized = self.worth({row.symbol: row.unrealized() for row in self.symbols})
        return add(realized, unrealized) if unrealized is not None else None


class Twin(Frozen):
    """An order that is like another in all that it asks for."""

    order_id: str
    placed_at: AwareDatetime


class Exposure(Frozen):
    """What the ledger knows in the admitting transaction."""

    kill_reason: str | None = None
    """Why the kill switch is on; `None` while it is off."""
    reconciled: bool
    """Whether the account's first look at its venue has passed since the start."""
    available: Amount | None
    """Units of the asset to be spent that are neither used nor reserved; `None` when the venue has not told."""
    scopes: tuple[ScopeFigures, ...] = ()
    """Those of the order that have limits, the most specific first."""
    crossed: str | None = None
    """Id of a working order of ours that this one would trade with."""
    twin: Twin | None = None
    """The latest order like it that was placed within the longest of its scopes' windows."""


class Asked(Frozen):
    """One question to a control: this order, in this scope, at this moment."""

    symbol: str
    side: OrderSide
    quantity: Decimal
    price: Decimal
    """Quote per base that the order is measured at."""
    limit_price: Decimal | None
    """The price it may trade at, at worst; `None` for a market order."""
    ticker: Ticker | None
    book: OrderBook | None
    scope: ScopeFigures
    exposure: Exposure
    now: datetime

    @property
    def notional(self) -> Decimal:
        """Quote units of the order."""
        return multiply(self.quantity, self.price)

    @property
    def row(self) -> SymbolExposure:
        """What the scope holds and works of the symbol."""
        return self.scope.of(self.symbol)

    @property
    def reduces(self) -> bool:
        """Tell whether the order can only make the scope's position smaller, whatever else is filled."""
        return self.row.worst_quantity(self.side, self.quantity) <= 0
