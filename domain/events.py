"""Facts of ours: what we did, and what we believe after looking at the venue. Recorded once, never changed."""

from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict

from domain.lifecycle import OrderEventType
from domain.numbers import Price, Quantity, SignedAmount
from domain.placement import Placement
from domain.triggers import Crossing


class _Fact(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Reason(_Fact):
    """Why: a stable code, a sentence, the numbers that led to it (as text), and the venue's own words, if any."""

    code: str
    text: str
    numbers: dict[str, str] = {}
    venue_text: str | None = None

    def __str__(self) -> str:
        operands = ", ".join(f"{name}={value}" for name, value in self.numbers.items())
        return f"{self.code}: {operands or self.text}"


class Commission(_Fact):
    """What the venue took, summed per asset. Below zero is a rebate."""

    asset: str
    amount: SignedAmount


class Fill(_Fact):
    """One trade of ours at the venue, as we believe it.

    Its key is (account, symbol, venue_order_id, trade_id): the venue numbers orders and trades per symbol at best.
    `commission` is `None` while the venue has not told it, which is not zero.
    """

    symbol: str
    venue_order_id: str
    trade_id: str
    last_qty: Quantity
    last_px: Price
    commission: SignedAmount | None = None
    commission_asset: str | None = None
    liquidity_side: str | None = None
    """`maker`, `taker` or not told."""
    ts_event: AwareDatetime
    """The venue's time of the trade."""

    @property
    def key(self) -> tuple[str, str, str]:
        """Name the trade within its account."""
        return (self.symbol, self.venue_order_id, self.trade_id)


class Arrival(_Fact):
    """The market as an order met it: what its execution is measured against. `None` where nobody gave a price."""

    bid: Price | None = None
    ask: Price | None = None
    last: Price | None = None
    told_at: AwareDatetime
    """When we were told."""
    source: Literal["quote", "mark"]
    """`quote`: asked for this order, moments before; `mark`: the ledger's latest word, up to 150 s old."""


class OrderEvent(_Fact):
    """One fact about one order. Which fields are set follows from `event_type`."""

    event_type: OrderEventType
    ts_event: AwareDatetime
    reason: Reason | None = None
    fill: Fill | None = None
    attempt: int | None = None
    client_order_id: str | None = None
    venue_order_id: str | None = None
    quantity: Quantity | None = None
    price: Price | None = None
    requested_by: str | None = None
    placement: Placement | None = None
    """Where the order is worked, as it was admitted."""
    watch_since: AwareDatetime | None = None
    """From when on trades count for a stop that we hold, by the venue's time."""
    crossing: Crossing | None = None
    """What triggered it."""
    arrival: Arrival | None = None
    """The market when it was admitted; `None` when nothing fresh was known of it."""
