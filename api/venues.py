"""The venues as the REST interface sees them: public data only, opened on first use, every wait bounded."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, TypeVar

from activities.validating import look_at_venue
from api.problems import near
from domain.errors import ExecutionError, UnknownAccount, UnknownSymbol, VenueUnavailable
from domain.exposure import Validated
from domain.instrument import Instrument
from domain.limits import Limits
from domain.order import OrderTicket
from domain.ports import Exchange
from domain.reports import Ticker, VenueStatus
from settings import AccountSettings

T = TypeVar("T")

ASK_TIMEOUT_S: Final = 10.0
RULES_TIMEOUT_S: Final = 2.0
"""An order does not wait longer for the venue's symbols: its workflow looks at them again anyway."""
PRICE_FRESH_S: Final = 1.0
PRICE_USABLE_S: Final = 15.0
"""Positions show a price of up to this age, and ask for a new one behind the answer's back."""
STATUS_FRESH_S: Final = 5.0
STATUS_USABLE_S: Final = 30.0
FIRST_LOOK_TIMEOUT_S: Final = 1.0


@dataclass
class _Kept:
    value: Any
    read_at: float


@dataclass
class Recent:
    """Values that may be a little old: a stale one is answered at once and read anew in the background."""

    fresh_s: float
    usable_s: float
    _kept: dict[object, _Kept] = field(default_factory=dict)
    _reading: dict[object, "asyncio.Task[Any]"] = field(default_factory=dict)

    async def get(self, key: object, read: Callable[[], Coroutine[Any, Any, T]], *, timeout_s: float) -> T | None:
        """Return the value; `None` when there is none of a usable age within the time."""
        kept = self._kept.get(key)
        age_s = time.monotonic() - kept.read_at if kept is not None else float("inf")
        if age_s > self.fresh_s and key not in self._reading:
            self._reading[key] = asyncio.create_task(self._read(key, read))
        if kept is not None and age_s <= self.usable_s:
            value: T = kept.value
            return value
        reading = self._reading.get(key)
        if reading is None:
            return None
        done, _ = await asyncio.wait({reading}, timeout=timeout_s)
        return reading.result() if done else None

    async def _read(self, key: object, read: Callable[[], Coroutine[Any, Any, T]]) -> T | None:
        try:
            value = await asyncio.wait_for(read(), ASK_TIMEOUT_S)
        except (ExecutionError, TimeoutError):
            return None
        finally:
            self._reading.pop(key, None)
        self._kept[key] = _Kept(value, time.monotonic())
        return value


class Venues:
    """Public data of the accounts' venues.

    Parameters
    ----------
    open_exchange
        Opens the account's venue; raises `CredentialsUnavailable` where keys are needed and missing.
    """

    def __init__(
        self, accounts: Mapping[str, AccountSettings], *, open_exchange: Callable[[str], Awaitable[Exchange]]
    ) -> None:
        self._accounts = accounts
        self._open = open_exchange
        self._opened: dict[str, Exchange] = {}
        self._locks = {account: asyncio.Lock() for account in accounts}
        self._prices = Recent(PRICE_FRESH_S, PRICE_USABLE_S)
        self._statuses = Recent(STATUS_FRESH_S, STATUS_USABLE_S)

    def check_account(self, account: str) -> str:
        """Return the account's name. Raises `UnknownAccount` with the names near it."""
        if account in self._accounts:
            return account
        alike = near(account, self._accounts) or sorted(self._accounts)[:10]
        raise UnknownAccount(
            f"no exchange {account[:64]!r} is configured", advice=f"Use one of these: {', '.join(alike)}."
        )

    async def check_symbol(self, account: str, symbol: str) -> bool:
        """Return whether the venue is known to list the symbol; false while its symbols cannot be read.

        Raises `UnknownSymbol` with the names near it.
        """
        try:
            listed = await asyncio.wait_for(self.instruments(account), RULES_TIMEOUT_S)
        except (ExecutionError, TimeoutError):
            return False
        if symbol in listed:
            return True
        alike = near(symbol, listed)
        advice = f"Did you mean {' or '.join(alike)}?" if alike else "Use the form BASE/QUOTE, in capitals."
        raise UnknownSymbol(f"{account} does not list {symbol[:64]!r}", advice=advice)

    async def instruments(self, account: str) -> Mapping[str, Instrument]:
        """Return the venue's symbols and their rules. Raises `VenueUnavailable` and its like."""
        return await (await self._exchange(account)).instruments()

    async def ticker(self, account: str, symbol: str) -> Ticker:
        """Return best prices, about a second old at most. Raises `VenueUnavailable`, `UnknownSymbol` and their like."""
        exchange = await self._exchange(account)
        try:
            return await asyncio.wait_for(exchange.fetch_ticker(symbol), ASK_TIMEOUT_S)
        except TimeoutError:
            raise VenueUnavailable(f"{account} does not answer in time") from None

    async def look(self, account: str, ticket: OrderTicket, *, limits: Iterable[Limits], now: datetime) -> Validated:
        """Find out what an order's `validate` would. Raises `VenueUnavailable` and its like."""
        exchange = await self._exchange(account)
        try:
            return await asyncio.wait_for(look_at_venue(exchange, ticket, limits=limits, now=now), ASK_TIMEOUT_S)
        except TimeoutError:
            raise VenueUnavailable(f"{account} does not answer in time") from None

    async def price(self, account: str, symbol: str) -> Decimal | None:
        """Return what the symbol trades at, quote units per base unit; `None` when that is not known at once."""
        ticker = await self._prices.get(
            (account, symbol), lambda: self.ticker(account, symbol), timeout_s=FIRST_LOOK_TIMEOUT_S
        )
        return None if ticker is None else ticker.last or ticker.bid or ticker.ask

    async def status(self, account: str, *, timeout_s: float) -> VenueStatus:
        """Return how the venue answers, as seen within the last half minute. Never raises."""

        async def look() -> VenueStatus:
            return await (await self._exchange(account)).status()

        status = await self._statuses.get(account, look, timeout_s=timeout_s)
        return status or VenueStatus(
            reachable=False, markets_count=0, latency_ms=None, clock_skew_ms=None, last_error="no answer in time"
        )

    async def warm_up(self) -> None:
        """Open every venue and read its symbols, so that the first order does not wait for them."""
        await asyncio.gather(*(self.instruments(account) for account in self._accounts), return_exceptions=True)

    async def close(self) -> None:
        """Close what was opened."""
        for exchange in self._opened.values():
            await exchange.close()

    async def _exchange(self, account: str) -> Exchange:
        async with self._locks[account]:
            if account not in self._opened:
                self._opened[account] = await self._open(account)
        return self._opened[account]
