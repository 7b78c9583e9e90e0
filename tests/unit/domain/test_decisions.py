"""A person's decision, the policy of a ticket, and what both leave alone."""

from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from domain.decisions import Decision, misfit
from domain.events import OrderEvent
from domain.exposure import ScopeFigures
from domain.lifecycle import OrderEventType
from domain.limits import Limits
from domain.order import OnNeverPlaced, OrderSide, TradingMode
from domain.reports import Submission
from domain.risk import Reservation, check_again
from tests.factories import NOW, make_report, make_request, make_ticket, make_validated

BEFORE_THE_POLICY = "126d69d6627c25875c4f0a4adc0cc76de5a24d029fe62ab8d1495dc5f3d5a6a9"
"""Fingerprint of the factory's ticket, computed by the code from before tickets had `on_never_placed`."""
SENT = Submission(
    client_order_id="c", symbol="BTC/USDT", side="buy", order_type="limit", quantity=Decimal("0.1"),
    price=Decimal(100), signed_at=NOW,
)  # fmt: skip


def test_ticket_that_does_not_use_the_policy_keeps_its_fingerprint() -> None:
    assert make_ticket().fingerprint() == BEFORE_THE_POLICY
    assert make_ticket(on_never_placed=OnNeverPlaced.RESUBMIT).fingerprint() == BEFORE_THE_POLICY
    assert make_ticket(on_never_placed=OnNeverPlaced.GIVE_UP).fingerprint() != BEFORE_THE_POLICY


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"placed": "1", "never_placed": True},
        {"placed": "1 2"},
        {"placed": ""},
        {"never_placed": True, "because": ""},
        {"never_placed": True, "because": "x" * 201},
        {"never_placed": True, "because": "line\nbreak"},
    ],
)
def test_decision_that_is_none_is_refused(said: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Decision.model_validate({"because": "why", **said})


def test_order_with_all_figures_equal_fits() -> None:
    told = {"client_order_id": "c", "side": "buy", "quantity": Decimal("0.10"), "price": Decimal("100.0")}
    assert misfit(SENT, make_report(**told)) is None
    assert misfit(SENT, make_report(**{**told, "client_order_id": None, "side": None, "price": None})) is None


def test_every_figure_that_differs_is_told_with_both_values() -> None:
    other = make_report(client_order_id="x", side="sell", quantity=Decimal(2), price=Decimal(3), symbol="ETH/USDT")
    found = misfit(SENT, other)
    assert found is not None
    assert found.numbers == {
        "symbol": "BTC/USDT", "venue_symbol": "ETH/USDT", "side": "buy", "venue_side": "sell",
        "quantity": "0.1", "venue_quantity": "2", "price": "100", "venue_price": "3",
        "client_order_id": "c", "venue_client_order_id": "x",
    }  # fmt: skip


def test_doubt_is_shown_from_its_first_moment_and_gone_with_it() -> None:
    order = make_request().new_order(exchange="binanceus", mode=TradingMode.LIVE)
    for event_type in (OrderEventType.SUBMITTED, OrderEventType.SUBMIT_UNKNOWN):
        order = order.apply(OrderEvent(event_type=event_type, ts_event=NOW, attempt=1, client_order_id="c"))
    assert order.doubt is not None and order.doubt.since == NOW and order.needs_attention
    decided = order.apply(OrderEvent(event_type=OrderEventType.RESOLVED, ts_event=NOW, venue_order_id="7"))
    assert decided.doubt == order.doubt
    found = decided.apply(OrderEvent(event_type=OrderEventType.ACCEPTED, ts_event=NOW, venue_order_id="7"))
    assert (found.doubt, found.never_placed, found.needs_attention) == (None, False, False)
    never = order.apply(OrderEvent(event_type=OrderEventType.NEVER_PLACED, ts_event=NOW))
    assert (never.doubt, never.never_placed, never.needs_attention) == (None, True, False)
    again = never.apply(OrderEvent(event_type=OrderEventType.SUBMITTED, ts_event=NOW, attempt=2, client_order_id="d"))
    assert not again.never_placed


@pytest.mark.parametrize(
    ("ticket", "held", "limits", "code"),
    [
        ({}, "10", Limits(), None),
        ({}, "9.99", Limits(), "RESERVATION_EXCEEDED"),
        ({}, "10", Limits(max_order_notional=Decimal(9)), "ORDER_NOTIONAL_ABOVE_LIMIT"),
        ({"side": OrderSide.SELL}, "0.1", Limits(), None),
        ({"side": OrderSide.SELL}, "0.09", Limits(), "RESERVATION_EXCEEDED"),
    ],
)
def test_what_is_sent_anew_stays_inside_reservation_and_limits(
    ticket: dict[str, Any], held: str, limits: Limits, code: str | None
) -> None:
    request = make_request(**ticket)
    reservation = Reservation(asset="any", amount=Decimal(held))
    scopes = (ScopeFigures(scope="account:binanceus", limits=limits),)
    validated = make_validated(request)
    denial = check_again(request.ticket, validated, scopes=scopes, reservation=reservation, now=NOW)
    assert (denial.code if denial is not None else None) == code
