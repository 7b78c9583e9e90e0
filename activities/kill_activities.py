"""Carries out what the kill switch and the dead-man switch ask: cancels orders, closes positions, engages for a signal.

The wish to cancel goes into the ledger first, where the order's own workflow finds it whatever happens to this one.
What rests is then canceled at the venue at once, past the workflows: they hear of it from the account's feed.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.calls import CancelCall, EngageCall, SweepCall, Swept
from activities.failures import in_activity
from domain.errors import ExecutionError
from domain.kill import FLATTEN_TRIES, Closing, Condemned, Engaged, KillSwitch, OrderPlacer, SweepStore, Switch
from domain.lifecycle import OrderStatus
from domain.limits import ScopeKind, scope_name
from domain.numbers import plain
from domain.order import Order, OrderRequest, OrderSide, OrderTicket, OrderType, TradingMode
from domain.ports import BalanceSheet, Notice, OrderNotifier, OrderReader, Position

AT_ONCE: Final = 16
"""Orders that are canceled at the same time."""
ROUND_PAUSE_S: Final = 0.25
"""Pause between two looks in the ledger at what is left."""
LOOK_AFTER: Final = timedelta(seconds=1)
"""An order that is still not known to be gone after this is canceled again, and looked at; the feed looks too."""
STRETCH: Final = timedelta(minutes=10)
"""One activity sweeps for this long at most, and returns; its workflow goes on."""


class KillActivities:
    """The activities behind `AccountSweepWorkflow`, and behind the reconciler's signal `kill`.

    Parameters
    ----------
    ask_to_cancel
        Records the wish and asks the venue to cancel: `VenueActivities.ask_to_cancel`.
    cancel
        Does the same, and looks what became of it: `VenueActivities.cancel`.
    modes
        The mode of each account: a position of another mode is not closed, for its orders would use other money.
    new_id
        Makes a random order id.
    """

    def __init__(
        self,
        sweeps: SweepStore,
        *,
        switches: KillSwitch,
        reader: OrderReader,
        ask_to_cancel: Callable[[CancelCall], Awaitable[Order]],
        cancel: Callable[[CancelCall], Awaitable[Order]],
        notifier: OrderNotifier,
        placer: OrderPlacer,
        modes: Mapping[str, TradingMode],
        new_id: Callable[[], str],
        clock: Callable[[], datetime],
    ) -> None:
        self._sweeps = sweeps
        self._switches = switches
        self._reader = reader
        self._ask_to_cancel = ask_to_cancel
        self._cancel = cancel
        self._notifier = notifier
        self._placer = placer
        self._modes = modes
        self._new_id = new_id
        self._clock = clock

    @activity.defn(name="engage_kill")
    async def engage_kill(self, call: EngageCall) -> Engaged:
        """Switch on; returns once no request of the scope can leave any more."""
        async with in_activity():
            engaged = await self._switches.engage(call.engagement)
            activity.logger.error("kill_switch_on", extra={"scope": engaged.switch.scope, "why": engaged.switch.reason})
            return engaged

    @activity.defn(name="sweep_account")
    async def sweep_account(self, call: SweepCall) -> Swept:
        """Cancel what the switches cancel until nothing of it rests, then close what they close."""
        async with in_activity():
            until, asked_at = self._clock() + STRETCH, dict[str, datetime]()
            while self._clock() < until and not activity.is_worker_shutdown():
                condemned = await self._sweeps.condemned(call.account)
                if condemned:
                    await self._cancel_all(condemned, asked_at)
                else:
                    await self._sweeps.record_swept(call.account)
                    if await self._flatten(call.account):
                        return Swept(account=call.account, canceled=len(asked_at), done=True)
                await asyncio.sleep(ROUND_PAUSE_S)
            return Swept(account=call.account, canceled=len(asked_at), done=False)

    async def cancel_now(self, account: str) -> None:
        """Ask the venue for what nobody has asked it for yet: past Temporal, which may be busy, or away.

        The sweep looks what became of it, and asks again.
        """
        condemned = await self._sweeps.condemned(account)
        await self._cancel_all([each for each in condemned if not each.order.cancel_requested], {})

    async def _cancel_all(self, condemned: Sequence[Condemned], asked_at: dict[str, datetime]) -> None:
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(each: Condemned) -> None:
            order_id, before = each.order.order_id, asked_at.get(each.order.order_id)
            if before is not None and self._clock() - before < LOOK_AFTER:
                return
            call = CancelCall(account=each.order.account, order_id=order_id, reason=each.reason())
            async with gate:
                asked_at[order_id] = self._clock()
                try:
                    if before is None and not each.order.cancel_requested:
                        await self._ask_to_cancel(call)
                        return
                    order = await self._cancel(call)
                except (ApplicationError, ExecutionError) as error:  # the next round asks again
                    activity.logger.warning("sweep_failed", extra={"order_id": order_id, "text": str(error)})
                    return
            if not order.is_final:
                # Its workflow shall go on canceling when nobody sweeps any more.
                await self._notifier.notify(Notice(order=order))

        await asyncio.gather(*(one(each) for each in condemned))

    async def _flatten(self, account: str) -> bool:
        """Close positions for each switch that asks for it; true when nothing is left to be done."""
        done = [await self._close(account, switch) for switch in await self._sweeps.to_flatten(account)]
        return all(done)

    async def _close(self, account: str, switch: Switch) -> bool:
        assert switch.event_id is not None, "what asks for something has an event"
        closings = await self._sweeps.closings(account, switch.event_id)
        positions = {position.symbol: position for position in await self._held(account, switch)}
        sheets = {sheet.asset: sheet for sheet in await self._reader.balances(account)}
        waiting = False
        for closing in closings:
            if closing.order is not None and closing.order.finalized:
                continue
            position = positions.pop(closing.symbol, None)
            if closing.order is None and position is not None:
                # It was not started, or is not admitted yet: the same order again.
                await self._placer.place(self._closing(position, sheets, closing.order_id, switch.event_id))
            waiting = waiting or closing.order is not None or position is not None
        left: dict[str, str] = {}
        for symbol, position in positions.items():
            if _given_up([closing for closing in closings if closing.symbol == symbol]):
                left[symbol] = plain(position.amount)
                continue
            order_id, waiting = self._new_id(), True
            await self._sweeps.exempt(account, switch.event_id, symbol=symbol, order_id=order_id)
            await self._placer.place(self._closing(position, sheets, order_id, switch.event_id))
        if not waiting:
            await self._sweeps.record_flattened(account, switch, left=left)
        return not waiting

    async def _held(self, account: str, switch: Switch) -> Sequence[Position]:
        return [
            position
            for position in await self._reader.positions(account)
            if position.amount != 0 and position.mode is self._modes.get(account) and _in_scope(position, switch.scope)
        ]

    def _closing(
        self, position: Position, sheets: dict[str, BalanceSheet], order_id: str, event_id: int
    ) -> OrderRequest:
        """Make the order: at most what is there to be sold, for fees may have been taken from it."""
        quantity = abs(position.amount)
        sheet = sheets.get(position.symbol.partition("/")[0])
        if position.amount > 0 and sheet is not None:
            quantity = min(quantity, max(sheet.total - sheet.reserved, Decimal(0))) or quantity
        ticket = OrderTicket(
            symbol=position.symbol,
            side=OrderSide.SELL if position.amount > 0 else OrderSide.BUY,
            order_type=OrderType.MARKET,
            quantity=quantity,
        )
        return OrderRequest(
            order_id=order_id,
            account=position.account,
            ticket=ticket,
            requested_by=f"kill switch {event_id}",
            requested_at=self._clock(),
        )


def _in_scope(position: Position, scope: str) -> bool:
    """Tell whether the scope, which concerns the account, holds the position."""
    return not scope.startswith(f"{ScopeKind.SYMBOL}:") or scope == scope_name(ScopeKind.SYMBOL, position.symbol)


def _given_up(tries: Sequence[Closing]) -> bool:
    last = tries[-1].order if tries else None
    return len(tries) >= FLATTEN_TRIES or (last is not None and last.status is OrderStatus.DENIED)
