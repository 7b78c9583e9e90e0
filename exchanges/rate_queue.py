"""One queue before a venue, for all requests of an account in this process; its budgets are shared with the fleet.

Cancels first, then orders, then reads; orders of different strategies in turn. Where the lease of a budget is used up,
the ledger is asked for more; nothing else of the hot path waits for it but a look, at most every tenth of a second, at
whether the venue has asked the fleet for a pause.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from domain.errors import RateLimited, StoreUnavailable
from domain.rate_budget import UNIT, Ask, Budget, Count, Priority, RateLedger
from exchanges.rate_lanes import Lanes, Waiter
from exchanges.rate_purse import Purse

LOOK_FRESH_S: Final = 0.1
"""A pause that another process was told holds here for every request that begins this much later."""
LEDGER_TIMEOUT_S: Final = 1.0
"""A ledger that hangs must not keep a request: its lease serves meanwhile."""
LEDGER_RETRY_S: Final = 1.0
TELL_AFTER_S: Final = 1.0
"""What was spent is told this long after at the latest, while there is something to tell."""
TELL_STEPS: Final = 20
"""And after a window divided by this: until it is told, it does not begin to leave the window."""
WAITING_MAX: Final[Mapping[Priority, int]] = {Priority.CANCEL: 10_000, Priority.SUBMIT: 200, Priority.READ: 100}
"""Beyond this many a request is turned away: each one that waits holds a place of its worker, which cancels need."""
CROWDED_PAUSE_S: Final = 2
log = logging.getLogger("volex.rates")


class Permit:
    """What one request took of the budgets. It counts as spent once the request is over, or goes back."""

    def __init__(self, queue: "RequestQueue", costs: Mapping[str, int]) -> None:
        self._queue = queue
        self.costs = costs
        self.used = False
        """Whether a request has taken it over."""
        self._open = True

    def settle(self, *, spent: bool) -> None:
        """End it, once; again changes nothing."""
        if self._open:
            self._open = False
            self._queue.settled(self.costs, spent=spent)


class RequestQueue:
    """The queue of one account in this process.

    Parameters
    ----------
    holder
        This process's name in the fleet.
    budgets
        What the venue allows; none where it is not to be limited: pauses are obeyed all the same.
    ledger
        What the fleet shares; `None`: this process is alone with the account.
    spacing_s
        Seconds between two requests of one unit of weight, where the venue takes no bursts.
    clock
        Monotonic seconds; waiting goes by the running loop's own.
    """

    def __init__(
        self,
        account: str,
        *,
        holder: str = "",
        budgets: Sequence[Budget] = (),
        ledger: RateLedger | None = None,
        spacing_s: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.account = account
        self.purses = {budget.name: Purse(budget, shared=ledger is not None) for budget in budgets}
        self._holder = holder
        self._ledger = ledger
        self._spacing_s = spacing_s
        self._clock = clock
        self._next_at = float("-inf")
        self._lanes = Lanes()
        self._wake = asyncio.Event()
        self._pump_task: asyncio.Task[None] | None = None
        self._telling: asyncio.Task[None] | None = None
        self._telling_pause: asyncio.Task[None] | None = None
        self._talking = asyncio.Lock()
        self._paused_until = float("-inf")
        self._pause_text = ""
        self._pause_untold = False
        self._looked_at = float("-inf")
        windows = [budget.window_ms / 1000 / TELL_STEPS for budget in budgets]
        self._tell_after_s = min([TELL_AFTER_S, *windows])

    # Requests.

    async def acquire(self, costs: Mapping[str, int], *, priority: Priority, lane: str = "") -> Permit:
        """Wait for the request's turn, and take what it costs. Who gives up waiting has taken nothing.

        Raises `RateLimited` while the venue wants a pause, and when too many wait already.
        """
        costs = {name: amount for name, amount in costs.items() if name in self.purses and amount > 0}
        await self.raise_if_paused()
        if not len(self._lanes) and self._fits(costs, priority, self._clock()):
            return self._take(costs)
        if self._lanes.waiting(priority) >= WAITING_MAX[priority]:
            raise RateLimited("too many requests wait for the venue", retry_after_s=CROWDED_PAUSE_S)
        waiter = Waiter(costs, priority, lane, asyncio.get_running_loop().create_future())
        self._lanes.add(waiter)
        self._wake.set()
        if self._pump_task is None or self._pump_task.done():
            self._pump_task = asyncio.create_task(self._pump())
        try:
            await waiter.heard
        except asyncio.CancelledError:
            if waiter.heard.done() and not waiter.heard.cancelled() and waiter.heard.exception() is None:
                self.settled(costs, spent=False)
            raise
        finally:
            self._lanes.remove(waiter)
        return Permit(self, costs)

    def settled(self, costs: Mapping[str, int], *, spent: bool) -> None:
        """Count what a request cost, or put it back."""
        for name, amount in costs.items():
            self.purses[name].settle(amount, self._clock(), spent=spent)
        self._wake.set()
        if costs and self._ledger is not None and (self._telling is None or self._telling.done()):
            self._telling = asyncio.create_task(self._tell_soon(self._ledger))

    def waiting(self, priority: Priority) -> int:
        """Return how many wait with this priority."""
        return self._lanes.waiting(priority)

    def waiting_in(self, priority: Priority, lane: str) -> int:
        """Return how many of them wait in one lane."""
        return self._lanes.waiting_in(priority, lane)

    def wait_s(self, costs: Mapping[str, int], priority: Priority) -> float:
        """Return in how many seconds there may be room for such a request; 0 where there is some."""
        now = self._clock()
        lacking = [self.purses[n] for n, a in costs.items() if n in self.purses]
        lacking = [purse for purse in lacking if not purse.fits(costs[purse.budget.name], now, priority)]
        return max((purse.room_at - now for purse in lacking), default=0.0)

    def told_by_venue(self, name: str, amount: int) -> None:
        """Take the venue's own count of a budget's running window."""
        purse = self.purses.get(name)
        if purse is not None:
            purse.venue_count = max(amount, purse.venue_count or 0)

    async def counts(self) -> Sequence[Count]:
        """Return what counts of each budget in the whole fleet; without the ledger, in this process."""
        if self._ledger is not None:
            with contextlib.suppress(StoreUnavailable, TimeoutError):
                async with asyncio.timeout(LEDGER_TIMEOUT_S):
                    return await self._ledger.counts(self.account)
        return [purse.count(self._clock()) for purse in self.purses.values()]

    async def close(self) -> None:
        """Tell the last, and stop."""
        for task in (self._pump_task, self._telling, self._telling_pause):
            if task is not None:
                task.cancel()
        if self._ledger is not None and any(purse.untold(self._clock()) for purse in self.purses.values()):
            await self._tell(self._ledger)

    # Pauses.

    def pause(self, seconds: int, why: str) -> None:
        """Let nothing leave for so long, neither here nor, as soon as the ledger knows, in the fleet."""
        until = self._clock() + seconds
        if until <= self._paused_until:
            return
        self._paused_until, self._pause_text, self._pause_untold = until, why, True
        self._wake.set()
        if self._ledger is not None:
            self._telling_pause = asyncio.create_task(self._tell_at_once(self._ledger))

    async def raise_if_paused(self) -> None:
        """Raise `RateLimited` while the venue wants a pause: requests during a ban prolong it."""
        self._raise_pause()
        if self._ledger is not None and self._clock() - self._looked_at > LOOK_FRESH_S:
            await self._look(self._ledger)
            self._raise_pause()

    @property
    def paused_s(self) -> float:
        """Return the seconds that the pause still lasts; 0 when there is none."""
        return max(self._paused_until - self._clock(), 0.0)

    def _raise_pause(self) -> None:
        if self.paused_s > 0:
            raise RateLimited(self._pause_text, retry_after_s=int(self.paused_s) + 1)

    async def _look(self, ledger: RateLedger) -> None:
        began = self._clock()
        async with self._talking:
            if self._looked_at >= began - LOOK_FRESH_S:
                return  # somebody else has looked meanwhile
            began = self._clock()
            try:
                async with asyncio.timeout(LEDGER_TIMEOUT_S):
                    paused = await ledger.pause_left(self.account)
            except (StoreUnavailable, TimeoutError):
                self._looked_at = self._clock() + LEDGER_RETRY_S  # not asked again by every request meanwhile
                return
            self._looked_at = began
            if paused is not None:
                self._learn_pause(paused.left_ms, paused.why)

    def _learn_pause(self, left_ms: int, why: str) -> None:
        until = self._clock() + left_ms / 1000
        if until > self._paused_until:
            self._paused_until, self._pause_text = until, why

    # The pump: the only place where requests leave the queue.

    async def _pump(self) -> None:
        while len(self._lanes):
            self._wake.clear()
            if self.paused_s > 0:
                self._turn_all_away()
            elif not self._release():
                await self._get_more()

    def _turn_all_away(self) -> None:
        refusal = {"retry_after_s": int(self.paused_s) + 1}
        for waiter in list(self._lanes):
            self._lanes.remove(waiter)
            if not waiter.heard.done():
                waiter.heard.set_exception(RateLimited(self._pause_text, **refusal))

    def _release(self) -> bool:
        """Let those go whose turn it is. What a more urgent one lacks, nobody behind it takes."""
        now, lacking, released = self._clock(), set[str](), False
        for priority in Priority:
            going = True
            while going:
                going = False
                for waiter in self._lanes.heads(priority):
                    if waiter.heard.done():
                        self._lanes.remove(waiter)
                        going = True
                    elif now < self._next_at:
                        return released
                    elif not lacking & waiter.costs.keys() and self._fits(waiter.costs, priority, now):
                        self._lanes.remove(waiter)
                        self._take(waiter.costs)
                        waiter.heard.set_result(None)
                        going = released = True
                    else:
                        lacking |= self._lacks(waiter, now)
        return released

    def _fits(self, costs: Mapping[str, int], priority: Priority, now: float) -> bool:
        if self._spacing_s and now < self._next_at:
            return False
        return all(self.purses[name].fits(amount, now, priority) for name, amount in costs.items())

    def _lacks(self, waiter: Waiter, now: float) -> set[str]:
        return {n for n, amount in waiter.costs.items() if not self.purses[n].fits(amount, now, waiter.priority)}

    def _take(self, costs: Mapping[str, int]) -> Permit:
        for name, amount in costs.items():
            self.purses[name].take(amount)
        if self._spacing_s:
            weight = costs.get("weight", UNIT) / UNIT
            self._next_at = max(self._next_at, self._clock()) + weight * self._spacing_s
        return Permit(self, costs)

    async def _get_more(self) -> None:
        """Ask the ledger where that is worth it, else wait: for time to pass, or for something to change."""
        now = self._clock()
        first = {name: waiter for waiter in reversed(list(self._lanes)) for name in self._lacks(waiter, now)}
        if self._ledger is not None and any(self.purses[n].may_ask(now, w.priority) for n, w in first.items()):
            await self._tell(self._ledger)
            return
        until = min([self.purses[name].again_at(now) for name in first] or [now + TELL_AFTER_S])
        if self._spacing_s and self._next_at > now:
            until = min(until, self._next_at)
        try:
            async with asyncio.timeout(max(until - now, 0.001)):
                await self._wake.wait()
        except TimeoutError:
            return

    # The ledger.

    async def _tell_soon(self, ledger: RateLedger) -> None:
        """Tell what was spent, again and again until there is nothing to tell."""
        while True:
            await asyncio.sleep(self._tell_after_s)
            now = self._clock()
            if not any(purse.untold(now) for purse in self.purses.values()):
                return
            await self._tell(ledger)

    async def _tell_at_once(self, ledger: RateLedger) -> None:
        """Tell of a pause, again and again until the ledger knows or it is over."""
        while self._pause_untold:
            await self._tell(ledger)
            if self._pause_untold:
                await asyncio.sleep(LEDGER_RETRY_S)

    async def _tell(self, ledger: RateLedger) -> None:
        async with self._talking:
            now = self._clock()
            asks = {name: self._ask(purse, now) for name, purse in self.purses.items()}
            try:
                async with asyncio.timeout(LEDGER_TIMEOUT_S):
                    await self._tell_pause(ledger)
                    told = await ledger.settle(self.account, self._holder, list(asks.values()))
            except (StoreUnavailable, TimeoutError) as error:
                log.warning("rate_ledger_unreachable", extra={"account": self.account, "text": str(error)[:200]})
                for name, asked in asks.items():
                    self.purses[name].unanswered(asked, self._clock(), retry_in_s=LEDGER_RETRY_S)
                return
            self._looked_at = now
            for name, lease in told.leases.items():
                self.purses[name].told(asks[name], lease, self._clock())
            if told.pause is not None:
                self._learn_pause(told.pause.left_ms, told.pause.why)
        self._wake.set()

    async def _tell_pause(self, ledger: RateLedger) -> None:
        if self._pause_untold:
            left_ms = int(self.paused_s * 1000)
            if left_ms > 0:
                await ledger.pause(self.account, for_ms=left_ms, why=self._pause_text, told_by=self._holder)
            self._pause_untold = False

    def _ask(self, purse: Purse, now: float) -> Ask:
        """Say what is wanted of a budget: enough for all who wait, at the urgency of the first who lacks it."""
        name = purse.budget.name
        waiting = [waiter for waiter in self._lanes if name in waiter.costs and not waiter.heard.done()]
        if not waiting:
            return purse.ask(now, demand=0, least=0, priority=Priority.READ)
        first = waiting[0]
        demand = sum(waiter.costs[name] for waiter in waiting if waiter.priority is first.priority)
        return purse.ask(now, demand=demand, least=first.costs[name], priority=first.priority)
