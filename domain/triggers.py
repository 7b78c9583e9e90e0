"""Stops that we hold: what makes them trigger, and what is on record of the moment when it did.

A held stop waits for a price of its symbol at or beyond its trigger: above for a buy, below for a sell. One trade is
enough, however far it jumped and whatever the price did afterwards. What is looked at twice triggers once.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Final, Protocol

from pydantic import AwareDatetime, BaseModel, ConfigDict

from domain.numbers import Price, divide_to_scale

LISTED_LATE: Final = timedelta(seconds=60)
"""This long after it was admitted, at the latest, an order is on the list of those that wait: that takes a commit."""


class TriggerBy(StrEnum):
    """Which price triggers a stop."""

    LAST = "last"
    """Any public trade. None is missed that the venue still shows, also from before a restart."""
    MID = "mid"
    """The middle of best bid and ask, as seen at each look: a venue keeps no record of it in between."""


class _Fact(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PublicTrade(_Fact):
    """One trade of anybody's in a symbol, as the venue shows it."""

    trade_id: str
    price: Price
    ts_event: AwareDatetime
    """The venue's time."""


class Crossing(_Fact):
    """What triggered a stop: one trade, or best bid and ask at one look."""

    by: TriggerBy
    price: Price
    """Quote units per base unit, at the trigger or beyond."""
    ts_event: AwareDatetime
    """The venue's time of the trade or of its prices."""
    seen_at: AwareDatetime
    """When we saw it."""
    trade_id: str | None = None
    bid: Price | None = None
    ask: Price | None = None


class Mark(_Fact):
    """How far an account has looked through the public trades of a symbol."""

    symbol: str
    until: AwareDatetime
    """The venue's time of the latest trade that was looked at; later ones were not."""
    listed_at: AwareDatetime
    """When the orders were listed that were looked at it for, by the worker's clock."""


class Waiting(Protocol):
    """What a look needs to know of a waiting order: `domain.order.Order` has it."""

    @property
    def is_buy(self) -> bool:
        """Whether a price at or above the trigger meets it."""

    @property
    def trigger_price(self) -> Decimal | None:
        """Quote units per base unit."""

    @property
    def watch_since(self) -> datetime | None:
        """From when on trades count, by the venue's time."""

    @property
    def updated_at(self) -> datetime:
        """When it was admitted, by the worker's clock."""


def is_met(*, is_buy: bool, trigger_price: Decimal, price: Decimal) -> bool:
    """Tell whether a price is at the trigger or beyond: above for a buy, below for a sell."""
    return price >= trigger_price if is_buy else price <= trigger_price


def middle(bid: Decimal, ask: Decimal) -> Decimal:
    """Return the middle of best bid and ask."""
    return divide_to_scale(bid + ask, Decimal(2))


def first_crossing(order: Waiting, trades: Iterable[PublicTrade], *, seen_at: datetime) -> Crossing | None:
    """Return the first of the trades, oldest first, that meets the order's trigger; earlier ones do not count."""
    trigger, since = order.trigger_price, order.watch_since
    if trigger is None or since is None:
        return None
    for trade in trades:
        if trade.ts_event >= since and is_met(is_buy=order.is_buy, trigger_price=trigger, price=trade.price):
            return Crossing(
                by=TriggerBy.LAST,
                price=trade.price,
                ts_event=trade.ts_event,
                seen_at=seen_at,
                trade_id=trade.trade_id,
            )
    return None


def mid_crossing(
    order: Waiting, *, bid: Decimal | None, ask: Decimal | None, ts_event: datetime, seen_at: datetime
) -> Crossing | None:
    """Return what meets the trigger of an order that goes by the mid price; `None` also while a side is empty."""
    trigger = order.trigger_price
    if trigger is None or bid is None or ask is None:
        return None
    price = middle(bid, ask)
    if not is_met(is_buy=order.is_buy, trigger_price=trigger, price=price):
        return None
    return Crossing(by=TriggerBy.MID, price=price, ts_event=ts_event, seen_at=seen_at, bid=bid, ask=ask)


def start_of_look(orders: Sequence[Waiting], mark: Mark | None) -> datetime | None:
    """Return from when on the trades must be read so that none is missed for any of the orders; `None`: no order.

    The mark says what was read before, but only for the orders that were on the list then. One that may have come
    onto it afterwards is looked at from its own start; what is read twice changes nothing.
    """
    starts = []
    for order in orders:
        if order.watch_since is None:
            continue
        known = mark is not None and order.updated_at < mark.listed_at - LISTED_LATE
        starts.append(max(mark.until, order.watch_since) if known and mark is not None else order.watch_since)
    return min(starts, default=None)
