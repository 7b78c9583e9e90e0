"""Another server that speaks Binance spot REST, with its own faults: one order per ticket while the worker is killed.

The pytest slice sends 100 tickets with a fresh seed; VOLEX_CAMPAIGN_SEED repeats one, VOLEX_CAMPAIGN_TICKETS=500 sends
as many as the campaign does.
"""

import json
import os
import time
from pathlib import Path

import pytest

from tests.campaign.processes.other_run import run

pytestmark = pytest.mark.timeout(580)


async def test_another_venue_gets_one_order_per_ticket_while_the_only_worker_is_killed(tmp_path: Path) -> None:
    seed = int(os.environ.get("VOLEX_CAMPAIGN_SEED") or time.time() % 100_000)
    tickets = int(os.environ.get("VOLEX_CAMPAIGN_TICKETS") or 100)
    print(f"\nVOLEX_CAMPAIGN_SEED={seed}")
    report = await run(seed, tickets, tmp_path)
    print(json.dumps(report, default=str))
    assert not report["violations"], f"seed {seed}:\n" + "\n".join(report["violations"])
    assert report["kills"]["worker"] >= 3, f"seed {seed}: {report['not_run']}"
    assert sum(report["faults"].values()) >= tickets // 20, f"seed {seed}: the venue was too kind"
