"""A slice of the campaign: fresh seeds for as long as CI has time, the seeds that once broke something, and replays."""

import os
import secrets
import subprocess
import sys

import pytest

from tests.campaign.simulation import campaign
from tests.campaign.simulation.exchange import CANCEL_FAULTS, READ_FAULTS, SUBMIT_FAULTS

pytestmark = pytest.mark.timeout(180)

SLICE_S = 60.0
SEED = int(os.environ.get("VOLEX_CAMPAIGN_SEED") or secrets.randbelow(10**9))
REGRESSIONS = (
    (6, 1, "a stale list and a stale order made a case of an order that had just ended"),
    (6, 17, "a worker whose clock is ahead never counted a fill, and the balance seemed wrong"),
    (6, 96, "a worker whose clock is ahead took a fill for older than the balances, and admitted too much"),
    (6, 125, "an amended order that had traded ended rejected"),
    (6, 174, "the reconciler adopted an order as it was before it ended"),
    (6, 184, "continue-as-new waited for an update that waits for the order's end"),
    (22, 1271, "an amendment after four unsent attempts ended the order rejected instead of sending the replacement"),
    (31, 144, "a rejection by the venue's engine that was told twice made a case"),
    (6, 267, "the reconciler adopted an order as it was before it ended, and was deaf to its cancel"),
)
"""Seed, episode, and what it found: each broke a promise once."""
FAULTS = {
    *SUBMIT_FAULTS, *CANCEL_FAULTS, *READ_FAULTS, "refused_as_stale", "lag_of_order", "lag_of_list", "lag_of_trade",
    "lag_of_ending", "not_shown_yet", "stale_order", "slow_answer", "page_repeated", "page_out_of_order",
    "filled_in_cancel_race", "canceled_by_venue", "expired_by_venue", "rejected_by_engine",
    "expired_after_partial_fill", "fee_in_third_asset", "venue_outage",
    "store_outage", "store_failed_before_commit", "store_answer_lost",
    "store_ran_twice", "completion_lost", "signal_failed", "signal_late", "signal_twice", "worker_stopped", "zombie",
    "zombie_result_dropped", "both_workers_killed", "graceful_shutdown", "kill_switch",
    "workflow_terminated", "temporal_lost",
}  # fmt: skip
KILL_POINTS = {
    "between two steps",
    "store.admit: before the transaction", "store.admit: after the commit",
    "store.open_attempt: before the transaction", "store.open_attempt: after the commit",
    "store.pass_last_look: before the transaction", "store.pass_last_look: after the commit",
    "store.record_outcome: before the transaction", "store.record_outcome: after the commit",
    "store.record_report: before the transaction", "store.record_report: after the commit",
    "store.request_cancel: before the transaction", "store.request_cancel: after the commit",
    "store.finalize: before the transaction", "store.finalize: after the commit",
    "venue.submit: before the last look", "venue.submit: after the last look, before the bytes",
    "venue.submit: sent, waiting for the answer", "venue.submit: after the answer",
    "venue.cancel: before", "venue.cancel: carried out, before the answer",
    "venue.fetch_order: before", "venue.fetch_open_orders: before", "venue.fetch_trades: before",
    "feed: before a signal", "feed: after a signal",
    "submit: before its completion is told", "persist: before its completion is told",
}  # fmt: skip


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the log of a hundred thousand broken calls out of the test's output."""
    import logging

    monkeypatch.setattr(logging.root.manager, "disable", logging.CRITICAL)


def test_orders_keep_every_promise_under_a_fresh_seed() -> None:
    print(f"\nVOLEX_CAMPAIGN_SEED={SEED}")
    report = campaign.simulate(SEED, lives=10**9, seconds=SLICE_S, jobs=1)
    broken = [f"seed {v['seed']} episode {v['episode']}: {v['invariant']} {v['text']}" for v in report["violations"]]
    assert not broken, "\n".join((*broken, *report["violations"][0]["story"]))
    assert report["same_seed_checked"] and not report["same_seed_unlike"], "the same seed gave another trace"
    missing = FAULTS - {kind for kind, number in report["faults"].items() if number}
    assert not missing, f"never happened: {sorted(missing)}"
    missing = KILL_POINTS - {point for point, number in report["kills"].items() if number}
    assert not missing, f"nobody died there: {sorted(missing)}"


@pytest.mark.parametrize(("seed", "episode", "what"), REGRESSIONS, ids=[f"{s}-{e}" for s, e, _ in REGRESSIONS])
def test_what_broke_once_stays_whole(seed: int, episode: int, what: str) -> None:
    world = campaign.run_episode(seed, episode, traced=True)
    broken = [f"{v.invariant} {v.order_id}: {v.text}" for v in world.judge.violations]
    assert not broken, "\n".join((what, *broken, *world.story(world.judge.violations[0].order_id)))


def test_an_episode_leaves_the_same_mark_in_another_process() -> None:
    command = [sys.executable, "-m", "tests.campaign", "simulate", "--seed", "5", "--episode", "3"]
    environment = {**os.environ, "PYTHONHASHSEED": "77"}
    other = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)
    world = campaign.run_episode(5, 3, traced=True)
    assert other.stdout.strip().endswith(f"mark {world.trace_hash()}"), other.stdout[-300:] + other.stderr[-300:]
