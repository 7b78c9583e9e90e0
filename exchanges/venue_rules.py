"""What differs from venue to venue, as tables. Read from ccxt's source and the venues' documentation.

A venue without a table can be read and traded on paper. With real money it takes market and limit orders only, its
refusals are never proof, and "not found" never is either.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

from domain.order import OrderType
from domain.placement import Placement
from exchanges.venue_words import (
    Speaker,
    binance_words,
    bybit_words,
    coinbase_words,
    kraken_words,
    no_words,
    okx_words,
)

BINANCE_RECV_WINDOW_MS: Final = 5_000
"""Binance refuses a request whose signed timestamp is older than this. Its own default, set explicitly."""
CLOCK_ALLOWANCE_S: Final = 1
"""Error that the measured clock difference may have; measurements with a longer round trip are thrown away."""
VISIBILITY_LAG_S: Final = 10
"""Time that a placed order may take to show in the venue's look-ups: Binance's own limit for one request."""
SEND_WITHIN_S: Final = 5
"""An order that has not left this long after it was journaled is not sent: the market has moved on."""

BASIC: Final = frozenset({"market", "limit", "IOC", "FOK", "post-only"})
"""Kinds of orders that reach nearly every venue as they were meant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VenueRules:
    """How one venue is spoken to, and what its words prove."""

    config: Mapping[str, object] = field(default_factory=dict)
    """Merged into ccxt's constructor before the account's own settings."""
    shapes: frozenset[str] = frozenset({"market", "limit"})
    """Order types and conditions that ccxt carries to this venue as they were meant; all others are refused here."""
    takes_orders: bool = True
    """False where our client order id cannot be carried, so that a lost answer could never be resolved."""
    has_sandbox: bool = False
    """Whether ccxt's sandbox switch leads to a test network of this very venue."""
    create_key: str = "clientOrderId"
    """The parameter by which ccxt puts our client order id on the wire."""
    client_id_prefix: str = ""
    lookup_key: str | None = None
    """The parameter by which `fetch_order` finds an order by our id; `None` where only lists can be searched."""
    lookup_extra: Mapping[str, object] = field(default_factory=dict)
    lists: tuple[str, ...] = ("fetch_open_orders", "fetch_closed_orders")
    """ccxt methods whose answers together hold every order; searched where there is no look-up by our id."""
    lists_by_symbol_up_to: int = 0
    """Up to so many symbols, a list of open orders for each costs the venue less than one list of all."""
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

    @property
    def time_fence_s(self) -> int | None:
        """Seconds after signing from which "not found" is proof; `None` where the venue has no such window."""
        if self.validity_window_ms is None:
            return None
        return -(-self.validity_window_ms // 1000) + CLOCK_ALLOWANCE_S + VISIBILITY_LAG_S


_BINANCE_BAD_REQUEST = {
    str(code): "REQUEST_REFUSED"
    for code in (-1020, *range(-1106, -1099), -1108, *range(-1121, -1113), -1127, -1128, -1130, -1131)
}
_BINANCE = VenueRules(
    lists_by_symbol_up_to=6,  # 6 weight each at binance.com and 3 at Binance US, against 80 and 40 for one list of all
    config={
        "rateLimiterAlgorithm": "rollingWindow",  # as Binance counts: a budget per minute, bursts allowed
        "options": {
            "defaultType": "spot",
            "fetchMarkets": {"types": ["spot"]},
            "fetchMargins": False,
            "fetchCurrencies": False,  # an extra signed call that nothing here needs
            "recvWindow": BINANCE_RECV_WINDOW_MS,
            "fetchOpenOrders": {"warnWithoutSymbol": False},
            "warnOnFetchOpenOrdersWithoutSymbol": False,
        },
    },
    shapes=BASIC | {"stop", "stop-limit"},
    has_sandbox=True,
    lookup_key="clientOrderId",
    filled_keys=("executedQty",),
    quote_key="cummulativeQuoteQty",
    open_words=frozenset({"PENDING_NEW", "canceling"}),
    pages_by_id=True,
    trades_page=1000,
    answer_keys=("orderId", "balances", "bids", "symbols", "serverTime", "lastPrice", "symbol"),
    lists_are_arrays=True,
    validity_window_ms=BINANCE_RECV_WINDOW_MS,
    words=binance_words,
    refusals={
        **_BINANCE_BAD_REQUEST,
        "-1002": "CREDENTIALS_REFUSED",
        "-1013": "FILTER_FAILED",
        "-1022": "CREDENTIALS_REFUSED",
        "-1111": "FILTER_FAILED",
        "-1112": "VENUE_REFUSED",
        "-1121": "SYMBOL_UNKNOWN",
        "-2010": "VENUE_REFUSED",
        "-2014": "CREDENTIALS_REFUSED",
        "-2015": "CREDENTIALS_REFUSED",
    },
    turned_away={"-1003": "VENUE_RATE_LIMITED", "-1015": "VENUE_RATE_LIMITED", "-1021": "CLOCK_SKEW"},
    not_found=frozenset({"-2013"}),
    bad_credentials=frozenset({"-1002", "-1022", "-2014", "-2015"}),
    bad_clock=frozenset({"-1021"}),
    weight_header="x-mbx-used-weight-1m",
)

_RULES: Final[Mapping[str, VenueRules]] = MappingProxyType(
    {
        "binance": _BINANCE,
        # Its ccxt sandbox leads to the test network of binance.com, which is another venue.
        "binanceus": replace(_BINANCE, has_sandbox=False),
        "coinbase": VenueRules(
            shapes=BASIC | {"stop-limit"},
            create_key="client_order_id",
            lists=("fetch_orders",),
            cancel_key=None,
            filled_keys=("filled_size",),
            open_words=frozenset({"PENDING", "QUEUED", "CANCEL_QUEUED"}),
            words=coinbase_words,
            refusals={
                "INSUFFICIENT_FUND": "INSUFFICIENT_FUNDS",
                "INVALID_LIMIT_PRICE_POST_ONLY": "POST_ONLY_WOULD_TAKE",
                "INVALID_PRICE_PRECISION": "FILTER_FAILED",
                "INVALID_SIZE_PRECISION": "FILTER_FAILED",
                "UNSUPPORTED_ORDER_CONFIGURATION": "REQUEST_REFUSED",
            },
            duplicates=frozenset({"DUPLICATE_CLIENT_ORDER_ID"}),
        ),
        "kraken": VenueRules(
            shapes=BASIC | {"stop", "stop-limit"},
            list_key="clientOrderId",
            filled_keys=("vol_exec",),
            answer_keys=("result",),
            # Its batch of trade ids ends with an empty one when their number divides by 20.
            order_trades=False,
            words=kraken_words,
            refusals={
                "EOrder:Insufficient funds": "INSUFFICIENT_FUNDS",
                "EOrder:Order minimum not met": "FILTER_FAILED",
                "EOrder:Cost minimum not met": "FILTER_FAILED",
                "EOrder:Tick size check failed": "FILTER_FAILED",
                "EOrder:Invalid price": "FILTER_FAILED",
                "EOrder:Post only order": "POST_ONLY_WOULD_TAKE",
                "EOrder:Orders limit exceeded": "VENUE_REFUSED",
                "EQuery:Unknown asset pair": "SYMBOL_UNKNOWN",
                "EGeneral:Invalid arguments": "REQUEST_REFUSED",
                "EGeneral:Permission denied": "CREDENTIALS_REFUSED",
                "EAPI:Invalid key": "CREDENTIALS_REFUSED",
                "EAPI:Invalid signature": "CREDENTIALS_REFUSED",
            },
            turned_away={
                "EAPI:Rate limit exceeded": "VENUE_RATE_LIMITED",
                "EOrder:Rate limit exceeded": "VENUE_RATE_LIMITED",
                "EAPI:Invalid nonce": "CLOCK_SKEW",
            },
            bad_credentials=frozenset({"EAPI:Invalid key", "EAPI:Invalid signature", "EGeneral:Permission denied"}),
        ),
        "okx": VenueRules(
            # Stop orders live in other end points and change their id when triggered: not carried.
            shapes=BASIC,
            has_sandbox=True,
            lookup_key="clientOrderId",
            filled_keys=("accFillSz",),
            answer_keys=("data",),
            words=okx_words,
            refusals={
                "51001": "SYMBOL_UNKNOWN",
                "51006": "FILTER_FAILED",
                "51008": "INSUFFICIENT_FUNDS",
                "51020": "FILTER_FAILED",
                "51121": "FILTER_FAILED",
                "50105": "CREDENTIALS_REFUSED",
                "50111": "CREDENTIALS_REFUSED",
                "50113": "CREDENTIALS_REFUSED",
            },
            turned_away={"50011": "VENUE_RATE_LIMITED", "50061": "VENUE_RATE_LIMITED", "50102": "CLOCK_SKEW"},
            duplicates=frozenset({"51016"}),
            not_found=frozenset({"51603"}),
            bad_credentials=frozenset({"50105", "50111", "50113"}),
            bad_clock=frozenset({"50102"}),
        ),
        "bybit": VenueRules(
            shapes=BASIC,
            has_sandbox=True,
            lookup_key="orderLinkId",
            lookup_extra={"acknowledged": True},
            cancel_key="orderLinkId",
            empty_id=None,
            filled_keys=("cumExecQty",),
            answer_keys=("result",),
            words=bybit_words,
            refusals={
                "170121": "SYMBOL_UNKNOWN",
                "170131": "INSUFFICIENT_FUNDS",
                "170136": "FILTER_FAILED",
                "170137": "FILTER_FAILED",
                "170140": "FILTER_FAILED",
                "10003": "CREDENTIALS_REFUSED",
                "10004": "CREDENTIALS_REFUSED",
                "10005": "CREDENTIALS_REFUSED",
            },
            turned_away={"10006": "VENUE_RATE_LIMITED", "10018": "VENUE_RATE_LIMITED", "10002": "CLOCK_SKEW"},
            duplicates=frozenset({"110072", "170141", "12141", "10014"}),
            bad_credentials=frozenset({"10003", "10004", "10005"}),
            bad_clock=frozenset({"10002"}),
        ),
        "kucoin": VenueRules(
            shapes=BASIC,
            filled_keys=("dealSize", "filledSize"),
            answer_keys=("data",),
            book_depths=(20, 100),
        ),
        "gate": VenueRules(
            shapes=BASIC,
            has_sandbox=True,
            client_id_prefix="t-",
            lookup_key="clientOrderId",
            cancel_key=None,
            filled_keys=("filled_amount",),
        ),
        "bitget": VenueRules(
            shapes=BASIC,
            has_sandbox=True,
            lookup_key="clientOrderId",
            filled_keys=("baseVolume", "cumExecQty"),
            answer_keys=("data",),
        ),
        "mexc": VenueRules(shapes=BASIC, lookup_key="clientOrderId", filled_keys=("executedQty",)),
        "htx": VenueRules(
            shapes=BASIC,
            lookup_key="clientOrderId",
            filled_keys=("field-amount", "filled-amount"),
            book_depths=(5, 10, 20, 150),
        ),
        "cryptocom": VenueRules(
            shapes=BASIC,
            has_sandbox=True,
            create_key="client_oid",
            lists=("fetch_orders",),
            cancel_key=None,
            filled_keys=("cumulative_quantity",),
            answer_keys=("result",),
        ),
        "gemini": VenueRules(
            shapes=BASIC,
            has_sandbox=True,
            lists=("fetch_open_orders",),
            cancel_key=None,
            filled_keys=("executed_amount",),
        ),
        # Time in force and post-only are handed through unmapped there: an order would go out as a plain one.
        "bitstamp": VenueRules(lookup_key="clientOrderId", cancel_key="client_order_id"),
        # Takes integers as client order ids only.
        "bitfinex": VenueRules(takes_orders=False, book_depths=(1, 25, 100)),
    }
)
_UNLISTED: Final = VenueRules()
_SENT_WHEN_TRIGGERED: Final[Mapping[OrderType, OrderType]] = MappingProxyType(
    {OrderType.STOP: OrderType.MARKET, OrderType.STOP_LIMIT: OrderType.LIMIT}
)
"""What a stop held by us becomes at its trigger."""


def venue_rules(exchange: str) -> VenueRules:
    """Return the rules of a ccxt id; cautious ones for a venue that has no table."""
    return _RULES.get(exchange, _UNLISTED)


def placement(exchange: str, order_type: OrderType) -> Placement:
    """Say where this order type is worked on orders that really go to the venue of this ccxt id.

    A stop that the venue does not take as one is held by us, where the order it becomes can be sent.
    """
    rules = venue_rules(exchange)
    if not rules.takes_orders:
        return Placement.REFUSED
    if str(order_type) in rules.shapes:
        return Placement.NATIVE
    becomes = _SENT_WHEN_TRIGGERED.get(order_type)
    return Placement.HELD if becomes is not None and str(becomes) in rules.shapes else Placement.REFUSED


def listed_venues() -> tuple[str, ...]:
    """Return the ccxt ids that have a table."""
    return tuple(_RULES)
