"""Where an order is worked when its symbol or its venue lacks something: held, or denied before anything is sent."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from activities.validating import look_at_venue
from domain.instrument import Instrument
from domain.order import OrderSide, OrderTicket, OrderType
from domain.placement import Placement
from exchanges.venue_rules import placement
from tests.scripted_market import ScriptedMarket

NOW = datetime(2026, 1, 2, tzinfo=UTC)
STOP = {"order_type": "stop", "side": "sell", "trigger_price": Decimal("1")}


class Lacking(ScriptedMarket):
    """A market at a venue of the test's choice, whose symbols lack what the test says."""

    def __init__(self, venue: str, lacks: tuple[str, ...]) -> None:
        super().__init__()
        self._venue, self._lacks = venue, lacks

    async def instruments(self) -> Mapping[str, Instrument]:
        known = await super().instruments()
        return {symbol: one.model_copy(update={"lacks": self._lacks}) for symbol, one in known.items()}

    def placement(self, order_type: OrderType, side: OrderSide) -> Placement:
        return placement(self._venue, order_type, side)


async def placed(venue: str, *lacks: str, **changes: Any) -> Placement | str:
    market = Lacking(venue, lacks)
    symbol = next(iter(await market.instruments()))
    plain: dict[str, Any] = {"symbol": symbol, "side": "buy", "order_type": "market", "quantity": Decimal("2")}
    ticket = OrderTicket(**{**plain, **changes})
    found = await look_at_venue(market, ticket, limits=(), now=NOW + timedelta(seconds=1))
    if found.denial is not None:
        return f"{found.denial.code} {found.denial.numbers.get('order')}"
    assert found.placement is not None
    return found.placement


LIMIT = {"order_type": "limit", "price": Decimal("50000")}


@pytest.mark.parametrize(
    ("venue", "lacks", "order", "expected"),
    [
        ("binanceus", [], STOP, Placement.NATIVE),
        ("binanceus", ["stop"], STOP, Placement.HELD),
        ("binanceus", ["stop"], {**STOP, "order_type": "stop-limit", "price": Decimal("1")}, Placement.NATIVE),
        ("binanceus", ["post-only"], LIMIT, Placement.NATIVE),
        ("binanceus", ["post-only"], {**LIMIT, "post_only": True}, "ORDER_TYPE_NOT_SUPPORTED post-only"),
        ("bitstamp", ["IOC"], {**LIMIT, "time_in_force": "IOC"}, "ORDER_TYPE_NOT_SUPPORTED IOC"),
        ("binanceus", ["market"], {}, "ORDER_TYPE_NOT_SUPPORTED market"),
        ("coinbase", [], {}, "ORDER_TYPE_NOT_SUPPORTED market"),
        ("coinbase", [], {"side": "sell"}, Placement.NATIVE),
        ("gemini", [], STOP, "ORDER_TYPE_NOT_SUPPORTED stop"),
    ],
)
async def test_what_is_lacking_is_held_or_denied(
    venue: str, lacks: list[str], order: dict[str, Any], expected: Placement | str
) -> None:
    assert await placed(venue, *lacks, **order) == expected
