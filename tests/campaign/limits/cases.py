"""What is attacked: a limit each, of a scope each, and the ticket that every caller sends.

A ticket buys 0.001 BTC at 10,000, so `units` of them fill every limit to its last digit, whatever it measures.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from domain.identifiers import derive_order_id
from domain.instrument import NormalTicket
from domain.limits import Limits, LimitSet
from domain.order import OrderRequest, OrderSide, OrderTicket, OrderType
from domain.risk import Validated
from tests.factories import make_instrument

UNIT, PRICE = Decimal("0.001"), Decimal(10_000)
NOTIONAL = UNIT * PRICE
PART = Decimal("0.0004")
"""The first of two fills of a ticket."""
FEE_SHARE = Decimal("0.1")
"""Commission in the base asset: so large that a limit which counted net of it would be passed soon."""
RICH = Decimal(10_000_000)
SYMBOL = "BTC/USDT"


class Measure(StrEnum):
    """What a limit counts."""

    QUANTITY = "quantity"
    NOTIONAL = "notional"
    OPEN = "open"
    ADMITTED = "admitted"


@dataclass(frozen=True)
class Case:
    """One limit. `code` is the denial's, and `number` is what the denial must tell of the limit."""

    name: str
    scope: Callable[[str], str]
    limits: Callable[[int], Mapping[str, Any]]
    measure: Measure
    code: str
    number: str


def _account(account: str) -> str:
    return f"account:{account}"


def _strategy(account: str) -> str:
    return f"strategy:{account}"


def _key(account: str) -> str:
    return f"key:{account}"


def _money(name: str) -> Callable[[int], Mapping[str, Any]]:
    return lambda units: {name: str(NOTIONAL * units)}


def _count(name: str) -> Callable[[int], Mapping[str, Any]]:
    return lambda units: {name: units}


CASES = (
    Case(
        "quantity",
        _account,
        lambda units: {"max_position_quantity": {SYMBOL: str(UNIT * units)}},
        Measure.QUANTITY,
        "POSITION_QUANTITY_ABOVE_LIMIT",
        "max_position_quantity",
    ),
    Case(
        "notional",
        _strategy,
        _money("max_position_notional"),
        Measure.NOTIONAL,
        "POSITION_NOTIONAL_ABOVE_LIMIT",
        "max_position_notional",
    ),
    Case(
        "gross",
        _account,
        _money("max_gross_exposure"),
        Measure.NOTIONAL,
        "GROSS_EXPOSURE_ABOVE_LIMIT",
        "max_gross_exposure",
    ),
    Case("open", _key, _count("max_open_orders"), Measure.OPEN, "OPEN_ORDERS_ABOVE_LIMIT", "max_open_orders"),
    Case(
        "rate",
        _strategy,
        _count("max_orders_per_day"),
        Measure.ADMITTED,
        "ORDER_RATE_ABOVE_LIMIT",
        "max_orders_per_day",
    ),
    Case(
        "turnover",
        _account,
        _money("max_turnover_per_day"),
        Measure.NOTIONAL,
        "TURNOVER_ABOVE_LIMIT",
        "max_turnover_per_day",
    ),
    Case("balance", _account, lambda _: {}, Measure.NOTIONAL, "BALANCE_INSUFFICIENT", "available"),
)


class Fate(StrEnum):
    """What becomes of an admitted ticket."""

    ADMITTED = "stays admitted"
    WORKING = "rests at the venue"
    FILLED = "is filled in two parts"
    CUT = "is filled in part and canceled"
    DOUBT = "stays in doubt"
    UNSENT = "ends before it is sent"
    REFUSED = "is refused by the venue"


FATES = (
    *(3 * [Fate.ADMITTED, Fate.WORKING]),
    *(5 * [Fate.FILLED]),
    *(4 * [Fate.CUT]),
    *(2 * [Fate.DOUBT, Fate.UNSENT]),
    Fate.REFUSED,
)


@dataclass(frozen=True)
class Ticket:
    """One caller's wish: its number in its account decides what becomes of it, however often it is repeated."""

    account: str
    number: int
    fate: Fate

    def request(self) -> OrderRequest:
        """Return the request, the same whenever it is repeated."""
        key = f"{self.account}-{self.number}"
        return OrderRequest(
            order_id=derive_order_id(self.account, key),
            account=self.account,
            ticket=OrderTicket(
                symbol=SYMBOL,
                side=OrderSide.BUY,
                order_type=OrderType.LIMIT,
                quantity=UNIT,
                price=PRICE,
                strategy=self.account,
            ),
            idempotency_key=key,
            requested_by=self.account,
            requested_at=datetime.now(UTC),
        )


@dataclass(frozen=True)
class Front:
    """A case as one phase attacks it, in an account of its own, so that all go on at once and share symbol and firm."""

    account: str
    case: Case
    units: int
    moves: bool
    """Whether admitted tickets are moved on, or all stay where they are."""
    fates: tuple[Fate, ...] = FATES
    """What becomes of those that are moved on, each as likely as it is often named."""

    @property
    def scope(self) -> str:
        """Return whose limit it is."""
        return self.case.scope(self.account)

    def funds(self) -> Decimal:
        """Return the USDT that the venue tells of."""
        return NOTIONAL * self.units if self.case.name == "balance" else RICH

    def tickets(self, seed: int, first: int, count: int) -> list[Ticket]:
        """Return tickets by their numbers; the seed decides what becomes of each."""
        dice = random.Random(f"{seed}-{self.account}-{first}")
        return [
            Ticket(self.account, number, dice.choice(self.fates) if self.moves else Fate.ADMITTED)
            for number in range(first, first + count)
        ]


VALIDATED = Validated(
    normal=NormalTicket(quantity=UNIT, price=PRICE, trigger_price=None),
    instrument=make_instrument(),
    reference_price=PRICE,
)


def limit_set(fronts: "list[Front]") -> LimitSet:
    """Return all limits that are attacked."""
    wanted = {front.scope: Limits(**front.case.limits(front.units)) for front in fronts}
    return LimitSet(by_scope={scope: limits for scope, limits in wanted.items() if not limits.is_empty})
