"""A short run of tier 2 in every test run, with a fresh seed each time.

The seed is printed; VOLEX_CAMPAIGN_SEED repeats it.
"""

import json
import os
import time
from pathlib import Path

import pytest

from tests.campaign.processes.run import Plan, run

pytestmark = pytest.mark.timeout(280)


async def test_orders_keep_every_promise_while_everything_is_killed(tmp_path: Path) -> None:
    seed = int(os.environ.get("VOLEX_CAMPAIGN_SEED") or time.time() % 100_000)
    print(f"\nVOLEX_CAMPAIGN_SEED={seed}")
    report = await run(Plan(seed, orders=160, kills=16, minutes=1.6, lag_s=2), tmp_path)
    print(json.dumps(report, default=str))
    assert not report["violations"], f"seed {seed}:\n" + "\n".join(report["violations"])
    assert report["orders"] == 160, f"seed {seed}: a ticket is lost"
    assert report["kills"]["worker"] >= 5, f"seed {seed}: {report['not_run']}"
    assert sum(report["faults"].values()) >= 20, f"seed {seed}: the venue was too kind"
