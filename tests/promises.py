"""Each sentence that the README promises, and what attacks it: tests, and broken variants that the campaign catches.

A variant is the product with the sentence made false. `tests/campaign` runs every one and fails when one survives.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Attack:
    """What would notice if the sentence were false."""

    tests: tuple[str, ...]
    """As `path::function`, from the root."""
    variants: tuple[str, ...]
    """Names of `tests.campaign.mutants.VARIANTS`."""


PROMISES: Final = {
    "One intent is at most one order at the venue.": Attack(
        tests=(
            "tests/faults/test_kills.py::test_two_hundred_orders_survive_a_worker_killed_every_three_seconds",
            "tests/faults/test_moments.py::test_an_order_survives_a_kill_at_every_moment_of_its_life",
            "tests/integration/storage/test_attempts.py::test_last_look_and_void_at_once_let_one_of_them_win",
            "tests/integration/test_reconciler.py::"
            "test_order_whose_send_was_forgotten_with_the_ledger_is_not_sent_again",
        ),
        variants=(
            "send_before_journal",
            "retry_the_post",
            "resend_when_found",
            "new_id_on_retry",
            "no_fence",
            "last_look_always_true",
            "amend_does_not_wait",
        ),
    ),
    "No order is lost.": Attack(
        tests=(
            "tests/integration/test_reconciler.py::test_losing_temporals_whole_store_under_load_loses_no_order",
            "tests/integration/test_reconciler.py::test_ledger_restored_to_an_earlier_moment_is_found_and_repaired",
            "tests/integration/test_reconciler.py::test_order_whose_workflow_was_terminated_is_adopted_and_ends",
        ),
        variants=("outbox_dropped", "feed_forgets", "timeout_is_refusal", "late_fill_dropped"),
    ),
    "No state is concluded without evidence from the venue.": Attack(
        tests=(
            "tests/unit/domain/test_protocol.py::"
            "test_absence_proves_nothing_where_the_venue_has_no_fence_or_it_has_not_passed",
            "tests/integration/storage/test_comparison.py::test_trades_that_stay_away_are_a_case_and_conclude_nothing",
        ),
        variants=(
            "timeout_is_refusal",
            "duplicate_is_refusal",
            "not_found_is_never_placed",
            "half_fence",
            "fence_without_lag",
            "n_polls_then_rejected",
            "trust_cancel_ack",
            "cancel_refused_is_gone",
            "final_without_trades",
            "empty_list_believed",
            "earlier_report_ends_order",
        ),
    ),
    '"I do not know" is a state: `IN_DOUBT`.': Attack(
        tests=(
            "tests/integration/storage/test_attempts.py::test_unknown_outcome_is_in_doubt_until_never_placed_is_proven",
        ),
        variants=("timeout_is_refusal", "duplicate_is_refusal"),
    ),
    "Limits are never exceeded: each is measured and counted under its scope's lock, in the transaction that admits an "
    "order.": Attack(
        tests=(
            "tests/campaign/limits/test_slice.py::test_no_limit_is_ever_exceeded_while_workers_are_killed",
            "tests/campaign/limits/test_slice.py::test_a_broken_gate_is_caught",
            "tests/campaign/limits/test_slice.py::test_the_venue_never_sells_more_than_the_limit_allows",
            "tests/integration/storage/test_exposures.py::test_limit_of_every_scope_holds_to_the_last_unit",
            "tests/integration/storage/test_admission.py::"
            "test_concurrent_orders_are_admitted_exactly_as_far_as_the_balance_reaches",
        ),
        variants=("check_then_act", "limit_on_position_only", "released_in_doubt"),
    ),
    "Every fact is on record, in a table that the database itself refuses to change.": Attack(
        tests=("tests/integration/storage/test_ledger_tables.py::test_facts_are_never_changed",),
        variants=("facts_skipped", "no_dedupe", "dedupe_by_price_and_quantity", "position_later", "float_sums"),
    ),
}
