"""One account's connection to its venue: asks through ccxt, and believes only whole answers."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

import ccxt

from domain.errors import ClockSkew, CredentialsRefused, RateLimited, VenueError, VenueRefused, VenueUnavailable
from domain.instrument import Instrument
from domain.keys import KeyChange, KeySource
from domain.ports import Credentials
from domain.rate_budget import UNIT, Priority
from domain.reports import RateBudget, SubmitOutcome, SubmitVerdict, VenueStatus
from exchanges.account_keys import AccountKeys, identity_call
from exchanges.ccxt_mapping import EPOCH, instruments_from
from exchanges.ccxt_transport import HttpCall, Probe, VenueSessions, probing
from exchanges.rate_queue import RequestQueue
from exchanges.venue_rules import CLOCK_ALLOWANCE_S, VenueRules
from exchanges.verdicts import incomplete, read_failure, retry_after_s
from observability.sightings import seen

MARKETS_FRESH_S: Final = 3600
"""Venues change steps and minima rarely, and announce it."""
MARKETS_RETRY_S: Final = 60
"""Pause after a failed refresh; the markets that are known serve meanwhile."""
CLOCK_FRESH_S: Final = 600
"""Two clocks drift apart by some ten milliseconds in this time."""
CLOCK_STEP_MAX_S: Final = 0.25
"""If our clock was set by more than this, the difference to the venue's is measured again."""
SIGN_OF_LIFE: Final = ("BTC/USDT", "BTC/USD")
"""Symbols that every venue of these names trades, and whose price is asked for where nothing lighter is there."""
GOOD_ROUND_TRIP_S: Final = 0.5
"""A time reading that took longer (a connection had to be opened) is taken a second time."""


@dataclass(slots=True)
class Answer:
    """What came of one operation: ccxt's value or its exception, and the requests that were made."""

    value: Any = None
    error: Exception | None = None
    calls: list[HttpCall] = field(default_factory=list)

    @property
    def last_call(self) -> HttpCall | None:
        """The request that decided it."""
        return self.calls[-1] if self.calls else None


class VenueClient:
    """Asks one venue for one account.

    Parameters
    ----------
    api
        A ccxt instance of a class made by `watched_class`.
    clock
        Gives our time, UTC.
    requests
        The account's queue before the venue.
    keys
        Where newer keys come from when the venue refuses those of `api`; `None` where they never change.
    """

    def __init__(
        self,
        api: Any,
        *,
        sessions: VenueSessions,
        rules: VenueRules,
        clock: Callable[[], datetime],
        requests: RequestQueue,
        keys: KeySource | None = None,
    ) -> None:
        self.api = api
        self.requests = requests
        self.keys = AccountKeys(api, keys)
        if keys is not None:
            keys.compare_by(self.identity_of)
        self.rules = rules
        self.clock = clock
        self._sessions = sessions
        self._instruments: dict[str, Instrument] | None = None
        self._markets_due = 0.0
        self._markets_lock = asyncio.Lock()
        self._clock_due = 0.0
        self._clock_offset = 0.0
        self._clock_lock = asyncio.Lock()
        self._skew_ms: int | None = None
        self._latency_ms: int | None = None
        self._last_error: str | None = None
        self._weight_used: int | None = None
        self._seen = seen(requests.account)

    async def ask(
        self,
        call: Callable[[], Awaitable[Any]],
        *,
        listing: bool = False,
        signed: bool = False,
        priority: Priority = Priority.READ,
    ) -> Any:
        """Return ccxt's answer if the venue's was whole, else raise one of the port's errors.

        Parameters
        ----------
        listing
            Whether a list is expected, so that an empty one can be believed.
        signed
            Whether the request is signed, so that the venue's clock must be known.
        priority
            Who goes before it in the queue.
        """
        return (await self.ask_whole(call, listing=listing, signed=signed, priority=priority)).value

    async def ask_whole(
        self,
        call: Callable[[], Awaitable[Any]],
        *,
        listing: bool = False,
        signed: bool = False,
        priority: Priority = Priority.READ,
    ) -> Answer:
        """As `ask`, and return the requests that were made beside ccxt's value."""
        answer = await self.try_ask(call, signed=signed, priority=priority)
        if answer.error is not None:
            raise self.failed(answer) from answer.error
        for made in answer.calls:
            lacking = incomplete(made, self.rules, listing=listing)
            if lacking is not None:
                raise self._noted(VenueUnavailable(f"the venue's answer is not whole: {lacking}"))
        return answer

    async def try_ask(
        self, call: Callable[[], Awaitable[Any]], *, signed: bool = False, priority: Priority = Priority.READ
    ) -> Answer:
        """Return what came of the operation. Raises `RateLimited` without asking while the venue wants a pause.

        A signed one whose key the venue refuses is made once more when there are newer keys: it may be repeated.
        """
        await self.requests.raise_if_paused()
        if not signed:
            return await self._tried(call, priority=priority)
        await self.know_clock()
        version = self.keys.take_newest()
        answer = await self._tried(call, priority=priority)
        if not self._refuses_key(answer) or await self.keys.renewed_since(version) is not KeyChange.NEWER:
            return answer
        return await self._tried(call, priority=priority)

    async def identity_of(self, keys: Credentials) -> str | None:
        """Ask the venue whose keys these are; `None` where it does not tell. Raises the port's errors."""
        await self.requests.raise_if_paused()
        await self.know_clock()
        call, read = identity_call(self.api, keys)
        if call is None:
            return None
        answer = await self._tried(call, priority=Priority.SUBMIT)
        if answer.error is not None:
            raise self.failed(answer) from answer.error
        return read(answer.value)

    def _refuses_key(self, answer: Answer) -> bool:
        failed = answer.error is not None
        return failed and isinstance(read_failure(answer.error, answer.last_call, self.rules), CredentialsRefused)

    async def _tried(self, call: Callable[[], Awaitable[Any]], *, priority: Priority) -> Answer:
        probe = Probe(priority=priority)
        answer = Answer(calls=probe.calls)
        try:
            with probing(probe):
                answer.value = await call()
        except Exception as error:  # ccxt's parsers raise anything when an answer is not as they expect
            answer.error = error
        if answer.error is None or _is_answered(answer.last_call):
            self._seen.answered()
        self._note_weight(probe)
        return answer

    def failed(self, answer: Answer) -> VenueError:
        """Return why an operation gave no answer, and act on it: pause, measure the clock again."""
        return self._noted(read_failure(answer.error, answer.last_call, self.rules))

    def note_submission(self, probe: Probe, outcome: SubmitOutcome) -> None:
        """Learn from what came of an order."""
        self._note_weight(probe)
        call, code = probe.order_call, outcome.reason.code if outcome.reason else None
        if call is not None and call.status in (418, 429):
            self._noted(RateLimited(f"HTTP {call.status} to an order", retry_after_s=retry_after_s(call)))
        elif code == ClockSkew.code:
            self._noted(ClockSkew("the venue refused the time of an order"))
        elif code == "FILTER_FAILED":
            self._markets_due = 0.0
        elif outcome.verdict is SubmitVerdict.UNKNOWN:
            self._last_error = self._stamped(str(outcome.reason))
            self._seen.failed(str(outcome.reason))
        elif call is not None and call.status is not None:
            self._seen.answered()

    async def instruments(self) -> Mapping[str, Instrument]:
        """Return the venue's symbols, loaded once and then each hour. Old ones serve when a refresh fails."""
        async with self._markets_lock:
            if self._instruments is None or time.monotonic() >= self._markets_due:
                await self._load_markets()
        if self._instruments is None:
            raise VenueUnavailable("the venue's markets are not known yet")
        return self._instruments

    async def _load_markets(self) -> None:
        known = self._instruments is not None
        try:
            markets = await self.ask(lambda: self.api.load_markets(known), priority=Priority.CANCEL)
        except VenueError:
            if not known:
                raise
            self._markets_due = time.monotonic() + MARKETS_RETRY_S
            return
        self._instruments = instruments_from(
            markets, tick_sizes=self.api.precisionMode == ccxt.TICK_SIZE, rules=self.rules
        )
        self._markets_due = time.monotonic() + MARKETS_FRESH_S

    async def know_clock(self) -> None:
        """Measure the difference of our clock to the venue's, unless that is known well.

        Raises `VenueUnavailable` where orders are fenced by the venue's clock and it cannot be known well enough.
        """
        if not self.api.has.get("fetchTime"):
            return
        async with self._clock_lock:
            stepped = abs(self._wall_offset() - self._clock_offset) > CLOCK_STEP_MAX_S
            if time.monotonic() >= self._clock_due or stepped:
                await self.measure_clock()

    async def measure_clock(self) -> None:
        """Ask the venue for its time, and take half of the round trip as the way back."""
        round_trip_s, skew_ms = await self._time_reading()
        if round_trip_s > GOOD_ROUND_TRIP_S:
            round_trip_s, skew_ms = min((round_trip_s, skew_ms), await self._time_reading())
        self._latency_ms = int(round_trip_s * 1000)
        if round_trip_s / 2 > CLOCK_ALLOWANCE_S:
            raise self._noted(VenueUnavailable("the venue answers too slowly to know its clock"))
        self._skew_ms = skew_ms
        if not self.rules.counts_nonces:
            self.api.options["timeDifference"] = skew_ms
        self._clock_offset = self._wall_offset()
        self._clock_due = time.monotonic() + CLOCK_FRESH_S
        self._seen.measured(latency_ms=self._latency_ms, clock_skew_ms=self._certain_skew_ms())

    async def _time_reading(self) -> tuple[float, int]:
        before, started = self.clock(), time.monotonic()
        venue_ms = await self.ask(self.api.fetch_time, priority=Priority.CANCEL)
        round_trip_s = time.monotonic() - started
        if not isinstance(venue_ms, int):
            raise VenueUnavailable("the venue does not tell its time")
        ours_ms = ((before - EPOCH).total_seconds() + round_trip_s / 2) * 1000
        return round_trip_s, round(ours_ms - venue_ms - self.rules.clock_step_ms / 2)

    def _wall_offset(self) -> float:
        return self.clock().timestamp() - time.monotonic()

    def on_venue_clock(self, moment: datetime) -> datetime:
        """Return what the venue's clock shows, or will show, at a moment of ours."""
        return moment - timedelta(milliseconds=self._skew_ms or 0)

    async def status(self) -> VenueStatus:
        """Ask for a sign of life and return how the venue answers. Never raises."""
        reachable = True
        try:
            await self.instruments()
            if self.api.has.get("fetchTime"):
                await self.measure_clock()
            else:
                await self._ask_for_life(await self.instruments())
        except VenueError:
            reachable = False
        return VenueStatus(
            reachable=reachable,
            markets_count=len(self._instruments or ()),
            latency_ms=self._latency_ms,
            clock_skew_ms=self._certain_skew_ms(),
            last_error=self._last_error,
            rate_budget_used=self._weight_used,
            rate_budgets=await self._rate_budgets(),
            paused_s=math.ceil(self.requests.paused_s),
        )

    async def _ask_for_life(self, instruments: Mapping[str, Instrument]) -> None:
        """Ask for a price, where the venue does not tell its time: its symbols are read too rarely to be a sign."""
        symbol = next((symbol for symbol in SIGN_OF_LIFE if symbol in instruments), next(iter(instruments), None))
        if symbol is not None:
            with suppress(VenueRefused):  # a word is a word
                await self.ask(partial(self.api.fetch_ticker, symbol))

    async def _rate_budgets(self) -> tuple[RateBudget, ...]:
        return tuple(
            RateBudget(
                name=count.name,
                limit=count.limit // UNIT,
                window_s=count.window_ms // 1000,
                used=-(-count.used // UNIT),
            )
            for count in await self.requests.counts()
        )

    def _certain_skew_ms(self) -> int | None:
        """Return how far the clocks differ at least: nothing may be concluded from the venue's rounding of its time."""
        if self._skew_ms is None:
            return None
        certain = max(abs(self._skew_ms) - self.rules.clock_step_ms // 2, 0)
        return certain if self._skew_ms > 0 else -certain

    async def close(self) -> None:
        """Close connections."""
        await self.requests.close()
        await self._sessions.close()
        self.api.session = None
        self.api.timeout_on_exit = 0  # ccxt would wait for connections of its own, and has none
        with suppress(ccxt.BaseError):
            await self.api.close()

    def _noted(self, error: VenueError) -> VenueError:
        self._last_error = self._stamped(error.message)
        if isinstance(error, VenueRefused):
            self._seen.answered()
        else:
            self._seen.failed(f"{error.code}: {error.message}")
        if isinstance(error, RateLimited):
            self.requests.pause(error.retry_after_s, error.message)
        elif isinstance(error, ClockSkew):
            self._clock_due = 0.0
        return error

    def _stamped(self, text: str) -> str:
        return f"{self.clock():%Y-%m-%dT%H:%M:%SZ} {text}"

    def _note_weight(self, probe: Probe) -> None:
        """Take the venue's own counts from its answers."""
        weight = self.rules.weight_header
        for call in probe.calls:
            if weight is not None and (used := _count(call, weight)) is not None:
                self._weight_used = used
                self.requests.told_by_venue("weight", used * self.rules.weight_unit)
            for limit in self.rules.order_limits:
                if limit.header is not None and (placed := _count(call, limit.header)) is not None:
                    self.requests.told_by_venue(limit.name, placed * UNIT)


def _is_answered(call: HttpCall | None) -> bool:
    """Tell whether the venue spoke, though it was no success: an order that it does not have is an answer too."""
    return call is not None and call.status is not None and call.status < 500 and call.status not in (418, 429)


def _count(call: HttpCall, header: str) -> int | None:
    told = call.headers.get(header, "")
    return int(told) if told.isascii() and told.isdigit() else None
