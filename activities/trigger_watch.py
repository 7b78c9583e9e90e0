"""Watches the prices that held stops wait for: a part of an account's feed, constant in the number of its orders.

An order that waits costs no history and no timer. In each round the symbols with waiting orders are looked at once, and
a crossing goes into the ledger with its evidence; the outbox tells the order's workflow, which sends it.

No crossing is missed that the venue's public trades show, also across a restart:

- Trades are read from where the last look ended. How far that was is in the ledger, written after the crossings.
- An order that came onto the list since is looked at from its own start (`domain.triggers.start_of_look`).
- What is read twice changes nothing: an order is triggered once, by compare-and-set on its row.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

from temporalio import activity

from domain.order import Order
from domain.ports import Exchange
from domain.trigger_ports import TriggerStore
from domain.triggers import Crossing, Mark, TriggerBy, first_crossing, mid_crossing, start_of_look
from observability import metrics

READS_A_ROUND: Final = 5
"""Reads of one symbol in one round; what is left is read in the next."""
OVERLAP: Final = timedelta(seconds=2)
"""Trades are read once more from this long before the latest that was seen: some are shown a moment late."""
SHOWN_WITHIN: Final = timedelta(minutes=1)
"""A trade is shown this long after its time at the latest, with all that clocks differ by: a market in which nothing
trades is not read from its last trade for ever."""
WHOLE_BELOW: Final = 20
"""An answer with fewer trades is no full page of any venue: nothing is left to be read."""
MARK_EVERY: Final = timedelta(seconds=10)
"""How far the ledger's mark may lie behind: a watch that starts anew reads so much twice."""


class TriggerWatch:
    """The watch over one account, for one stretch of its feed."""

    def __init__(self, store: TriggerStore, exchange: Exchange, account: str, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._exchange = exchange
        self._account = account
        self._clock = clock
        self._read: dict[str, tuple[datetime, frozenset[str]]] = {}
        """By symbol, how far we have read ourselves, and for which orders."""
        self._written: dict[str, datetime] = {}

    async def look(self) -> int:
        """Look once at every symbol with waiting orders; return how many orders were triggered.

        Raises the port's errors: what was found before is on record then.
        """
        listed_at = self._clock()
        waiting = await self._store.waiting_orders(self._account)
        by_symbol: dict[str, list[Order]] = {}
        for order in waiting:
            by_symbol.setdefault(order.ticket.symbol, []).append(order)
        for symbol in self._read.keys() - by_symbol.keys():
            del self._read[symbol]
        triggered = 0
        for symbol, orders in by_symbol.items():
            by_last = [order for order in orders if order.ticket.trigger_by is TriggerBy.LAST]
            by_mid = [order for order in orders if order.ticket.trigger_by is TriggerBy.MID]
            triggered += await self._by_last(symbol, by_last, listed_at) if by_last else 0
            triggered += await self._by_mid(symbol, by_mid) if by_mid else 0
        return triggered

    async def _by_last(self, symbol: str, orders: Sequence[Order], listed_at: datetime) -> int:
        """Read the trades that were not read for these orders yet, and trigger what they meet."""
        until = await self._start(symbol, orders)
        left, triggered, asked_from = list(orders), 0, until - OVERLAP
        for _ in range(READS_A_ROUND):
            began_at = self._clock()
            with metrics.venue_request(self._account, "fetch_public_trades"):
                trades = await self._exchange.fetch_public_trades(symbol, since=asked_from)
            for order in tuple(left):
                crossing = first_crossing(order, trades, seen_at=self._clock())
                if crossing is not None:
                    triggered += await self._trigger(order, crossing)
                    left.remove(order)
            until = max(until, trades[-1].ts_event) if trades else until
            if not trades or trades[-1].ts_event <= asked_from or len(trades) < WHOLE_BELOW:
                until = max(until, began_at - SHOWN_WITHIN)
                break
            asked_from = trades[-1].ts_event
        await self._keep(Mark(symbol=symbol, until=until, listed_at=listed_at), orders)
        return triggered

    async def _keep(self, mark: Mark, orders: Sequence[Order]) -> None:
        """Remember how far was read, here in each round, in the ledger now and then: it is for the next watch."""
        written = self._written.get(mark.symbol)
        if written is None or mark.until - written > MARK_EVERY:
            await self._store.record_mark(self._account, mark)
            self._written[mark.symbol] = mark.until
        self._read[mark.symbol] = (mark.until, frozenset(order.order_id for order in orders))

    async def _start(self, symbol: str, orders: Sequence[Order]) -> datetime:
        """Return from when on to read: for orders that we have looked at from there, for others as the ledger says."""
        until, known = self._read.get(symbol, (None, frozenset[str]()))
        new = [order for order in orders if order.order_id not in known]
        mark = (await self._store.marks(self._account)).get(symbol) if new and until is None else None
        starts = [start_of_look(new, mark), until if len(new) < len(orders) else None]
        return min(start for start in starts if start is not None)

    async def _by_mid(self, symbol: str, orders: Sequence[Order]) -> int:
        ticker = await self._exchange.fetch_ticker(symbol)
        triggered, seen_at = 0, self._clock()
        for order in orders:
            crossing = mid_crossing(order, bid=ticker.bid, ask=ticker.ask, ts_event=ticker.ts_event, seen_at=seen_at)
            if crossing is not None:
                triggered += await self._trigger(order, crossing)
        return triggered

    async def _trigger(self, order: Order, crossing: Crossing) -> int:
        recorded = await self._store.record_trigger(self._account, order.order_id, crossing, now=self._clock())
        told = {"order_id": order.order_id, "price": str(crossing.price), "trade_id": crossing.trade_id}
        activity.logger.info("stop_triggered", extra=told)
        return int(recorded.triggered == crossing)
