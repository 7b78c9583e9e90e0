"""The protocol's decisions, each over every case there is."""

from datetime import timedelta
from decimal import Decimal
from itertools import product

import pytest

from domain.errors import OrderClosed
from domain.instrument import deny
from domain.lifecycle import OrderEventType, OrderStatus
from domain.order import Order
from domain.protocol import (
    STATE_AFTER,
    UNDECIDED,
    AttemptState,
    Subject,
    fact_of,
    next_submission,
    proves_absence,
    subject_of,
    trades_only,
)
from domain.reports import SubmitOutcome, SubmitVerdict, VenueOrderStatus
from tests.factories import NOW, make_report, make_request, make_terms

S = OrderStatus


def order(**changes: object) -> Order:
    """An order whose first attempt is journaled."""
    terms = make_terms()
    fresh = make_request().new_order(exchange=terms.exchange, mode=terms.mode)
    return fresh.model_copy(update={"status": S.SUBMITTED, "attempt": 1, "client_order_id": fresh.order_id, **changes})


def outcome(verdict: SubmitVerdict) -> SubmitOutcome:
    return SubmitOutcome(verdict=verdict, reason=deny("WORDS", "of the venue"))


@pytest.mark.parametrize(("status", "verdict"), list(product(OrderStatus, SubmitVerdict)))
def test_outcome_is_news_only_to_an_order_that_is_undecided(status: S, verdict: SubmitVerdict) -> None:
    fact = fact_of(order(status=status), 1, outcome(verdict))
    if status not in UNDECIDED or (status is S.IN_DOUBT and verdict is SubmitVerdict.UNKNOWN):
        assert fact is None
    else:
        assert fact in STATE_AFTER


def test_refused_replacement_of_an_order_that_has_traded_is_canceled_and_not_rejected() -> None:
    traded = order(attempt=2, cum_qty=Decimal("0.1"))
    assert fact_of(traded, 2, outcome(SubmitVerdict.REFUSED)) is OrderEventType.CANCELED


def test_look_at_an_attempt_that_was_replaced_says_nothing_of_the_order_that_ended_before_the_next() -> None:
    ended = order(status=S.CANCELED, attempt=1, venue_order_id=None)
    assert subject_of(ended, make_report(venue_order_id="7"), (1, AttemptState.CLOSED)) is Subject.EARLIER


def test_rejection_told_twice_is_no_case() -> None:
    rejected = order(status=S.REJECTED)
    again = make_report(status=VenueOrderStatus.REJECTED)
    assert subject_of(rejected, again, (1, AttemptState.CLOSED)) is Subject.EARLIER
    assert subject_of(rejected, make_report(), (1, AttemptState.CLOSED)) is Subject.UNEXPECTED


@pytest.mark.parametrize("status", VenueOrderStatus)
def test_late_look_at_an_untraded_attempt_is_no_case_when_the_one_that_replaced_it_was_refused(
    status: VenueOrderStatus,
) -> None:
    rejected = order(status=S.REJECTED, attempt=2, venue_order_id=None)
    late = make_report(venue_order_id="7", status=status, cum_qty=Decimal(0))
    assert subject_of(rejected, late, (1, AttemptState.CLOSED)) is Subject.EARLIER
    for state in (AttemptState.SENDING, AttemptState.LEFT, AttemptState.VOID):
        if status is not VenueOrderStatus.REJECTED or state is AttemptState.VOID:
            assert subject_of(rejected, late, (1, state)) is Subject.UNEXPECTED
    if status is not VenueOrderStatus.REJECTED:
        assert subject_of(rejected, late, (2, AttemptState.CLOSED)) is Subject.UNEXPECTED
        for traded in (Decimal("0.1"), None):
            told = late.model_copy(update={"cum_qty": traded})
            assert subject_of(rejected, told, (1, AttemptState.CLOSED)) is Subject.UNEXPECTED


@pytest.mark.parametrize("verdict", SubmitVerdict)
def test_outcome_of_an_earlier_attempt_is_no_news(verdict: SubmitVerdict) -> None:
    assert fact_of(order(attempt=2), 1, outcome(verdict)) is None


def test_only_a_refusal_rejects_and_only_proof_of_not_sent_makes_the_attempt_void() -> None:
    facts = {verdict: fact_of(order(), 1, outcome(verdict)) for verdict in SubmitVerdict}
    rejecting = {verdict for verdict, fact in facts.items() if fact is OrderEventType.REJECTED}
    voiding = {verdict for verdict, fact in facts.items() if fact and STATE_AFTER[fact] is AttemptState.VOID}
    assert rejecting == {SubmitVerdict.REFUSED}
    assert voiding == {SubmitVerdict.NOT_SENT}


def test_absence_proves_nothing_where_the_venue_has_no_fence_or_it_has_not_passed() -> None:
    def proven(after_s: float, fence_s: int | None) -> bool:
        return proves_absence(signed_at=NOW, asked_at=NOW + timedelta(seconds=after_s), time_fence_s=fence_s)

    assert not proven(10**6, None)
    assert not proven(15.999999, 16)
    assert proven(16, 16)


@pytest.mark.parametrize("status", [s for s in OrderStatus if s is not S.INITIALIZED])
def test_nothing_is_sent_of_an_order_that_is_not_at_rest_here(status: S) -> None:
    with pytest.raises(OrderClosed):
        next_submission(order(status=status), client_order_id="a" * 16, now=NOW)


def test_next_attempt_is_for_what_is_left() -> None:
    waiting = order(status=S.INITIALIZED, quantity=Decimal("0.5"), cum_qty=Decimal("0.2"))
    assert next_submission(waiting, client_order_id="a" * 16, now=NOW).quantity == Decimal("0.3")
    with pytest.raises(OrderClosed):
        next_submission(waiting.model_copy(update={"cum_qty": Decimal("0.5")}), client_order_id="a" * 16, now=NOW)


@pytest.mark.parametrize("state", [*AttemptState, None])
@pytest.mark.parametrize("status", OrderStatus)
def test_report_about_another_attempt_never_counts_in_full(status: S, state: AttemptState | None) -> None:
    second = order(status=status, attempt=2, venue_order_id="8")
    about = (1, state) if state is not None else None
    subject = subject_of(second, make_report(venue_order_id="7", cum_qty=Decimal("0.1")), about)
    assert subject is not Subject.PRESENT
    if state in (AttemptState.VOID, None) or status is S.REJECTED:
        assert subject is Subject.UNEXPECTED
    else:
        assert subject is (Subject.TOO_EARLY if status in UNDECIDED else Subject.EARLIER)


def test_report_found_by_client_id_counts_for_the_attempt_that_is_undecided() -> None:
    assert subject_of(order(), make_report(venue_order_id="7"), (1, AttemptState.LEFT)) is Subject.PRESENT
    assert subject_of(order(), make_report(venue_order_id="7"), None) is Subject.PRESENT


def test_trades_only_leaves_no_word_about_an_ending() -> None:
    report = trades_only(make_report(status=VenueOrderStatus.CANCELED, cum_qty=Decimal(1)))
    assert (report.status, report.cum_qty) == (VenueOrderStatus.OPEN, None)
