"""All pages of the account's trades: a page may repeat trades, come in any order, or be the latest one only."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

from domain.errors import VenueUnavailable
from domain.events import Fill
from exchanges.ccxt_client import VenueClient
from exchanges.ccxt_mapping import fills_from, in_milliseconds

TRADE_PAGES_MAX: Final = 1000
"""A million trades of one symbol since one moment: beyond this something does not end."""
Fetch = Callable[[int | None, int | None, dict[str, str]], Awaitable[Any]]
"""Asks for one page: from a moment in milliseconds on, of so many trades, with further parameters."""


@contextmanager
def readable() -> Iterator[None]:
    """Frame of every mapping: an answer that does not fit our values is one that cannot be read."""
    try:
        yield
    except (KeyError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
        raise VenueUnavailable(f"the venue's answer cannot be read: {type(error).__name__}") from error


async def all_pages(
    client: VenueClient, fetch: Fetch, *, symbol: str, start_ms: int | None, venue_order_id: str | None = None
) -> list[Fill]:
    """Read pages, by trade id or by time, until one brings nothing new; oldest first."""
    rules = client.rules
    limit, params = rules.trades_page, dict[str, str]()
    if start_ms is None and rules.pages_by_id:
        params = {"fromId": "0"}  # without it, the venue gives the latest page
    fills: dict[tuple[str, str, str], Fill] = {}
    for _ in range(TRADE_PAGES_MAX):
        page = await client.ask(partial(fetch, start_ms, limit, params), listing=True, signed=True)
        with readable():
            read = fills_from(page, symbol=symbol, now=client.clock(), venue_order_id=venue_order_id)
        fresh = [fill for fill in read if fill.key not in fills]
        fills.update((fill.key, fill) for fill in fresh)
        full = limit is None or len(page) >= limit
        if not full or not page or (limit is None and not fresh):
            return _oldest_first(fills)
        if not fresh:
            raise VenueUnavailable("the venue repeats a full page of trades: the next one cannot be reached")
        numbered = [int(str(trade["id"])) for trade in page if str(trade.get("id")).isdigit()]
        if rules.pages_by_id and numbered:
            start_ms, params = None, {"fromId": str(max(numbered) + 1)}
        else:
            start_ms = in_milliseconds(max(fill.ts_event for fill in read))
    raise VenueUnavailable("the venue's pages of trades do not end")


async def pages_by_offset(client: VenueClient, fetch: Fetch, *, symbol: str, start_ms: int) -> list[Fill]:
    """Read pages from the latest back to a moment; oldest first.

    A trade that comes in between moves the others on, so that a page repeats some and leaves none out. The page's true
    length is read from the answer itself, for ccxt leaves out the other symbols. Such venues take whole seconds and
    leave out what happened at the very start, so one second more is asked for.
    """
    page_of = client.rules.page_of
    assert page_of is not None, "only venues whose rules read a page come here"
    fills: dict[tuple[str, str, str], Fill] = {}
    offset = 0
    for _ in range(TRADE_PAGES_MAX):
        call = partial(fetch, start_ms - 1000, None, {"ofs": str(offset)})
        answer = await client.ask_whole(call, listing=True, signed=True)
        with readable():
            length, total = page_of(answer.last_call.document if answer.last_call else None)
            read = fills_from(answer.value, symbol=symbol, now=client.clock())
        fills.update((fill.key, fill) for fill in read if in_milliseconds(fill.ts_event) >= start_ms)
        offset += length
        if not length or offset >= total:
            return _oldest_first(fills)
    raise VenueUnavailable("the venue's pages of trades do not end")


def _oldest_first(fills: dict[tuple[str, str, str], Fill]) -> list[Fill]:
    return sorted(fills.values(), key=lambda fill: (fill.ts_event, len(fill.trade_id), fill.trade_id))
