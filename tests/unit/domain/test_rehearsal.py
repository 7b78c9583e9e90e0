"""Other limits tried on a made-up past: what they would have said, and what cannot be known."""

import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from domain.identifiers import derive_order_id
from domain.instrument import deny
from domain.limits import Limits, LimitSet
from domain.order import OrderSide, OrderType, TradingMode
from domain.rehearsal import Outcome, Rehearsal, rehearse
from domain.risk import Answer, Finding
from domain.risk_replay import Recorded, RecordedFill, RecordedOrder, measured_at
from domain.valuation import Mark
from tests.factories import NOW, make_fill, make_request

SECOND = timedelta(seconds=1)
ACCOUNT_ROW = "sandbox/account:binanceus"


def order(
    key: str,
    at: datetime = NOW,
    *,
    answer: Answer = Answer.ALLOW,
    reason: Any = None,
    findings: Sequence[Finding] = (),
    ended_at: datetime | None = None,
    unit_price: str | None = "100",
    **ticket: Any,
) -> RecordedOrder:
    """An order as it was decided on."""
    made = make_request(key, **ticket).new_order(exchange="binanceus", mode=TradingMode.SANDBOX)
    return RecordedOrder(
        order=made,
        answer=answer,
        reason=reason,
        findings=tuple(findings),
        decided_at=at,
        ended_at=ended_at,
        unit_price=Decimal(unit_price) if unit_price is not None else None,
    )


def fill(key: str, at: datetime, **changes: Any) -> RecordedFill:
    """A fill of it."""
    told = make_fill(**{"ts_event": at, **changes})
    return RecordedFill(account="binanceus", order_id=derive_order_id("binanceus", key), at=at, fill=told)


def rehearsed(
    orders: Sequence[RecordedOrder], limits: Limits, *, scope: str | None = None, since: datetime = NOW, **past: Any
) -> Rehearsal:
    """Try limits on a past."""
    limit_set = LimitSet(by_scope={scope: limits}) if scope else LimitSet(accounts=limits)
    told = {"fills": (), "held": {}, "marks": {}, **past}
    recorded = Recorded(since=since, until=NOW + timedelta(hours=1), orders=tuple(orders), **told)
    return rehearse(recorded, limit_set)


def outcomes(told: Rehearsal) -> dict[str, tuple[Outcome, str | None]]:
    """Return what becomes of each order that fares otherwise."""
    return {verdict.order_id: (verdict.outcome, verdict.limit) for verdict in told.verdicts}


def named(key: str) -> str:
    """Return the order's id."""
    return derive_order_id("binanceus", key)


def test_position_grows_by_working_and_filled_orders_and_denied_ones_are_taken_out() -> None:
    orders = [order(str(number), NOW + number * SECOND) for number in range(4)]
    limits = Limits(max_position_quantity={"BTC/USDT": "0.25"})
    told = rehearsed(orders, limits, fills=(fill("0", NOW + SECOND / 2), fill("3", NOW + 5 * SECOND)))
    assert outcomes(told) == {
        named("2"): (Outcome.DENIED, "max_position_quantity"),
        named("3"): (Outcome.DENIED, "max_position_quantity"),
    }
    assert told.verdicts[1].numbers["working"] == "0.1"
    assert told.verdicts[1].numbers["held"] == "0.1"


def test_order_that_ended_works_no_more() -> None:
    orders = [order("0", NOW, ended_at=NOW + SECOND), order("1", NOW + 2 * SECOND)]
    assert rehearsed(orders, Limits(max_open_orders=1)).verdicts == ()
    orders = [order("0", NOW, ended_at=NOW + 3 * SECOND), order("1", NOW + 2 * SECOND)]
    assert outcomes(rehearsed(orders, Limits(max_open_orders=1))) == {named("1"): (Outcome.DENIED, "max_open_orders")}


def test_order_that_reduces_passes_what_an_opening_one_may_not() -> None:
    limits = Limits(max_position_quantity={"BTC/USDT": "0.1"})
    held = {ACCOUNT_ROW: {"BTC/USDT": Decimal(2)}}
    orders = [order("0", side=OrderSide.SELL), order("1", NOW + SECOND)]
    assert outcomes(rehearsed(orders, limits, held=held)) == {named("1"): (Outcome.DENIED, "max_position_quantity")}


def test_order_before_the_time_asked_about_counts_and_is_not_judged() -> None:
    orders = [order("0", NOW - SECOND), order("1", NOW + SECOND)]
    told = rehearsed(orders, Limits(max_orders_per_minute=1))
    assert told.orders == 1
    assert outcomes(told) == {named("1"): (Outcome.DENIED, "max_orders_per_minute")}


def test_order_that_was_denied_by_a_limit_would_be_admitted_by_a_looser_one() -> None:
    reason = deny("ORDER_NOTIONAL_ABOVE_LIMIT", "too large", notional=Decimal(10), max_order_notional=Decimal(9))
    denied = order("0", answer=Answer.DENY, reason=reason)
    assert outcomes(rehearsed([denied], Limits(max_order_notional="11"))) == {named("0"): (Outcome.ADMITTED, None)}
    assert rehearsed([denied], Limits(max_order_notional="8")).verdicts == ()


def test_order_that_no_limit_denied_stays_denied() -> None:
    denied = order("0", answer=Answer.DENY, reason=deny("BALANCE_INSUFFICIENT", "not enough"))
    assert rehearsed([denied], Limits()).verdicts == ()


def test_order_above_the_threshold_would_be_held() -> None:
    told = rehearsed([order("0")], Limits(approval_above_notional="9"))
    assert outcomes(told) == {named("0"): (Outcome.HELD, "approval_above_notional")}


def test_worth_is_by_the_mark_of_then_and_not_known_without_one() -> None:
    held = {ACCOUNT_ROW: {"BTC/USDT": Decimal(1)}}
    limits = Limits(max_position_notional="100")

    def mark(price: str, at: datetime) -> Mark:
        return Mark(symbol="BTC/USDT", bid=None, ask=None, last=Decimal(price), asked_at=at)

    marks = {TradingMode.SANDBOX: (mark("50", NOW - SECOND), mark("100", NOW + 2 * SECOND))}
    orders = [order("0", NOW), order("1", NOW + 3 * SECOND), order("2", NOW + timedelta(minutes=10))]
    told = rehearsed(orders, limits, held=held, marks=marks)
    assert outcomes(told) == {
        named("1"): (Outcome.DENIED, "max_position_notional"),
        named("2"): (Outcome.UNKNOWN, "max_position_notional"),
    }
    assert told.unknown == {"max_position_notional": 1}


def test_market_data_of_then_is_taken_from_the_record_or_not_known() -> None:
    seen = Finding(
        limit="max_slippage", scope="firm", answer=Answer.ALLOW, code="SLIPPAGE_ABOVE_LIMIT", text="",
        numbers={"slippage": "0.02", "max_slippage": "0.05"},
    )  # fmt: skip
    orders = [order("0", findings=[seen]), order("1", NOW + SECOND)]
    told = rehearsed(orders, Limits(max_slippage="0.01"))
    assert outcomes(told) == {
        named("0"): (Outcome.DENIED, "max_slippage"),
        named("1"): (Outcome.UNKNOWN, "max_slippage"),
    }
    assert told.verdicts[0].numbers["measured"] == "then"


def test_market_order_of_unknown_price_is_judged_by_what_needs_no_price() -> None:
    market = {"order_type": OrderType.MARKET, "price": None}
    orders = [order("0", unit_price=None, **market)]
    assert outcomes(rehearsed(orders, Limits(max_order_notional="1"))) == {
        named("0"): (Outcome.UNKNOWN, "max_order_notional")
    }
    assert outcomes(rehearsed(orders, Limits(max_order_quantity="0.01"))) == {
        named("0"): (Outcome.DENIED, "max_order_quantity")
    }


def test_price_of_a_market_order_is_told_by_its_findings() -> None:
    market = order("0", order_type=OrderType.MARKET, price=None).order
    found = Finding(limit="x", scope="firm", answer=Answer.DENY, code="X", text="", numbers={"notional": "12"})
    assert measured_at(market, [found], None) == 120
    assert measured_at(market, [], None) is None
    assert measured_at(market, [found], Decimal(7)) == 7


def test_equal_orders_and_crossing_ones_are_seen() -> None:
    orders = [
        order("0"),
        order("1", NOW + SECOND),
        order("2", NOW + 2 * SECOND, side=OrderSide.SELL, price=Decimal(99)),
    ]
    told = rehearsed(orders, Limits(duplicate_window_s=5))
    assert outcomes(told) == {named("1"): (Outcome.DENIED, "duplicate_window_s")}
    told = rehearsed(orders, Limits(forbid_self_trade=True))
    assert outcomes(told) == {named("2"): (Outcome.DENIED, "forbid_self_trade")}


def test_shadow_limit_changes_nothing() -> None:
    assert rehearsed([order("0")], Limits(max_order_notional="1", shadow=("max_order_notional",))).verdicts == ()


def test_thousands_of_orders_are_tried_within_seconds() -> None:
    count = 3_000
    orders = [
        order(str(number), NOW + number * SECOND, ended_at=NOW + (number + 50) * SECOND) for number in range(count)
    ]
    limits = Limits(
        max_position_quantity={"BTC/USDT": "4"}, max_open_orders=60, max_orders_per_minute=70, duplicate_window_s=1,
        max_turnover_per_day="1000000",
    )  # fmt: skip
    began = time.monotonic()
    told = rehearsed(orders, limits)
    assert time.monotonic() - began < 15, "10,000 orders must be answered within the client's wait, on a loaded machine"
    assert told.orders == count and told.verdicts
