"""Measures what pulls the kill switch by itself. What is done with the figures is decided in `domain/trips.py`."""

from collections import deque
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from domain.errors import ExecutionError
from domain.kill import Engaged
from domain.order import Order
from domain.ports import Exchange
from domain.trips import CallCount, Trip, TripTerms, error_trip, mismatch_trip, skew_trip, stale_trip
from observability import metrics

MEASURE_INTERVAL: Final = timedelta(seconds=5)
"""Losses are measured this rarely, and the venue is asked for its clock and its tickers, if a trip needs them."""
SYMBOLS_MAX: Final = 20
"""Markets that are looked at in one round, at most."""


class TripWatch:
    """Looks at one process's accounts. Its memory is the process's own: after a restart it measures anew.

    Parameters
    ----------
    open_cases
        Returns the codes of an account's open cases.
    working
        Returns an account's working orders.
    losses
        Measures what the account's scopes have lost, and returns the trips that come of it.
    trip
        Pulls the switch; does nothing when it is on.
    """

    def __init__(
        self,
        *,
        terms: TripTerms,
        exchanges: Mapping[str, Exchange],
        open_cases: Callable[[str], Awaitable[Collection[str]]],
        working: Callable[[str], Awaitable[Sequence[Order]]],
        losses: Callable[[str, TripTerms], Awaitable[Sequence[Trip | None]]],
        trip: Callable[[Trip], Awaitable[Engaged | None]],
        clock: Callable[[], datetime],
    ) -> None:
        self._terms = terms
        self._exchanges = exchanges
        self._open_cases = open_cases
        self._working = working
        self._losses = losses
        self._trip = trip
        self._clock = clock
        self._counts: dict[str, deque[CallCount]] = {}
        self._asked_at: dict[str, datetime] = {}
        self._seen_at: dict[tuple[str, str], datetime] = {}

    async def round(self) -> Sequence[Engaged]:
        """Look at every account once, and return the switches that were pulled. Raises `StoreUnavailable`."""
        pulled = []
        for account in self._exchanges:
            for trip in [await self._of_ledger(account), self._of_calls(account), *await self._of_markets(account)]:
                engaged = await self._trip(trip) if trip is not None else None
                if engaged is not None:
                    pulled.append(engaged)
        return pulled

    async def _of_ledger(self, account: str) -> Trip | None:
        if not (self._terms.position_mismatch or self._terms.balance_mismatch):
            return None
        return mismatch_trip(account, await self._open_cases(account), self._terms)

    def _of_calls(self, account: str) -> Trip | None:
        if self._terms.max_error_share is None:
            return None
        counts = self._counts.setdefault(account, deque())
        asked, failed = metrics.venue_calls(account)
        counts.append(CallCount(at=self._clock(), asked=asked, failed=failed))
        while (counts[-1].at - counts[0].at).total_seconds() > self._terms.error_window_s:
            counts.popleft()
        return error_trip(account, counts, self._terms)

    async def _of_markets(self, account: str) -> Sequence[Trip | None]:
        now, last = self._clock(), self._asked_at.get(account)
        if last is not None and now - last < MEASURE_INTERVAL:
            return ()
        self._asked_at[account] = now
        losses = await self._losses(account, self._terms)
        if not self._terms.asks_the_venue:
            return losses
        exchange = self._exchanges[account]
        trips = [*losses, skew_trip(account, (await exchange.status()).clock_skew_ms, self._terms)]
        symbols = sorted({order.ticket.symbol for order in await self._working(account)})
        for key in [key for key in self._seen_at if key[0] == account and key[1] not in symbols]:
            del self._seen_at[key]
        for symbol in symbols[:SYMBOLS_MAX]:
            trips.append(stale_trip(account, symbol, await self._age_s(account, symbol, exchange), self._terms))
        return trips

    async def _age_s(self, account: str, symbol: str, exchange: Exchange) -> float:
        """Return the seconds since the venue last gave the market's prices, counted from our first look at it."""
        seen_at = self._seen_at.setdefault((account, symbol), self._clock())
        try:
            seen_at = max(seen_at, (await exchange.fetch_ticker(symbol)).ts_event)
        except ExecutionError:
            pass  # no answer is what is measured here
        self._seen_at[account, symbol] = seen_at
        return (self._clock() - seen_at).total_seconds()
