"""Limits: what each of them is called, what it measures, and whom it holds for.

An order belongs to several scopes: the firm, its account, its symbol, its strategy, and the key that asked for it. Each
scope has limits of its own, and all of them must hold. Orders of different modes never share a scope.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Final

from pydantic import BeforeValidator, Field, StringConstraints, field_validator

from domain.identifiers import Account, Symbol
from domain.numbers import WrittenAmount
from domain.order import Frozen, Order, OrderRequest, TradingMode
from domain.trading_hours import TradingHours

Count = Annotated[int, Field(ge=0, le=10_000_000)]
Seconds = Annotated[int, Field(ge=1, le=31 * 86_400)]


def read_words(value: object) -> object:
    """Read words with commas between, as the environment writes a list."""
    return tuple(word.strip() for word in value.split(",") if word.strip()) if isinstance(value, str) else value


Words = Annotated[tuple[str, ...], BeforeValidator(read_words)]


class Limits(Frozen):
    """Limits of one scope. What is left out is no limit."""

    # One order.
    max_order_notional: WrittenAmount | None = Field(None, description="quote units of one order")
    max_order_quantity: WrittenAmount | None = Field(None, description="base units of one order")
    allowed_symbols: Words | None = Field(None, description="symbols that may be traded; all if empty")
    denied_symbols: Words | None = Field(None, description="symbols that may not be traded")
    max_price_deviation: WrittenAmount | None = Field(
        None, description="share that an order's price may be away from the market, either side: 0.05 is five percent"
    )
    max_slippage: WrittenAmount | None = Field(
        None, description="share by which the book says that the order would move away from the best price"
    )
    max_book_share: WrittenAmount | None = Field(
        None, description="share of the book's shown depth that the order may take"
    )
    max_market_age_s: Seconds | None = Field(None, description="seconds after which market data is no data; 10")
    trading_hours: TradingHours | None = Field(None, description="when orders are taken, UTC: mon-fri 08:00-17:30")
    # What is held and worked, at its worst.
    max_position_quantity: Mapping[Symbol, WrittenAmount] | None = Field(
        None, description="base units held and worked, by symbol, long or short, at worst"
    )
    max_position_notional: WrittenAmount | None = Field(
        None, description="quote units that one symbol's position is worth at worst"
    )
    max_gross_exposure: WrittenAmount | None = Field(
        None, description="worth of all positions at worst, long and short added up, in the risk currency"
    )
    max_net_exposure: WrittenAmount | None = Field(
        None, description="worth of all positions at worst, long less short, in the risk currency"
    )
    max_concentration: WrittenAmount | None = Field(
        None, description="share of the gross exposure that one symbol may be, once it is above max_order_notional"
    )
    max_open_orders: Count | None = Field(None, description="orders that have not ended")
    # How much in how long.
    max_orders_per_second: Count | None = Field(None, description="orders admitted in any second")
    max_orders_per_minute: Count | None = Field(None, description="orders admitted in any 60 seconds")
    max_orders_per_day: Count | None = Field(None, description="orders admitted in any 24 hours")
    max_turnover_per_day: WrittenAmount | None = Field(
        None, description="worth of what was traded since midnight UTC and is worked now, in the risk currency"
    )
    duplicate_window_s: Seconds | None = Field(
        None, description="seconds within which an order equal in symbol, side, type, quantity and price is refused"
    )
    # What was lost.
    max_daily_loss: WrittenAmount | None = Field(
        None, description="realized since midnight UTC and unrealized loss, in the risk currency"
    )
    max_drawdown: WrittenAmount | None = Field(
        None, description="fall of the profit below its highest, in the risk currency"
    )
    cooldown_after_stop_s: Seconds | None = Field(
        None, description="seconds without opening orders in a symbol after a stop has closed a position at a loss"
    )
    max_stop_outs: Count | None = Field(None, description="stops at a loss within stop_out_window_s")
    stop_out_window_s: Seconds | None = Field(None, description="seconds that stop-outs are counted over; 86400")
    min_profit: WrittenAmount | None = Field(
        None, description="profit that a symbol must have realized in profit_window_s to be opened again, quote units"
    )
    profit_window_s: Seconds | None = Field(None, description="seconds that min_profit looks back; 86400")
    # Against ourselves, and asking a person.
    forbid_self_trade: bool | None = Field(None, description="true: no order may cross a working order of ours")
    approval_above_notional: WrittenAmount | None = Field(
        None, description="quote units of one order above which a person must approve"
    )
    approval_expires_s: Seconds | None = Field(None, description="seconds that an approval is waited for; 900")
    shadow: Words | None = Field(None, description="names of limits that are recorded and do not hold")

    @field_validator("shadow")
    @classmethod
    def _shadows_are_limits(cls, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for name in names or ():
            if name not in Limits.model_fields or name == "shadow":
                raise ValueError(f"shadow: {name!r} is no limit")
        return names

    def over(self, weaker: "Limits") -> "Limits":
        """Return these limits, and the weaker ones where these say nothing."""
        told = {name: value for name, value in self if value is not None}
        return weaker.model_copy(update=told)

    @property
    def is_empty(self) -> bool:
        """Tell whether nothing is limited."""
        return all(value is None for _, value in self)


class ScopeKind(StrEnum):
    """Whom a limit holds for, the most specific first."""

    KEY = "key"
    SYMBOL = "symbol"
    STRATEGY = "strategy"
    ACCOUNT = "account"
    FIRM = "firm"


ScopeName = Annotated[str, StringConstraints(pattern=r"^(firm|(key|symbol|strategy|account):[\x20-\x7e]{1,64})$")]
"""How people name a scope: `firm`, `account:binanceus`, `strategy:momentum`, `symbol:BTC/USDT`, `key:desk`."""
FIRM: Final = "firm"


def scope_name(kind: ScopeKind, name: str = "") -> str:
    """Name a scope as people do."""
    return FIRM if kind is ScopeKind.FIRM else f"{kind}:{name}"


def scope_row(mode: TradingMode, name: str) -> str:
    """Name a scope's rows in the ledger: `paper/account:binanceus`. Modes are never mixed."""
    return f"{mode}/{name}"


def scopes_of(order: Order | OrderRequest) -> tuple[str, ...]:
    """Return the names of the scopes that an order belongs to, the most specific first."""
    ticket = order.ticket
    named = [(ScopeKind.KEY, order.requested_by), (ScopeKind.SYMBOL, ticket.symbol)]
    named += [(ScopeKind.STRATEGY, ticket.strategy), (ScopeKind.ACCOUNT, order.account), (ScopeKind.FIRM, "")]
    return tuple(scope_name(kind, name) for kind, name in named if name is not None)


class LimitSet(Frozen):
    """All limits at one moment. `accounts` says what every account's limits are where it says nothing itself."""

    accounts: Limits = Limits()
    by_scope: Mapping[ScopeName, Limits] = {}
    currency: str = "USDT"
    """Asset that sums over symbols are told in: the risk currency."""
    equal_assets: tuple[str, ...] = ("USDT", "USD", "USDC")
    """Assets that are worth one another for the purpose of limits."""

    def of(self, scope: str) -> Limits:
        """Return the limits of a scope by its name."""
        own = self.by_scope.get(scope, Limits())
        return own.over(self.accounts) if scope.startswith(f"{ScopeKind.ACCOUNT}:") else own

    def of_order(self, order: Order | OrderRequest) -> Mapping[str, Limits]:
        """Return the limits that hold for an order by the name of their scope, the most specific first."""
        found = {scope: self.of(scope) for scope in scopes_of(order)}
        return {scope: limits for scope, limits in found.items() if not limits.is_empty}

    def of_account(self, account: Account) -> Limits:
        """Return the limits of an account."""
        return self.of(scope_name(ScopeKind.ACCOUNT, account))


__all__ = [
    "FIRM",
    "LimitSet",
    "Limits",
    "ScopeKind",
    "ScopeName",
    "scope_name",
    "scope_row",
    "scopes_of",
]
