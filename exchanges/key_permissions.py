"""Whether an account's keys work, and what they may do, where the venue tells. Read through ccxt's raw calls."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from domain.errors import ConfigurationError, CredentialsRefused, VenueError
from domain.keys import KeyCheck, KeyPermissions
from exchanges.ccxt_client import VenueClient

LOOK_AGAIN_S: Final = 2.0
log = logging.getLogger("volex.keys")
Reader = Callable[[Any], KeyPermissions]


class KeyHolder(Protocol):
    """What can be asked about its keys."""

    async def check_keys(self) -> KeyCheck:
        """Make a signed read, and tell what the key may do."""


async def check_keys(client: VenueClient) -> KeyCheck:
    """Make a signed read, then ask for the key's permissions. Raises `VenueUnavailable` and its like, for weather."""
    await client.instruments()
    try:
        await client.ask(client.api.fetch_balance, signed=True)
    except CredentialsRefused as error:
        return KeyCheck(works=False, problem=error.message)
    return KeyCheck(works=True, permissions=await _permissions(client))


async def look_at_keys(exchange: KeyHolder, account: str, *, strict: bool) -> None:
    """Wait until the venue has told of the account's keys, and warn of what is wrong with them.

    Raises
    ------
    ConfigurationError
        Where `strict`, when the key may withdraw.
    """
    while True:
        try:
            found = await exchange.check_keys()
        except VenueError as error:
            log.info("keys_not_checked", extra={"account": account, "code": error.code, "text": str(error)})
            await asyncio.sleep(LOOK_AGAIN_S)
            continue
        break
    if not found.works:
        log.error("keys_refused", extra={"account": account, "text": found.problem})
    elif found.permissions.withdraw:
        text = f"the key of account {account!r} may withdraw"
        if strict:
            raise ConfigurationError(text, advice="Take that permission from the key, or set STRICT_KEYS=false.")
        log.warning("key_may_withdraw", extra={"account": account, "text": text})
    elif found.permissions.withdraw is None and strict:
        log.warning("key_permissions_not_told", extra={"account": account})


async def _permissions(client: VenueClient) -> KeyPermissions:
    """Ask the venue. What it does not tell, or we cannot read, is "not told"."""
    call, read = _TELLING.get(client.api.id, (None, None))
    if call is None or read is None or not hasattr(client.api, call):
        return KeyPermissions()
    try:
        answer = await client.try_ask(getattr(client.api, call), signed=True)
        made = answer.last_call
        whole = answer.error is None and made is not None and made.succeeded
        return read(answer.value) if whole else KeyPermissions()
    except (VenueError, KeyError, TypeError, ValueError, AttributeError):
        return KeyPermissions()


def _binance(told: Any) -> KeyPermissions:
    return KeyPermissions(
        read=_flag(told, "enableReading"),
        trade=_flag(told, "enableSpotAndMarginTrading"),
        withdraw=_flag(told, "enableWithdrawals"),
        ip_restricted=_flag(told, "ipRestrict"),
    )


def _coinbase(told: Any) -> KeyPermissions:
    # "Transfer" lets a key move money out of the account.
    return KeyPermissions(
        read=_flag(told, "can_view"), trade=_flag(told, "can_trade"), withdraw=_flag(told, "can_transfer")
    )


def _kraken(told: Any) -> KeyPermissions:
    words = _words(told["result"]["permissions"])
    return KeyPermissions(
        read=any("query" in word for word in words),
        trade=any("modify" in word for word in words),
        withdraw=any("withdraw" in word for word in words),
        ip_restricted=bool(told["result"].get("ip_allowlist")),
    )


def _okx(told: Any) -> KeyPermissions:
    (account,) = told["data"]
    words = _words(account["perm"].split(","))
    return KeyPermissions(
        read="read_only" in words,
        trade="trade" in words,
        withdraw="withdraw" in words,
        ip_restricted=bool(account.get("ip")),
    )


def _bybit(told: Any) -> KeyPermissions:
    key = told["result"]
    wallet = _words(key["permissions"].get("Wallet") or ())
    ips = key.get("ips")
    return KeyPermissions(
        read=True,
        trade=str(key.get("readOnly")) == "0" and bool(key["permissions"].get("Spot")),
        withdraw="withdraw" in wallet,
        ip_restricted=None if ips is None else ips not in ([], ["*"]),
    )


def _kucoin(told: Any) -> KeyPermissions:
    words = _words(told["data"]["permission"].split(","))
    return KeyPermissions(
        read="general" in words,
        trade=bool(words & {"spot", "trade"}),
        withdraw=bool(words & {"withdraw", "withdrawal", "transfer"}),
        ip_restricted=bool(told["data"].get("ipWhitelist")),
    )


def _bitget(told: Any) -> KeyPermissions:
    words = _words(told["data"]["authorities"])
    # Four letters each, the last of them r or w. Old keys have other words, which say nothing of withdrawals.
    codes = {word for word in words if len(word) == len("wwow") and word[-1] in "rw"}
    return KeyPermissions(
        read=True,
        trade=bool(words & {"stow", "trade"}),
        withdraw="wwow" in words if codes else None,
        ip_restricted=bool(told["data"].get("ips")),
    )


def _bitfinex(told: Any) -> KeyPermissions:
    scopes = {str(scope): (str(read) == "1", str(write) == "1") for scope, read, write, *_ in told}
    read, _ = scopes["wallets"]
    _, trade = scopes["orders"]
    return KeyPermissions(read=read, trade=trade, withdraw=any(scopes["withdraw"]))


def _gemini(told: Any) -> KeyPermissions:
    # A fund manager is the one role that may move money out.
    return KeyPermissions(read=True, trade=_flag(told, "isTrader"), withdraw=_flag(told, "isFundManager"))


def _flag(told: Mapping[str, Any], name: str) -> bool | None:
    value = told.get(name)
    return value if isinstance(value, bool) else None


def _words(told: Sequence[str]) -> set[str]:
    return {str(word).strip().lower() for word in told}


_TELLING: Final[Mapping[str, tuple[str, Reader]]] = {
    "binance": ("sapiGetAccountApiRestrictions", _binance),
    "binanceus": ("sapiGetAccountApiRestrictions", _binance),
    "coinbase": ("v3PrivateGetBrokerageKeyPermissions", _coinbase),
    "kraken": ("privatePostGetApiKeyInfo", _kraken),
    "okx": ("privateGetAccountConfig", _okx),
    "bybit": ("privateGetV5UserQueryApi", _bybit),
    "kucoin": ("privateGetUserApiKey", _kucoin),
    "bitget": ("privateSpotGetV2SpotAccountInfo", _bitget),
    "bitfinex": ("privatePostAuthRPermissions", _bitfinex),
    "gemini": ("privatePostV1Roles", _gemini),
}
"""Which raw call of ccxt tells of a key, by ccxt id, and how its answer is read."""
