"""A seeded, moving market: a random walk of each symbol's price, and a finite book around it."""

import random
from dataclasses import dataclass, field
from decimal import Decimal

from simulator.listing import Listing

LEVELS = 50


@dataclass
class Level:
    """One price of the public book and what is left of it."""

    price: Decimal
    quantity: Decimal


@dataclass
class Market:
    """One symbol's market. The book is made anew at each move and shrinks when somebody takes from it."""

    listing: Listing
    seed: int
    volatility_bps: int = 4
    frozen: bool = False
    price: Decimal = Decimal(0)
    bids: list[Level] = field(default_factory=list)
    asks: list[Level] = field(default_factory=list)
    volume: Decimal = Decimal(1000)

    def __post_init__(self) -> None:
        self._random = random.Random(f"{self.seed} {self.listing.symbol}")
        self.price = self.price or self.listing.start
        self._make_book()

    def move(self) -> None:
        """Let the price take a step, unless it is frozen, and refresh the book."""
        if not self.frozen:
            step_bps = self._random.randint(-self.volatility_bps, self.volatility_bps)
            pull_bps = 1 if self.price < self.listing.start else -1
            moved = self.price + self.price * (step_bps + pull_bps) / 10_000
            self.price = max(moved // self.listing.tick * self.listing.tick, self.listing.tick)
            self.volume += self.listing.depth
        self._make_book()

    def set_price(self, price: Decimal) -> None:
        """Put the market at a price."""
        self.price = price
        self._make_book()

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
        for level in self.asks if side == "BUY" else self.bids:
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
        levels = self.asks if side == "BUY" else self.bids
        fits = [x for x in levels if limit is None or (x.price <= limit if side == "BUY" else x.price >= limit)]
        return sum((level.quantity for level in fits), Decimal(0))
