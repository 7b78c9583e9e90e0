"""Binance and Binance US, which speak the same protocol."""

from dataclasses import replace
from typing import Final

from exchanges.rate_limits import OrderLimit
from exchanges.venue_words import binance_words
from exchanges.venues.table import EVERY, ClientIds, VenueRules

RECV_WINDOW_MS: Final = 5_000
"""Binance refuses a request whose signed timestamp is older than this. Its own default, set explicitly."""
_BAD_REQUEST = {
    str(code): "REQUEST_REFUSED"
    for code in (-1020, *range(-1106, -1099), -1108, *range(-1121, -1113), -1127, -1128, -1130, -1131)
}
_PRICED = {"quantity": "{quantity}", "price": "{price}"}

BINANCE: Final = VenueRules(
    title="Binance",
    lists_by_symbol_up_to=6,  # 6 weight each at binance.com and 3 at Binance US, against 80 and 40 for one list of all
    config={
        "rateLimiterAlgorithm": "rollingWindow",  # as Binance counts: a budget per minute, bursts allowed
        "options": {
            "defaultType": "spot",
            "fetchMarkets": {"types": ["spot"]},
            "fetchMargins": False,
            "fetchCurrencies": False,  # an extra signed call that nothing here needs
            "recvWindow": RECV_WINDOW_MS,
            "fetchOpenOrders": {"warnWithoutSymbol": False},
            "warnOnFetchOpenOrdersWithoutSymbol": False,
        },
    },
    wire={
        EVERY: {"newClientOrderId": "{id}", "side": "{side}"},
        "market": {"type": "MARKET", "quantity": "{quantity}", "quoteOrderQty": None, "stopPrice": None},
        "limit": {"type": "LIMIT", **_PRICED, "timeInForce": "GTC", "stopPrice": None},
        "IOC": {"timeInForce": "IOC"},
        "FOK": {"timeInForce": "FOK"},
        "post-only": {"type": "LIMIT_MAKER", "timeInForce": None},
        "stop": {"type": "STOP_LOSS", "quantity": "{quantity}", "stopPrice": "{trigger}", "price": None},
        "stop-limit": {"type": "STOP_LOSS_LIMIT", **_PRICED, "stopPrice": "{trigger}", "timeInForce": "GTC"},
    },
    market_types_key="orderTypes",  # few symbols take a stop without a limit price
    market_types={
        "market": "MARKET",
        "limit": "LIMIT",
        "post-only": "LIMIT_MAKER",
        "stop": "STOP_LOSS",
        "stop-limit": "STOP_LOSS_LIMIT",
    },
    has_sandbox=True,
    sandbox_note="testnet.binance.vision",
    client_ids=ClientIds(
        pattern=r"[.A-Z:/a-z0-9_-]{1,36}", says="1 to 36 of `.A-Z:/a-z0-9_-`", unique="open orders only"
    ),
    lookup_key="clientOrderId",
    filled_keys=("executedQty",),
    quote_key="cummulativeQuoteQty",
    open_words=frozenset({"PENDING_NEW", "canceling"}),
    pages_by_id=True,
    trades_page=1000,
    answer_keys=("orderId", "balances", "bids", "symbols", "serverTime", "lastPrice", "symbol"),
    lists_are_arrays=True,
    validity_window_ms=RECV_WINDOW_MS,
    words=binance_words,
    refusals={
        **_BAD_REQUEST,
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
    weight_unit=200,  # 6,000 a minute, in ccxt 1,200 of a fifth each
    order_limits=(OrderLimit(100, 10, "x-mbx-order-count-10s"), OrderLimit(200_000, 86_400, "x-mbx-order-count-1d")),
)
BINANCEUS: Final = replace(
    BINANCE,
    weight_unit=1000,
    title="Binance US",
    has_sandbox=False,
    sandbox_note="ccxt's switch leads to the test network of binance.com, which is another venue",
)
