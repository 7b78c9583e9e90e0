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
            paid, held = self.amount * self.entry, self.amount
            self.amount -= amount
            if self.amount * held <= 0:
                self.realized -= paid
                self.entry = Fraction(0)
            else:
                self.entry = paid / self.amount


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


FREE = {"commission": None, "commission_asset": None}
IN_BASE = {"commission": Decimal("0.000001"), "commission_asset": "BTC"}


def test_buying_counts_the_whole_trades_though_the_fee_is_taken_in_the_base_asset() -> None:
    holding = Holding()
    for _ in range(3217):
        holding = holding.after(make_fill(last_qty=Decimal("0.001"), **IN_BASE), side=OrderSide.BUY)
    assert (holding.traded, holding.amount) == (Decimal("3.217"), Decimal("3.213783"))


@given(st.lists(figures, min_size=1, max_size=8), figures, st.sampled_from(OrderSide))
def test_closing_all_that_is_held_leaves_nothing_counted(
    opened: list[Decimal], price: Decimal, side: OrderSide
) -> None:
    other = OrderSide.SELL if side is OrderSide.BUY else OrderSide.BUY
    holding = Holding()
    for quantity in opened:
        holding = holding.after(make_fill(last_qty=quantity, last_px=price, **IN_BASE), side=side)
    part = abs(holding.amount) / 3
    for quantity in (part.quantize(Decimal("0.00000001")), None):
        left = quantity if quantity is not None else abs(holding.amount)
        holding = holding.after(make_fill(last_qty=left, last_px=price, **FREE), side=other)
    assert (holding.amount, holding.traded, holding.cost) == (0, 0, 0)


def test_a_flip_tells_what_it_closed_and_realized_and_counts_the_rest_as_opened() -> None:
    held = Holding().after(make_fill(last_qty=Decimal(1), last_px=Decimal(100), **IN_BASE), side=OrderSide.BUY)
    fee = {"commission": Decimal("0.5"), "commission_asset": "USDT"}
    moved = held.moved(make_fill(last_qty=Decimal(3), last_px=Decimal(90), **fee), side=OrderSide.SELL)
    assert moved.closed == Decimal("0.999999")
    assert moved.realized == moved.holding.realized_pnl == Decimal("0.999999") * 90 - 100 - Decimal("0.5")
    assert moved.holding.traded == moved.holding.amount == Decimal("-2.000001")
    opened = Holding().moved(make_fill(**FREE), side=OrderSide.SELL)
    assert (opened.closed, opened.realized) == (0, 0)


@given(st.lists(trades, max_size=12))
def test_what_was_realized_less_the_cost_held_is_the_money_that_came_in(
    steps: list[tuple[OrderSide, Decimal, Decimal, str | None, Decimal]],
) -> None:
    holding, money = Holding(), Fraction(0)
    for side, quantity, price, asset, commission in steps:
        fee = {"commission": commission if asset else None, "commission_asset": asset}
        holding = holding.after(make_fill(last_qty=quantity, last_px=price, **fee), side=side)
        money += Fraction(quantity * price) * (-1 if side is OrderSide.BUY else 1)
        money -= Fraction(commission) if asset == "USDT" else 0
        assert holding.traded * holding.amount >= 0, "both on one side"
        assert abs(holding.traded) >= abs(holding.amount) or holding.amount <= 0, "a fee never raises what is long"
    assert Fraction(holding.realized_pnl) - Fraction(holding.cost) == money
