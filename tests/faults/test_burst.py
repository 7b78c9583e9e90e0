"""A burst of orders against a venue that allows few: two workers, real processes, and cancels in its middle.

The whole of it, 500 orders at 100 in 10 s, is `python -m bench.burst`.
"""

from pathlib import Path

import pytest

from bench.burst import Plan, run_burst
from tests.faults.floor import figures

pytestmark = pytest.mark.timeout(150)


async def test_burst_stays_within_what_the_venue_allows_and_cancels_do_not_wait(tmp_path: Path) -> None:
    plan = Plan(tickets=60, orders=20, window_s=2, cancels=4, within_s=60)
    seen = await run_burst(tmp_path, plan)
    figures("burst", seen)
    assert seen["placed"] == plan.tickets
    assert seen["posts"] == plan.tickets + plan.cancels + 1, "one request for each order"
    assert (seen["status_429"], seen["status_418"]) == (0, 0)
    assert seen["most_orders_in_any_window"] <= plan.orders
    cancels, orders = seen["ms_to_the_venue"]["cancels in the burst"], seen["ms_to_the_venue"]["orders of the burst"]
    assert cancels["p50"] < orders["p50"] and cancels["max"] < orders["max"], "orders wait for their turn, cancels not"
    assert {budget["name"] for budget in seen["rate_budgets"]} == {"weight", "orders-2s"}
