"""How many requests a venue may get, shared by a whole fleet. Pure: the ledger's rows in, the ledger's rows out.

A budget is an amount per window: request weight per minute, orders per ten seconds. Each process of the fleet holds a
lease, an amount that it may spend without asking. What it has spent it tells later, and that counts until a window has
passed since then. What must hold after every word with the ledger:

    what was spent and still counts + all leases <= the whole

So no window can hold more than the whole, whoever dies, pauses or cannot reach the ledger. Amounts are integers in
thousandths of a unit, times are integers in milliseconds.
"""

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Final, Protocol

from pydantic import Field

from domain.order import Frozen

TURN_AWAITED: Final = "RATE_TURN_AWAITED"
"""Code of the reason with which an order waits: its turn at the venue has not come, and nothing was journaled."""
UNIT: Final = 1000
"""Amounts count in thousandths, for some venues weigh a request with a fraction."""
CALM_SHARE: Final = 20
"""A lease of up to the whole divided by this is kept in calm times, so that a single order asks nobody."""
CALM_LEASE_MS: Final = 300_000
"""A calm lease that nobody renews lapses after this long; a larger one after a window, for its holder may be dead."""
LARGE_LEASE_MIN_MS: Final = 5_000
LARGE_LEASE_MAX_MS: Final = 60_000
STEPS: Final = 20
"""What is spent within a window divided by this is kept as one entry, until the later end."""
FRESH_WISH_MS: Final = 2_000
"""A holder whose wish is older than this does not wait any more."""
RIVAL_MS: Final = 15_000
"""A holder that has asked within this time is one to share with."""
POLL_MS: Final = 250
"""Others may give back at any time: who waits asks again after this long at the latest."""
RETRY_MIN_MS: Final = 20


class Priority(IntEnum):
    """Who goes first. The lower goes first."""

    CANCEL = 0
    """Cancels, and what every other request waits for: the venue's clock and its symbols."""
    SUBMIT = 1
    """Orders, and looks at single orders."""
    READ = 2
    """Everything else."""


CEILINGS: Final[Mapping[Priority, int]] = {Priority.CANCEL: 100, Priority.SUBMIT: 90, Priority.READ: 75}
"""Percent of a shared budget that requests of a priority may fill: above it, only the more urgent ones pass."""


class Budget(Frozen):
    """An amount per window. `only_orders`: nothing but orders takes from it, so that they may fill it whole."""

    name: str
    limit: int
    window_ms: int
    only_orders: bool = False

    @property
    def calm(self) -> int:
        """Return the most that is leased in calm times."""
        return max(self.limit // CALM_SHARE, min(UNIT, self.limit))

    def ceiling(self, priority: Priority) -> int:
        """Return how much may be filled by requests of this priority."""
        return self.limit if self.only_orders else self.limit * CEILINGS[priority] // 100


class Ask(Frozen):
    """What a holder tells of one budget, and wants of it."""

    budget: Budget
    spent: int
    """Since it was told last."""
    held: int = 0
    """Of requests that are under way."""
    wants: int = 0
    """The lease that it wants in all, `held` included."""
    least: int = 0
    """Below this the lease is of no use beyond `held`: its first request needs so much."""
    priority: Priority = Priority.READ
    venue_count: int | None = None
    """What the venue itself says was spent in its running window; the highest since the last word."""


class Lease(Frozen):
    """What the ledger answers: the amount, from when it is void, and when it is worth asking again."""

    amount: int
    lapses_in_ms: int
    retry_in_ms: int
    used: int
    """Spent and still counting, by all, plus what is leased to the others."""
    room_in_ms: int
    """When the next of what was spent leaves the window."""
    rivals: int
    """Other holders that have asked lately."""


class Held(Frozen):
    """A lease as the ledger keeps it."""

    amount: int
    lapses_at_ms: int
    waits_for: int
    asked_at_ms: int


class Shared(Frozen):
    """One budget's row: what was spent and until when it counts, and the leases by holder."""

    spent: tuple[tuple[int, int], ...] = ()
    leases: dict[str, Held] = Field(default_factory=dict)

    def counting(self, now_ms: int) -> int:
        """Return all that counts against the whole."""
        spent = sum(amount for amount, until_ms in self.spent if until_ms > now_ms)
        return spent + sum(lease.amount for lease in self.leases.values())


def settle(shared: Shared, ask: Ask, *, holder: str, now_ms: int) -> tuple[Shared, Lease]:
    """Take what the holder tells, and lease it what it wants as far as there is room."""
    budget = ask.budget
    spent = [entry for entry in shared.spent if entry[1] > now_ms]
    leases = dict(shared.leases)
    own = leases.pop(holder, None)
    for name, lease in shared.leases.items():
        if name != holder and lease.lapses_at_ms <= now_ms:
            # Nobody knows what became of it: it counts as spent at its last moment.
            del leases[name]
            spent = _counted(spent, lease.amount, until_ms=lease.lapses_at_ms + budget.window_ms, budget=budget)
    spent = _counted(spent, ask.spent, until_ms=now_ms + budget.window_ms, budget=budget)
    others = sum(lease.amount for lease in leases.values())
    kept = max(own.amount - ask.spent, 0) if own is not None else 0
    if ask.venue_count is not None:
        # Strangers spend from the same budget, or a request weighs more than we thought.
        unknown = ask.venue_count - sum(amount for amount, _ in spent) - others - kept
        spent = _counted(spent, unknown, until_ms=now_ms + budget.window_ms, budget=budget)
    used = sum(amount for amount, until in spent if until > now_ms) + others
    waiting = {name: wish for name, lease in leases.items() if (wish := _wish(lease, now_ms)) > 0}
    amount = _amount(ask, kept=kept, room=budget.ceiling(ask.priority) - used, waiting=sum(waiting.values()))
    calm = amount <= budget.calm
    lapses_in_ms = CALM_LEASE_MS if calm else min(max(budget.window_ms, LARGE_LEASE_MIN_MS), LARGE_LEASE_MAX_MS)
    leases[holder] = Held(
        amount=amount,
        lapses_at_ms=now_ms + lapses_in_ms,
        waits_for=max(ask.wants - amount, 0),
        asked_at_ms=now_ms,
    )
    soonest_ms = min((until for _, until in spent if until > now_ms), default=now_ms) - now_ms
    retry_in_ms = max(min(soonest_ms, POLL_MS) if others else soonest_ms, RETRY_MIN_MS)
    answer = Lease(
        amount=amount,
        lapses_in_ms=lapses_in_ms,
        retry_in_ms=retry_in_ms if amount < ask.wants else 0,
        room_in_ms=soonest_ms,
        used=used,
        rivals=sum(1 for name, lease in leases.items() if name != holder and now_ms - lease.asked_at_ms <= RIVAL_MS),
    )
    return Shared(spent=tuple(spent), leases=leases), answer


def _wish(lease: Held, now_ms: int) -> int:
    return lease.waits_for if now_ms - lease.asked_at_ms <= FRESH_WISH_MS else 0


def _amount(ask: Ask, *, kept: int, room: int, waiting: int) -> int:
    """Return the new lease. What is leased is given back by its holder alone: it may not hear this answer."""
    own = min(kept, ask.wants)
    more = max(ask.wants - own, 0)
    room = max(room - own, 0)
    if more > room or waiting:
        share = room * more // (more + waiting) if more + waiting else 0
        first = max(min(ask.least, ask.budget.ceiling(ask.priority)) - own, 0)  # heavier than the whole: it goes alone
        more = min(more, room, max(share, first))
        if more < first:
            more = 0
    return own + more


def _counted(spent: Sequence[tuple[int, int]], amount: int, *, until_ms: int, budget: Budget) -> list[tuple[int, int]]:
    """Add an entry; one that ends in the same step of the clock as the latest becomes one with it.

    The steps are the clock's, not counted from the latest entry: else a steady trickle would put the end of one entry
    off for ever, and nothing of it would ever leave the window.
    """
    entries = list(spent)
    if amount <= 0:
        return entries
    step_ms = max(budget.window_ms // STEPS, 1)
    if entries and entries[-1][1] // step_ms == until_ms // step_ms:
        last_amount, last_until = entries.pop()
        return [*entries, (last_amount + amount, max(last_until, until_ms))]
    return [*entries, (amount, until_ms)]


class Pause(Frozen):
    """The venue wants no request for so long, and why."""

    left_ms: int
    why: str


class Told(Frozen):
    """The ledger's answer to a word: a lease for each budget that was asked for, and the pause if there is one."""

    leases: dict[str, Lease]
    pause: Pause | None = None


class Count(Frozen):
    """One budget of an account, and what counts of it now: spent, and leased."""

    name: str
    limit: int
    window_ms: int
    used: int


class RateLedger(Protocol):
    """Where the fleet keeps its budgets. Raises `StoreUnavailable`."""

    async def settle(self, account: str, holder: str, asks: Sequence[Ask]) -> Told:
        """Tell what was spent, and lease anew: one transaction."""

    async def pause(self, account: str, *, for_ms: int, why: str, told_by: str) -> None:
        """Let no request of the fleet leave for so long; a pause that ends later stays."""

    async def pause_left(self, account: str) -> Pause | None:
        """Return the pause that holds now."""

    async def counts(self, account: str) -> Sequence[Count]:
        """Return what counts now of each budget."""


__all__ = [
    "CEILINGS",
    "TURN_AWAITED",
    "UNIT",
    "Ask",
    "Budget",
    "Count",
    "Held",
    "Lease",
    "Pause",
    "Priority",
    "RateLedger",
    "Shared",
    "Told",
    "settle",
]
