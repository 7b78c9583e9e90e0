"""The notifier: looks at what there is to tell, and tells it, one process at a time over the fleet.

What is queued is in the ledger. A worker that dies between sending and noting that it has sent leaves a notice that is
told again: at least once, with an id that is the same for every try.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from typing import Final

from domain.alerts import Alert, AlertChannel, AlertStore, VaultWord, WatchTerms
from domain.errors import NoticeNotDelivered, StoreUnavailable
from observability import metrics

VAULT_ROUNDS: Final = 5
"""Looks in a row after which Vault counts as down."""
log = logging.getLogger("volex.alerts")


class AlertWatch:
    """One process's share in watching.

    Parameters
    ----------
    holder
        The process's name in the lease.
    vault_fails
        Tells whether Vault did not serve this process when it was last asked.
    """

    def __init__(
        self,
        store: AlertStore,
        channels: Sequence[AlertChannel],
        *,
        terms: WatchTerms,
        holder: str,
        vault_fails: Callable[[], bool],
    ) -> None:
        self._store = store
        self._channels = tuple(channels)
        self._terms = terms
        self._holder = holder
        self._vault_fails = vault_fails
        self._vault_failed = 0
        self._started = True

    async def round(self) -> Sequence[Alert]:
        """Look once, tell what is due, and return what began or ended. Raises `StoreUnavailable`."""
        if not await self._store.take_lease(self._holder, started=self._started):
            return ()
        self._started = False
        changed = await self._store.watch(
            self._terms, channels=[channel.name for channel in self._channels], vault=self._vault_word()
        )
        for alert in changed:
            word = "alert_raised" if alert.resolved_at is None else "alert_resolved"
            log.warning(word, extra={"code": alert.code, "account": alert.account, "alert": alert.alert_id})
        await asyncio.gather(*(self._tell(channel) for channel in self._channels))
        return changed

    async def close(self) -> None:
        """Leave the turn to another process, and let go of the channels."""
        for channel in self._channels:
            await channel.close()
        with contextlib.suppress(StoreUnavailable):  # then the lease ends by itself
            await self._store.release_lease(self._holder)

    def _vault_word(self) -> VaultWord:
        """One failed look is no outage, and a process that has just begun has not looked yet."""
        self._vault_failed = self._vault_failed + 1 if self._vault_fails() else 0
        if not self._vault_failed:
            return VaultWord.SERVES
        return VaultWord.DOWN if self._vault_failed >= VAULT_ROUNDS else VaultWord.UNSURE

    async def _tell(self, channel: AlertChannel) -> None:
        notices = await self._store.claim(channel.name)
        if not notices:
            return
        try:
            await channel.send(notices)
        except NoticeNotDelivered as error:
            metrics.NOTICES.labels(channel.name, "failed").inc(len(notices))
            told = {"channel": channel.name, "text": error.message, "notices": len(notices)}
            log.error("notice_not_delivered", extra=told)
            given_up = await self._store.failed(channel.name, notices, error=error.message)
            if given_up:
                metrics.NOTICES.labels(channel.name, "given_up").inc(given_up)
                log.error("notice_given_up", extra={"channel": channel.name, "notices": given_up})
            return
        metrics.NOTICES.labels(channel.name, "delivered").inc(len(notices))
        await self._store.delivered(channel.name, notices)


__all__ = ["AlertWatch"]
