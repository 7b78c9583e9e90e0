"""The kill switch towards Temporal: who starts a sweep, and the orders that close positions."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from domain.identifiers import sweep_workflow_id
from domain.kill import Engaged, SweepStore
from domain.order import OrderRequest
from starter.feeds import account_options
from starter.order_start import start_options
from starter.upkeep import keep
from workflows.messages import ORDER_WORKFLOW, SWEEP_WORKFLOW, OrderInput, SweepInput

WATCH_INTERVAL_S: Final = 0.5
"""Every worker looks this often whether a switch asks for something; one small query."""
CANCEL_NOW_S: Final = 5.0
TRIP_INTERVAL_S: Final = 1.0
log = logging.getLogger("volex.starter")


async def start_sweep(client: Client, account: str) -> None:
    """Start the account's sweep, unless it runs.

    Raises
    ------
    RPCError
        When Temporal does not answer.
    """
    await client.start_workflow(
        SWEEP_WORKFLOW,
        SweepInput(account=account),
        **account_options(sweep_workflow_id(account), f"cancels what the kill switch cancels in {account}"),
    )


async def keep_sweeping(
    client: Client, store: SweepStore, accounts: Sequence[str], cancel_now: Callable[[str], Awaitable[None]]
) -> None:
    """Fire dead-man switches, and cancel and start a sweep wherever the ledger says that one is owed, for ever.

    Every worker does it for its accounts: what was asked while Temporal, or every worker, was away is done after it.
    """

    async def sweep() -> None:
        for deadman in await store.fire_deadmen():
            log.error("deadman_fired", extra={"scope": deadman.scope, "timeout_s": deadman.timeout_s})
        owed = await store.to_be_swept(accounts)
        await asyncio.gather(*(_begin(client, account, cancel_now) for account in owed))

    await keep(sweep, every_s=WATCH_INTERVAL_S, failing="sweeps_not_kept", log=log)


async def _begin(client: Client, account: str, cancel_now: Callable[[str], Awaitable[None]]) -> None:
    """Cancel at once what can be, and let the sweep do the rest: a venue that hangs must not keep it from starting."""
    try:
        async with asyncio.timeout(CANCEL_NOW_S):
            await cancel_now(account)
    except TimeoutError:
        log.warning("cancels_hang", extra={"account": account})
    await start_sweep(client, account)


async def keep_watching(round_: Callable[[], Awaitable[Sequence[Engaged]]]) -> None:
    """Measure what pulls the switch by itself, for ever."""

    async def watch() -> None:
        for engaged in await round_():
            log.error("kill_switch_tripped", extra={"scope": engaged.switch.scope, "code": engaged.switch.code})

    await keep(watch, every_s=TRIP_INTERVAL_S, failing="trips_not_watched", log=log)


class TemporalOrderPlacer:
    """Implements `domain.kill.OrderPlacer`. Raises `RPCError` when Temporal does not answer."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def place(self, request: OrderRequest) -> None:
        """Start the order's workflow, once."""
        try:
            await self._client.start_workflow(
                ORDER_WORKFLOW,
                OrderInput(request=request),
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                **start_options(request),
            )
        except WorkflowAlreadyStartedError:
            log.info("closing_order_has_ended", extra={"order_id": request.order_id})


__all__ = ["TemporalOrderPlacer", "keep_sweeping", "keep_watching", "start_sweep"]
