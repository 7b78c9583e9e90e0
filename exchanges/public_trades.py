"""Reads everybody's trades in a symbol from a moment on, as far as the venue shows them."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from domain.errors import VenueUnavailable
from domain.triggers import PublicTrade
from exchanges.ccxt_client import VenueClient
from exchanges.ccxt_mapping import in_milliseconds, moment, positive

PAGES_MAX: Final = 20
"""Pages of one read. What lies beyond is read by the next one."""
HALF_PAGE: Final = 20
"""A venue that has shown fewer trades than this since the moment has shown them all: no page is so short."""
ID_PAGE: Final = 1000
HOUR_MS: Final = 3_600_000
"""ccxt asks Binance for one hour from the moment on, and not for more."""
EMPTY_HOURS_MAX: Final = 24 * 31
CLOCKS_DIFFER: Final = timedelta(minutes=1)
_Trades = dict[str, PublicTrade]


async def read_public_trades(client: VenueClient, symbol: str, *, since: datetime) -> Sequence[PublicTrade]:
    """Return the trades from `since` on, oldest first. Raises the port's errors when there is no whole answer."""
    trades: _Trades = {}
    if client.rules.pages_by_id:
        await _by_id(client, symbol, since, trades)
    else:
        await _by_time(client, symbol, since, trades)
    found = [trade for trade in trades.values() if trade.ts_event >= since]
    return sorted(found, key=lambda trade: (trade.ts_event, len(trade.trade_id), trade.trade_id))


async def _by_time(client: VenueClient, symbol: str, since: datetime, trades: _Trades) -> None:
    """Ask again from the latest trade until nothing new comes; some venues show only their latest whatever is asked.

    A millisecond earlier than wanted, for some leave out the moment itself.
    """
    start = since
    for _ in range(PAGES_MAX):
        page = await _page(client, symbol, in_milliseconds(start) - 1)
        fresh = [trade for trade in page if trade.trade_id not in trades]
        trades.update((trade.trade_id, trade) for trade in fresh)
        if not fresh or len(page) < HALF_PAGE:
            return
        start = max(trade.ts_event for trade in page)


async def _by_id(client: VenueClient, symbol: str, since: datetime, trades: _Trades) -> None:
    """Find the first trade by its time, then follow the ids, which have no gaps."""
    page = await _first_page(client, symbol, since)
    trades.update((trade.trade_id, trade) for trade in page)
    earlier = page
    while len(earlier) >= ID_PAGE and earlier[0].ts_event >= since:
        # Whether a full page holds the first or the last trades of its hour is not said: look before it.
        before = max(_number(earlier[0]) - ID_PAGE, 0)
        earlier = [x for x in await _from(client, symbol, before) if x.trade_id not in trades and x.ts_event >= since]
        trades.update((trade.trade_id, trade) for trade in earlier)
    for _ in range(PAGES_MAX):
        if len(page) < ID_PAGE:
            return
        page = await _from(client, symbol, _number(page[-1]) + 1)
        trades.update((trade.trade_id, trade) for trade in page)


async def _first_page(client: VenueClient, symbol: str, since: datetime) -> list[PublicTrade]:
    start_ms, now_ms = in_milliseconds(since), in_milliseconds(client.clock() + CLOCKS_DIFFER)
    for _ in range(EMPTY_HOURS_MAX):
        page = await _page(client, symbol, start_ms, ID_PAGE)
        start_ms += HOUR_MS
        if page or start_ms >= now_ms:
            return page
    return []


async def _from(client: VenueClient, symbol: str, number: int) -> list[PublicTrade]:
    return await _page(client, symbol, None, ID_PAGE, {"fromId": str(number)})


async def _page(
    client: VenueClient,
    symbol: str,
    start_ms: int | None,
    limit: int | None = None,
    params: Mapping[str, str] | None = None,
) -> list[PublicTrade]:
    asked = partial(client.api.fetch_trades, symbol, start_ms, limit, dict(params or {}))
    answer = await client.ask(asked, listing=True)
    try:
        read = [_trade(entry) for entry in answer]
    except (KeyError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
        raise VenueUnavailable(f"the venue's trades cannot be read: {type(error).__name__}") from error
    return sorted(read, key=lambda trade: (trade.ts_event, len(trade.trade_id), trade.trade_id))


def _trade(entry: Mapping[str, Any]) -> PublicTrade:
    price, stamp = positive(entry["price"]), entry["timestamp"]
    if price is None or stamp is None:
        raise ValueError("a trade lacks its price or time")
    number = entry.get("id") or f"{stamp}-{entry.get('side')}-{entry.get('amount')}-{price}"
    return PublicTrade(trade_id=str(number), price=price, ts_event=moment(stamp, otherwise=datetime.min))


def _number(trade: PublicTrade) -> int:
    try:
        return int(trade.trade_id)
    except ValueError:
        raise VenueUnavailable(f"the venue numbers its trades by {trade.trade_id[:20]!r}, not by numbers") from None
