"""Tier 0: the campaign against itself. Every broken variant must be caught, or the campaign is blind."""

import time
from collections import Counter
from datetime import UTC, datetime
from typing import Any

from tests.campaign.simulation import answers
from tests.campaign.simulation.campaign import machine, run_episode
from tests.campaign.simulation.plan import Plan
from tests.campaign.variants import CONCLUDING, SENDING, Variant
from tests.campaign.variants_of_records import LEDGER

VARIANTS: tuple[Variant, ...] = (*SENDING, *CONCLUDING, *LEDGER)
LIVES_MAX = 80_000
"""A variant that lives this long has survived."""
BASELINE_EPISODES = 4


def plans() -> tuple[Plan, ...]:
    """Return the weathers that variants are caught in, each once."""
    return tuple(dict.fromkeys(variant.plan for variant in VARIANTS))


def run_variant(seed: int, variant: Variant, *, lives_max: int = LIVES_MAX) -> dict[str, Any]:
    """Run episodes with the broken code until something breaks."""
    began, lives, episode = time.monotonic(), 0, 0
    found: dict[str, Any] = {"caught_by": None, "text": ""}
    answers.forget()
    with variant.patch():
        while found["caught_by"] is None and lives < lives_max:
            world = run_episode(seed, episode, plan=variant.plan)
            lives += world.tally.lives
            if world.judge.violations:
                kinds = Counter(violation.invariant for violation in world.judge.violations)
                first = world.judge.violations[0]
                found = {"caught_by": ", ".join(sorted(kinds)), "first": first.invariant, "text": first.text}
            episode += 1
    answers.forget()
    figures = {"lives": lives, "episodes": episode, "seconds": round(time.monotonic() - began, 2)}
    return {"name": variant.name, "what": variant.what, **figures, **found}


def baseline(seed: int, *, episodes: int = BASELINE_EPISODES) -> list[str]:
    """Run the code as it is in every weather: what breaks here would be counted as a catch."""
    broken = []
    for plan in plans():
        for episode in range(episodes):
            world = run_episode(seed, episode, plan=plan)
            broken += [f"{v.invariant} {v.order_id}: {v.text}" for v in world.judge.violations[:1]]
    return broken


def run_all(seed: int, *, only: str | None = None) -> dict[str, Any]:
    """Run every variant; `survived` names those that nothing caught."""
    started, began = datetime.now(UTC), time.monotonic()
    about = machine()
    chosen = [variant for variant in VARIANTS if only is None or only in variant.name]
    rows = [run_variant(seed, variant) for variant in chosen]
    return {
        "tier": 0,
        "seed": seed,
        "machine": about,
        "started": started.isoformat(timespec="seconds"),
        "variants": len(rows),
        "caught": sum(1 for row in rows if row["caught_by"]),
        "survived": [row["name"] for row in rows if not row["caught_by"]],
        "unbroken": baseline(seed),
        "rows": rows,
        "seconds": round(time.monotonic() - began, 1),
    }


def table(report: dict[str, Any]) -> str:
    """Return the report as text."""
    lines = [f"{'broken variant':30} {'lives':>7} {'s':>6}  caught by"]
    for row in report["rows"]:
        caught = f"{row['caught_by']:14} {row['text'][:90]}" if row["caught_by"] else "SURVIVED"
        lines.append(f"{row['name']:30} {row['lives']:7,} {row['seconds']:6.1f}  {caught}")
    lines.append(f"{report['caught']} of {report['variants']} caught, seed {report['seed']}, {report['seconds']} s")
    lines.extend(f"the code as it is: {text}" for text in report["unbroken"])
    return "\n".join(lines)
