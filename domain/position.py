"""What is held of a symbol, from our own fills, by average cost. Exact, also when a position flips through zero.

A commission in the base asset lessens what is held and leaves its cost as it is; one in the quote asset lessens the
realized profit; one in a third asset is kept with the fill and changes neither. So at any time what was realized, less
the cost of what is held, is to the last digit the money that the trades have brought in.
"""

from decimal import Decimal

from domain.events import Fill
from domain.numbers import EXACT, Quantity, SignedAmount, add, divide_to_scale, multiply, subtract, to_scale
from domain.order import Frozen, OrderSide

ZERO = Decimal(0)


class Holding(Frozen):
    """Running figures of one symbol: `amount` and `traded` in base units, below zero when short; the rest in quote."""

    amount: SignedAmount = ZERO
    cost: SignedAmount = ZERO
    """What the amount held was bought for; below zero: what a short was sold for."""
    realized_pnl: SignedAmount = ZERO
    traded: SignedAmount = ZERO
    """The trades' quantity of what is held, before commissions in the base asset: what position limits count.

    It falls as the amount does, in proportion, and is zero whenever all that was held is closed.
    """

    @property
    def entry_price(self) -> Decimal | None:
        """Average cost, quote per base; `None` when nothing is held."""
        return to_scale(EXACT.divide(self.cost, self.amount)) if self.amount else None

    def after(self, fill: Fill, *, side: OrderSide) -> "Holding":
        """Return the holding after a fill."""
        return self.moved(fill, side=side).holding

    def moved(self, fill: Fill, *, side: OrderSide) -> "Movement":
        """Return what a fill does to the holding."""
        buying = side is OrderSide.BUY
        notional = to_scale(multiply(fill.last_qty, fill.last_px))  # as the balances move
        quantity, paid = (fill.last_qty, notional) if buying else (EXACT.minus(fill.last_qty), EXACT.minus(notional))
        closing = closing_part(self.amount, quantity)
        opening = add(quantity, closing)
        proceeds = share(paid, closing, quantity)
        closed_cost, closed_traded = share(self.cost, closing, self.amount), share(self.traded, closing, self.amount)
        realized = subtract(proceeds, closed_cost)
        amount = add(self.amount, quantity)
        cost = add(subtract(self.cost, closed_cost), add(paid, proceeds))
        traded = add(subtract(self.traded, closed_traded), opening)
        base_asset, quote_asset = fill.symbol.split("/")
        if fill.commission is not None and fill.commission_asset == quote_asset:
            realized = subtract(realized, fill.commission)
        if fill.commission is not None and fill.commission_asset == base_asset:
            left = subtract(amount, fill.commission)
            if left == 0 or (left > 0) != (amount > 0):  # it took all that was held, and what that had cost
                realized, cost, traded = subtract(realized, cost), ZERO, ZERO
            amount = left
        total = add(self.realized_pnl, realized)
        holding = Holding(amount=amount, cost=cost, realized_pnl=total, traded=traded)
        return Movement(holding=holding, realized=realized, closed=closing.copy_abs())


class Movement(Frozen):
    """What one fill did."""

    holding: Holding
    """What is held after it."""
    realized: SignedAmount
    """Profit that it realized, in quote units; a commission in the quote asset is taken off."""
    closed: Quantity
    """Base units of the earlier holding that it closed."""


def closing_part(held: Decimal, quantity: Decimal) -> Decimal:
    """Return how much of what is held (with its sign) a signed quantity closes."""
    if held == 0 or (held > 0) == (quantity > 0):
        return ZERO
    size = min(held.copy_abs(), quantity.copy_abs())  # abs() would round by the process-wide context
    return size if held > 0 else EXACT.minus(size)


def share(of: Decimal, part: Decimal, whole: Decimal) -> Decimal:
    """Return what belongs to a part, rounded to the ledger's scale; all of it when the part is the whole."""
    return divide_to_scale(multiply(of, part), whole) if part else ZERO
