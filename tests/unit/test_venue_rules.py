"""What the tables say of venues and order types."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from api.story import _rejected
from domain.events import OrderEvent, Reason
from domain.lifecycle import OrderEventType
from domain.order import OrderSide, OrderType
from domain.placement import Placement
from domain.unsent import REFUSED_UNSENT
from exchanges.venue_rules import listed_venues, placement


@pytest.mark.parametrize(
    ("exchange", "order_type", "expected"),
    [
        ("binanceus", OrderType.STOP, Placement.NATIVE),
        ("binanceus", OrderType.STOP_LIMIT, Placement.NATIVE),
        ("coinbase", OrderType.STOP, Placement.HELD),
        ("coinbase", OrderType.STOP_LIMIT, Placement.NATIVE),
        ("gemini", OrderType.STOP_LIMIT, Placement.NATIVE),
        ("gemini", OrderType.STOP, Placement.REFUSED),
        ("gemini", OrderType.MARKET, Placement.REFUSED),
        ("nowhere", OrderType.STOP_LIMIT, Placement.HELD),
    ],
)
def test_placement_says_who_works_an_order_type(exchange: str, order_type: OrderType, expected: Placement) -> None:
    assert placement(exchange, order_type) is expected


@pytest.mark.parametrize(
    ("exchange", "order_type", "expected"),
    [
        ("binance", OrderType.MARKET, Placement.NATIVE),
        ("coinbase", OrderType.MARKET, Placement.REFUSED),
        ("htx", OrderType.STOP, Placement.REFUSED),
        ("htx", OrderType.STOP_LIMIT, Placement.HELD),
    ],
)
def test_buy_that_would_spend_instead_of_buying_is_refused(
    exchange: str, order_type: OrderType, expected: Placement
) -> None:
    assert placement(exchange, order_type, OrderSide.BUY) is expected
    assert placement(exchange, order_type, OrderSide.SELL) is not Placement.REFUSED


@pytest.mark.parametrize("exchange", listed_venues())
@pytest.mark.parametrize("order_type", OrderType)
def test_only_what_a_plain_order_becomes_is_held(exchange: str, order_type: OrderType) -> None:
    if placement(exchange, order_type) is Placement.HELD:
        assert order_type in (OrderType.STOP, OrderType.STOP_LIMIT)


def test_every_code_of_the_last_check_is_explained() -> None:
    adapters = Path(__file__).parents[2] / "exchanges"
    files = [
        *adapters.glob("ccxt_*.py"),
        *(adapters / f"{name}.py" for name in ("wire_guard", "verdicts")),
    ]
    text = "".join(path.read_text("utf-8") for path in files)
    assert set(REFUSED_UNSENT) <= set(re.findall(r'"([A-Z_]+)"', text))
    refusing = set(re.findall(r'NotSent\(\s*"([A-Z_]+)"[^)]*refused=True', text))
    assert refusing - {"SYMBOL_UNKNOWN"} <= set(REFUSED_UNSENT)


@pytest.mark.parametrize(
    ("code", "said"),
    [("TRIGGER_NOT_CARRIED", "nothing was sent"), ("INSUFFICIENT_FUNDS", "The venue rejected the order")],
)
def test_story_tells_our_last_check_from_the_venues_word(code: str, said: str) -> None:
    reason = Reason(code=code, text="a test")
    event = OrderEvent(event_type=OrderEventType.REJECTED, ts_event=datetime(2026, 1, 2, tzinfo=UTC), reason=reason)
    assert said in _rejected(event)
