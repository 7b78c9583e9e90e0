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
from domain.kill import FLATTEN_TRIES, Closing, Condemned, Engaged, KillSwitch, OrderPlacer, SweepStore, Switch
from domain.lifecycle import OrderStatus
from domain.limits import ScopeKind, scope_name
from domain.numbers import plain
from domain.order import Order, OrderRequest, OrderSide, OrderTicket, OrderType, TradingMode
from domain.ports import BalanceSheet, Notice, OrderNotifier, OrderReader, Position

AT_ONCE: Final = 16
"""Orders that are canceled at the same time."""
LOOK_AGAIN_S: Final = 0.25
"""Pause between two looks at what is left."""
STRETCH: Final = timedelta(minutes=10)
"""One activity sweeps for this long at most, and returns; its workflow goes on."""


class KillActivities:
    """The activities behind `AccountSweepWorkflow`, and behind the reconciler's signal `kill`.

    Parameters
    ----------
    cancel
        Records the wish, asks the venue to cancel, and looks: `VenueActivities.cancel`.
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
            until, tried = self._clock() + STRETCH, set[str]()
            while self._clock() < until and not activity.is_worker_shutdown():
                condemned = await self._sweeps.condemned(call.account)
                if condemned:
                    await self._cancel_all(condemned, tried)
                else:
                    await self._sweeps.record_swept(call.account)
                    if await self._flatten(call.account):
                        return Swept(account=call.account, canceled=len(tried), done=True)
                await asyncio.sleep(LOOK_AGAIN_S)
            return Swept(account=call.account, canceled=len(tried), done=False)

    async def _cancel_all(self, condemned: Sequence[Condemned], tried: set[str]) -> None:
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(each: Condemned) -> None:
            account, order_id = each.order.account, each.order.order_id
            async with gate:
                try:
                    order = await self._cancel(CancelCall(account=account, order_id=order_id, reason=each.reason()))
                except ApplicationError as error:  # the venue or the ledger; the next round asks again
                    activity.logger.warning("sweep_failed", extra={"order_id": order_id, "code": error.type})
                    return
                if order_id in tried and not order.is_final:
                    # Its workflow shall go on canceling when nobody sweeps any more.
                    await self._notifier.notify(Notice(order=order))
            tried.add(order_id)

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
