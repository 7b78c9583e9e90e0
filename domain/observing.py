"""How the agent is doing, as the ledger knows it: of each account the venue, the feed, the reconciliation, the orders.

Workers tell the ledger what they see of their venues; whoever wants to know (health, metrics, alerts) reads it there,
and asks no venue. All ages are by the ledger's clock, in seconds; `None` means never.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from pydantic import Field

from domain.numbers import Amount
from domain.order import Frozen
from domain.rate_budget import Count

VENUE_SILENT_AFTER_S: Final = 90
"""A venue of which nobody has heard for this long is taken for unreachable: workers listen several times a minute."""
VENUE_FAILS_AFTER_S: Final = 5
"""One failure between two answers is weather; a venue that has answered nothing else for this long is down."""
FEED_STALE_AFTER_S: Final = 15
"""A feed in health goes round every second."""
RECONCILED_STALE_AFTER_S: Final = 300
"""Several of the default intervals, and time for a venue that answers slowly."""
CLOCK_SKEW_MAX_MS: Final = 1000
"""The venue's own tolerance for a clock that runs ahead, at the strictest of them."""
UNSERVED_AFTER_S: Final = 60
"""An account whose feed was silent for this long counts as started anew: workers come and go faster than that."""


class Sighting(Frozen):
    """What one process has seen of an account's venue and feed: how long ago, in milliseconds."""

    answered_ms_ago: int | None = None
    """The venue's last whole answer."""
    failed_ms_ago: int | None = None
    """The last request without one."""
    error: str | None = None
    """What that failure was, without secrets."""
    measured_ms_ago: int | None = None
    """The last look at the venue's clock; it brought the next two."""
    latency_ms: int | None = None
    clock_skew_ms: int | None = None
    """Our clock minus the venue's."""
    followed_ms_ago: int | None = None
    """The end of the feed's last whole round."""


class VenueSeen(Frozen):
    """What the whole fleet has seen of an account's venue."""

    answer_age_s: float | None = None
    failure_age_s: float | None = None
    error: str | None = None
    measure_age_s: float | None = None
    latency_ms: int | None = None
    clock_skew_ms: int | None = None
    pause_s: float = 0
    """How long the venue still wants no request."""

    @property
    def is_up(self) -> bool:
        """Tell whether the venue answers."""
        if self.answer_age_s is None or self.answer_age_s > VENUE_SILENT_AFTER_S:
            return False
        failing = self.failure_age_s is not None and self.failure_age_s < self.answer_age_s
        return not failing or self.answer_age_s <= VENUE_FAILS_AFTER_S


class AccountSeen(Frozen):
    """One account: its venue, its feed, and when it was last compared."""

    account: str
    venue: VenueSeen = VenueSeen()
    feed_age_s: float | None = None
    """Since the feed's last whole round."""
    beat_age_s: float | None = None
    """Since a worker last began a round: whether it succeeded or not."""
    reconciliation_age_s: float | None = None
    reconciled: bool = False
    """Whether it was compared with its venue since workers serve it: only then are orders admitted."""

    @property
    def is_ready(self) -> bool:
        """Tell whether orders are admitted: it is served, and was compared since it is."""
        return self.reconciled and self.beat_age_s is not None and self.beat_age_s <= UNSERVED_AFTER_S

    def problems(self) -> Sequence[str]:
        """Say in words what is wrong with it; empty when nothing is."""
        told = []
        if not self.venue.is_up:
            told.append(f"its venue does not answer: {self.venue.error or 'nothing was heard of it'}")
        if self.venue.pause_s > 0:
            told.append(f"its venue wants no request for {self.venue.pause_s:.0f} s")
        skew_ms = self.venue.clock_skew_ms
        if skew_ms is not None and abs(skew_ms) > CLOCK_SKEW_MAX_MS:
            told.append(f"our clock is {skew_ms} ms from the venue's")
        if self.feed_age_s is None or self.feed_age_s > FEED_STALE_AFTER_S:
            told.append(f"its feed is stale: {_age(self.feed_age_s)}")
        if self.reconciliation_age_s is None or self.reconciliation_age_s > RECONCILED_STALE_AFTER_S:
            told.append(f"it is not reconciled: {_age(self.reconciliation_age_s)}")
        elif not self.is_ready:
            told.append("it is not reconciled since workers serve it: no order is admitted yet")
        return told


class OrdersSeen(Frozen):
    """An account's orders and cases."""

    by_status: Mapping[str, int] = Field(default_factory=dict)
    """Open orders by lifecycle status."""
    oldest_doubt_age_s: float = 0
    oldest_held_age_s: float = 0
    cases: Mapping[str, int] = Field(default_factory=dict)
    """Open cases by code."""
    reserved: Mapping[str, Amount] = Field(default_factory=dict)
    """By asset, in its units."""
    budgets: tuple[Count, ...] = ()


class LedgerState(Frozen):
    """All accounts that the ledger knows, and the kill switches that are on."""

    accounts: Mapping[str, AccountSeen] = Field(default_factory=dict)
    orders: Mapping[str, OrdersSeen] = Field(default_factory=dict)
    kill_switches: tuple[str, ...] = ()
    """Their scopes."""
    now_s: float = 0
    """The ledger's time, seconds since 1970."""


class Sightings(Protocol):
    """Where workers tell what they see. Raises `StoreUnavailable`."""

    async def tell(self, account: str, seen: Sighting, *, told_by: str) -> VenueSeen:
        """Add what this process saw, and return what the fleet has seen."""


class LedgerObserver(Protocol):
    """The state as the ledger knows it. Raises `StoreUnavailable`."""

    async def look_at_accounts(self) -> Mapping[str, AccountSeen]:
        """Return every account's venue, feed and reconciliation, in one small query."""

    async def look(self) -> LedgerState:
        """Return the same with orders, cases, reservations, budgets and switches."""


def _age(age_s: float | None) -> str:
    return "never" if age_s is None else f"{age_s:.0f} s ago"


__all__ = [
    "CLOCK_SKEW_MAX_MS",
    "FEED_STALE_AFTER_S",
    "RECONCILED_STALE_AFTER_S",
    "UNSERVED_AFTER_S",
    "VENUE_FAILS_AFTER_S",
    "VENUE_SILENT_AFTER_S",
    "AccountSeen",
    "LedgerObserver",
    "LedgerState",
    "OrdersSeen",
    "Sighting",
    "Sightings",
    "VenueSeen",
]
