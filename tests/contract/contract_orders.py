"""Orders of the contract suite, and what it waits for."""

import asyncio
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from domain.events import Fill
from domain.identifiers import order_id_from_bytes
from domain.reports import Balance, OrderRef, OrderReport, Submission, SubmitVerdict, VenueOrderStatus
from tests.contract.drivers import VenueDriver

SYMBOL = "BTC/USDT"
D = Decimal
PRICE = D("100")
ENDED_SHORT = (VenueOrderStatus.CANCELED, VenueOrderStatus.EXPIRED)


def order(**changes: Any) -> Submission:
    """A limit order to buy 0.5 BTC at 90, which rests."""
    rests: dict[str, Any] = {
        "client_order_id": order_id_from_bytes(uuid.uuid4().bytes),
        "symbol": SYMBOL,
        "side": "buy",
        "order_type": "limit",
        "quantity": D("0.5"),
        "price": D("90"),
        "signed_at": datetime.now(UTC),
    }
    return Submission(**{**rests, **changes})


def market_order(**changes: Any) -> Submission:
    return order(**{"order_type": "market", "price": None, **changes})


def ref_of(submission: Submission, report: OrderReport | None = None) -> OrderRef:
    return OrderRef(
        symbol=submission.symbol,
        client_order_id=submission.client_order_id,
        venue_order_id=report.venue_order_id if report is not None else None,
    )


async def yes() -> bool:
    return True


async def accepted(venue: VenueDriver, submission: Submission) -> OrderReport:
    outcome = await venue.exchange.submit(submission, last_look=yes)
    assert outcome.verdict is SubmitVerdict.ACCEPTED, outcome
    assert outcome.report is not None
    return outcome.report


async def seen(
    venue: VenueDriver, submission: Submission, condition: Callable[[OrderReport], bool], *, within_s: float = 5
) -> OrderReport:
    """Look the order up until the condition holds."""
    async with asyncio.timeout(within_s):
        while True:
            report = await venue.exchange.fetch_order(ref_of(submission))
            if report is not None and condition(report):
                return report
            await asyncio.sleep(0.02)


async def trades_of(venue: VenueDriver, submission: Submission, report: OrderReport) -> Sequence[Fill]:
    since = submission.signed_at - timedelta(minutes=1)
    return await venue.exchange.fetch_order_trades(ref_of(submission, report), since=since)


def ended(report: OrderReport) -> bool:
    return report.status is not VenueOrderStatus.OPEN


async def best_ask(venue: VenueDriver) -> Decimal:
    return (await venue.exchange.fetch_order_book(SYMBOL, depth=1)).asks[0].price


async def balance(venue: VenueDriver, asset: str) -> Balance:
    return next(entry for entry in await venue.exchange.fetch_balances() if entry.asset == asset)
