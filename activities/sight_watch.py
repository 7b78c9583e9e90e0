"""Tells the ledger what this process sees of its venues, and listens to a venue of which nobody has heard for long.

What calls and feed learn on their way costs the venue nothing. Only an account at rest is asked for a sign of life,
and for the venue's clock, a few times a minute, by one process of the fleet.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from typing import Final

from domain.errors import StoreUnavailable
from domain.observing import Sighting, Sightings, VenueSeen
from domain.ports import Exchange

QUIET_AFTER_S: Final = 15
"""A venue that answered anybody more lately than this is not asked for a sign of life."""
CLOCK_AFTER_S: Final = 60
"""The venue's clock is looked at this often at least."""
ASK_TIMEOUT_S: Final = 10.0


class SightWatch:
    """Looks at the accounts that this process serves.

    Parameters
    ----------
    seen
        Returns what this process has seen of an account.
    """

    def __init__(
        self,
        store: Sightings,
        *,
        exchanges: Mapping[str, Exchange],
        seen: Callable[[str], Sighting],
        identity: str,
    ) -> None:
        self._store = store
        self._exchanges = exchanges
        self._seen = seen
        self._identity = identity
        self._asking: dict[str, asyncio.Task[None]] = {}

    async def round(self) -> None:
        """Tell of every account once. Raises `StoreUnavailable`."""
        for account in self._exchanges:
            known = await self._store.tell(account, self._seen(account), told_by=self._identity)
            asking = self._asking.get(account)
            if _is_quiet(known) and (asking is None or asking.done()):
                self._asking[account] = asyncio.create_task(self._ask(account))

    @property
    def asking(self) -> Collection["asyncio.Task[None]"]:
        """The looks that are under way."""
        return [task for task in self._asking.values() if not task.done()]

    async def _ask(self, account: str) -> None:
        """Ask for a sign of life: what comes of it is seen like every other call. Never raises for the venue."""
        try:
            await asyncio.wait_for(self._exchanges[account].status(), ASK_TIMEOUT_S)
        except TimeoutError:
            return  # the adapter notes the failure when its own time is over
        with suppress(StoreUnavailable):  # the next round tells
            await self._store.tell(account, self._seen(account), told_by=self._identity)


def _is_quiet(known: VenueSeen) -> bool:
    ages = ((known.answer_age_s, QUIET_AFTER_S), (known.measure_age_s, CLOCK_AFTER_S))
    return any(age_s is None or age_s > limit_s for age_s, limit_s in ages)
