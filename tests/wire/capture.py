"""Opens a venue as the product does, with one market from `markets.json`, and catches what would leave."""

import base64
import json
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import ccxt
import ccxt.async_support
from pydantic import SecretStr

from domain.errors import VenueError
from domain.order import TradingMode
from domain.ports import Credentials
from domain.reports import SubmitOutcome
from exchanges.ccxt_exchange import CcxtExchange
from exchanges.ccxt_mapping import instruments_from
from exchanges.opening import open_exchange
from exchanges.venue_rules import listed_venues
from tests.wire.cases import BY_OUR_ID, BY_VENUE_ID, ORDERS, SYMBOL, submission

HERE: Final = Path(__file__).parent
MARKETS: Final[dict[str, dict[str, Any]]] = json.loads((HERE / "markets.json").read_text("utf-8"))
KEYS: Final = Credentials(
    api_key=SecretStr("account-key-of-the-test"),
    secret_key=SecretStr("c2VjcmV0LW9mLXRoZS10ZXN0"),
    passphrase=SecretStr("phrase-of-the-test"),
    uid=SecretStr("uid-of-the-test"),
)
VARIANTS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    **{name: (name, {}) for name in listed_venues()},
    # Where ccxt speaks another protocol to another kind of account.
    "bybit-unified": ("bybit", {"enableUnifiedMargin": False, "enableUnifiedAccount": True}),
    "bitget-classic": ("bitget", {"uta": False}),
    "kucoin-unified": ("kucoin", {"uta": True}),
}
"""Accounts by the name of their snapshot: ccxt id and ccxt options."""
_MASKED: Final = re.compile(
    r"(?i)^(signature|sign|sig|nonce|timestamp|ts|id|authorization|accesskeyid|kc-api-.*"
    r"|.*-?(api-?key|key|passphrase|signature|sign|signing|timestamp|nonce|auth))$"
)
_MOMENT: Final = re.compile(r"^(1\d{9}|1\d{12,18}|20\d\d-\d\d-\d\dT\S+)$")


@dataclass
class Wire:
    """What would have left, in order."""

    exchange: CcxtExchange
    requests: list[tuple[str, str, Any, Any]] = field(default_factory=list)

    async def order(self, **order: Any) -> SubmitOutcome:
        """Submit one of the cases; its request stops short of the network."""
        self.requests.clear()
        return await self.exchange.submit(submission(**order), last_look=_yes)


async def _yes() -> bool:
    return True


@contextmanager
def _no_network(exchange: CcxtExchange, wire: Wire) -> Iterator[None]:
    """Take the place of ccxt's own `fetch`, below ours, which has looked at the request by then."""
    base: Any = type(exchange._api).__mro__[2]

    async def caught(this: Any, url: str, method: str = "GET", headers: Any = None, body: Any = None) -> Any:
        wire.requests.append((method, url, headers, body))
        if method == "GET" and (
            "account/" in url or "query-api" in url
        ):  # some ask for the kind of account before the first order
            return {"code": "200000", "result": {}, "data": [{"id": 1, "type": "spot", "state": "working"}]}
        raise ccxt.ExchangeNotAvailable("cut off")

    base.fetch = caught
    try:
        yield
    finally:
        del base.fetch


@asynccontextmanager
async def wire_of(variant: str) -> AsyncIterator[Wire]:
    """Open the account, of a variant or of a ccxt id without a table, and catch its requests."""
    name, options = VARIANTS.get(variant, (variant, {}))
    opened = await open_exchange(
        account="main",
        exchange=name,
        mode=TradingMode.LIVE,
        ccxt_config={"options": options},
        credentials=KEYS,
        allow_generic=True,
    )
    assert isinstance(opened, CcxtExchange)
    api, client, wire = opened._api, opened._client, Wire(opened)
    api.set_markets([api.safe_market_structure(_market(name))])
    client._instruments = instruments_from(api.markets, tick_sizes=True, rules=client.rules)
    client._markets_due = float("inf")
    api.has["fetchTime"] = False
    api.enableRateLimit = False
    with _no_network(opened, wire):
        yield wire
    await opened.close()


def _market(exchange: str) -> dict[str, Any]:
    return {
        "symbol": SYMBOL, "base": "BTC", "quote": "USDT", "baseId": "BTC", "quoteId": "USDT", "type": "spot",
        "spot": True, "active": True, "contract": False, "swap": False, "future": False, "option": False,
        "margin": False, "linear": None, "inverse": None, "precision": {"amount": "0.00001", "price": "0.01"},
        "limits": {"amount": {}, "price": {}, "cost": {}}, "info": {}, "id": "BTCUSDT", **MARKETS.get(exchange, {}),
    }  # fmt: skip


async def snapshot_of(variant: str) -> dict[str, Any]:
    """Write down all cases of one account: what leaves, or why nothing does."""
    async with wire_of(variant) as wire:
        orders = {}
        for name, order in ORDERS.items():
            outcome = await wire.order(**order)
            reason = outcome.reason
            assert reason is not None
            left = [_readable(request) for request in wire.requests if request[0] != "GET"]
            orders[name] = left or {"refused": f"{reason.code}: {reason.venue_text or reason.text}"}
        return {"orders": orders, "cancel": await _cancels(wire), "look up": await _look_ups(wire)}


async def _cancels(wire: Wire) -> dict[str, Any]:
    by_our_id = await _asked(wire, wire.exchange.cancel(BY_OUR_ID))
    return {"by our id": by_our_id, "by the venue's id": await _asked(wire, wire.exchange.cancel(BY_VENUE_ID))}


async def _look_ups(wire: Wire) -> dict[str, Any]:
    exchange, rules = wire.exchange, wire.exchange._rules
    found: dict[str, Any] = {"by the venue's id": await _asked(wire, exchange.fetch_order(BY_VENUE_ID))}
    if rules.lookup_key is not None:
        found["by our id"] = await _asked(wire, exchange.fetch_order(BY_OUR_ID))
    exchange._rules = replace(rules, lookup_key=None)
    for name in rules.lists if rules.lookup_key is None or rules.validity_window_ms is None else ():
        exchange._rules = replace(rules, lookup_key=None, lists=(name,))
        found[name] = await _asked(wire, exchange.fetch_order(BY_OUR_ID))
    exchange._rules = rules
    return found


async def _asked(wire: Wire, asking: Any) -> Any:
    wire.requests.clear()
    try:
        await asking
    except VenueError as error:
        return [_readable(request) for request in wire.requests] or f"{type(error).__name__}: {error.message}"
    return [_readable(request) for request in wire.requests]


def _readable(request: tuple[str, str, Any, Any]) -> dict[str, Any]:
    method, url, headers, body = request
    address = urlsplit(url)
    shown: dict[str, Any] = {"method": method, "url": f"{address.scheme}://{address.netloc}{address.path}"}
    if address.query:
        shown["query"] = _masked(dict(parse_qsl(address.query, keep_blank_values=True)))
    if headers:
        shown["headers"] = _headers(headers)
    if body:
        shown["body"] = _masked(_parsed(body))
    return shown


def _headers(headers: Mapping[str, str]) -> dict[str, Any]:
    shown = {name: _masked_value(name, str(value)) for name, value in headers.items()}
    if "X-GEMINI-PAYLOAD" in headers:
        shown["X-GEMINI-PAYLOAD"] = _masked(json.loads(base64.b64decode(headers["X-GEMINI-PAYLOAD"])))
    return shown


def _parsed(body: Any) -> Any:
    if not isinstance(body, str):
        return body
    try:
        return json.loads(body)
    except ValueError:
        return dict(parse_qsl(body, keep_blank_values=True))


def _masked(tree: Any, name: str = "") -> Any:
    if isinstance(tree, Mapping):
        return {key: _masked(value, key) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_masked(value, name) for value in tree]
    return _masked_value(name, tree)


def _masked_value(name: str, value: Any) -> Any:
    if _MOMENT.match(str(value)):
        return "<time>"
    return "<masked>" if _MASKED.match(name) and value not in ("", None, "0", "4242424242") else value
