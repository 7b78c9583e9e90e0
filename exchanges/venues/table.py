"""The form of a venue's table: how the venue is spoken to, how each order looks on the wire, what its words prove."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from exchanges.rate_limits import OrderLimit
from exchanges.venue_words import Speaker, no_words

CLOCK_ALLOWANCE_S: Final = 1
"""Error that the measured clock difference may have; measurements with a longer round trip are thrown away."""
VISIBILITY_LAG_S: Final = 10
"""Time that a placed order may take to show in the venue's look-ups: Binance's own limit for one request."""
ORDER_DEADLINE_S: Final = 10
"""Where an order can name a deadline, it ends so long after signing: beyond the time in which we send it, with room
for the request's way and the error of the measured clock."""

EVERY: Final = "every order"
"""Key in `VenueRules.wire` for the fields that each order carries."""
GENERIC_SHAPES: Final = frozenset({"market", "limit"})
"""Order types that a venue without a table takes."""
CONDITIONS: Final = ("IOC", "FOK", "post-only")
"""What an order may be beside its type."""
Wire = Mapping[str, Mapping[str, str | None]]
"""By shape (`market`, `limit`, `stop`, `stop-limit`, `IOC`, `FOK`, `post-only`, or `EVERY`): the fields that the
request must hold, and what must stand in them.

Words are compared without regard to case; `*` is any value, `None` says that the field must not be there. `{id}`,
`{side}`, `{quantity}`, `{signed_quantity}` (below zero for a sell), `{price}`, `{trigger}` and `{direction}` (`up` for
a buy, `down` for a sell) stand for the order's own; figures are compared as numbers. `path` is part of the URL's path.
"""


class Precision(StrEnum):
    """How ccxt states a venue's precision."""

    STEPS = "steps"
    DIGITS = "significant digits"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientIds:
    """What a venue takes as our id for an order, by its documentation."""

    pattern: str = r"[!-~]+"
    """Regular expression of the whole id, without our prefix."""
    says: str = "any text"
    """The rule in words."""
    prefix: str = ""
    """Put before the id on the wire, and taken off again."""
    unique: str = "not documented"
    """Among which orders the venue refuses the same id a second time."""

    def take(self, client_order_id: str) -> bool:
        """Tell whether the venue takes this id."""
        return re.fullmatch(self.pattern, client_order_id, re.ASCII) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class VenueRules:
    """How one venue is spoken to, and what its words prove."""

    title: str = ""
    """The venue's own name."""
    config: Mapping[str, object] = field(default_factory=dict)
    """Merged into ccxt's constructor before the account's own settings."""
    precision: Precision = Precision.STEPS
    takes_orders: bool = True
    """False where our client order id cannot be carried, so that a lost answer could never be resolved."""
    notes: Mapping[str, str] = field(default_factory=dict)
    """Why a shape is not native, by shape; `orders` where none is."""
    wire: Wire = field(default_factory=dict)
    """Every shape that ccxt carries to this venue as it is meant, and how it looks then. Nothing else is sent."""
    send: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    """Parameters for ccxt by shape, where its unified ones do not reach the venue."""
    market_types_key: str = ""
    """Field of a raw market that lists the order types which its symbol takes; empty: all that the venue does."""
    market_types: Mapping[str, str] = field(default_factory=dict)
    """The words of that list by shape."""
    trigger_key: str = "stopLossPrice"
    """The parameter by which ccxt makes a stop of an order."""
    market_buys_by_quantity: bool = True
    """False where a market buy names what is spent. Such a buy is refused: it is another order than was asked for."""
    has_sandbox: bool = False
    """Whether ccxt's sandbox switch leads to a test network of this very venue."""
    sandbox_note: str = "ccxt knows none"
    """What is at the end of that switch."""
    client_ids: ClientIds = field(default_factory=ClientIds)
    create_key: str = "clientOrderId"
    """The parameter by which ccxt puts our client order id on the wire."""
    lookup_key: str | None = None
    """The parameter by which `fetch_order` finds an order by our id; `None` where only lists can be searched."""
    lookup_extra: Mapping[str, object] = field(default_factory=dict)
    lists: tuple[str, ...] = ("fetch_open_orders", "fetch_closed_orders")
    """ccxt methods whose answers together hold every order, canceled ones too; searched where there is no look-up by
    our id, or it does not show every order. Many `fetch_closed_orders` ask for filled orders only."""
    lists_by_symbol_up_to: int = 0
    """Up to so many symbols, a list of open orders for each costs the venue less than one list of all."""
    blind_spot: str = ""
    """Which orders neither look-up nor lists show: then "not found" can never be made proof, by no setting."""
    list_key: str | None = None
    """The parameter by which those lists can be narrowed to our id."""
    cancel_key: str | None = "clientOrderId"
    """The parameter by which an order is canceled by our id; `None` where only the venue's id will do."""
    empty_id: str | None = ""
    """What ccxt must be given as order id beside `cancel_key`."""
    filled_keys: tuple[str, ...] = ()
    """Fields of the raw order that hold the filled quantity. ccxt invents it for closed orders where it is absent."""
    quote_key: str | None = None
    """Field of the raw order that holds the filled notional."""
    open_words: frozenset[str] = frozenset()
    """Status words that ccxt hands through and that mean: not ended."""
    pages_by_id: bool = False
    """Whether trades page by `fromId`; else by time."""
    trades_page: int | None = None
    """Largest page of trades; `None`: the venue's own."""
    page_of: Callable[[object], tuple[int, int]] | None = None
    """Reads how many trades a page holds and how many there are, where the venue pages by an offset (`ofs`) from the
    latest one back."""
    order_trades: bool = True
    """Whether ccxt's `fetch_order_trades`, where it exists, can be used."""
    book_depths: tuple[int, ...] = ()
    """Depths that the order book comes in; empty: any."""
    answer_keys: tuple[str, ...] = ()
    """A whole answer that is an object has one of these; empty: any object that is not empty."""
    lists_are_arrays: bool = False
    """Whether lists of orders and trades come as JSON arrays."""
    validity_window_ms: int | None = None
    """The venue refuses a request that is older; it is then signed with the journaled time. `None`: no such rule."""
    deadline_key: str | None = None
    """The parameter by which an order names the moment (RFC 3339) from which the venue does not take it any more."""
    clock_step_ms: int = 0
    """How coarse the time is that the venue tells; it is taken to be in the middle of its step."""
    counts_nonces: bool = False
    """Whether every signed request must carry a greater number than all before it. They go one after the other then,
    and the number is our own clock's: processes whose measured clocks differ would shut each other out."""
    words: Speaker = no_words
    """Reads codes and text out of the venue's error body."""
    refusals: Mapping[str, str] = field(default_factory=dict)
    """Codes that prove a refusal, and our code for each. The default for everything else is: unknown."""
    turned_away: Mapping[str, str] = field(default_factory=dict)
    """Codes by which the venue turns a request away unread; it may be sent again after a pause."""
    duplicates: frozenset[str] = frozenset()
    """Codes that say that our client order id is there already: evidence that ours exists."""
    not_found: frozenset[str] = frozenset()
    """Codes by which a look-up says that there is no such order."""
    bad_credentials: frozenset[str] = frozenset()
    bad_clock: frozenset[str] = frozenset()
    weight_header: str | None = None
    """Response header (lower case) that tells the weight used in the running minute."""
    weight_unit: int = 1000
    """What one of the venue's counts is in thousandths of ccxt's weight."""
    order_limits: tuple[OrderLimit, ...] = ()
    """Orders that the venue takes per window."""

    @property
    def shapes(self) -> frozenset[str]:
        """Order types and conditions that reach this venue as they were meant; all others are refused here."""
        if not self.takes_orders:
            return frozenset()
        return frozenset(self.wire) - {EVERY} if self.wire else GENERIC_SHAPES

    @property
    def time_fence_s(self) -> int | None:
        """Seconds after signing from which "not found" is proof; `None` without window and deadline."""
        if self.deadline_key is not None:
            return ORDER_DEADLINE_S - (-self.clock_step_ms // 1000) + CLOCK_ALLOWANCE_S + VISIBILITY_LAG_S
        if self.validity_window_ms is None:
            return None
        return -(-self.validity_window_ms // 1000) + CLOCK_ALLOWANCE_S + VISIBILITY_LAG_S
