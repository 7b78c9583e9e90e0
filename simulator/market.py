"""A seeded, moving market: a random walk of each symbol's price, and a finite book around it."""

import random
from collections import deque
from dataclasses import dataclass, field
from decimal import Decimal

from simulator.listing import Listing, cut
from simulator.tape import Tape

LEVELS = 50
CANDLE_MS = 60_000
CANDLES_KEPT = 1440


@dataclass
class Level:
    """One price of the public book and what is left of it."""

    price: Decimal
    quantity: Decimal


@dataclass
class Candle:
    """One minute of the market. Prices are quote per base, the volume is in base units."""

    open_ms: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal = Decimal(0)


@dataclass
class Market:
    """One symbol's market. The book is made anew at each move and shrinks when somebody takes from it."""

    listing: Listing
    seed: int
    volatility_bps: int = 4
    frozen: bool = False
    silent_s: int = 0
    """How old the ticker says that it is, in seconds: the word of a market where nothing is traded."""
    price: Decimal = Decimal(0)
    bids: list[Level] = field(default_factory=list)
    asks: list[Level] = field(default_factory=list)
    volume: Decimal = Decimal(1000)
    candles: deque[Candle] = field(default_factory=lambda: deque(maxlen=CANDLES_KEPT))
    tape: Tape = field(default_factory=Tape)

    def __post_init__(self) -> None:
        self._random = random.Random(f"{self.seed} {self.listing.symbol}")
        self.price = self.price or self.listing.start
        self.high = self.low = self.price
        self._make_book()

    def move(self, now_ms: int) -> None:
        """Let the price take a step, unless it is frozen, and refresh the book."""
        traded = Decimal(0)
        if not self.frozen:
            step_bps = self._random.randint(-self.volatility_bps, self.volatility_bps)
            pull_bps = 1 if self.price < self.listing.start else -1
            moved = self.price + self.price * (step_bps + pull_bps) / 10_000
            self.price = max(moved // self.listing.tick * self.listing.tick, self.listing.tick)
            traded = self.listing.depth
        self.volume += traded
        if traded or self.price != self.tape.last_price:
            self.tape.add(now_ms, self.price, traded or self.listing.step)
        self._note(now_ms, traded)
        self._make_book()

    def set_price(self, price: Decimal) -> None:
        """Put the market at a price. Raises `ValueError` unless it is a multiple of the tick, above zero."""
        if not price.is_finite() or price <= 0 or price % self.listing.tick:
            raise ValueError(f"price {price} is not a multiple of {self.listing.tick} above zero")
        self.price = price
        self._make_book()

    def _note(self, now_ms: int, traded: Decimal) -> None:
        self.high, self.low = max(self.high, self.price), min(self.low, self.price)
        open_ms = now_ms // CANDLE_MS * CANDLE_MS
        if not self.candles or self.candles[-1].open_ms < open_ms:
            self.candles.append(Candle(open_ms, self.price, self.price, self.price, self.price))
        candle = self.candles[-1]
        candle.high, candle.low = max(candle.high, self.price), min(candle.low, self.price)
        candle.close = self.price
        candle.volume += traded

    def _make_book(self) -> None:
        tick = self.listing.tick
        spread = max(self.price / 20_000 // tick, Decimal(1)) * tick
        self.bids = [self._level(self.price - spread * (level + 1)) for level in range(LEVELS)]
        self.asks = [self._level(self.price + spread * (level + 1)) for level in range(LEVELS)]
        self.bids = [level for level in self.bids if level.price > 0]

    def _level(self, price: Decimal) -> Level:
        share = Decimal(self._random.randint(20, 180)) / 100
        quantity = self.listing.depth * share // self.listing.step * self.listing.step
        return Level(price=price, quantity=max(quantity, self.listing.step))

    def take(self, side: str, quantity: Decimal, limit: Decimal | None) -> list[tuple[Decimal, Decimal]]:
        """Take up to `quantity` from the book, no worse than `limit`; return the (price, quantity) pieces."""
        pieces = []
        for level in self._facing(side):
            crosses = limit is None or (level.price <= limit if side == "BUY" else level.price >= limit)
            if quantity <= 0 or not crosses:
                break
            taken = min(level.quantity, quantity)
            if taken > 0:
                pieces.append((level.price, taken))
                level.quantity -= taken
                quantity -= taken
        return pieces

    def available(self, side: str, limit: Decimal | None) -> Decimal:
        """Return what the book offers to that side, no worse than `limit`."""
        levels = self._facing(side)
        fits = [x for x in levels if limit is None or (x.price <= limit if side == "BUY" else x.price >= limit)]
        return sum((level.quantity for level in fits), Decimal(0))

    def cost(self, quantity: Decimal) -> Decimal:
        """Return what buying from the book costs, in quote units; what it does not offer costs nothing."""
        cost = Decimal(0)
        for level in self.asks:
            taken = min(level.quantity, quantity)
            cost += cut(taken * level.price)
            quantity -= taken
        return cost

    def quantity_for(self, side: str, quote: Decimal) -> Decimal:
        """Return how much so much quote buys or is sold for, rounded down to the step, in base units.

        What the book cannot give is counted at its last price, so that an order for it stays unfilled.
        """
        total, step = Decimal(0), self.listing.step
        for level in self._facing(side):
            fits = min(level.quantity, quote / level.price // step * step)
            total += fits
            quote -= fits * level.price
            if fits < level.quantity:
                return total
        return total + quote / self._facing(side)[-1].price // step * step

    def _facing(self, side: str) -> list[Level]:
        return self.asks if side == "BUY" else self.bids
