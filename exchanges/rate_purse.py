"""What one process may spend of one budget: the lease that the ledger gave it, less what it has spent since.

Pure: the clock's seconds come in as values. While the ledger cannot be reached, the lease is used again and again, so
much in any window and never more; once it has lapsed, no more than a calm share of the whole.
"""

from collections import deque
from dataclasses import dataclass, field

from domain.rate_budget import Ask, Budget, Count, Lease, Priority


@dataclass(slots=True)
class Purse:
    """One budget of this process.

    Parameters
    ----------
    shared
        False where no ledger is shared: the whole budget is then this process's.
    """

    budget: Budget
    shared: bool
    alone: bool = False
    """Whether the ledger did not answer last time."""
    held: int = 0
    """Of requests under way: when they arrive at the venue is not known, so they count as long as they last."""
    used: int = 0
    """What counted in the whole fleet when the ledger was asked last."""
    rivals: int = 0
    room_at: float = float("-inf")
    """When the next of what the fleet has spent leaves the window."""
    venue_count: int | None = None
    _lease: int = 0
    _lapses_at: float = float("-inf")
    _retry_at: float = float("-inf")
    _asked_as: Priority = Priority.READ
    _spent: deque[tuple[float, int]] = field(default_factory=deque)

    def __post_init__(self) -> None:
        """Begin with a calm lease that has lapsed: it serves only while the ledger does not answer."""
        self._lease = self.budget.calm

    def room(self, now: float, priority: Priority) -> int:
        """Return what may be spent at once."""
        return self._allowance(now, priority) - self.held - self.untold(now)

    def fits(self, amount: int, now: float, priority: Priority) -> bool:
        """Tell whether the amount may be spent; one that is heavier than all passes alone."""
        return self.room(now, priority) >= min(amount, self.budget.ceiling(priority))

    def untold(self, now: float) -> int:
        """Return what was spent and is not told yet; what left the venue's window since then need not be."""
        while self._spent and self._spent[0][0] + self.budget.window_ms / 1000 <= now:
            self._spent.popleft()
        return sum(amount for _, amount in self._spent)

    def count(self, now: float) -> Count:
        """Return what counts of the budget, as far as this process knows."""
        used = self.held + self.untold(now)
        return Count(name=self.budget.name, limit=self.budget.limit, window_ms=self.budget.window_ms, used=used)

    def take(self, amount: int) -> None:
        """Set it aside for a request that leaves now."""
        self.held += amount

    def settle(self, amount: int, now: float, *, spent: bool) -> None:
        """Count it as spent from now on, or put it back."""
        self.held -= amount
        if spent:
            self._spent.append((now, amount))

    def ask(self, now: float, *, demand: int, least: int, priority: Priority) -> Ask:
        """Return the word for the ledger. From here on no more is spent than what is asked for."""
        wants = min(self.held + demand + self.budget.calm, self.budget.limit)
        asked = Ask(
            budget=self.budget,
            spent=self.untold(now),
            held=self.held,
            wants=max(wants, self.held),
            least=self.held + least if least else 0,
            priority=priority,
            venue_count=self.venue_count,
        )
        self._spent.clear()
        self._lease = min(self._lease - asked.spent, asked.wants)
        return asked

    def told(self, asked: Ask, lease: Lease, now: float) -> None:
        """Take the ledger's answer."""
        self.alone = False
        self._lease, self.used, self.rivals = lease.amount, lease.used, lease.rivals
        self._lapses_at = now + lease.lapses_in_ms / 1000
        self._retry_at, self._asked_as = now + lease.retry_in_ms / 1000, asked.priority
        self.room_at = now + lease.room_in_ms / 1000
        self.venue_count = None

    def unanswered(self, asked: Ask, now: float, *, retry_in_s: float) -> None:
        """Keep what could not be told: it is told again, and counts twice rather than never."""
        self.alone = True
        self._lease += asked.spent
        if asked.spent:
            self._spent.appendleft((now, asked.spent))
        self._retry_at, self._asked_as = now + retry_in_s, Priority.CANCEL

    def may_ask(self, now: float, priority: Priority) -> bool:
        """Tell whether asking the ledger again is worth it: its time has come, or somebody more urgent waits."""
        return self.shared and (now >= self._retry_at or priority < self._asked_as)

    def again_at(self, now: float) -> float:
        """Return when there may be more: the ledger is asked again, or what was spent leaves the window."""
        times = [self._retry_at] if self.shared else []
        if self._spent and (self.alone or not self.shared):
            times.append(self._spent[0][0] + self.budget.window_ms / 1000)
        return max(min(times, default=now + 1), now + 0.001)

    def _allowance(self, now: float, priority: Priority) -> int:
        if not self.shared:
            return self.budget.ceiling(priority)
        if now < self._lapses_at:
            return self._lease
        return min(self._lease, self.budget.calm) if self.alone else 0
