"""Numbers of money: one grammar, exact arithmetic, and rounding with its direction in the name.

Amounts are `Decimal`, and text on every wire of ours. A JSON or Python float is refused, for it has already lost
digits. Arithmetic goes through `EXACT`, a context of our own: ccxt changes the process-wide one.
"""

import re
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Context, Decimal, DivisionByZero, InvalidOperation
from typing import Annotated, Final

from pydantic import BeforeValidator, PlainSerializer

EXACT: Final = Context(prec=90, rounding=ROUND_HALF_EVEN, traps=[InvalidOperation, DivisionByZero])
"""Wide enough for the product of two amounts of 18 + 18 digits, so nothing is ever rounded in silence."""

SCALE: Final = Decimal(1).scaleb(-18)
"""Smallest step that the ledger keeps."""

GRAMMAR: Final = re.compile(r"(0|[1-9][0-9]{0,17})(\.[0-9]{1,18})?", re.ASCII)
_JSON_NUMBER: Final = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?", re.ASCII)
TEXT_LENGTH_MAX: Final = 64


def parse_amount(text: str) -> Decimal:
    """Read an amount: ASCII digits, no sign, no exponent, at most 18 digits before and 18 after the point.

    Raises
    ------
    ValueError
        When the text is not by the grammar. The message shows the text, cut to 40 characters.
    """
    if len(text) > TEXT_LENGTH_MAX or not GRAMMAR.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is not a plain decimal number of at most 18 digits before and after the point")
    return Decimal(text)


def parse_json_number(text: str) -> Decimal:
    """Read a JSON number in any JSON notation (`5e-05`), expanded exactly, if the result fits the grammar.

    Raises
    ------
    ValueError
        When it is no JSON number, is negative, or does not fit into 18 + 18 digits.
    """
    if len(text) > TEXT_LENGTH_MAX or not _JSON_NUMBER.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is not a number of at most 18 digits before and after the point")
    return parse_amount(plain(Decimal(text)))


def plain(value: Decimal) -> str:
    """Write a finite decimal without exponent and without trailing zeros after the point."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _amount(value: object) -> Decimal:
    if isinstance(value, str):
        return parse_amount(value)
    if isinstance(value, Decimal):
        return parse_amount(plain(value)) if value.is_finite() else parse_amount(str(value))
    raise ValueError(f"an amount is text or Decimal, not {type(value).__name__}")


def _signed(value: object) -> Decimal:
    if isinstance(value, str) and value.startswith("-"):
        return EXACT.minus(parse_amount(value[1:]))
    if isinstance(value, Decimal) and value.is_finite() and value < 0:
        return EXACT.minus(_amount(EXACT.minus(value)))
    return _amount(value)


def _written(value: object) -> object:
    if isinstance(value, float):
        # pydantic gathers a ValueError with its place; a TypeError would pass through it.
        raise ValueError(f'{value} is a float; write money as text, for example "{value}"')
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


_as_text = PlainSerializer(plain, return_type=str)
Amount = Annotated[Decimal, BeforeValidator(_amount), _as_text]
"""Zero or more."""
WrittenAmount = Annotated[Decimal, BeforeValidator(_amount), BeforeValidator(_written), _as_text]
"""Zero or more, as people write it in a file: text or a whole number, never a float."""
SignedAmount = Annotated[Decimal, BeforeValidator(_signed), _as_text]
"""May be below zero: profit, a maker's rebate."""
Price = Amount
"""Quote units per base unit."""
Quantity = Amount
"""Base units."""
Notional = Amount
"""Quote units."""


def multiply(left: Decimal, right: Decimal) -> Decimal:
    """Return the exact product."""
    return EXACT.multiply(left, right)


def add(left: Decimal, right: Decimal) -> Decimal:
    """Return the exact sum."""
    return EXACT.add(left, right)


def subtract(left: Decimal, right: Decimal) -> Decimal:
    """Return the exact difference."""
    return EXACT.subtract(left, right)


def divide_to_scale(left: Decimal, right: Decimal) -> Decimal:
    """Return the quotient, rounded half-even to 18 digits after the point; `right` must not be zero."""
    return to_scale(EXACT.divide(left, right))


def to_scale(value: Decimal) -> Decimal:
    """Return the value rounded half-even to the 18 digits after the point that the ledger keeps."""
    return value.quantize(SCALE, rounding=ROUND_HALF_EVEN, context=EXACT)


def round_down_to_step(value: Decimal, *, step: Decimal) -> Decimal:
    """Return the largest multiple of `step` that is not above `value`."""
    return _to_step(value, step, ROUND_FLOOR)


def round_up_to_step(value: Decimal, *, step: Decimal) -> Decimal:
    """Return the smallest multiple of `step` that is not below `value`."""
    return _to_step(value, step, ROUND_CEILING)


def is_multiple(value: Decimal, *, step: Decimal) -> bool:
    """Tell whether `value` is a whole number of steps."""
    return round_down_to_step(value, step=step) == value


def _to_step(value: Decimal, step: Decimal, rounding: str) -> Decimal:
    steps = EXACT.divide(value, step).to_integral_value(rounding=rounding, context=EXACT)
    return EXACT.multiply(steps, step)
