"""How rough one episode is: drawn once from its seed, and every figure is a chance between 0 and 1 unless it says."""

from dataclasses import dataclass, replace
from random import Random

RECV_WINDOW_S = 5.0
"""The venue refuses a request that is older than this when it arrives."""
LAG_MAX_S = 10.0
"""The venue shows an order, an ending or a trade at the latest after so long."""
SKEW_MAX_S = 0.4
"""A worker's clock is off by at most this, either way."""


@dataclass(frozen=True)
class Plan:
    """One episode's figures."""

    orders: int = 100
    accounts: int = 1
    span_s: float = 45.0
    """Orders come within so many seconds."""
    kill: float = 0.008
    """At each point where a worker can die."""
    stop: float = 0.0006
    both: float = 0.1
    """Of the kills, those that take the other worker too."""
    store_fault: float = 0.01
    store_latency: float = 0.25
    submit_fault: float = 0.3
    read_fault: float = 0.05
    slow_answer: float = 0.05
    """A "not found" that is true when it is made, and arrives seconds later."""
    cancel_fault: float = 0.5
    lag: float = 0.3
    """An order, ending or trade is shown late."""
    pages: float = 0.2
    """A page of trades comes repeated or out of order."""
    completion_lost: float = 0.01
    signal_fault: float = 0.08
    continue_as_new: float = 0.0
    outages: int = 1
    """Stretches in which the venue answers nothing."""
    store_outages: int = 1
    kill_switches: int = 0
    feed_interval_s: float = 2.0
    reconcile_interval_s: float = 12.0
    terminations: int = 2
    """Workflows of orders that somebody ends: the orders are adopted."""
    temporal_lost: bool = False
    """Every workflow is lost at one moment."""
    funds: float = 0.5
    """What the account holds, as a share of what all orders would use up."""
    cancels: float = 0.25
    amends: float = 0.15
    deadlines: float = 0.1
    updates: float = 0.12
    """Orders that are placed by an update that waits for its answer."""


def draw_plan(rng: Random, *, orders: int | None = None) -> Plan:
    """Draw how rough an episode is."""
    plan = Plan(
        orders=orders or rng.randint(60, 160),
        accounts=1 if rng.random() < 0.7 else 2,
        kill_switches=1 if rng.random() < 0.15 else 0,
        temporal_lost=rng.random() < 0.1,
        continue_as_new=0.02 if rng.random() < 0.1 else 0.0,
        funds=rng.choice((0.15, 0.4, 1.0)),
    )
    plan = replace(plan, span_s=plan.orders * rng.choice((0.1, 0.3, 0.6)))
    mood = rng.random()
    if mood < 0.15:
        return replace(plan, kill=0.0, stop=0.0, both=0.0)
    if mood < 0.3:
        return replace(plan, kill=0.02, submit_fault=0.1)
    if mood < 0.4:
        return replace(plan, stop=0.004, kill=0.002)
    if mood < 0.5:
        return replace(plan, lag=0.9, submit_fault=0.6)
    return plan
