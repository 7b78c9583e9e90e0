"""A few thousand random fills against the independent reference, from a fresh seed; and that it would see a defect."""

import secrets
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest

from domain import lots, position
from domain.lots import Book, Lot, Trade
from tests.unit.domain.reference_positions import compare

SLICE = 6_000


def test_positions_and_lots_agree_with_the_reference_over_random_fills() -> None:
    seed = secrets.randbelow(2**32)
    print(f"\nreference_positions.compare({seed}, {SLICE})")
    found = compare(seed, SLICE)
    assert found.fills == SLICE
    assert min(found.flips, found.flats, found.lines) > SLICE // 100, "the fills did not do what is to be tested"


def _a_float(of: Decimal, part: Decimal, whole: Decimal) -> Decimal:
    return Decimal(repr(float(of) * float(part) / float(whole))).quantize(Decimal("1e-18")) if part else Decimal(0)


@pytest.mark.parametrize(
    "breaks",
    [
        lambda patch: patch.setattr(position, "share", _a_float),
        lambda patch: patch.setattr(lots, "share", _a_float),
        lambda patch: patch.setattr(Lot, "split", lambda lot, size: (lot, None)),
        lambda patch: patch.setattr(
            Lot, "plus", lambda lot, other: replace(lot, quantity=lot.quantity + other.quantity)
        ),
        lambda patch: patch.setattr(position, "closing_part", lambda held, quantity: Decimal(0)),
        lambda patch: patch.setattr(lots, "_fees_of", lambda trade: lots.Fees()),
    ],
    ids=["float in positions", "float in lots", "whole lots", "cost left out", "no closing", "fees lost"],
)
def test_a_broken_variant_does_not_agree(breaks: Callable[[pytest.MonkeyPatch], None]) -> None:
    with pytest.MonkeyPatch.context() as patch, pytest.raises((AssertionError, ValueError, ArithmeticError)):
        breaks(patch)
        compare(1, 500)


def test_closing_the_youngest_first_does_not_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    take = Book.take

    def youngest_first(book: Book, trade: Trade) -> object:
        book.lots.rotate(1)
        return take(book, trade)

    monkeypatch.setattr(Book, "take", youngest_first)
    with pytest.raises(AssertionError):
        compare(1, 500)
