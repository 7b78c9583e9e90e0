"""Each control of the gate on its bound: at the limit it holds, one unit beyond it does not, and without data nothing
is said to hold."""

from typing import Any

import pytest

from domain.controls import CONTROLS
from domain.exposure import Exposure, ScopeFigures
from domain.limits import Limits
from domain.order import OrderSide
from domain.risk import Answer, check
from tests.factories import NOW
from tests.unit.domain.bounds_of_controls import (
    BOUNDS,
    BUY,
    BY_NAME,
    ETH,
    LONG_ETHER,
    ONE_SIDED,
    SELL,
    SHORT_ETHER,
    Bound,
    D,
    Order,
    asked,
    book_of,
    decided,
    found,
    limits_of,
    row,
    ticker,
    told_beyond,
)


def test_every_control_has_a_bound() -> None:
    assert {bound.limit for bound in BOUNDS.values()} == set(BY_NAME)


@pytest.mark.parametrize("bound", BOUNDS.values(), ids=BOUNDS)
def test_holds_at_the_limit_and_not_beyond(bound: Bound) -> None:
    within = found(bound.within, limits_of(bound), bound.limit)
    assert within.answer is Answer.ALLOW, within
    beyond = found(bound.within._replace(**bound.beyond), limits_of(bound, beyond=True), bound.limit)
    assert beyond.answer is (Answer.HOLD if BY_NAME[bound.limit].asks_person else Answer.DENY), beyond
    assert told_beyond(bound).items() <= beyond.numbers.items(), beyond
    assert beyond.code == BY_NAME[bound.limit].code


@pytest.mark.parametrize("bound", BOUNDS.values(), ids=BOUNDS)
def test_in_shadow_it_is_recorded_and_lets_pass(bound: Bound) -> None:
    order = bound.within._replace(**bound.beyond)
    decision = decided(order, {**limits_of(bound, beyond=True), "shadow": (bound.limit,)})
    (finding,) = [finding for finding in decision.findings if finding.limit == bound.limit]
    assert finding.shadow and finding.answer in (Answer.DENY, Answer.HOLD)
    assert (decision.answer, decision.reason) == (Answer.ALLOW, None)


UNPRICED = row(ETH, "2", mark=None)
UNRATED = row(ETH, "2", mark="50", rate=None)
VALUED = ("max_gross_exposure", "max_net_exposure", "max_concentration", "max_daily_loss", "max_drawdown")
MISSING: list[tuple[str, str, Order]] = [
    ("max_price_deviation", "MARKET_PRICE_UNAVAILABLE", Order(ticker=None)),
    ("max_price_deviation", "MARKET_PRICE_UNAVAILABLE", Order(ticker=ticker(None, None))),
    ("max_price_deviation", "MARKET_DATA_STALE", Order(ticker=ticker(age_s=10.001))),
    ("max_slippage", "BOOK_UNAVAILABLE", Order(book=None)),
    ("max_slippage", "BOOK_UNAVAILABLE", Order(book=ONE_SIDED)),
    ("max_slippage", "MARKET_DATA_STALE", Order(book=book_of(age_s=10.001))),
    ("max_book_share", "MARKET_DATA_STALE", Order(book=book_of(age_s=10.001))),
    ("max_book_share", "BOOK_UNAVAILABLE", Order(book=None)),
    ("max_book_share", "BOOK_UNAVAILABLE", Order(book=ONE_SIDED)),
    ("max_position_notional", "VALUE_UNKNOWN", Order(rows=(row(held="1", mark=None),))),
    *((limit, "VALUE_UNKNOWN", Order(rows=(row(), UNPRICED))) for limit in VALUED),
    *((limit, "VALUE_UNKNOWN", Order(rows=(row(), UNRATED))) for limit in VALUED),
    ("max_turnover_per_day", "VALUE_UNKNOWN", Order(rows=(row(), row(ETH, turnover=D(1), rate=None)))),
    ("max_turnover_per_day", "VALUE_UNKNOWN", Order(rows=(row(rate=None),))),
]
"""A limit, what is not known, and the order that cannot be measured for it."""


@pytest.mark.parametrize(("limit", "code", "order"), MISSING)
def test_missing_data_is_neither_within_nor_beyond(limit: str, code: str, order: Order) -> None:
    finding = found(order, {limit: "1000000"}, limit)
    assert (finding.answer, finding.code) == (Answer.UNAVAILABLE, code)
    decision = decided(order, {limit: "1000000"})
    assert decision.answer is Answer.UNAVAILABLE and decision.reason is not None and decision.reason.code == code
    assert decided(order, {limit: "1000000", "shadow": (limit,)}).answer is Answer.ALLOW


@pytest.mark.parametrize(("age_s", "limits"), [(10, {}), (3, {"max_market_age_s": 3})])
def test_market_data_is_of_use_up_to_its_age(age_s: int, limits: dict[str, Any]) -> None:
    for late, answer in ((0, Answer.ALLOW), (0.001, Answer.UNAVAILABLE)):
        order = Order(ticker=ticker(age_s=age_s + late), book=book_of(age_s=age_s + late))
        for limit in ("max_price_deviation", "max_slippage", "max_book_share"):
            assert found(order, {**limits, limit: "1"}, limit).answer is answer


REDUCING_PASSES = {
    "max_position_quantity",
    "max_position_notional",
    "max_gross_exposure",
    "max_net_exposure",
    "max_concentration",
    "max_turnover_per_day",
    "max_daily_loss",
    "max_drawdown",
    "cooldown_after_stop_s",
    "max_stop_outs",
    "min_profit",
}
"""What keeps positions from growing. All others hold for every order."""


def test_controls_that_reducing_orders_pass_are_these() -> None:
    assert {control.limit for control in CONTROLS if control.reducing_passes} == REDUCING_PASSES


@pytest.mark.parametrize("bound", BOUNDS.values(), ids=BOUNDS)
@pytest.mark.parametrize("side", [BUY, SELL])
def test_reducing_order_passes_what_keeps_positions_from_growing(bound: Bound, side: OrderSide) -> None:
    """It closes all that is held: of an unknown price, after any loss. One unit more, and it opens the other side."""
    held = "-10" if side is BUY else "10"
    working = {"working_buy" if side is BUY else "working_sell": D(3)}
    closing = bound.within._replace(**bound.beyond)
    closing = closing._replace(side=side, quantity="7", rows=(row(held=held, mark=None, open_orders=9, **working),))
    limits = limits_of(bound, beyond=True)
    finding = found(closing, limits, bound.limit)
    assert (finding.numbers == {"reduces": "true"}) is (bound.limit in REDUCING_PASSES)
    if bound.limit in REDUCING_PASSES:
        assert finding.answer is Answer.ALLOW
        assert found(closing._replace(quantity="7.0001"), limits, bound.limit).numbers != {"reduces": "true"}


def test_flip_is_measured_by_what_is_open_after_it() -> None:
    """It is no reducing order, and what it opens on the other side must fit."""
    flip = Order(SELL, "3", rows=(row(held="2"),))
    assert found(flip, {"max_position_notional": "100"}, "max_position_notional").answer is Answer.ALLOW
    more = flip._replace(quantity="3.0001")
    assert found(more, {"max_position_notional": "100"}, "max_position_notional").answer is Answer.DENY


def test_symbol_without_a_cap_of_its_own_is_not_capped() -> None:
    order = Order(quantity="1000000")
    assert found(order, {"max_position_quantity": {ETH: "1"}}, "max_position_quantity").answer is Answer.ALLOW


def test_zero_allows_no_order_at_all() -> None:
    for limit in ("max_open_orders", "max_orders_per_second", "max_orders_per_minute", "max_orders_per_day"):
        assert found(Order(), {limit: 0}, limit).answer is Answer.DENY


def test_fewer_orders_than_the_rate_pass_and_a_symbol_that_closed_nothing_may_be_opened() -> None:
    assert found(Order(), {"max_orders_per_second": 1}, "max_orders_per_second").answer is Answer.ALLOW
    assert found(Order(), {"min_profit": "10"}, "min_profit").answer is Answer.ALLOW


def test_gross_counts_the_worse_direction_of_each_symbol_and_net_the_orders_own() -> None:
    rows = (row(held="1", working_sell=D("2.5"), sell_notional=D(250)), SHORT_ETHER)
    for limit, name, cap in (
        ("max_gross_exposure", "gross_exposure", "300"),
        ("max_net_exposure", "net_exposure", "100"),
    ):
        finding = found(Order(rows=rows), {limit: cap}, limit)
        assert (finding.answer, finding.numbers[name]) == (Answer.ALLOW, cap)
    selling = found(Order(SELL, rows=rows), {"max_gross_exposure": "349"}, "max_gross_exposure")
    assert (selling.answer, selling.numbers["gross_exposure"]) == (Answer.DENY, "350")


def test_what_is_certain_is_told_before_what_is_missing_and_that_before_what_needs_a_person() -> None:
    limits = {"approval_above_notional": "1", "max_slippage": "0", "max_open_orders": 0}
    order = Order(book=None)
    told = []
    for name in ("max_open_orders", "max_slippage", "approval_above_notional"):
        told.append(decided(order, limits).answer)
        limits.pop(name)
    assert [*told, decided(order, limits).answer] == [Answer.DENY, Answer.UNAVAILABLE, Answer.HOLD, Answer.ALLOW]


def test_the_most_specific_scope_answers_first_and_all_must_hold() -> None:
    ticket, validated, exposure = asked(Order(), {"max_order_quantity": "0.5"})
    key = ScopeFigures(scope="key:desk", limits=Limits(max_order_quantity=D("0.1")))
    loose = ScopeFigures(scope="symbol:BTC/USDT", limits=Limits(max_order_quantity=D(5)))
    for scopes, scope in (((key, loose, *exposure.scopes), "key:desk"), ((loose, *exposure.scopes), "account:a")):
        seen = Exposure(reconciled=True, available=D(10**9), scopes=scopes)
        decision = check(ticket, validated, exposure=seen, now=NOW)
        assert decision.answer is Answer.DENY and decision.reason is not None
        assert scope in decision.reason.text
        assert [finding.scope for finding in decision.findings] == [figures.scope for figures in scopes]


def test_concentration_of_a_long_among_shorts_counts_each_by_its_size() -> None:
    for other in (LONG_ETHER, SHORT_ETHER):
        finding = found(Order(rows=(row(), other)), {"max_concentration": "0.5"}, "max_concentration")
        assert (finding.answer, finding.numbers["concentration"]) == (Answer.ALLOW, "0.5")
