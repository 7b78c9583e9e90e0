"""Identifiers, instrument rules, the risk check and the error tree."""

import re
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activities.failures import to_failure
from domain import errors
from domain.events import Reason
from domain.exposure import Exposure, ScopeFigures
from domain.identifiers import (
    derive_client_order_id,
    derive_order_id,
    order_id_from_bytes,
    order_workflow_id,
    parse_order_workflow_id,
)
from domain.instrument import NormalTicket, normalize
from domain.limits import Limits
from domain.numbers import is_multiple
from domain.order import OrderSide, OrderType, TimeInForce
from domain.risk import Answer, check, reservation_for
from tests.factories import NOW, make_instrument, make_request, make_ticket, make_validated

FORM = re.compile(r"[a-f][0-9a-f]{15}")


@given(st.binary(min_size=8, max_size=32), st.integers(1, 50), st.integers(1, 50))
def test_ids_have_the_form_that_venues_take_and_differ_by_attempt(entropy: bytes, one: int, other: int) -> None:
    order_id = order_id_from_bytes(entropy)
    ids = {derive_client_order_id(order_id, attempt=n) for n in (one, other)}
    assert all(FORM.fullmatch(name) for name in (order_id, *ids))
    assert len(ids) == (1 if one == other else 2)
    assert derive_client_order_id(order_id, attempt=1) == order_id


@given(st.from_regex(r"[a-z0-9][a-z0-9_-]{0,31}", fullmatch=True), st.text(min_size=1, max_size=50))
def test_the_same_key_is_the_same_order_and_its_workflow_is_named_after_it(account: str, key: str) -> None:
    order_id = derive_order_id(account, key)
    assert order_id == derive_order_id(account, key) != derive_order_id(account, key + "x")
    assert parse_order_workflow_id(order_workflow_id(account, order_id)) == (account, order_id)


@pytest.mark.parametrize("name", ["order-x", "feed-a", "order-a-zzzz", "order--abcdefabcdefabcd", "a-b-c"])
def test_other_names_are_no_orders_workflow(name: str) -> None:
    with pytest.raises(ValueError, match="is not the workflow id"):
        parse_order_workflow_id(name)


BROKEN: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("PRICE_MISSING", {"price": None}, {}),
    ("PRICE_SUPERFLUOUS", {"order_type": OrderType.MARKET}, {}),
    ("TRIGGER_PRICE_MISSING", {"order_type": OrderType.STOP_LIMIT}, {}),
    ("TRIGGER_PRICE_SUPERFLUOUS", {"trigger_price": Decimal(1)}, {}),
    ("POST_ONLY_IMPOSSIBLE", {"post_only": True, "time_in_force": TimeInForce.IOC}, {}),
    ("TIME_IN_FORCE_IMPOSSIBLE", {"order_type": OrderType.MARKET, "price": None, "time_in_force": TimeInForce.FOK}, {}),
    ("EXPIRES_IN_PAST", {"expires_at": NOW - timedelta(seconds=1)}, {}),
    ("QUANTITY_ZERO", {"quantity": Decimal(0)}, {}),
    ("QUANTITY_BELOW_STEP", {"quantity": Decimal("0.00001")}, {}),
    ("QUANTITY_BELOW_MINIMUM", {}, {"min_quantity": Decimal(1)}),
    ("QUANTITY_ABOVE_MAXIMUM", {}, {"max_quantity": Decimal("0.01")}),
    ("PRICE_ZERO", {"price": Decimal(0)}, {}),
    ("PRICE_OFF_TICK", {"price": Decimal("100.001")}, {}),
    ("PRICE_BELOW_MINIMUM", {}, {"min_price": Decimal(200)}),
    ("PRICE_ABOVE_MAXIMUM", {}, {"max_price": Decimal(50)}),
    ("NOTIONAL_BELOW_MINIMUM", {"quantity": Decimal("0.01")}, {}),
    ("NOTIONAL_ABOVE_MAXIMUM", {}, {"max_notional": Decimal(9)}),
]


@pytest.mark.parametrize(("code", "ticket", "instrument"), BROKEN, ids=[row[0] for row in BROKEN])
def test_each_broken_rule_is_named(code: str, ticket: dict[str, Any], instrument: dict[str, Any]) -> None:
    denial = normalize(make_ticket(**ticket), make_instrument(**instrument), now=NOW)
    assert isinstance(denial, Reason)
    assert denial.code == code
    if code.endswith(("MINIMUM", "MAXIMUM", "STEP", "TICK")):
        assert len(denial.numbers) >= 2


@given(st.decimals("0.0001", "100", places=8), st.integers(1, 10**7))
def test_a_ticket_that_fits_is_never_rounded_up(quantity: Decimal, cents: int) -> None:
    ticket = make_ticket(quantity=quantity, price=Decimal(cents).scaleb(-2))
    instrument = make_instrument(min_notional=None)
    normal = normalize(ticket, instrument, now=NOW)
    assert isinstance(normal, NormalTicket)
    assert 0 < normal.quantity <= quantity
    assert is_multiple(normal.quantity, step=instrument.step_size)
    assert (normal.rounded_from is None) == (normal.quantity == quantity)


def decide(*, limits: Limits | None = None, ticket: dict[str, Any] | None = None, **exposure: Any) -> Any:
    request = make_request(**(ticket or {}))
    scopes = (ScopeFigures(scope="account:binanceus", limits=limits or Limits()),)
    known = Exposure(**{"reconciled": True, "available": Decimal(1000), "scopes": scopes, **exposure})
    return check(request.ticket, make_validated(request), exposure=known, now=NOW)


@pytest.mark.parametrize(
    ("answer", "code", "case"),
    [
        (Answer.DENY, "KILL_SWITCH_ON", {"kill_reason": "drill"}),
        (Answer.DENY, "SYMBOL_NOT_ALLOWED", {"limits": Limits(allowed_symbols=("ETH/USDT",))}),
        (Answer.DENY, "ORDER_QUANTITY_ABOVE_LIMIT", {"limits": Limits(max_order_quantity=Decimal("0.05"))}),
        (Answer.DENY, "ORDER_NOTIONAL_ABOVE_LIMIT", {"limits": Limits(max_order_notional=Decimal(9))}),
        (Answer.DENY, "BALANCE_INSUFFICIENT", {"available": Decimal("9.99")}),
        (Answer.UNAVAILABLE, "ACCOUNT_NOT_RECONCILED", {"reconciled": False}),
        (Answer.UNAVAILABLE, "ACCOUNT_NOT_RECONCILED", {"available": None}),
    ],
)
def test_the_gate_says_why(answer: Answer, code: str, case: dict[str, Any]) -> None:
    decision = decide(**case)
    assert (decision.answer, decision.reason.code) == (answer, code)
    assert decision.reservation is None


def test_an_allowed_order_reserves_its_worst_case() -> None:
    assert decide().reservation.amount == Decimal(10)
    assert decide(ticket={"side": OrderSide.SELL}).reservation.asset == "BTC"
    market = decide(ticket={"order_type": OrderType.MARKET, "price": None})
    assert market.reservation.amount == Decimal("10.1")


@pytest.mark.parametrize(("side", "needed"), [(OrderSide.BUY, "10.04"), (OrderSide.SELL, "0.1")])
def test_a_buy_reserves_the_commission_that_is_taken_in_what_it_pays(side: OrderSide, needed: str) -> None:
    ticket = make_request(side=side).ticket
    taking = make_instrument(taker_rate=Decimal("0.004"), fee_in_quote=True)
    quantity, price = Decimal("0.1"), Decimal(100)
    assert reservation_for(ticket, taking, quantity=quantity, price=price).amount == Decimal(needed)
    elsewhere = taking.model_copy(update={"fee_in_quote": False})
    assert reservation_for(ticket, elsewhere, quantity=quantity, price=price).fee_rate == 0


def test_every_error_has_a_code_of_its_own_and_keeps_its_answer_on_retry() -> None:
    classes = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    leaves = [kind for kind in classes if issubclass(kind, errors.ExecutionError)]
    assert len({kind.code for kind in leaves}) == len(leaves)
    for kind in leaves:
        made = kind("why", retry_after_s=3) if kind is errors.RateLimited else kind("why")
        failure = to_failure(made)
        assert (failure.type, failure.non_retryable) == (kind.code, not kind.retryable)


def test_no_two_attempts_of_many_orders_share_a_client_order_id() -> None:
    names = {
        derive_client_order_id(derive_order_id("binanceus", f"key-{order}"), attempt=attempt)
        for order in range(4000)
        for attempt in range(1, 6)
    }
    assert len(names) == 20_000


money = st.integers(1, 10**9).map(lambda units: Decimal(units).scaleb(-4))


@given(
    side=st.sampled_from(OrderSide),
    available=st.none() | money,
    cap=st.none() | money,
    quantity=st.integers(1, 10**5).map(lambda units: Decimal(units).scaleb(-4)),
    reconciled=st.booleans(),
    killed=st.booleans(),
)
def test_the_gate_allows_only_within_every_limit_and_tells_both_figures(
    side: OrderSide, available: Decimal | None, cap: Decimal | None, quantity: Decimal, reconciled: bool, killed: bool
) -> None:
    request = make_request(side=side, quantity=quantity, price=Decimal(60))
    notional = quantity * 60
    if notional < 5:
        return
    scope = ScopeFigures(scope="account:binanceus", limits=Limits(max_order_notional=cap))
    why = "drill" if killed else None
    exposure = Exposure(kill_reason=why, reconciled=reconciled, available=available, scopes=(scope,))
    decision = check(request.ticket, make_validated(request), exposure=exposure, now=NOW)
    needed = notional if side is OrderSide.BUY else quantity
    fits = (cap is None or notional <= cap) and available is not None and needed <= available
    assert (decision.answer is Answer.ALLOW) == (fits and reconciled and not killed)
    if decision.answer is Answer.ALLOW:
        assert decision.reservation is not None and decision.reservation.amount == needed
        return
    assert decision.reason is not None and decision.reservation is None
    if not killed and (not reconciled or (available is None and (cap is None or notional <= cap))):
        assert decision.answer is Answer.UNAVAILABLE, "what is not known is no denial"
    if decision.reason.code == "BALANCE_INSUFFICIENT":
        figures = [Decimal(decision.reason.numbers[name]) for name in ("needed", "available")]
        assert figures == [needed, available]
    if decision.reason.code == "ORDER_NOTIONAL_ABOVE_LIMIT":
        figures = [Decimal(decision.reason.numbers[name]) for name in ("notional", "max_order_notional")]
        assert figures == [notional, cap]
