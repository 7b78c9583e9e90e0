"""What things are worth: marks of the market, fees at the trade's time, and the equity of an account.

What is not known is `None`, never zero: a sum with one unknown part is not known.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final, Protocol

from pydantic import AwareDatetime

from domain.events import Fill
from domain.numbers import Price, Quantity, SignedAmount, add, divide_to_scale, multiply, subtract, to_scale
from domain.order import Frozen, TradingMode
from domain.reports import Ticker

HALF: Final = Decimal("0.5")


class Mark(Frozen):
    """The market of a symbol as last asked: quote units per base unit, `None` where the venue gave none."""

    symbol: str
    bid: Price | None
    ask: Price | None
    last: Price | None
    asked_at: AwareDatetime

    @classmethod
    def of(cls, ticker: Ticker, *, asked_at: datetime) -> "Mark":
        """Take a venue's answer."""
        return cls(symbol=ticker.symbol, bid=ticker.bid, ask=ticker.ask, last=ticker.last, asked_at=asked_at)

    @property
    def price(self) -> Decimal | None:
        """What a unit is worth: between the best prices, else the last trade, else the one side there is."""
        if self.bid and self.ask:
            return to_scale(multiply(add(self.bid, self.ask), HALF))
        return self.last or self.bid or self.ask or None


class Held(Frozen):
    """A position as valuation sees it."""

    symbol: str
    amount: SignedAmount
    cost: SignedAmount
    realized_pnl: SignedAmount

    def unrealized(self, price: Decimal | None) -> Decimal | None:
        """Return the profit that closing at a price would realize, in quote units."""
        if not self.amount:
            return Decimal(0)
        return to_scale(subtract(multiply(self.amount, price), self.cost)) if price is not None else None


class Equity(Frozen):
    """What an account is worth at one moment, in one currency. `None`: something in it has no known price."""

    account: str
    mode: TradingMode
    taken_at: AwareDatetime
    currency: str
    equity: SignedAmount | None
    """The venue's balances, each at its market."""
    realized: SignedAmount | None
    """Profit of our own fills so far, after commissions in the symbols' quote assets."""
    unrealized: SignedAmount | None
    """Profit that closing our positions at the market would realize."""
    unpriced: tuple[str, ...] = ()
    """Assets that no price is known of."""


class Needed(Frozen):
    """What must be asked of the market to value an account."""

    symbols: frozenset[str]
    """Held or worked."""
    assets: frozenset[str]
    """To be told in the risk currency: balances, quote assets, and those that fees were taken in lately."""
    currency: str
    equal_assets: tuple[str, ...] = ()


class AccountingStore(Protocol):
    """The ledger as valuation sees it. Each method is one transaction. Raises `StoreUnavailable`."""

    async def needed(self, account: str, mode: TradingMode, *, now: datetime) -> Needed:
        """Return what the market must be asked for."""

    async def unmarked(self, account: str, mode: TradingMode, *, now: datetime) -> Sequence[str]:
        """Return the symbols held that have no usable mark: limits that need it have no answer meanwhile."""

    async def record_valuation(
        self, account: str, mode: TradingMode, marks: Sequence[Mark], *, now: datetime
    ) -> Equity | None:
        """Keep the marks, price fees by them, and keep what the account is worth; `None` before its first balances."""


class AccountingReader(Protocol):
    """The accounting as people read it. Raises `StoreUnavailable`."""

    async def equity(self, account: str, mode: TradingMode, *, limit: int, before: datetime | None) -> Sequence[Equity]:
        """Return up to `limit` snapshots from before a time, newest first; there is one a minute at most."""

    async def marks(self, symbols: Sequence[str], mode: TradingMode, *, now: datetime) -> Mapping[str, Mark]:
        """Return the latest mark of each symbol, none that is too old to be used."""


class Rates:
    """What one asset is worth in another, by the marks there are: directly, the other way round, or over one more."""

    def __init__(self, marks: Iterable[Mark], *, equal_assets: Collection[str] = ()) -> None:
        self._equal = frozenset(equal_assets)
        self._prices: dict[tuple[str, str], Decimal] = {}
        for mark in marks:
            base, _, quote = mark.symbol.partition("/")
            if mark.price is not None:
                self._prices[base, quote] = mark.price

    def price(self, symbol: str) -> Decimal | None:
        """Return what a symbol itself trades at, quote units per base unit."""
        base, _, quote = symbol.partition("/")
        return self._prices.get((base, quote))

    def worth(self, amount: Decimal, asset: str, currency: str) -> Decimal | None:
        """Return what an amount of an asset is worth; zero units are worth nothing, whatever their price."""
        if not amount:
            return Decimal(0)
        price = self.rate(asset, currency)
        return to_scale(multiply(amount, price)) if price is not None else None

    def rate(self, asset: str, currency: str) -> Decimal | None:
        """Return the units of the currency that one unit of the asset is worth."""
        found = self._direct(asset, currency)
        if found is not None:
            return found
        for middle in sorted(self._neighbors(asset)):
            first, second = self._direct(asset, middle), self._direct(middle, currency)
            if first is not None and second is not None:
                return to_scale(multiply(first, second))
        return None

    def _direct(self, asset: str, currency: str) -> Decimal | None:
        if self._same(asset, currency):
            return Decimal(1)
        for base in self._alike(asset):
            for quote in self._alike(currency):
                if (base, quote) in self._prices:
                    return self._prices[base, quote]
                if (quote, base) in self._prices:
                    return divide_to_scale(Decimal(1), self._prices[quote, base])
        return None

    def _neighbors(self, asset: str) -> Iterator[str]:
        alike = self._alike(asset)
        for base, quote in self._prices:
            if base in alike:
                yield quote
            if quote in alike:
                yield base

    def _same(self, one: str, other: str) -> bool:
        return one == other or (one in self._equal and other in self._equal)

    def _alike(self, asset: str) -> Sequence[str]:
        """Return the asset itself first, then those that count as worth the same."""
        return [asset, *sorted(self._equal - {asset})] if asset in self._equal else [asset]


BRIDGE: Final = "BTC"
"""Two assets without a symbol of their own are compared over this one, which nearly every asset has one with."""


def conversions(asset: str, currency: str, equal_assets: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Yield the sets of symbols that tell what an asset is worth in a currency, the best first; none if it is equal."""
    targets = [currency, *(other for other in equal_assets if currency in equal_assets and other != currency)]
    if asset in targets:
        return
    direct = [name for target in targets for name in (f"{asset}/{target}", f"{target}/{asset}")]
    yield from ((name,) for name in direct)
    if BRIDGE in (asset, *targets):
        return
    for first in (f"{asset}/{BRIDGE}", f"{BRIDGE}/{asset}"):
        yield from ((first, second) for target in targets for second in (f"{BRIDGE}/{target}", f"{target}/{BRIDGE}"))


def to_ask(needed: Needed, listed: Collection[str]) -> Sequence[str]:
    """Return the symbols to ask the market for: those held or worked first, then one way to convert each asset."""
    asked = sorted(needed.symbols & set(listed))
    for asset in sorted(needed.assets):
        ways = conversions(asset, needed.currency, needed.equal_assets)
        way = next((way for way in ways if all(symbol in listed for symbol in way)), ())
        asked += [symbol for symbol in way if symbol not in asked]
    return asked


def commission_value(fill: Fill, price_of_fee: Decimal | None) -> Decimal | None:
    """Return what a fill's commission was worth in the symbol's quote asset, at the trade's own price.

    `price_of_fee` is what one unit of a third asset was worth at that time. `None` when the commission, or that price,
    is not known.
    """
    if fill.commission is None:
        return None
    base, quote = fill.symbol.split("/")
    if fill.commission == 0 or fill.commission_asset == quote:
        return fill.commission
    price = fill.last_px if fill.commission_asset == base else price_of_fee
    return to_scale(multiply(fill.commission, price)) if price is not None else None


def equity_of(
    account: str,
    mode: TradingMode,
    *,
    balances: Mapping[str, Quantity],
    held: Iterable[Held],
    rates: Rates,
    currency: str,
    now: datetime,
) -> Equity:
    """Value an account: its balances, and what our own fills have won so far."""
    positions = list(held)
    worth = {asset: rates.worth(total, asset, currency) for asset, total in balances.items()}
    realized, unrealized = [], []
    for position in positions:
        quote = position.symbol.split("/")[1]
        open_profit = position.unrealized(rates.price(position.symbol))
        realized.append(rates.worth(position.realized_pnl, quote, currency))
        unrealized.append(None if open_profit is None else rates.worth(open_profit, quote, currency))
    return Equity(
        account=account,
        mode=mode,
        taken_at=now,
        currency=currency,
        equity=total_of(worth.values()),
        realized=total_of(realized),
        unrealized=total_of(unrealized),
        unpriced=tuple(sorted(asset for asset, value in worth.items() if value is None)),
    )


def total_of(values: Iterable[Decimal | None]) -> Decimal | None:
    """Return the sum; `None` when one of the values is not known."""
    total = Decimal(0)
    for value in values:
        if value is None:
            return None
        total = add(total, value)
    return total
