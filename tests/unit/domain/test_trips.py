"""When the kill switch is pulled by itself: figures in, a decision with its numbers out."""

from datetime import timedelta
from decimal import Decimal

import pytest

from domain.comparison import BALANCE_MISMATCH, ORPHAN_ORDER, POSITION_MISMATCH
from domain.trips import (
    CLOCK_SKEWED,
    LOSS_LIMIT,
    RECONCILIATION_MISMATCH,
    STALE_MARKET_DATA,
    VENUE_ERRORS,
    CallCount,
    Trip,
    TripTerms,
    error_trip,
    loss_trip,
    mismatch_trip,
    skew_trip,
    stale_trip,
)
from tests.factories import NOW

ACCOUNT = "binanceus"
ALL = TripTerms(
    balance_mismatch=True,
    max_error_share=Decimal("0.5"),
    max_market_age_s=10,
    max_clock_skew_ms=500,
    cancel_orders=True,
)


def code_of(trip: Trip | None) -> str | None:
    """The reason's code."""
    return trip.reason.code if trip is not None else None


def counts(*figures: tuple[int, int, int]) -> list[CallCount]:
    """Counts at so many seconds from now: asked, failed."""
    return [CallCount(at=NOW + timedelta(seconds=at), asked=asked, failed=failed) for at, asked, failed in figures]


@pytest.mark.parametrize(
    ("codes", "terms", "trips"),
    [
        ([], ALL, False),
        ([ORPHAN_ORDER], ALL, False),
        ([POSITION_MISMATCH], TripTerms(), True),
        ([POSITION_MISMATCH], TripTerms(position_mismatch=False), False),
        ([BALANCE_MISMATCH], TripTerms(), False),
        ([BALANCE_MISMATCH, ORPHAN_ORDER], ALL, True),
    ],
)
def test_open_case_trips_where_it_is_watched(codes: list[str], terms: TripTerms, trips: bool) -> None:
    trip = mismatch_trip(ACCOUNT, codes, terms)
    assert code_of(trip) == (RECONCILIATION_MISMATCH if trips else None)


def test_trip_names_its_scope_its_figures_and_whether_it_cancels() -> None:
    trip = mismatch_trip(ACCOUNT, [BALANCE_MISMATCH, POSITION_MISMATCH], ALL)
    assert trip is not None
    assert (trip.scope, trip.cancel_orders) == (f"account:{ACCOUNT}", True)
    assert trip.reason.numbers == {"cases": f"{BALANCE_MISMATCH},{POSITION_MISMATCH}"}


@pytest.mark.parametrize(
    ("figures", "trips"),
    [
        ([(0, 0, 0), (10, 20, 10)], False),  # a half is not more than a half
        ([(0, 0, 0), (10, 20, 11)], True),
        ([(0, 0, 0), (10, 19, 19)], False),  # too few to say anything
        ([(0, 100, 100), (10, 120, 101)], False),  # what failed before the window does not count
        ([(-100, 0, 0), (0, 50, 50), (10, 70, 50)], False),  # a count from before the window is not looked at
        ([(0, 0, 0)], False),
        ([], False),
    ],
)
def test_too_large_a_share_of_failed_calls_within_the_window_trips(
    figures: list[tuple[int, int, int]], trips: bool
) -> None:
    assert code_of(error_trip(ACCOUNT, counts(*figures), ALL)) == (VENUE_ERRORS if trips else None)
    assert error_trip(ACCOUNT, counts(*figures), TripTerms()) is None, "it is off unless asked for"


@pytest.mark.parametrize(("age_s", "trips"), [(None, False), (10.0, False), (10.1, True)])
def test_old_market_data_trips(age_s: float | None, trips: bool) -> None:
    assert code_of(stale_trip(ACCOUNT, "BTC/USDT", age_s, ALL)) == (STALE_MARKET_DATA if trips else None)
    assert stale_trip(ACCOUNT, "BTC/USDT", age_s, TripTerms()) is None


@pytest.mark.parametrize(("skew_ms", "trips"), [(None, False), (500, False), (-500, False), (501, True), (-501, True)])
def test_skewed_clock_trips_either_way(skew_ms: int | None, trips: bool) -> None:
    assert code_of(skew_trip(ACCOUNT, skew_ms, ALL)) == (CLOCK_SKEWED if trips else None)
    assert skew_trip(ACCOUNT, skew_ms, TripTerms()) is None


@pytest.mark.parametrize(("loss", "trips"), [("-5", False), ("99.999999999999999999", False), ("100", True)])
def test_loss_that_reaches_its_limit_trips_if_asked_for(loss: str, trips: bool) -> None:
    figures = {"loss": Decimal(loss), "limit": Decimal(100)}
    trip = loss_trip("firm", **figures, currency="USDT", terms=TripTerms(loss_limit=True))
    assert loss_trip("firm", **figures, currency="USDT", terms=TripTerms()) is None
    assert code_of(trip) == (LOSS_LIMIT if trips else None)
    if trip is not None:
        assert trip.reason.numbers == {"loss": loss, "limit": "100", "currency": "USDT"}
