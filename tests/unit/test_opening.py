"""Opening an account: what is refused, where its requests can go, and what reaches the wire for each venue."""

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import ccxt
import pytest
from pydantic import SecretStr

from domain.errors import ConfigurationError
from domain.order import TradingMode
from domain.ports import Credentials
from domain.reports import Submission, SubmitVerdict
from exchanges.ccxt_exchange import CcxtExchange
from exchanges.opening import NOT_CONFIGURED, open_exchange
from exchanges.venue_rules import listed_venues, venue_rules

CLIENT_ORDER_ID = "abcdef0123456789"
KEYS = Credentials(
    api_key=SecretStr("account-key-1"),
    secret_key=SecretStr("c2VjcmV0"),
    passphrase=SecretStr("phrase"),
    uid=SecretStr("uid"),
)
SANDBOXES = {"binance", "okx", "bybit", "gate", "bitget", "cryptocom", "gemini"}


async def opened(exchange: str, *, mode: TradingMode = TradingMode.LIVE, **ccxt_config: object) -> CcxtExchange:
    made = await open_exchange(account="main", exchange=exchange, mode=mode, ccxt_config=ccxt_config, credentials=KEYS)
    assert isinstance(made, CcxtExchange)
    return made


def addresses(tree: object) -> list[str]:
    if isinstance(tree, Mapping):
        return [address for branch in tree.values() for address in addresses(branch)]
    return [str(tree)]


@pytest.mark.parametrize("exchange", ["binanceuss", "Binance", "__class__", "Exchange", "", "a" * 1000])
async def test_unknown_id_is_refused_and_names_near_ones(exchange: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        await opened(exchange)
    assert "similar names" in refusal.value.message
    if exchange == "binanceuss":
        assert "binanceus" in refusal.value.message


@pytest.mark.parametrize("exchange", listed_venues())
async def test_sandbox_is_refused_where_ccxts_is_not_one(exchange: str) -> None:
    if exchange not in SANDBOXES:
        with pytest.raises(ConfigurationError, match="no sandbox"):
            await opened(exchange, mode=TradingMode.SANDBOX)
        return
    real = await opened(exchange)
    test = await opened(exchange, mode=TradingMode.SANDBOX)
    where = [(api.urls["api"], api.headers, api.options) for api in (real._api, test._api)]
    assert where[0] != where[1]
    await real.close()
    await test.close()


async def test_sandbox_by_own_addresses_uses_these_as_they_stand() -> None:
    exchange = await opened(
        "binanceus", mode=TradingMode.SANDBOX, urls={"api": {"private": "http://127.0.0.1:9/api/v3"}}
    )
    assert exchange._api.urls["api"]["private"] == "http://127.0.0.1:9/api/v3"
    await exchange.close()


@pytest.mark.parametrize("exchange", listed_venues())
async def test_account_with_own_addresses_can_reach_no_other(exchange: str) -> None:
    made = await opened(exchange, urls={"api": {"public": "http://127.0.0.1:9/public"}})
    assert set(addresses(made._api.urls["api"])) <= {"http://127.0.0.1:9/public", NOT_CONFIGURED}
    await made.close()


async def test_account_without_own_addresses_keeps_the_venues() -> None:
    made = await opened("binanceus")
    assert made._api.urls["api"]["private"] == "https://api.binance.us/api/v3"
    await made.close()


@pytest.mark.parametrize("name", ["apiKey", "secret", "password"])
async def test_keys_in_the_ccxt_configuration_are_refused(name: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        await open_exchange(
            account="main", exchange="binanceus", mode=TradingMode.LIVE, ccxt_config={name: "s3cret"}, credentials=KEYS
        )
    assert "s3cret" not in str(refusal.value)


async def test_retries_of_ccxt_are_refused_for_they_send_orders_again() -> None:
    with pytest.raises(ConfigurationError, match="maxRetriesOnFailure"):
        await opened("binanceus", options={"maxRetriesOnFailure": 3})


async def test_live_account_without_keys_is_refused_and_says_which_are_missing() -> None:
    with pytest.raises(ConfigurationError, match="apiKey, secret"):
        await open_exchange(
            account="main", exchange="binanceus", mode=TradingMode.LIVE, ccxt_config={}, credentials=Credentials()
        )


async def test_paper_account_without_a_book_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="paper book"):
        await opened("binanceus", mode=TradingMode.PAPER)


async def test_configuration_is_merged_but_numbers_stay_text() -> None:
    made = await opened("binanceus", timeout=1234, number=float, options={"recvWindow": 3000, "own": 1})
    assert (made._api.timeout, made._api.number) == (1234, str)
    assert (made._api.options["recvWindow"], made._api.options["own"]) == (3000, 1)
    assert made._api.options["fetchMarkets"]["types"] == ["spot"]
    assert made.time_fence_s() == 3 + 1 + 10
    await made.close()


@pytest.mark.parametrize(("exchange", "fence_s"), [("binance", 16), ("binanceus", 16), ("kraken", None), ("okx", None)])
async def test_time_fence_is_claimed_only_where_the_venue_has_a_window(exchange: str, fence_s: int | None) -> None:
    made = await opened(exchange)
    assert made.time_fence_s() == fence_s
    await made.close()


async def test_account_can_set_its_own_time_fence() -> None:
    made = await open_exchange(
        account="main", exchange="kraken", mode=TradingMode.LIVE, ccxt_config={}, credentials=KEYS, time_fence_s=90
    )
    assert made.time_fence_s() == 90
    await made.close()


# What reaches the wire. ccxt's classes are the real ones; only their last step, the network, is cut off.


class _Dry:
    """A venue with one symbol whose requests stop short of the network."""

    def __init__(self, exchange: CcxtExchange) -> None:
        self.exchange = exchange
        self.sent: list[str] = []
        api = exchange._api
        market = api.safe_market_structure(
            {
                "id": "BTCUSDT", "symbol": "BTC/USDT", "base": "BTC", "quote": "USDT", "baseId": "BTC",
                "quoteId": "USDT", "type": "spot", "spot": True, "active": True, "contract": False,
                "swap": False, "future": False, "option": False, "margin": False, "linear": None, "inverse": None,
                "precision": {"amount": "0.00001", "price": "0.01"},
                "limits": {"amount": {}, "price": {}, "cost": {}},
                "info": {"orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS", "STOP_LOSS_LIMIT"]},
            }
        )  # fmt: skip
        api.set_markets([market])
        api.markets_loading = None
        api.timeout_on_exit = 0
        base: Any = type(api).__mro__[2]

        async def dry_fetch(this: Any, url: str, method: str = "GET", headers: Any = None, body: Any = None) -> Any:
            if method == "GET":
                return {"code": "200000", "result": {}, "data": [{"id": 1}] if api.id == "htx" else {}}
            self.sent.append(f"{url} {body} {headers}")
            raise ccxt.ExchangeNotAvailable("cut off")

        self._base, self._real = base, base.fetch
        base.fetch = dry_fetch

    def restore(self) -> None:
        self._base.fetch = self._real


@pytest.fixture
async def dry(request: pytest.FixtureRequest) -> AsyncIterator[_Dry]:
    exchange = await opened(request.param)
    wire = _Dry(exchange)
    client = exchange._client
    client._instruments = {"BTC/USDT": None}  # type: ignore[dict-item]  # only its presence is looked at
    client._markets_due = float("inf")
    exchange._api.has["fetchTime"] = False
    yield wire
    wire.restore()
    await exchange.close()


SHAPES: dict[str, dict[str, Any]] = {
    "market": {"order_type": "market", "side": "sell"},
    "limit": {"order_type": "limit", "price": Decimal("50000.25")},
    "IOC": {"order_type": "limit", "price": Decimal("50000.25"), "time_in_force": "IOC"},
    "FOK": {"order_type": "limit", "price": Decimal("50000.25"), "time_in_force": "FOK"},
    "post-only": {"order_type": "limit", "price": Decimal("50000.25"), "post_only": True},
    "stop": {"order_type": "stop", "side": "sell", "trigger_price": Decimal("49000.5")},
    "stop-limit": {
        "order_type": "stop-limit", "side": "sell", "price": Decimal("48999.5"), "trigger_price": Decimal("49000.5")
    },
}  # fmt: skip
TAKING_ORDERS = [name for name in listed_venues() if venue_rules(name).takes_orders]


def submission(**changes: Any) -> Submission:
    plain_order: dict[str, Any] = {
        "client_order_id": CLIENT_ORDER_ID,
        "symbol": "BTC/USDT",
        "side": "buy",
        "quantity": Decimal("0.00125"),
        "signed_at": datetime.now(UTC),
    }
    return Submission(**{**plain_order, **changes})


async def _yes() -> bool:
    return True


@pytest.mark.parametrize("dry", TAKING_ORDERS, indirect=True)
async def test_every_shape_is_carried_as_meant_or_refused_before_it_leaves(dry: _Dry) -> None:
    rules = venue_rules(dry.exchange._api.id)
    wires: dict[str, str] = {}
    for name, shape in SHAPES.items():
        dry.sent.clear()
        outcome = await dry.exchange.submit(submission(**shape), last_look=_yes)
        if name not in rules.shapes:
            assert (outcome.verdict, dry.sent) == (SubmitVerdict.REFUSED, []), name
            assert outcome.reason is not None and outcome.reason.code == "ORDER_TYPE_NOT_SUPPORTED"
        elif not dry.sent:
            # A market buy needs a price at some venues: ccxt says so by itself.
            assert outcome.reason is not None and outcome.reason.code == "REFUSED_LOCALLY", (name, outcome)
        else:
            wires[name] = dry.sent[-1]
            assert len(dry.sent) == 1, name
    for name, wire in wires.items():
        if dry.exchange._api.id != "gemini":  # its request travels in a header, base64; the gate has looked into it
            assert CLIENT_ORDER_ID in wire and "0.00125" in wire, name
            assert name not in ("stop", "stop-limit") or "49000.5" in wire, name
        assert "stopLossPrice" not in wire and "postOnly=" not in wire, name
    assert "limit" in wires
    assert len({wire.split("signature")[0] for wire in wires.values()}) == len(wires)


@pytest.mark.parametrize("dry", ["bitfinex"], indirect=True)
async def test_venue_that_cannot_carry_our_id_takes_no_orders(dry: _Dry) -> None:
    outcome = await dry.exchange.submit(submission(**SHAPES["limit"]), last_look=_yes)
    assert (outcome.verdict, dry.sent) == (SubmitVerdict.REFUSED, [])


@pytest.mark.parametrize("dry", ["binanceus"], indirect=True)
@pytest.mark.parametrize(
    "figures",
    [
        {"quantity": Decimal("0.001251234")},
        {"quantity": Decimal("0.000001")},
        {"price": Decimal("50000.255")},
        {"price": Decimal("0.001")},
    ],
)
async def test_figure_that_ccxt_would_round_is_refused_before_it_leaves(dry: _Dry, figures: dict[str, Any]) -> None:
    outcome = await dry.exchange.submit(submission(**{**SHAPES["limit"], **figures}), last_look=_yes)
    assert (outcome.verdict, dry.sent) == (SubmitVerdict.REFUSED, [])
    assert outcome.reason is not None and outcome.reason.code == "FIGURE_NOT_CARRIED"
