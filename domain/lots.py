"""Lots for tax records: which trades opened what a trade closes, first in first out or at the average of all held.

Trades are taken one after the other in the venue's time order. What is held is a row of lots, all long or all short;
by average cost it is one lot. A trade closes lots from the oldest on and opens one with the rest, so a flip is two
things at once. Every figure is exact to 18 digits after the point: a share is rounded once, what is rounded off stays
with the rest, and the last share takes all that is left.

A commission in the base asset lessens what is held and leaves its cost as it is: the lot that the same trade opened,
else the oldest. Commissions in other assets go along with their lots, in proportion, and are told beside the gain.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from domain.events import Fill
from domain.numbers import EXACT, add, multiply, subtract, to_scale
from domain.order import OrderSide
from domain.position import share
from domain.valuation import commission_value

ZERO = Decimal(0)


class Method(StrEnum):
    """Which cost a disposal has."""

    FIFO = "fifo"
    AVERAGE = "average"


@dataclass(frozen=True, slots=True)
class Trade:
    """A fill, and what the ledger knows of it besides."""

    order_id: str
    side: OrderSide
    fill: Fill
    price_of_fee: Decimal | None = None
    """Quote units that one unit of a third commission asset was worth at the time; `None` when not known."""


@dataclass(frozen=True, slots=True)
class Fee:
    """What was taken in one asset; `value` in quote units at the trade's time, `None` when not known."""

    amount: Decimal
    value: Decimal | None

    def plus(self, other: "Fee") -> "Fee":
        """Return the sum; its value is not known when one of them is not."""
        known = self.value is not None and other.value is not None
        return Fee(add(self.amount, other.amount), add(self.value or ZERO, other.value or ZERO) if known else None)

    def split(self, part: Decimal, whole: Decimal) -> tuple["Fee", "Fee"]:
        """Return the share of a part, and the rest."""
        amount = share(self.amount, part, whole)
        if self.value is None:
            return Fee(amount, None), Fee(subtract(self.amount, amount), None)
        value = share(self.value, part, whole)
        return Fee(amount, value), Fee(subtract(self.amount, amount), subtract(self.value, value))


@dataclass(frozen=True, slots=True)
class Fees:
    """What was taken, by asset. `complete` is false while the venue has not told a trade's commission."""

    by_asset: Mapping[str, Fee] = field(default_factory=dict)
    complete: bool = True

    def plus(self, other: "Fees") -> "Fees":
        """Return the sum."""
        merged = dict(self.by_asset)
        for asset, fee in other.by_asset.items():
            merged[asset] = merged[asset].plus(fee) if asset in merged else fee
        return Fees(merged, self.complete and other.complete)

    def split(self, part: Decimal, whole: Decimal) -> tuple["Fees", "Fees"]:
        """Return the share of a part, and the rest."""
        if not self.by_asset:
            return self, self
        shares = {asset: fee.split(part, whole) for asset, fee in self.by_asset.items()}
        return (
            Fees({asset: share for asset, (share, _) in shares.items()}, self.complete),
            Fees({asset: rest for asset, (_, rest) in shares.items()}, self.complete),
        )

    def value_besides(self, base_asset: str) -> Decimal | None:
        """Return the quote units of all fees but those in the base asset, which the quantities have in them already."""
        total = ZERO
        for asset, fee in self.by_asset.items():
            if asset == base_asset:
                continue
            if fee.value is None:
                return None
            total = add(total, fee.value)
        return total if self.complete else None


@dataclass(frozen=True, slots=True)
class Leg:
    """The trade on one side of a disposal."""

    order_id: str
    venue_order_id: str
    trade_id: str
    at: datetime
    """The venue's time."""


@dataclass(frozen=True, slots=True)
class Lot:
    """What one trade opened and is still held: base units and their cost in quote units, both below zero when short.

    By average cost it is all that is held, and its leg the trade that opened the position.
    """

    opened: Leg
    quantity: Decimal
    cost: Decimal
    fees: Fees

    def split(self, size: Decimal) -> tuple["Lot", "Lot | None"]:
        """Return the part of that size (without sign), and the rest if there is one."""
        if size == self.quantity.copy_abs():
            return self, None
        quantity = size.copy_sign(self.quantity)
        cost = share(self.cost, quantity, self.quantity)
        fees, left = self.fees.split(quantity, self.quantity)
        part = replace(self, quantity=quantity, cost=cost, fees=fees)
        return part, replace(
            self, quantity=subtract(self.quantity, quantity), cost=subtract(self.cost, cost), fees=left
        )

    def plus(self, other: "Lot") -> "Lot":
        """Return both as one lot."""
        return replace(
            self,
            quantity=add(self.quantity, other.quantity),
            cost=add(self.cost, other.cost),
            fees=self.fees.plus(other.fees),
        )


@dataclass(frozen=True, slots=True)
class Disposal:
    """What was opened by one trade and closed by another. Proceeds, cost and gain in quote units.

    A long is bought first, a short is sold first: its proceeds come from the trade that opened it.
    """

    symbol: str
    method: Method
    is_short: bool
    quantity: Decimal
    opened: Leg
    closed: Leg
    proceeds: Decimal
    cost: Decimal
    fees: Fees
    """The shares of both trades' commissions."""
    by_fee: bool = False
    """Whether a commission in the base asset took it, and no trade: then nothing came in for it."""

    @property
    def gain(self) -> Decimal:
        """What was won, before commissions in other assets than the base."""
        return subtract(self.proceeds, self.cost)

    @property
    def net_gain(self) -> Decimal | None:
        """What was won after all commissions; `None` when one of them, or its worth, is not known."""
        value = self.fees.value_besides(self.symbol.split("/")[0])
        return subtract(self.gain, value) if value is not None else None

    @property
    def held_for(self) -> timedelta | None:
        """How long it was held; what has an average cost has no time of its own."""
        return self.closed.at - self.opened.at if self.method is Method.FIFO else None


class Book:
    """The lots of one symbol in one account."""

    def __init__(self, method: Method) -> None:
        self.method = method
        self.lots: deque[Lot] = deque()

    def take(self, trade: Trade) -> Sequence[Disposal]:
        """Take the next trade in the venue's time order, and return what it closed."""
        fill = trade.fill
        paid = to_scale(multiply(fill.last_qty, fill.last_px))
        leg = Leg(trade.order_id, fill.venue_order_id, fill.trade_id, fill.ts_event)
        if trade.side is OrderSide.BUY:
            left: Lot | None = Lot(leg, fill.last_qty, paid, _fees_of(trade))
        else:
            left = Lot(leg, EXACT.minus(fill.last_qty), EXACT.minus(paid), _fees_of(trade))
        disposals: list[Disposal] = []
        while left is not None and left.quantity and self.lots and (self.lots[0].quantity > 0) != (left.quantity > 0):
            size = min(left.quantity.copy_abs(), self.lots[0].quantity.copy_abs())
            closing, left = left.split(size)
            closed, kept = self.lots[0].split(size)
            self._put(0, kept)
            disposals.append(self._disposal(fill, closed, closing))
        if left is not None and left.quantity:
            self._open(left)
        if fill.commission and fill.commission_asset == fill.symbol.split("/")[0]:
            disposals += self._lessen(fill, leg, own=left is not None)
        return disposals

    def _open(self, lot: Lot) -> None:
        if self.method is Method.AVERAGE and self.lots:
            self.lots[0] = self.lots[0].plus(lot)
        else:
            self.lots.append(lot)

    def _put(self, index: int, lot: Lot | None) -> None:
        if lot is None:
            del self.lots[index]
        else:
            self.lots[index] = lot

    def _disposal(self, fill: Fill, closed: Lot, closing: Lot, *, by_fee: bool = False) -> Disposal:
        is_short = closed.quantity < 0
        bought, sold = (closing, closed) if is_short else (closed, closing)
        return Disposal(
            symbol=fill.symbol,
            method=self.method,
            is_short=is_short,
            quantity=closed.quantity.copy_abs(),
            opened=closed.opened,
            closed=closing.opened,
            proceeds=EXACT.minus(sold.cost),
            cost=bought.cost,
            fees=closed.fees.plus(closing.fees),
            by_fee=by_fee,
        )

    def _lessen(self, fill: Fill, leg: Leg, *, own: bool) -> Sequence[Disposal]:
        """Take a commission (give a rebate) in the base asset; the cost of a lot that is used up goes to the next."""
        change = EXACT.minus(fill.commission or ZERO)
        index = -1 if own else 0
        while change and self.lots:
            lot = self.lots[index]
            left = add(lot.quantity, change)
            if left and (left > 0) == (lot.quantity > 0):
                self.lots[index] = replace(lot, quantity=left)
                return ()
            del self.lots[index]
            if not self.lots:
                self._begin(leg, left)
                return (self._disposal(fill, lot, Lot(leg, EXACT.minus(lot.quantity), ZERO, Fees()), by_fee=True),)
            heir = self.lots[index]
            self.lots[index] = replace(heir, cost=add(heir.cost, lot.cost), fees=heir.fees.plus(lot.fees))
            change = left
        self._begin(leg, change)
        return ()

    def _begin(self, leg: Leg, quantity: Decimal) -> None:
        """Hold what a commission or a rebate left over: it has cost nothing."""
        if quantity:
            self.lots.append(Lot(leg, quantity, ZERO, Fees()))


def _fees_of(trade: Trade) -> Fees:
    fill = trade.fill
    if fill.commission is None or (fill.commission_asset is None and fill.commission != 0):
        return Fees(complete=False)
    if fill.commission == 0 or fill.commission_asset is None:
        return Fees()
    return Fees({fill.commission_asset: Fee(fill.commission, commission_value(fill, trade.price_of_fee))})
