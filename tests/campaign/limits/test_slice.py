"""A short attack on every limit in every test run, with a fresh seed each time; VOLEX_CAMPAIGN_SEED repeats it."""

import json
import os
import time
from pathlib import Path

import pytest

from tests.campaign.limits import rest
from tests.campaign.limits.run import Plan, run
from tests.campaign.variants_of_limits import TICKETS, UNITS, VARIANTS, LimitVariant

pytestmark = pytest.mark.timeout(200)


@pytest.fixture
def seed() -> int:
    """Return the run's seed, printed."""
    seed = int(os.environ.get("VOLEX_CAMPAIGN_SEED") or time.time() % 100_000)
    print(f"\nVOLEX_CAMPAIGN_SEED={seed}")
    return seed


def test_no_limit_is_ever_exceeded_while_workers_are_killed(database_url: str, seed: int) -> None:
    report = run(Plan(seed, tickets=TICKETS, units=UNITS, within_s=120), database_url)
    print(json.dumps(report))
    assert not report["violations"], f"seed {seed}:\n" + "\n".join(report["violations"])
    assert report["tickets"] >= 14 * TICKETS
    assert report["kills"] >= 3 and report["looks"] >= 10 and report["audits"] >= 1, report


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_a_broken_gate_is_caught(variant: LimitVariant, database_url: str, seed: int) -> None:
    report = variant.report(seed, database_url)
    print(json.dumps(report))
    assert report["violations"], f"{variant.what}, seed {seed}: survived"


async def test_the_venue_never_sells_more_than_the_limit_allows(tmp_path: Path, seed: int) -> None:
    report = await rest.run(tmp_path, seed=seed, kill_every_s=4.0)
    print(json.dumps(report))
    assert not report["violations"], f"seed {seed}:\n" + "\n".join(report["violations"])
    assert report["tickets"] == 200 and report["kills"] >= 2, report
