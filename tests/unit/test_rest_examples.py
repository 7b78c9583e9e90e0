"""The REST interface's answers about orders, by order type and status, letter by letter: names, order, JSON numbers.

The examples are in `golden/`. `GOLDEN_WRITE=1 pytest …` writes them anew, for a change that is meant: read its diff.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest

from api.numbers import write_json
from api.orders import _placed
from api.schemas import order_json
from domain.events import Fill, OrderEvent, Reason
from domain.instrument import deny
from domain.lifecycle import OrderEventType, OrderStatus
from domain.order import Order, OrderSide, OrderType, TimeInForce, TradingMode
from domain.placement import Placement
from domain.triggers import Crossing, TriggerBy
from tests.factories import NOW, make_request

GOLDEN: Final = Path(__file__).parent / "golden"
E = OrderEventType
ID: Final = "a1b2c3d4e5f60718"
QUANTITY: Final = Decimal("0.001")


def at(seconds: float) -> datetime:
    """Return a moment of the example's life."""
    return NOW + timedelta(seconds=seconds)


def event(kind: OrderEventType, seconds: float, **fields: Any) -> OrderEvent:
    """A fact."""
    return OrderEvent(event_type=kind, ts_event=at(seconds), **fields)


def fill(trade_id: str, quantity: str, price: str) -> Fill:
    """A trade at the venue."""
    return Fill(
        symbol="BTC/USDT",
        venue_order_id="28",
        trade_id=trade_id,
        last_qty=Decimal(quantity),
        last_px=Decimal(price),
        commission=Decimal(quantity) / 1000,
        commission_asset="BTC",
        liquidity_side="taker",
        ts_event=at(2),
    )


ADMITTED: Final = event(E.ADMITTED, 0.1, quantity=QUANTITY, placement=Placement.NATIVE)
SUBMITTED: Final = event(E.SUBMITTED, 0.2, attempt=1, client_order_id=ID, quantity=QUANTITY)
ACCEPTED: Final = event(E.ACCEPTED, 0.3, venue_order_id="28")
AT_VENUE: Final = (ADMITTED, SUBMITTED, ACCEPTED)
PART: Final = event(E.PARTIALLY_FILLED, 2, fill=fill("1", "0.0004", "61250.5"))
FILLED: Final = event(E.FILLED, 2, fill=fill("1", "0.001", "61250.5"))
TOO_SMALL: Final = deny(
    "NOTIONAL_BELOW_MINIMUM", "the order is worth too little", notional=Decimal("4.9"), min_notional=Decimal(5)
)
REFUSED: Final = Reason(
    code="INSUFFICIENT_FUNDS",
    text="the venue refuses the order",
    numbers={"venue_code": "-2010", "http_status": "400"},
    venue_text="Account has insufficient balance for requested action.",
)
WANTED: Final = Reason(code="CANCEL_REQUESTED", text="asked for over REST")
TRIGGER: Final = Crossing(by=TriggerBy.LAST, price=Decimal("59999.99"), ts_event=at(60), seen_at=at(61), trade_id="9")


@dataclass(frozen=True)
class Example:
    """An order: what was asked for, and what has happened."""

    order_type: OrderType
    facts: Sequence[OrderEvent]
    status: OrderStatus
    ticket: dict[str, Any]

    def order(self) -> Order:
        """Return the order after all its facts."""
        prices = {
            OrderType.MARKET: {"price": None},
            OrderType.LIMIT: {"price": Decimal("61250.50")},
            OrderType.STOP: {"price": None, "trigger_price": Decimal(60000)},
            OrderType.STOP_LIMIT: {"price": Decimal("59900"), "trigger_price": Decimal(60000)},
        }[self.order_type]
        side = OrderSide.SELL if self.order_type in (OrderType.STOP, OrderType.STOP_LIMIT) else OrderSide.BUY
        wanted = {"order_type": self.order_type, "side": side, "quantity": QUANTITY, **prices, **self.ticket}
        request = make_request("example", **wanted).model_copy(update={"order_id": ID})
        order = request.new_order(exchange="binanceus", mode=TradingMode.PAPER)
        for fact in self.facts:
            order = order.apply(fact)
        assert order.status is self.status
        return order


def example(order_type: OrderType, status: OrderStatus, *facts: OrderEvent, **ticket: Any) -> Example:
    """Name an example's parts."""
    return Example(order_type, facts, status, ticket)


_T, _S = OrderType, OrderStatus
EXAMPLES: Final = {
    "market-pending": example(_T.MARKET, _S.INITIALIZED),
    "market-filled": example(_T.MARKET, _S.FILLED, *AT_VENUE, FILLED, event(E.FINALIZED, 2.1)),
    "market-by-quote-amount": example(_T.MARKET, _S.FILLED, *AT_VENUE, FILLED, quantity=None, quote_amount=Decimal(61)),
    "market-rejected": example(_T.MARKET, _S.REJECTED, ADMITTED, SUBMITTED, event(E.REJECTED, 1, reason=REFUSED)),
    "limit-denied": example(_T.LIMIT, _S.DENIED, event(E.DENIED, 0.1, reason=TOO_SMALL), price=Decimal(4900)),
    "limit-held": example(
        _T.LIMIT, _S.HELD, event(E.HELD, 0.1, reason=deny("APPROVAL_REQUIRED", "a person must approve", notional="61"))
    ),
    "limit-submitted": example(_T.LIMIT, _S.SUBMITTED, ADMITTED, SUBMITTED),
    "limit-in-doubt": example(
        _T.LIMIT,
        _S.IN_DOUBT,
        ADMITTED,
        SUBMITTED,
        event(E.SUBMIT_UNKNOWN, 5, reason=Reason(code="NO_WHOLE_ANSWER", text="the request may have arrived")),
    ),
    "limit-open": example(
        _T.LIMIT, _S.ACCEPTED, *AT_VENUE, strategy="momentum", client_reference="agent-7", post_only=True
    ),
    "limit-rounded": example(_T.LIMIT, _S.ACCEPTED, *AT_VENUE, quantity=Decimal("0.0010000009")),
    "limit-partially-filled": example(_T.LIMIT, _S.PARTIALLY_FILLED, *AT_VENUE, PART),
    "limit-pending-cancel": example(
        _T.LIMIT, _S.PENDING_CANCEL, *AT_VENUE, event(E.CANCEL_REQUESTED, 3, reason=WANTED)
    ),
    "limit-canceled": example(
        _T.LIMIT, _S.CANCELED, *AT_VENUE, PART, event(E.CANCEL_REQUESTED, 3, reason=WANTED), event(E.CANCELED, 4)
    ),
    "limit-expired": example(
        _T.LIMIT,
        _S.EXPIRED,
        *AT_VENUE,
        event(E.EXPIRED, 60, reason=Reason(code="EXPIRED", text="its time is over")),
        time_in_force=TimeInForce.GTD,
        expires_at=at(60),
    ),
    "stop-open-at-venue": example(_T.STOP, _S.ACCEPTED, *AT_VENUE),
    "stop-held-by-us": example(
        _T.STOP, _S.INITIALIZED, event(E.ADMITTED, 0.1, quantity=QUANTITY, placement=Placement.HELD)
    ),
    "stop-limit-triggered": example(
        _T.STOP_LIMIT,
        _S.ACCEPTED,
        event(E.ADMITTED, 0.1, quantity=QUANTITY, placement=Placement.HELD),
        event(E.TRIGGERED, 61, crossing=TRIGGER),
        SUBMITTED,
        ACCEPTED,
    ),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_order_is_answered_letter_by_letter_as_in_its_example(name: str) -> None:
    compare(name, write_json(order_json(EXAMPLES[name].order())))


@pytest.mark.parametrize(
    ("name", "status"), [("limit-denied", 422), ("market-rejected", 422), ("limit-held", 202), ("market-filled", 201)]
)
def test_placing_is_answered_letter_by_letter_as_in_its_example(name: str, status: int) -> None:
    answer = _placed(EXAMPLES[name].order())
    refused = status == 422
    assert answer.status_code == status
    assert answer.media_type == ("application/problem+json" if refused else "application/json")
    assert answer.headers["location"] == f"/orders/binanceus/{ID}"
    compare(f"problem-{name}" if refused else name, bytes(answer.body))


def test_every_order_type_and_every_status_has_an_example() -> None:
    assert {one.order_type for one in EXAMPLES.values()} == set(OrderType)
    assert {one.status for one in EXAMPLES.values()} == set(OrderStatus)


def test_no_example_is_left_over() -> None:
    names = {*EXAMPLES, "problem-limit-denied", "problem-market-rejected"}
    assert {file.stem for file in GOLDEN.glob("*.json")} == names


def compare(name: str, body: bytes) -> None:
    """Hold an answer to its example, one name a line so that a difference is easy to read."""
    text = body.decode("ascii").replace(',"', ',\n"') + "\n"
    file = GOLDEN / f"{name}.json"
    if os.environ.get("GOLDEN_WRITE"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, "ascii")
    assert text == file.read_text("ascii"), f"{file.name}: if it is meant, write it anew with GOLDEN_WRITE=1"
