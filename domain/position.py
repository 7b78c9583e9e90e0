"""What is held of a symbol, from our own fills, by average cost. Exact, also when a position flips through zero.

A commission in the base asset lessens what is held and leaves its cost as it is; one in the quote asset lessens the
realized profit; one in a third asset is kept with the fill and changes neither.
"""

from decimal import Decimal

from domain.events import Fill
from domain.numbers import EXACT, SignedAmount, add, multiply, subtract, to_scale
from domain.order import Frozen, OrderSide


class Holding(Frozen):
    """Running figures of one symbol: `amount` in base units, below zero when short; the rest in quote units."""

    amount: SignedAmount = Decimal(0)
    cost: SignedAmount = Decimal(0)
    """What the amount held was bought for; below zero: what a short was sold for."""
    realized_pnl: SignedAmount = Decimal(0)

    @property
    def entry_price(self) -> Decimal | None:
        """Average cost, quote per base; `None` when nothing is held."""
        return to_scale(EXACT.divide(self.cost, self.amount)) if self.amount else None

    def after(self, fill: Fill, *, side: OrderSide) -> "Holding":
        """Return the holding after a fill."""
        base_asset, quote_asset = fill.symbol.split("/")
        quantity = fill.last_qty if side is OrderSide.BUY else EXACT.minus(fill.last_qty)
        closing = _closing_part(self.amount, quantity)
        closed_cost = EXACT.divide(multiply(self.cost, closing), self.amount) if closing else Decimal(0)
        proceeds = multiply(closing, fill.last_px)
        realized = add(self.realized_pnl, subtract(proceeds, closed_cost))
        amount = add(self.amount, quantity)
        opening = add(quantity, closing)
        cost = add(subtract(self.cost, closed_cost), multiply(opening, fill.last_px))
        if fill.commission is not None and fill.commission_asset == base_asset:
            amount = subtract(amount, fill.commission)
        if fill.commission is not None and fill.commission_asset == quote_asset:
            realized = subtract(realized, fill.commission)
        return Holding(
            amount=to_scale(amount), cost=to_scale(cost if amount else Decimal(0)), realized_pnl=to_scale(realized)
        )


def _closing_part(held: Decimal, quantity: Decimal) -> Decimal:
    """Return how much of what is held (with its sign) a signed quantity closes."""
    if held == 0 or (held > 0) == (quantity > 0):
        return Decimal(0)
    size = min(abs(held), abs(quantity))
    return size if held > 0 else EXACT.minus(size)
