"""Positions and lots against a reckoning of another kind, in fractions, over as many random fills as wanted.

    python -m tests.unit.domain.reference_positions --fills 1000000 --seed 1

Average cost: everything since the position was last flat is kept, and its cost is told by going back over it: what each
trade paid, times the shares that later trades left of it. FIFO: what was opened lies one piece after the other on a
line, each with a price per unit, and a trade that closes cuts a length off the line's front.
"""

import argparse
import itertools
import random
import secrets
import sys
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext
from fractions import Fraction

from domain.events import Fill
from domain.lots import Book, Disposal, Method, Trade
from domain.numbers import EXACT, plain
from domain.order import OrderSide
from domain.position import Holding

DIGIT = Fraction(1, 10**18)
"""The last digit that the ledger keeps; each fill may round by it."""
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
CHECK_COST_EVERY = 7


def random_trades(generator: random.Random, fills: int) -> Iterator[Trade]:
    """Yield trades that close, flip, leave dust, and pay, or are paid, commissions in every kind of asset."""
    held = price = Decimal(0)
    for number in range(fills):
        with localcontext(EXACT):
            if number % 500 == 0:
                price = Decimal(generator.randrange(1, 10**9)).scaleb(-generator.choice((2, 5, 8)))
            price = max((price * generator.randrange(9500, 10520) / 10_000).quantize(DUST), DUST)
            trade, held = _random_trade(generator, number, price, held)
        yield trade


def _random_trade(generator: random.Random, number: int, price: Decimal, held: Decimal) -> tuple[Trade, Decimal]:
    """Return the next trade, and what is held after it."""
    quantity, buying = _quantity(generator, held), generator.random() < 0.5
    if held and (abs(held) > LARGE or generator.random() < 0.15):
        quantity, buying = abs(held), held < 0
    asset, commission = _commission(generator, quantity, price)
    held += (quantity if buying else -quantity) - (commission or 0 if asset == "BTC" else 0)
    fill = Fill(
        symbol="BTC/USDT",
        venue_order_id=str(number // 3),
        trade_id=str(number),
        last_qty=quantity,
        last_px=price,
        commission=commission,
        commission_asset=asset,
        ts_event=EPOCH + timedelta(seconds=number),
    )
    known = asset == "BNB" and generator.random() < 0.9
    price_of_fee = Decimal(generator.randrange(1, 900)) if known else None
    return Trade(f"a{number // 3}", OrderSide.BUY if buying else OrderSide.SELL, fill, price_of_fee), held


LARGE = Decimal(100_000)
DUST = Decimal("1e-8")


def _quantity(generator: random.Random, held: Decimal) -> Decimal:
    kind = generator.random()
    if kind < 0.05:
        return Decimal(generator.randrange(1, 1000)).scaleb(-18)
    if kind < 0.3 and held:
        return max((abs(held) * generator.randrange(1, 300) / 100).quantize(DUST), DUST)
    return Decimal(generator.randrange(1, 10**7)).scaleb(-generator.choice((3, 5, 8)))


def _commission(generator: random.Random, quantity: Decimal, price: Decimal) -> tuple[str | None, Decimal | None]:
    kind = generator.choice(("BTC", "BTC", "USDT", "USDT", "BNB", "none", "unknown"))
    if kind in ("none", "unknown"):
        return None, Decimal(0) if kind == "none" else None
    rate = Decimal(generator.choice((10, 10, 10, 7, 1, -2))).scaleb(-4)
    base = quantity if kind == "BTC" else quantity * price
    digits = Decimal(1).scaleb(-generator.choice((8, 8, 12, 18)))
    amount = (base * rate).quantize(digits)
    if kind == "BTC" and generator.random() < 0.01:
        amount = (quantity * generator.choice((1, 2, -1))).quantize(digits)  # a fee as large as the trade
    return kind, amount


@dataclass
class Replay:
    """Average cost by going back over all trades since the position was last flat."""

    amount: Fraction = Fraction(0)
    money: Fraction = Fraction(0)
    """All that came in and went out."""
    lost: Fraction = Fraction(0)
    since_flat: list[tuple[Fraction, Fraction, Fraction]] = field(default_factory=list)
    """For each trade the share of the earlier that it left, what it opened, and what it paid for that."""

    def take(self, trade: Trade) -> None:
        """Take a trade, then its commission."""
        fill = trade.fill
        size, price = Fraction(fill.last_qty), Fraction(fill.last_px)
        signed = size if trade.side is OrderSide.BUY else -size
        self.money -= signed * price
        after = self.amount + signed
        if self.amount * signed >= 0:
            self.since_flat.append((Fraction(1), signed, signed * price))
        elif after * self.amount > 0:
            self.since_flat.append((after / self.amount, Fraction(0), Fraction(0)))
        else:
            self.since_flat = [(Fraction(0), after, after * price)]
        self.amount = after
        if fill.commission is None:
            return
        if fill.commission_asset == "USDT":
            self.money -= Fraction(fill.commission)
        if fill.commission_asset == "BTC":
            self.amount -= Fraction(fill.commission)
            if self.amount * after <= 0:
                self.since_flat = []
        if self.amount == 0:
            self.since_flat = []

    def cost(self) -> Fraction:
        """Return what is held was bought for."""
        return self._sum(2)

    def traded(self) -> Fraction:
        """Return the trades' quantity of what is held."""
        return self._sum(1)

    def _sum(self, index: int) -> Fraction:
        total, left = Fraction(0), Fraction(1)
        for entry in reversed(self.since_flat):
            total += entry[index] * left
            left *= entry[0]
            if not left:
                break
        return total


@dataclass
class Piece:
    """What a trade opened: it ends at `end` on the line, and each unit of it has cost `price`."""

    end: Fraction
    price: Fraction
    trade_id: str


Line = tuple[str, str, Fraction, Fraction, Fraction]
"""Opened by, closed by, size, proceeds and cost, as a disposal tells them."""


class Axis:
    """FIFO on a line: pieces one after the other, cut off at the front. `sign` tells whether they are long or short."""

    def __init__(self) -> None:
        self.front = Fraction(0)
        self.sign = 1
        self.pieces: list[Piece] = []
        self.first = 0

    @property
    def length(self) -> Fraction:
        """Return how much is held, without sign."""
        return self.pieces[-1].end - self.front if self.first < len(self.pieces) else Fraction(0)

    def take(self, trade: Trade) -> list[Line]:
        """Take a trade and its commission; return what was closed."""
        fill = trade.fill
        size, price = Fraction(fill.last_qty), Fraction(fill.last_px)
        sign = 1 if trade.side is OrderSide.BUY else -1
        cut = min(size, self.length) if self.length and sign != self.sign else Fraction(0)
        lines = list(self._cut(cut, price, fill.trade_id))
        opened = size > cut
        if opened:
            self._lay(size - cut, sign, price, fill.trade_id)
        if fill.commission and fill.commission_asset == "BTC":
            lines += self._fee(Fraction(fill.commission), fill.trade_id, own=opened)
        return lines

    def cost(self) -> Fraction:
        """Return what is held was bought for."""
        total, start = Fraction(0), self.front
        for piece in self.pieces[self.first :]:
            total += (piece.end - start) * piece.price
            start = piece.end
        return total * self.sign

    def _lay(self, size: Fraction, sign: int, price: Fraction, trade_id: str) -> None:
        if not self.length:
            self.pieces, self.first, self.front, self.sign = [], 0, Fraction(0), sign
        self.pieces.append(Piece(self.front + self.length + size, price, trade_id))

    def _cut(self, size: Fraction, price: Fraction, trade_id: str) -> Iterator[Line]:
        target = self.front + size
        last = bisect_right(self.pieces, target, lo=self.first, key=lambda piece: piece.end)
        for piece in self.pieces[self.first : last + 1]:
            length = min(piece.end, target) - self.front
            if length > 0:
                bought, sold = length * piece.price, length * price
                sides = (sold, bought) if self.sign > 0 else (bought, sold)
                yield (piece.trade_id, trade_id, length, *sides)
                self.front += length
        self.first = last

    def _fee(self, fee: Fraction, trade_id: str, *, own: bool) -> list[Line]:
        """Shorten a piece (a rebate lengthens it) and leave its cost; one that vanishes gives it to the next."""
        while fee and self.length:
            index = len(self.pieces) - 1 if own else self.first
            piece = self.pieces[index]
            start = self.pieces[index - 1].end if index > self.first else self.front
            old = piece.end - start
            new, paid = old - fee * self.sign, old * piece.price
            if new > 0:
                piece.price = paid / new
                if own:
                    piece.end = start + new
                else:
                    self.front = piece.end - new
                return []
            if self.first == len(self.pieces) - 1:
                sides = (Fraction(0), paid) if self.sign > 0 else (paid, Fraction(0))
                line = (piece.trade_id, trade_id, old, *sides)
                sign, self.pieces, self.first = -self.sign, [], 0
                if new:
                    self._lay(-new, sign, Fraction(0), trade_id)
                return [line]
            fee = -new * self.sign
            if own:
                self.pieces.pop()
                self._inherit(len(self.pieces) - 1, paid)
            else:
                self.front, self.first = piece.end, self.first + 1
                self._inherit(self.first, paid)
        if fee:
            self._lay(abs(fee), -1 if fee > 0 else 1, Fraction(0), trade_id)
        return []

    def _inherit(self, index: int, paid: Fraction) -> None:
        start = self.pieces[index - 1].end if index > self.first else self.front
        self.pieces[index].price += paid / (self.pieces[index].end - start)


@dataclass
class Comparison:
    """Product and reference side by side; raises `AssertionError` at the first fill that tells them apart."""

    holding: Holding = field(default_factory=Holding)
    average: Book = field(default_factory=lambda: Book(Method.AVERAGE))
    fifo: Book = field(default_factory=lambda: Book(Method.FIFO))
    replay: Replay = field(default_factory=Replay)
    axis: Axis = field(default_factory=Axis)
    fills: int = 0
    flips: int = 0
    flats: int = 0
    lines: int = 0
    quote_fees: Decimal = Decimal(0)
    gains: dict[Method, Fraction] = field(default_factory=lambda: dict.fromkeys(Method, Fraction(0)))
    paid: Counter[str] = field(default_factory=Counter)
    told: dict[Method, Counter[str]] = field(default_factory=lambda: {method: Counter() for method in Method})

    def take(self, trade: Trade) -> None:
        """Take a trade on both sides and compare."""
        fill, before = trade.fill, self.holding
        moved = before.moved(fill, side=trade.side)
        self.holding = moved.holding
        self.fills += 1
        self.flips += self.holding.amount * before.amount < 0
        self.flats += self.holding.amount == 0
        closed = {Method.AVERAGE: self.average.take(trade), Method.FIFO: self.fifo.take(trade)}
        self.replay.take(trade)
        lines = self.axis.take(trade)
        if fill.commission_asset is not None and fill.commission:
            self.paid[fill.commission_asset] += Fraction(fill.commission)
        for method, disposals in closed.items():
            for disposal in disposals:
                self.gains[method] += Fraction(disposal.gain)
                for asset, fee in disposal.fees.by_asset.items():
                    self.told[method][asset] += Fraction(fee.amount)
        self.lines += len(lines)
        self._check_holding(moved.realized, before)
        self._check_lines(closed[Method.FIFO], lines)
        self._check_books()

    def _check_holding(self, realized: Decimal, before: Holding) -> None:
        now, replay, tolerance = self.holding, self.replay, self.fills * DIGIT
        assert Fraction(now.amount) == replay.amount
        assert Fraction(now.realized_pnl) == Fraction(before.realized_pnl) + Fraction(realized)
        assert abs(Fraction(now.realized_pnl) - Fraction(now.cost) - replay.money) <= tolerance
        if self.fills % CHECK_COST_EVERY == 0 or not now.amount:
            assert abs(Fraction(now.cost) - replay.cost()) <= tolerance
            assert abs(Fraction(now.traded) - replay.traded()) <= tolerance
        if not now.amount:
            assert (now.cost, now.traded, now.entry_price) == (0, 0, None)

    def _check_lines(self, disposals: object, lines: list[Line]) -> None:
        assert isinstance(disposals, list)
        assert [_names(line) for line in disposals] == [line[:3] for line in lines]
        for disposal, (*_, proceeds, cost) in zip(disposals, lines, strict=True):
            assert abs(Fraction(disposal.proceeds) - proceeds) <= self.fills * DIGIT
            assert abs(Fraction(disposal.cost) - cost) <= self.fills * DIGIT

    def _check_books(self) -> None:
        """The average's one lot is the holding, to the last digit; both methods account for every fee and unit."""
        [lot] = self.average.lots or [None]
        held = (lot.quantity, lot.cost) if lot is not None else (0, 0)
        assert held == (self.holding.amount, self.holding.cost)
        charged = self.paid["USDT"]
        assert self.gains[Method.AVERAGE] - charged == Fraction(self.holding.realized_pnl)
        if self.fills % CHECK_COST_EVERY == 0:
            lots = self.fifo.lots
            assert sum(Fraction(lot.quantity) for lot in lots) == Fraction(self.holding.amount)
            cost = sum(Fraction(lot.cost) for lot in lots)
            assert self.gains[Method.FIFO] - charged - cost == Fraction(self.holding.realized_pnl) - Fraction(
                self.holding.cost
            )
            assert abs(cost - self.axis.cost()) <= self.fills * DIGIT
            for book in (self.average, self.fifo):
                self._check_fees(book)

    def _check_fees(self, book: Book) -> None:
        total = Counter(self.told[book.method])
        for lot in book.lots:
            for asset, fee in lot.fees.by_asset.items():
                total[asset] += Fraction(fee.amount)
        assert all(total[asset] == amount for asset, amount in self.paid.items()), (total, self.paid)


def _names(disposal: Disposal) -> tuple[str, str, Fraction]:
    return disposal.opened.trade_id, disposal.closed.trade_id, Fraction(disposal.quantity)


def compare(seed: int, fills: int) -> Comparison:
    """Compare over random fills, several positions one after the other so that errors of rounding start anew."""
    comparison = Comparison()
    for trade in random_trades(random.Random(seed), fills):
        try:
            comparison.take(trade)
        except AssertionError as error:
            error.add_note(f"seed {seed}, fill {comparison.fills}: {trade}")
            raise
    return comparison


def main() -> int:
    """Run as many fills as asked for, and say what was compared."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fills", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=None, help="a fresh one if left out; it is printed")
    parser.add_argument("--run", type=int, default=10_000, help="fills of one account")
    arguments = parser.parse_args()
    seed = secrets.randbelow(2**32) if arguments.seed is None else arguments.seed
    began, done, totals = time.monotonic(), 0, Counter[str]()
    for number in itertools.count():
        size = min(arguments.run, arguments.fills - done)
        if size <= 0:
            break
        found = compare(seed * 1_000_003 + number, size)
        done += size
        totals.update(fills=found.fills, flips=found.flips, flats=found.flats, lines=found.lines)
        if number % 10 == 9:
            sys.stderr.write(f"{done} fills, last position {plain(found.holding.amount)}\n")
    took = time.monotonic() - began
    sys.stdout.write(f"seed {seed}: {dict(totals)} agree with the reference; {took:.0f} s\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
