"""What the activities that ask a venue have in common: the account's exchange, and all trades of one of its orders."""

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Final

from domain.errors import UnknownAccount
from domain.events import Fill
from domain.ports import Attempt, Exchange
from domain.reports import OrderRef, OrderReport

TRADES_OVERLAP: Final = timedelta(seconds=60)
"""Trades are read from this long before an order was sent, for the venue's clock is not ours."""


def exchange_of(exchanges: Mapping[str, Exchange], account: str) -> Exchange:
    """Return the account's exchange. Raises `UnknownAccount` when this worker does not serve it."""
    try:
        return exchanges[account]
    except KeyError:
        raise UnknownAccount(f"this worker does not serve account {account!r}") from None


async def trades_of(exchange: Exchange, attempt: Attempt, report: OrderReport) -> tuple[Fill, ...]:
    """Return the trades of an attempt's order: those that came with the report, or all that the venue has."""
    told = sum((trade.last_qty for trade in report.trades), Decimal(0))
    if report.cum_qty is not None and told >= report.cum_qty:
        return report.trades
    ref = OrderRef(symbol=report.symbol, client_order_id=attempt.client_order_id, venue_order_id=report.venue_order_id)
    return tuple(await exchange.fetch_order_trades(ref, since=attempt.signed_at - TRADES_OVERLAP))
