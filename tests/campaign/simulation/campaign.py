"""Tier 1 as a whole: episodes over all cores for so long or so many lives, and one report."""

import gc
import logging
import multiprocessing
import os
import platform
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any
from unittest.mock import patch

from temporalio import activity

from tests.campaign.simulation.plan import Plan
from tests.campaign.simulation.world import Tally, World
from workflows import order_workflow, steps

TWICE_EVERY = 100
"""Every so many episodes, one is run twice with its trace: both must leave the same mark."""
BATCH = 10
SHOWN_EVERY = 10
STORY_STEPS = 40
VIOLATIONS_KEPT = 50


@dataclass
class Batch:
    """What some episodes came to."""

    tally: Tally = field(default_factory=Tally)
    violations: list[dict[str, Any]] = field(default_factory=list)
    broken: int = 0
    twice: int = 0
    unlike: int = 0


def run_episode(seed: int, episode: int, *, plan: Plan | None = None, traced: bool = False) -> World:
    """Run one episode to its end and return its world.

    What people would see of an order in the Web UI is made in every tenth episode only: it costs a tenth of the time
    and decides nothing.
    """
    world = World(seed, episode, plan=plan, traced=traced)
    with ExitStack() as stack:
        stack.enter_context(patch.object(activity, "logger", ActivityLog(world)))
        if episode % SHOWN_EVERY:
            stack.enter_context(patch.object(order_workflow, "details", _unseen))
            stack.enter_context(patch.object(steps, "step_summary", _unseen))
        world.run()
    return world


class ActivityLog:
    """What activities log, heard by the judge: a report that nobody could believe is a defect, not weather."""

    def __init__(self, world: World) -> None:
        self._world = world

    def info(self, message: str, **_: Any) -> None:
        """Hear of something usual."""

    def warning(self, message: str, **_: Any) -> None:
        """Hear of weather."""
        self._world.count(f"log: {message}")

    def error(self, message: str, *, extra: dict[str, Any], **_: Any) -> None:
        """Hear of what should not be."""
        self._world.count(f"log: {message}")
        if message == "report_not_believed":
            self._world.judge.violate("I9", extra["order_id"], f"a report was not believed: {extra['text']}")


def _unseen(*_: Any, **__: Any) -> str:
    return ""


def machine() -> dict[str, Any]:
    """Say what the figures were measured on."""
    return {
        "cores": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "system": platform.platform(),
    }


def quieten() -> None:
    """Keep the product's log out of the way: a million lives would fill the disk with it."""
    logging.disable(logging.CRITICAL)


def run_batch(job: tuple[int, int, int]) -> Batch:
    """Run the episodes from one number to another, in this process."""
    seed, first, last = job
    quieten()
    gc.disable()
    batch = Batch()
    for episode in range(first, last):
        world = run_episode(seed, episode)
        batch.tally.add(world.tally)
        if world.judge.violations:
            batch.broken += len(world.judge.violations)
            if len(batch.violations) < VIOLATIONS_KEPT:
                batch.violations.extend(told(seed, episode))
        if episode % TWICE_EVERY == 0:
            batch.twice += 1
            marks = {run_episode(seed, episode, traced=True).trace_hash() for _ in range(2)}
            batch.unlike += len(marks) - 1
    gc.collect()
    return batch


def told(seed: int, episode: int) -> list[dict[str, Any]]:
    """Run an episode again with its trace, and return its violations with the steps that led to them."""
    world = run_episode(seed, episode, traced=True)
    return [
        {
            "seed": seed,
            "episode": episode,
            "invariant": violation.invariant,
            "order_id": violation.order_id,
            "text": violation.text,
            "story": world.story(violation.order_id, STORY_STEPS),
        }
        for violation in world.judge.violations[:5]
    ]


def _jobs(seed: int, until: float) -> Iterator[tuple[int, int, int]]:
    first = 0
    while time.monotonic() < until:
        yield seed, first, first + BATCH
        first += BATCH


def simulate(
    seed: int, *, lives: int, seconds: float, jobs: int, say: Any = print, stop_at_first: bool = False
) -> dict[str, Any]:
    """Run episodes until there were so many lives, or the time is over; return the report."""
    started, began = datetime.now(UTC), time.monotonic()
    about = machine()
    whole = Batch()
    next_word = began + 10
    for batch in _batches(seed, until=began + seconds, jobs=jobs):
        whole.tally.add(batch.tally)
        whole.broken += batch.broken
        whole.twice += batch.twice
        whole.unlike += batch.unlike
        whole.violations.extend(batch.violations[: max(0, VIOLATIONS_KEPT - len(whole.violations))])
        if time.monotonic() > next_word:
            say(_word(whole, time.monotonic() - began))
            next_word += 10
        if whole.tally.lives >= lives or (stop_at_first and whole.broken):
            break
    spent = time.monotonic() - began
    say(_word(whole, spent))
    return _report(seed, whole, spent=spent, started=started, jobs=jobs, about=about)


def _batches(seed: int, *, until: float, jobs: int) -> Iterator[Batch]:
    if jobs == 1:
        yield from map(run_batch, _jobs(seed, until))
        return
    gc.collect()
    gc.freeze()
    with multiprocessing.get_context("fork").Pool(jobs) as pool:
        waiting: list[Any] = []
        for job in _jobs(seed, until):
            waiting.append(pool.apply_async(run_batch, (job,)))
            if len(waiting) >= 2 * jobs:
                yield waiting.pop(0).get()
        for result in waiting:
            yield result.get()


def _word(batch: Batch, spent: float) -> str:
    tally = batch.tally
    return (
        f"{tally.lives:,} lives, {sum(tally.kills.values()):,} kills, {sum(tally.faults.values()):,} faults, "
        f"{batch.broken} violations, {tally.lives / spent:,.0f} lives/s"
    )


def _report(
    seed: int, batch: Batch, *, spent: float, started: datetime, jobs: int, about: dict[str, Any]
) -> dict[str, Any]:
    tally = batch.tally
    named = (entry.name for entry in fields(tally))
    figures = {name: getattr(tally, name) for name in named if name not in ("pairs", "endings")}
    for name in ("kills", "stops", "faults", "counts"):
        figures[name] = dict(sorted(figures[name].items()))
    pairs = {f"{kind} x {point}": number for (kind, point), number in tally.pairs.items()}
    return {
        "tier": 1,
        "seed": seed,
        "machine": {**about, "jobs": jobs},
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(spent, 1),
        **figures,
        "kills_total": sum(tally.kills.values()),
        "faults_total": sum(tally.faults.values()),
        "endings": dict(sorted((str(status), number) for status, number in tally.endings.items())),
        "pairs": len(pairs),
        "pairs_possible": len(tally.kills) * len(tally.faults),
        "pairs_50": sum(1 for number in pairs.values() if number >= 50),
        "pair_hits": sum(pairs.values()),
        "lives_per_s": round(tally.lives / spent, 1),
        "virtual_hours": round(tally.virtual_s / 3600, 1),
        "same_seed_checked": batch.twice,
        "same_seed_unlike": batch.unlike,
        "violations_total": batch.broken,
        "violations": batch.violations,
    }
