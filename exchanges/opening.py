"""Opens an account at its exchange: the one place that decides which adapter serves it."""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, Literal

import ccxt
import ccxt.async_support

from domain.errors import ConfigurationError
from domain.keys import KeySource
from domain.order import TradingMode
from domain.ports import Credentials, Exchange
from domain.rate_budget import Priority, RateLedger
from exchanges.account_keys import in_ccxts_words
from exchanges.ccxt_client import VenueClient
from exchanges.ccxt_exchange import CcxtExchange
from exchanges.ccxt_transport import Turns, VenueSessions, watched_class
from exchanges.rate_limits import budgets_of, spacing_s
from exchanges.rate_queue import RequestQueue
from exchanges.venue_rules import VenueRules, listed_venues, venue_rules
from observability import metrics

NOT_CONFIGURED: Final = "https://not-configured.invalid"
"""Stands for every address of a venue that the account's `urls` leave out. The top-level domain `invalid` never
resolves, so that an account which was pointed elsewhere can never fall back on the real venue."""


@dataclass(frozen=True)
class Fleet:
    """What this process is called among those that share an account's budgets of requests, and where they do."""

    holder: str
    ledger: RateLedger | None = None
    per_minute: int | None = None
    """Requests of any kind in a minute, 1 or more: our own cap for all of them together."""
    places_orders: bool = True
    """Whether this process places orders, and so takes from their budgets."""


ALONE: Final = Fleet(holder="")
KEY_NAMES: Final = ("apiKey", "secret", "password", "uid", "login", "twofa", "privateKey", "walletAddress", "token")


def system_clock() -> datetime:
    """Return the time, UTC."""
    return datetime.now(UTC)


async def open_exchange(
    *,
    account: str,
    exchange: str,
    mode: TradingMode,
    ccxt_config: Mapping[str, object],
    credentials: Credentials,
    key_source: KeySource | None = None,
    time_fence_s: int | Literal["never"] | None = None,
    allow_generic: bool = False,
    holds_stops: bool = False,
    clock: Callable[[], datetime] = system_clock,
    paper: Callable[[Exchange], Exchange] | None = None,
    fleet: Fleet = ALONE,
) -> Exchange:
    """Open the account's exchange. Nothing is asked of the venue yet.

    Parameters
    ----------
    exchange
        A ccxt id, such as `binanceus`.
    ccxt_config
        Merged into ccxt's constructor as it stands. If it names any of `urls.api`, then only those addresses are used.
    key_source
        Where newer keys come from while the account is open; `None`: `credentials` stay.
    time_fence_s
        Seconds, 1 or more, instead of the venue's own time fence; `never`: it has none, a person decides.
    allow_generic
        Whether orders may go to a venue without a table of ours, in generic safety.
    holds_stops
        Whether we hold stops also where the venue has its own.
    paper
        Makes the paper exchange over the venue's public market data; needed in paper mode, which takes no keys.
    fleet
        Who else sends requests for this account.

    Raises
    ------
    ConfigurationError
        When the id is unknown, keys are missing or stand in `ccxt_config`, or the mode is not possible there.
    """
    check_venue(account, exchange, mode=mode, allow_generic=allow_generic, time_fence_s=time_fence_s)
    is_paper, rules = mode is TradingMode.PAPER, venue_rules(exchange)
    if is_paper and paper is None:
        raise ConfigurationError(f"account {account!r}: paper mode needs a paper book")
    api = _instance(account, exchange, rules, ccxt_config, Credentials() if is_paper else credentials)
    _lead(api, account, mode, rules, ccxt_config)
    client = _client(api, rules, _queue(account, api, rules, fleet, is_paper=is_paper), clock, key_source)
    opened = CcxtExchange(client, time_fence_s=time_fence_s, holds_stops=holds_stops)
    return paper(opened) if paper is not None and is_paper else opened


def _lead(api: Any, account: str, mode: TradingMode, rules: VenueRules, ccxt_config: Mapping[str, object]) -> None:
    """Set the addresses that the account's mode and configuration ask for; with real orders, keys must be there."""
    _point_elsewhere(api, ccxt_config)
    if mode is TradingMode.SANDBOX and not _own_addresses(ccxt_config):
        _enter_sandbox(account, api, rules)
    if mode is not TradingMode.PAPER:
        _require_keys(account, api)


def _client(
    api: Any, rules: VenueRules, queue: RequestQueue, clock: Callable[[], datetime], keys: KeySource | None
) -> VenueClient:
    """Give the ccxt instance our sessions, and what is asked through it a client."""
    sessions = VenueSessions(verify=bool(api.verify), cafile=api.cafile, trust_env=bool(api.aiohttp_trust_env))
    api.session, api.own_session = sessions, False
    effective = _effective(rules, api)
    return VenueClient(api, sessions=sessions, rules=effective, clock=clock, requests=queue, keys=keys)


def check_venue(
    account: str, exchange: str, *, mode: TradingMode, allow_generic: bool, time_fence_s: int | Literal["never"] | None
) -> None:
    """Raise `ConfigurationError` when orders of this account may not go where it says."""
    if exchange not in ccxt.exchanges:
        near = ", ".join(difflib.get_close_matches(exchange, ccxt.exchanges, n=3)) or "none"
        raise ConfigurationError(f"account {account!r}: exchange {exchange[:40]!r} is unknown; similar names: {near}")
    if mode is TradingMode.PAPER:
        return
    if exchange not in listed_venues() and not allow_generic:
        raise ConfigurationError(
            f"account {account!r}: {exchange} is none of the venues that were studied ({', '.join(listed_venues())})",
            advice=f"Use mode paper, or set `allow_generic = true` under [accounts.{account}]: then it takes market "
            "and limit orders only, and every order whose outcome is not known waits for a person.",
        )
    blind_spot = venue_rules(exchange).blind_spot
    if isinstance(time_fence_s, int) and blind_spot:
        raise ConfigurationError(
            f"account {account!r}: time_fence_s cannot make 'not found' a proof at {exchange}: {blind_spot}",
            advice="Leave time_fence_s out: a person decides on orders in doubt.",
        )


def _instance(
    account: str, exchange: str, rules: VenueRules, ccxt_config: Mapping[str, object], keys: Credentials
) -> Any:
    named = [name for name in KEY_NAMES if name in ccxt_config]
    if named:
        raise ConfigurationError(
            f"account {account!r}: {', '.join(named)} must not stand in the ccxt configuration",
            advice="Put keys into Vault or the environment; see the settings of `credentials`.",
        )
    ours = {
        # Text keeps every digit. ccxt's own retries would send an order again.
        "number": str,
        "enableRateLimit": True,
        **in_ccxts_words(keys),
    }
    merged = ccxt.Exchange.deep_extend(rules.config, ours, dict(ccxt_config), {"number": str})
    api = watched_class(exchange)(merged)
    if api.options.get("maxRetriesOnFailure"):
        raise ConfigurationError(f"account {account!r}: maxRetriesOnFailure must be 0: it would send orders again")
    api.turns = Turns() if rules.counts_nonces else None
    api.options["signsJournaledTime"] = rules.validity_window_ms is not None
    return api


def _queue(account: str, api: Any, rules: VenueRules, fleet: Fleet, *, is_paper: bool) -> RequestQueue:
    """Put our queue before the venue in place of ccxt's throttler."""
    places_orders = fleet.places_orders and not is_paper
    budgets = budgets_of(api, rules.order_limits, places_orders=places_orders, per_minute=fleet.per_minute)
    queue = RequestQueue(account, holder=fleet.holder, budgets=budgets, ledger=fleet.ledger, spacing_s=spacing_s(api))
    api.requests, api.enableRateLimit = queue, bool(budgets)
    for priority in Priority:
        waiting = metrics.RATE_WAITING.labels(account, priority.name.lower())
        waiting.set_function(partial(queue.waiting, priority))
    return queue


def _own_addresses(ccxt_config: Mapping[str, object]) -> Any:
    urls = ccxt_config.get("urls")
    return urls.get("api") if isinstance(urls, Mapping) else None


def _point_elsewhere(api: Any, ccxt_config: Mapping[str, object]) -> None:
    given = _own_addresses(ccxt_config)
    if given:
        api.urls["api"] = _only_given(api.urls["api"], given)


def _only_given(addresses: Any, given: Any) -> Any:
    """Keep the addresses that were given; every other one leads nowhere."""
    if not isinstance(addresses, Mapping):
        return addresses if given is not None else NOT_CONFIGURED
    own = given if isinstance(given, Mapping) else {}
    return {name: _only_given(address, own.get(name)) for name, address in addresses.items()}


def _enter_sandbox(account: str, api: Any, rules: VenueRules) -> None:
    if not rules.has_sandbox:
        raise ConfigurationError(
            f"account {account!r}: {api.id} has no sandbox that ccxt leads to; its orders would go elsewhere",
            advice="Use mode paper, or set the account's `ccxt.urls.api` to the test network.",
        )
    api.set_sandbox_mode(True)


def _effective(rules: VenueRules, api: Any) -> VenueRules:
    """Take over a validity window that the account's configuration sets, for the time fence follows from it."""
    window_ms = api.options.get("recvWindow")
    if rules.validity_window_ms is None or not isinstance(window_ms, int):
        return rules
    return replace(rules, validity_window_ms=window_ms)


def _require_keys(account: str, api: Any) -> None:
    missing = [name for name, needed in api.requiredCredentials.items() if needed and not getattr(api, name, None)]
    if missing:
        raise ConfigurationError(
            f"account {account!r}: {api.id} needs {', '.join(missing)}, which the credential store does not give",
            advice="Set the account's keys, or use mode paper.",
        )
