"""The wire's words: what a body may say, and how an order is shown."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from api.errors import WrongFields
from api.numbers import JsonNumber
from api.schemas import STATUS_WORDS, AmendBody, OrderBody, order_json, parse_body
from api.story import _WORDS, event_json, tell
from domain.events import OrderEvent
from domain.instrument import deny
from domain.journal import RecordedAttempt
from domain.lifecycle import OrderEventType, OrderStatus
from domain.order import TimeInForce, TradingMode
from domain.ports import RecordedEvent
from tests.factories import NOW, make_fill, make_request

BODY = {
    "symbol": "BTC/USDT",
    "side": "buy",
    "order_type": "limit",
    "amount": JsonNumber("0.01"),
    "price": JsonNumber("5e4"),
}


def test_body_becomes_a_ticket_with_exact_figures():
    ticket = parse_body(OrderBody, {**BODY, "time_in_force": None, "stop_price": None, "post_only": None}).ticket()
    assert (ticket.quantity, ticket.price, ticket.time_in_force) == (Decimal("0.01"), Decimal(50000), TimeInForce.GTC)


def test_deadline_in_any_zone_is_the_same_ticket():
    tickets = [
        parse_body(OrderBody, {**BODY, "expires_at": text}).ticket()
        for text in ("2030-01-01T12:00:00Z", "2030-01-01T13:00:00+01:00")
    ]
    assert tickets[0].expires_at == datetime(2030, 1, 1, 12, tzinfo=UTC)
    assert tickets[0].fingerprint() == tickets[1].fingerprint()


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("amount", "0.01", "must be a JSON number, not text"),
        ("amount", True, "must be a JSON number"),
        ("amount", JsonNumber("0"), "above zero"),
        ("amount", JsonNumber("0e5"), "above zero"),
        ("amount", JsonNumber("-1"), "below zero"),
        ("amount", JsonNumber("NaN"), "not a number"),
        ("price", JsonNumber("1e400"), "18 digits"),
        ("side", "long", "'buy' or 'sell'"),
        ("side", JsonNumber("1"), "'buy' or 'sell'"),
        ("symbol", JsonNumber("5"), "valid string"),
        ("post_only", "true", "boolean"),
        ("expires_at", "2030-01-01T00:00:00", "with its zone"),
        ("expires_at", "9999-12-31T23:59:59-23:59", "with its zone"),
        ("strategy", "a\nb", "pattern"),
        ("amont", JsonNumber("1"), "did you mean amount"),
    ],
)
def test_wrong_field_is_named_with_its_problem(field, value, problem):
    with pytest.raises(WrongFields) as refused:
        parse_body(OrderBody, {**BODY, field: value})
    (error,) = refused.value.errors
    assert error["field"] == field
    assert problem in error["message"]


def test_all_wrong_fields_are_listed_at_once():
    with pytest.raises(WrongFields) as refused:
        parse_body(OrderBody, {"symbol": JsonNumber("5"), "extra": None})
    assert {error["field"] for error in refused.value.errors} == {"symbol", "side", "order_type", "amount", "extra"}


@pytest.mark.parametrize("content", [[], "text", None, JsonNumber("1")])
def test_body_that_is_no_object_is_refused(content):
    with pytest.raises(WrongFields, match="JSON object"):
        parse_body(AmendBody, content)


def test_every_status_has_a_word():
    assert STATUS_WORDS.keys() == set(OrderStatus)
    assert set(STATUS_WORDS.values()) == {
        *("pending", "held", "in_doubt", "open", "closed", "canceled", "expired", "rejected"),
    }


def test_order_is_shown_in_the_wires_words():
    order = make_request().new_order(exchange="binanceus", mode=TradingMode.PAPER)
    for event_type in (OrderEventType.SUBMITTED, OrderEventType.ACCEPTED):
        order = order.apply(
            OrderEvent(event_type=event_type, ts_event=NOW, attempt=1, client_order_id="c", venue_order_id="7")
        )
    fill = make_fill(last_qty=Decimal("0.04"), last_px=Decimal("99.5"))
    order = order.apply(OrderEvent(event_type=OrderEventType.PARTIALLY_FILLED, ts_event=NOW, fill=fill))
    shown = order_json(order)
    assert (shown.type, shown.order_type, shown.status, shown.lifecycle) == (
        "limit", "limit", "open", OrderStatus.PARTIALLY_FILLED,
    )  # fmt: skip
    assert (shown.amount, shown.filled, shown.remaining) == (Decimal("0.1"), Decimal("0.04"), Decimal("0.06"))
    assert (shown.cost, shown.average) == (Decimal("3.98"), Decimal("99.5"))
    assert [(fee.currency, fee.cost) for fee in shown.fees] == [("BTC", Decimal("0.0001"))]
    assert shown.dry_run is True
    assert set(shown.__dict__) == set(type(shown).model_fields)


def test_every_fact_has_words():
    assert _WORDS.keys() == set(OrderEventType)


@pytest.mark.parametrize("event_type", OrderEventType)
def test_fact_of_any_kind_can_be_shown_and_told(event_type):
    order = make_request().new_order(exchange="binanceus", mode=TradingMode.LIVE)
    event = OrderEvent(
        event_type=event_type, ts_event=NOW, reason=deny("SOME_REASON", "the reason's words", size=Decimal(1))
    )
    recorded = RecordedEvent(seq=1, event=event, recorded_at=NOW)
    assert event_json(recorded)["type"] == event_type
    asked, told = tell(order, [recorded], workflows_url=None)["story"]
    assert "BUY 0.1 BTC/USDT @ 100 LIMIT GTC" in asked["text"]
    assert told["text"].endswith("the reason's words.")


def test_story_tells_the_limits_that_were_looked_at_the_doubt_and_what_would_have_happened_otherwise():
    order = make_request().new_order(exchange="binanceus", mode=TradingMode.LIVE)
    finding = {"limit": "max_order_notional", "scope": "account:binanceus", "answer": "ALLOW", "code": "X", "text": "y",
               "numbers": {"notional": "10", "limit": "100000"}}  # fmt: skip
    kinds = [OrderEventType.ADMITTED, OrderEventType.SUBMITTED, OrderEventType.SUBMIT_UNKNOWN, OrderEventType.ACCEPTED]
    events = [
        RecordedEvent(
            seq=number,
            event=OrderEvent(event_type=kind, ts_event=NOW, attempt=1),
            recorded_at=order.created_at + timedelta(seconds=number),
            evidence=json.dumps([finding]) if kind is OrderEventType.ADMITTED else None,
        )
        for number, kind in enumerate(kinds, start=1)
    ]
    sent = RecordedAttempt(
        attempt=1, client_order_id="c", worker="worker@host#1", state="CLOSED", signed_at=NOW, left_at=NOW
    )
    told = tell(order, events, [sent], workflows_url=None)
    _, admitted, submitted, unknown, accepted = told["story"]
    assert "max_order_notional of account:binanceus (notional=10, limit=100000)" in admitted["otherwise"]
    assert admitted["evidence"]["rests_on"] == [finding]
    assert "by worker@host#1; leave to send was given at" in submitted["text"]
    assert "two orders might work" in unknown["otherwise"]
    assert f"found by its id {order.order_id}" in accepted["otherwise"]
    assert (admitted["after_s"], unknown["after_s"]) == (Decimal(1), Decimal(1))
    figures = told["figures"]
    assert (figures["attempts"], figures["doubts"], figures["in_doubt_s"]) == (1, 1, Decimal(1))
    assert figures["venue_answered_in_s"] == Decimal(2)
