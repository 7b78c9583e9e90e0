"""One account's keys, kept: read again now and then, and at once when the venue refuses them."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable

from domain.errors import CredentialsUnavailable, VenueError
from domain.keys import Identify, KeyChange
from domain.ports import Credentials, CredentialStore
from observability import metrics

log = logging.getLogger("volex.keys")


class KeyRing:
    """Implements `domain.keys.KeySource`.

    Parameters
    ----------
    name
        Under which the store knows the keys.
    usable_s
        Seconds after the store's last answer for which the keys serve new orders; `None`: for ever.
    clock
        Seconds that only ever grow.
    """

    def __init__(
        self,
        store: CredentialStore,
        *,
        account: str,
        name: str,
        usable_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._account = account
        self._name = name
        self._usable_s = usable_s
        self._clock = clock
        self._keys = Credentials()
        self._version = 0
        self._read_at = float("-inf")
        self._answered = True
        self._certain = True
        self._identify: Identify | None = None
        self._whose: str | None = None
        self._asked = 0
        self._answers_up_to = 0
        self._lock = asyncio.Lock()

    @property
    def keys(self) -> Credentials:
        """The keys that count now; empty before `open`."""
        return self._keys

    @property
    def version(self) -> int:
        """How often they have changed."""
        return self._version

    @property
    def stale_since_s(self) -> float | None:
        """For how many seconds they have been too old for new orders; `None` while they are not."""
        if self._usable_s is None:
            return None
        beyond_s = self._clock() - self._read_at - self._usable_s
        return beyond_s if beyond_s > 0 else None

    async def open(self) -> Credentials:
        """Read the keys for the first time. Raises `CredentialsUnavailable`."""
        async with self._lock:
            await self._read()
        return self._keys

    async def renewed_since(self, version: int) -> KeyChange:
        """Ask the store for newer keys than those of `version`. Never raises.

        Only a reading that began after this was asked tells: keys may have been written since an earlier one. All
        that ask meanwhile share it.
        """
        self._asked += 1
        asked = self._asked
        async with self._lock:
            if self._version == version and self._answers_up_to < asked:
                await self._refresh()
            if self._version != version:
                return KeyChange.NEWER
            return KeyChange.SAME if self._certain else KeyChange.UNKNOWN

    def compare_by(self, identify: Identify) -> None:
        """Take over newer keys only if `identify` says that they are the same account's, or cannot tell."""
        self._identify = identify

    async def keep(self, interval_s: float) -> None:
        """Read the keys every `interval_s` seconds for as long as this runs."""
        while True:
            await self._learn_whose()
            await asyncio.sleep(interval_s)
            async with self._lock:
                await self._refresh()

    async def _refresh(self) -> None:
        """Read the keys; a store that does not answer leaves those that are known."""
        self._answers_up_to = self._asked
        try:
            await self._read()
        except CredentialsUnavailable as error:
            if self._answered:
                log.warning("keys_not_read", extra={"account": self._account, "text": str(error)})
            self._answered = self._certain = False
        metrics.KEYS_AGE.labels(self._account).set(max(self._clock() - self._read_at, 0.0))

    async def _read(self) -> None:
        found = await self._store.credentials(self._account, self._name)
        if not self._answered:
            log.info("keys_read_again", extra={"account": self._account})
        self._answered, self._certain, self._read_at = True, True, self._clock()
        if found != self._keys and await self._may_be_taken(found):
            if self._version:
                log.info("keys_changed", extra={"account": self._account, "version": self._version + 1})
            self._keys = found
            self._version += 1

    async def _may_be_taken(self, found: Credentials) -> bool:
        if self._identify is None or self._whose is None:
            return True
        try:
            whose = await self._identify(found)
        except VenueError as error:
            # Also when the venue does not take them: a key that was mistyped must not push out one that works.
            self._certain = False
            log.warning("new_keys_not_taken", extra={"account": self._account, "code": error.code})
            return False
        if whose is not None and whose != self._whose:
            log.error("keys_of_another_account", extra={"account": self._account, "text": "the old keys stay"})
            return False
        return True

    async def _learn_whose(self) -> None:
        """Find out whose the first keys are, while they are good."""
        if self._identify is None or self._whose is not None:
            return
        with contextlib.suppress(VenueError):
            self._whose = await self._identify(self._keys)
