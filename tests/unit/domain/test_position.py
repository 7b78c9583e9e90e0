"""Holdings against an independent reckoning in fractions: longs, shorts, flips and commissions of every kind."""

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from domain.order import OrderSide
from domain.position import Holding
from tests.factories import make_fill

TOLERANCE = Fraction(1, 10**15)
"""Each fill may round at the eighteenth digit; thirty of them stay far below this."""
SCALE_UNIT = Fraction(1, 10**18)


@dataclass
class Reference:
    """Average cost the other way round: signed lots of one entry price, in fractions."""

    amount: Fraction = Fraction(0)
    entry: Fraction = Fraction(0)
    realized: Fraction = Fraction(0)

    def trade(self, quantity: Fraction, price: Fraction) -> None:
        """Take a signed quantity: what has the other sign closes first, the rest opens at this price."""
        if self.amount * quantity < 0:
            closed = min(abs(self.amount), abs(quantity)) * (1 if self.amount > 0 else -1)
            self.realized += closed * (price - self.entry)
            self.amount -= closed
            quantity += closed
        if quantity:
            held = self.amount + quantity
            self.entry = (self.amount * self.entry + quantity * price) / held
            self.amount = held

    def commission(self, asset: str, amount: Fraction) -> None:
        """Taken from the base it lessens the amount, and what was paid stays paid; from the quote, the profit."""
        if asset == "USDT":
            self.realized -= amount
        if asset == "BTC":
            paid = self.amount * self.entry
            self.amount -= amount
            self.entry = paid / self.amount if self.amount else Fraction(0)


figures = st.decimals("0.0001", "1000", places=4)
trades = st.tuples(
    st.sampled_from(OrderSide),
    figures,
    figures,
    st.sampled_from([None, "BTC", "USDT", "BNB"]),
    st.decimals("0", "0.00001", places=8),
)


@given(st.lists(trades, max_size=12))
def test_holding_agrees_with_the_reckoning_in_fractions(
    steps: list[tuple[OrderSide, Decimal, Decimal, str | None, Decimal]],
) -> None:
    holding, reference = Holding(), Reference()
    for side, quantity, price, asset, commission in steps:
        fee = {"commission": commission if asset else None, "commission_asset": asset}
        holding = holding.after(make_fill(last_qty=quantity, last_px=price, **fee), side=side)
        reference.trade(Fraction(quantity) * (1 if side is OrderSide.BUY else -1), Fraction(price))
        if asset:
            reference.commission(asset, Fraction(commission))
    assert Fraction(holding.amount) == reference.amount
    assert abs(Fraction(holding.realized_pnl) - reference.realized) < TOLERANCE
    assert abs(Fraction(holding.cost) - reference.amount * reference.entry) < TOLERANCE
    if holding.amount:
        assert holding.entry_price is not None
        assert abs(Fraction(holding.entry_price) - reference.entry) < TOLERANCE / abs(reference.amount) + SCALE_UNIT
    else:
        assert (holding.entry_price, holding.cost) == (None, 0)


@given(figures, figures, figures, st.sampled_from(OrderSide))
def test_a_round_trip_realizes_exactly_the_difference(
    quantity: Decimal, entry: Decimal, leave: Decimal, side: OrderSide
) -> None:
    other = OrderSide.SELL if side is OrderSide.BUY else OrderSide.BUY
    plain = {"commission": None, "commission_asset": None, "last_qty": quantity}
    held = Holding().after(make_fill(**plain, last_px=entry), side=side)
    done = held.after(make_fill(**plain, last_px=leave), side=other)
    gain = Fraction(quantity) * (Fraction(leave) - Fraction(entry)) * (1 if side is OrderSide.BUY else -1)
    assert (done.amount, done.cost, Fraction(done.realized_pnl)) == (0, 0, gain)
