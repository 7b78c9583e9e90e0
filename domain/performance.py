"""How well orders were executed: one row of figures an order, and sums of them. docs/execution-quality.md defines each.

Costs are positive, gains negative, for both sides. Money is in the symbol's quote asset, ratios in basis points (bps).
What is not known is `None`, never zero; a sum counts only the orders that know the figure, and says how many.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Final, Protocol

from pydantic import AwareDatetime

from domain.lifecycle import OrderStatus
from domain.numbers import Amount, Notional, Price, Quantity, SignedAmount
from domain.order import Frozen, OrderSide, OrderType, TradingMode

STAGES: Final = ("admit", "send", "venue", "first_fill", "last_fill", "persist")
"""Stages of an order's life that are timed, in microseconds; `first_fill` and `last_fill` count from the admission."""


class GroupBy(StrEnum):
    """What orders are put together by; besides, always by mode and by currency."""

    SYMBOL = "symbol"
    STRATEGY = "strategy"
    VENUE = "venue"
    ACCOUNT = "account"


class Selection(Frozen):
    """Which orders are looked at: placed from `since` on, before `until`."""

    accounts: Mapping[str, TradingMode]
    """Each in one mode: paper and real money are never mixed."""
    since: AwareDatetime
    until: AwareDatetime
    symbol: str | None = None
    strategy: str | None = None
    venue: str | None = None


class OrderPerformance(Frozen):
    """One ended order. Times are UTC, latencies whole microseconds by the ledger's clock."""

    account: str
    order_id: str
    placed_at: AwareDatetime
    mode: TradingMode
    venue: str
    symbol: str
    currency: str
    side: OrderSide
    order_type: OrderType
    strategy: str | None
    status: OrderStatus
    quantity: Quantity
    cum_qty: Quantity
    fill_ratio: Amount | None
    fills: int
    arrival_price: Price | None
    arrival_source: str | None
    arrival_spread_bps: SignedAmount | None
    avg_px: Price | None
    mid_price: Price | None
    notional: Notional | None
    slippage_bps: SignedAmount | None
    mid_slippage_bps: SignedAmount | None
    fees_value: SignedAmount | None
    execution_cost: SignedAmount | None
    opportunity_cost: SignedAmount | None
    shortfall: SignedAmount | None
    shortfall_bps: SignedAmount | None
    first_fill_at: AwareDatetime | None
    last_fill_at: AwareDatetime | None
    ended_at: AwareDatetime | None
    admit_us: int | None
    send_us: int | None
    venue_us: int | None
    first_fill_us: int | None
    last_fill_us: int | None
    persist_us: int | None


class Quantiles(Frozen):
    """Of those that know the figure: half are at or below `p50`, 95 of 100 at or below `p95`."""

    p50: SignedAmount | None
    p95: SignedAmount | None


class Latency(Frozen):
    """Quantiles of a stage, in microseconds."""

    p50: int | None
    p95: int | None


class PerformanceGroup(Frozen):
    """Orders of one mode and currency that have the key in common."""

    key: str
    """Empty: orders without a strategy."""
    mode: TradingMode
    currency: str
    orders: int
    filled: int
    """Orders of which anything was filled."""
    fill_ratio: Amount | None
    """The mean of the orders' ratios."""
    notional: Notional
    with_arrival: int
    """Orders with fills whose arrival price is known: the slippage is theirs."""
    slippage_bps: SignedAmount | None
    """Weighted by notional at the arrival price."""
    slippage: Quantiles
    with_mid: int
    mid_slippage_bps: SignedAmount | None
    with_fees: int
    """Orders with fills whose fees are known in the currency."""
    fees_value: SignedAmount
    fees_bps: SignedAmount | None
    with_shortfall: int
    shortfall: SignedAmount
    shortfall_bps: SignedAmount | None
    latency_us: Mapping[str, Latency]
    """By stage."""


class PerformanceReader(Protocol):
    """Execution quality as people read it. Raises `StoreUnavailable`."""

    async def groups(self, selection: Selection, by: GroupBy) -> Sequence[PerformanceGroup]:
        """Return the sums, by key."""

    async def orders(
        self, selection: Selection, *, limit: int, before: tuple[datetime, str] | None
    ) -> Sequence[OrderPerformance]:
        """Return up to `limit` orders, newest first, from before one named by its time and id."""
