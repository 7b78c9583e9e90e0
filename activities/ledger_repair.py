"""Keeps watch that the ledger is the one we left, and repairs one that came back without its last facts."""

from collections.abc import Callable
from datetime import datetime, timedelta

from temporalio import activity

from domain.comparison import LEDGER_RESTORED, LedgerRepairStore, OrderWorkflows
from domain.instrument import deny

MARGIN = timedelta(minutes=1)
"""Orders that ended this long before the ledger's latest fact are compared as well: clocks differ."""


class LedgerRepair:
    """What an account's feed asks in each of its rounds, before it writes anything.

    The order of its steps is the proof that nothing is sent twice: while the ledger is behind, it refuses every change
    of the account; when it is accepted again, each order that may have been sent is in doubt, and none at rest.
    """

    def __init__(self, store: LedgerRepairStore, *, workflows: OrderWorkflows, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._workflows = workflows
        self._clock = clock

    async def keep(self, account: str, *, known: int) -> int:
        """Count a beat and return the count, to be remembered by Temporal; repairs a ledger that is behind `known`."""
        beat = await self._store.beat(account, known=known)
        if beat is None:
            return await self._repair(account, known)
        if beat.started_anew:
            await self._workflows.reconcile_soon(account, why="the account is served again")
        return beat.count

    async def _repair(self, account: str, known: int) -> int:
        activity.logger.error("ledger_has_lost_facts", extra={"account": account, "known_beat": known})
        until = await self._store.recorded_until()
        told = await self._workflows.remembered(account, since=until - MARGIN)
        restored = [order.order_id for order in told if await self._store.restore(order, now=self._clock())]
        doubted = await self._store.doubt_all(account, now=self._clock())
        reason = deny(
            LEDGER_RESTORED,
            "the ledger came back without its last facts; orders were taken from Temporal, and are asked of the venue",
            last_fact_at=until.isoformat(),
            orders_restored=str(len(restored)),
            orders_doubted=str(len(doubted)),
        )
        await self._store.accept(account, beat=known + 1, reason=reason, now=self._clock())
        await self._workflows.reconcile_soon(account, why="the ledger was restored")
        ids = {"restored": restored, "doubted": list(doubted)}
        activity.logger.error("ledger_repaired", extra={"account": account, **ids})
        return known + 1
