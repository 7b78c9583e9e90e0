"""Values an account by its venue's market: a step of the feed that never keeps the feed from its orders.

A ticker that fails leaves the earlier mark, which grows old and is then no mark any more: what is not known is not
valued. All of it is bounded in calls and in time.
"""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from temporalio import activity

from domain.errors import ExecutionError
from domain.order import TradingMode
from domain.ports import Exchange
from domain.valuation import AccountingStore, Mark, to_ask
from observability import metrics

TICKERS_A_ROUND: Final = 20
"""More than this are asked in turn, round after round."""
AT_ONCE: Final = 4
BUDGET_S: Final = 3.0
"""Seconds that one round of tickers may keep the feed; what has not answered by then is asked again next time."""

INTERVAL_MAX_S: Final = 60.0
"""A mark is no mark after 150 s, and a round may fail."""
SOON: Final = timedelta(seconds=2)
"""After this a symbol that is held and has no mark, for it was traded for the first time, is asked for."""


class Valuing:
    """Marks and snapshots of the accounts that this worker follows."""

    def __init__(
        self,
        store: AccountingStore,
        *,
        exchanges: Mapping[str, Exchange],
        modes: Mapping[str, TradingMode],
        interval_s: float,
    ) -> None:
        self._store = store
        self._exchanges = exchanges
        self._modes = modes
        self._interval = timedelta(seconds=min(interval_s, INTERVAL_MAX_S))
        self._valued_at: dict[str, datetime] = {}
        self._looked_at: dict[str, datetime] = {}
        self._turn: dict[str, int] = {}

    async def look(self, account: str, now: datetime) -> None:
        """Value the account if it is time; never raises for what the venue or the ledger does."""
        try:
            if self._is_due(self._valued_at, account, self._interval, now):
                self._valued_at[account] = self._looked_at[account] = now
                await self._value(account, now)
            elif self._is_due(self._looked_at, account, SOON, now):
                self._looked_at[account] = now
                await self._mark_new(account, now)
        except ExecutionError as error:
            activity.logger.warning(
                "valuation_failed", extra={"account": account, "code": error.code, "text": str(error)}
            )

    @staticmethod
    def _is_due(times: Mapping[str, datetime], account: str, interval: timedelta, now: datetime) -> bool:
        return account not in times or now - times[account] >= interval

    async def _value(self, account: str, now: datetime) -> None:
        mode, exchange = self._modes[account], self._exchanges[account]
        needed = await self._store.needed(account, mode, now=now)
        symbols = to_ask(needed, await exchange.instruments()) if needed.symbols or needed.assets else ()
        marks = await self._marks(account, exchange, self._in_turn(account, symbols), now)
        await self._store.record_valuation(account, mode, marks, now=now)

    async def _mark_new(self, account: str, now: datetime) -> None:
        """Ask for what is held for the first time, and nothing else: a limit may wait for it."""
        mode, exchange = self._modes[account], self._exchanges[account]
        unmarked = await self._store.unmarked(account, mode, now=now)
        marks = await self._marks(account, exchange, unmarked[:AT_ONCE], now) if unmarked else ()
        if marks:
            await self._store.record_valuation(account, mode, marks, now=now)

    def _in_turn(self, account: str, symbols: Sequence[str]) -> Sequence[str]:
        if len(symbols) <= TICKERS_A_ROUND:
            return symbols
        start = self._turn.get(account, 0) % len(symbols)
        self._turn[account] = start + TICKERS_A_ROUND
        return (*symbols[start:], *symbols[:start])[:TICKERS_A_ROUND]

    async def _marks(self, account: str, exchange: Exchange, symbols: Sequence[str], now: datetime) -> Sequence[Mark]:
        gate = asyncio.Semaphore(AT_ONCE)
        marks: list[Mark] = []

        async def ask(symbol: str) -> None:
            async with gate:
                try:
                    with metrics.venue_request(account, "fetch_ticker"):
                        ticker = await exchange.fetch_ticker(symbol)
                except ExecutionError as error:
                    activity.logger.info(
                        "mark_not_told", extra={"account": account, "symbol": symbol, "code": error.code}
                    )
                    return
            marks.append(Mark.of(ticker, asked_at=now))

        asking = [asyncio.create_task(ask(symbol)) for symbol in symbols]
        if asking:
            _, late = await asyncio.wait(asking, timeout=BUDGET_S)
            for task in late:
                task.cancel()
            for failure in await asyncio.gather(*asking, return_exceptions=True):
                if isinstance(failure, Exception):  # a defect of ours: told, and no reason to stop following orders
                    activity.logger.error("mark_failed", extra={"account": account, "text": repr(failure)})
        return marks
