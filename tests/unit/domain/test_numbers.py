"""One grammar for amounts, exact arithmetic, and rounding that goes the way its name says."""

import decimal
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.numbers import (
    EXACT,
    is_multiple,
    multiply,
    parse_amount,
    parse_json_number,
    plain,
    round_down_to_step,
    round_up_to_step,
)
from domain.order import OrderTicket

amounts = st.builds(
    lambda whole, places, digits: Decimal(whole).scaleb(-places) if digits else Decimal(whole),
    st.integers(0, 10**18 - 1),
    st.integers(0, 18),
    st.booleans(),
)
steps = st.builds(lambda digits, places: Decimal(digits).scaleb(-places), st.integers(1, 999), st.integers(0, 8))


@given(amounts)
def test_amount_survives_its_own_text(amount: Decimal) -> None:
    assert parse_amount(plain(amount)) == amount


@pytest.mark.parametrize(
    "text",
    [
        *("", "-1", "+1", "01", "1.", ".5", "1e5", "NaN", "Infinity", " 1", "1 ", "1_000", "0x10", "1,5", "--1", "1\n"),
        *("\u0663", "\uff11", "1" * 19, "0." + "1" * 19, "1e400", "9" * 70),
    ],
)
def test_what_is_not_by_the_grammar_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a"):
        parse_amount(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [("5e-05", "0.00005"), ("1E3", "1000"), ("1.50", "1.5"), ("0", "0"), ("12e-1", "1.2"), ("0.1e1", "1")],
)
def test_json_notations_are_expanded_exactly(text: str, value: str) -> None:
    assert plain(parse_json_number(text)) == value


@pytest.mark.parametrize("text", ["1e400", "-1", "NaN", "Infinity", "1e-19", "1e18", "0123", "", "true", "1e99999"])
def test_json_numbers_that_do_not_fit_are_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_json_number(text)


@given(amounts, steps)
def test_rounding_goes_down_and_up_to_the_nearest_step(value: Decimal, step: Decimal) -> None:
    down, up = round_down_to_step(value, step=step), round_up_to_step(value, step=step)
    assert down <= value <= up
    assert up - down in (0, step)
    assert is_multiple(down, step=step)
    assert Fraction(down) / Fraction(step) == Fraction(value) // Fraction(step)


@given(amounts, amounts)
def test_products_are_exact_whatever_the_process_wide_context_says(left: Decimal, right: Decimal) -> None:
    with decimal.localcontext() as context:
        context.prec, context.rounding = 5, decimal.ROUND_HALF_UP
        assert Fraction(multiply(left, right)) == Fraction(left) * Fraction(right)
    assert EXACT.prec == 90


@pytest.mark.parametrize("wrong", [0.1, 1, True, None, [], "abc", Decimal("NaN"), Decimal("-1")])
def test_floats_and_other_things_are_no_quantity(wrong: object) -> None:
    with pytest.raises(ValueError):
        OrderTicket.model_validate({"symbol": "BTC/USDT", "side": "buy", "order_type": "market", "quantity": wrong})
