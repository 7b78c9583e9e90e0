"""Opening an account: what is refused, and where its requests can go."""

from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import SecretStr

from domain.errors import ConfigurationError
from domain.order import TradingMode
from domain.ports import Credentials, Exchange
from exchanges.ccxt_exchange import CcxtExchange
from exchanges.opening import NOT_CONFIGURED, open_exchange
from exchanges.venue_rules import listed_venues

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


@pytest.mark.parametrize(("exchange", "fence_s"), [("binance", 16), ("binanceus", 16), ("kraken", 22), ("okx", None)])
async def test_time_fence_is_claimed_only_where_the_venue_has_a_window(exchange: str, fence_s: int | None) -> None:
    made = await opened(exchange)
    assert made.time_fence_s() == fence_s
    await made.close()


async def opened_generic(**options: Any) -> Exchange:
    return await open_exchange(
        account="main", exchange="bitso", mode=TradingMode.LIVE, ccxt_config={}, credentials=KEYS, **options
    )


@pytest.mark.parametrize("mode", [TradingMode.LIVE, TradingMode.SANDBOX])
async def test_venue_without_a_table_is_refused_until_the_account_allows_it(mode: TradingMode) -> None:
    with pytest.raises(ConfigurationError, match="none of the venues that were studied") as refusal:
        await open_exchange(account="main", exchange="bitso", mode=mode, ccxt_config={}, credentials=KEYS)
    assert "allow_generic = true" in refusal.value.what_to_do
    made = await opened_generic(allow_generic=True)
    assert made.time_fence_s() is None
    await made.close()


async def test_venue_without_a_table_is_open_for_paper() -> None:
    made = await open_exchange(
        account="main",
        exchange="bitso",
        mode=TradingMode.PAPER,
        ccxt_config={},
        credentials=Credentials(),
        paper=lambda market_data: market_data,
    )
    await made.close()


@pytest.mark.parametrize("exchange", ["bitso", "gemini"])
async def test_no_setting_makes_not_found_a_proof_where_look_ups_are_blind(exchange: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot make 'not found' a proof"):
        await open_exchange(
            account="main", exchange=exchange, mode=TradingMode.LIVE, ccxt_config={}, credentials=KEYS,
            time_fence_s=90, allow_generic=True,
        )  # fmt: skip


async def test_account_can_set_its_own_time_fence() -> None:
    made = await open_exchange(
        account="main", exchange="kraken", mode=TradingMode.LIVE, ccxt_config={}, credentials=KEYS, time_fence_s=90
    )
    assert made.time_fence_s() == 90
    await made.close()
