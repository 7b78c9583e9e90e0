"""One readable page from the tiers' figures: `docs/campaign/README.md`, with plots drawn by hand."""

import json
import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from tests.campaign.plots import bars

LEGEND = {
    "I1": "one intent, at most one order at the venue",
    "I2": "nothing at the venue that is not on record",
    "I3": "fills and fees equal to the last digit",
    "I4": "position = sum of fills; nothing reserved at rest",
    "I5": "limits at every instant; the kill switch holds",
    "I6": "no state without evidence",
    "I7": "every fact on record, in order",
    "I9": "nothing stuck",
}
NOT_COVERED = (
    "Real venues and their networks: the venue is simulated in tier 1 and local in tier 2.",
    "Replay of workflow histories is proven by `tests/replay`; in tier 1 a workflow's state is simply kept.",
    "Disk bit rot, replicas of Postgres that fail over, an operator who means harm.",
    "Withdrawals and deposits while orders work: tier 1 moves balances by trades alone.",
)


def write(directory: Path) -> Path:
    """Merge the tiers' figures in the directory into its page; a tier without figures is said to be missing."""
    tiers = {number: _read(directory / f"tier{number}.json") for number in (0, 1, 2)}
    parts = ["# The campaign", "", _intro(), "", *_summary(tiers)]
    for number, section in ((0, _variants), (1, _simulation), (2, _processes)):
        found = tiers[number]
        if found is not None:
            parts += ["", *section(found, directory)]
    parts += ["", "## What it does not show", "", *(f"- {line}" for line in NOT_COVERED)]
    parts += [
        "",
        "## The promises, by the letters used above",
        "",
        *_table(("letter", "promise"), list(LEGEND.items())),
    ]
    page = directory / "README.md"
    page.write_text("\n".join(parts) + "\n", "utf-8")
    return page


def _read(path: Path) -> dict[str, Any] | None:
    return json.loads(path.read_text("utf-8")) if path.exists() else None


def _intro() -> str:
    return (
        "The machine that tries to break the promise of [exactly once](../exactly-once.md). This page is\n"
        "written by `python -m tests.campaign report` from the figures beside it; `make campaign` runs all anew.\n"
        "Everything is judged against the venue's own ledger, and one seed reproduces every episode:\n"
        "`python -m tests.campaign simulate --seed N --episode K --trace`."
    )


def _summary(tiers: Mapping[int, dict[str, Any] | None]) -> list[str]:
    rows = []
    zero, one, two = tiers[0], tiers[1], tiers[2]
    if zero is not None:
        caught = f"{zero['caught']} of {zero['variants']} broken variants caught"
        rows.append(("0", "the campaign against itself", caught, "", "", len(zero["unbroken"]), zero))
    if one is not None:
        told, kills, faults = f"{one['lives']:,} lives of orders", one["kills_total"], one["faults_total"]
        rows.append(("1", "simulation", told, f"{kills:,}", f"{faults:,}", one["violations_total"], one))
    if two is not None:
        kills, faults = sum(two["kills"].values()), sum(two["faults"].values())
        told, broken = f"{two['orders']:,} orders", len(two["violations"])
        rows.append(("2", "real processes", told, f"{kills:,}", f"{faults:,}", broken, two))
    head = ("tier", "what", "how much", "kills", "faults", "violations", "seed", "minutes", "begun")
    lines = [
        (*row[:6], row[6]["seed"], f"{row[6]['seconds'] / 60:.1f}", row[6]["started"].replace("+00:00", "Z"))
        for row in rows
    ]
    missing = [str(number) for number, found in tiers.items() if found is None]
    note = ["", f"No figures yet of tier {', '.join(missing)}."] if missing else []
    return [*_table(head, lines), *note]


def _variants(found: dict[str, Any], directory: Path) -> list[str]:
    rows = [
        (f"`{row['name']}`", row["what"], f"{row['lives']:,}", row["caught_by"] or "**survived**", _cut(row["text"]))
        for row in found["rows"]
    ]
    plot = [(row["name"], math.log10(max(row["lives"], 1)), f"{row['lives']:,}") for row in found["rows"]]
    bars(directory / "variants.svg", "Lives until a broken variant is caught (logarithmic)", plot)
    return [
        "## Tier 0: broken on purpose",
        "",
        f"{found['variants']} variants of the protocol, each with one mistake that exists in the wild or is the",
        f"obvious shortcut, run in the simulation until a promise broke: {found['caught']} were caught.",
        f"In the same weather the code as it is broke {len(found['unbroken'])} times. {_where(found)}",
        "",
        "![Lives until each broken variant was caught](variants.svg)",
        "",
        *_table(("variant", "the mistake", "lives", "caught by", "what was seen first"), rows),
    ]


def _simulation(found: dict[str, Any], directory: Path) -> list[str]:
    faults = sorted(found["faults"].items(), key=lambda entry: -entry[1])
    kills = sorted(found["kills"].items(), key=lambda entry: -entry[1])
    bars(directory / "faults.svg", "Faults by kind", [(kind, n, f"{n:,}") for kind, n in faults])
    bars(directory / "kills.svg", "Worker kills by the point of death", [(point, n, f"{n:,}") for point, n in kills])
    figures = (
        ("lives of orders", f"{found['lives']:,} in {found['episodes']:,} episodes"),
        ("orders that the venue took", f"{found['placed']:,}, with {found['fills']:,} trades"),
        ("workers killed", f"{found['kills_total']:,} at {len(found['kills'])} points"),
        ("activities that died with them", f"{found['activities_killed']:,}"),
        ("workers stopped and woken", f"{sum(found['stops'].values()):,}"),
        ("faults", f"{found['faults_total']:,} of {len(found['faults'])} kinds"),
        (
            "pairs of fault and kill point in one life",
            f"{found['pairs']:,} of {found['pairs_possible']:,}; {found['pairs_50']:,} of them 50 times or more",
        ),
        ("judgments", f"{found['checks']:,}"),
        ("virtual time", f"{found['virtual_hours']:,} hours"),
        ("speed", f"{found['lives_per_s']:,} lives/s"),
        (
            "episodes run twice for the same mark",
            f"{found['same_seed_checked']:,}, unlike: {found['same_seed_unlike']}",
        ),
        ("violations", f"**{found['violations_total']}**"),
    )
    endings = ", ".join(f"{status} {number:,}" for status, number in found["endings"].items())
    return [
        "## Tier 1: simulated lives",
        "",
        "The real domain, workflows and activities on a virtual clock; venue, ledger, network and Temporal are",
        f"simulated, and workers die at every step. {_where(found)}",
        "",
        *_table(("what", "figure"), figures),
        "",
        f"The orders ended: {endings}.",
        "",
        "![Faults by kind](faults.svg)",
        "",
        "![Kills by point](kills.svg)",
        *_broken(found["violations"]),
    ]


def _processes(found: dict[str, Any], directory: Path) -> list[str]:
    kills = [(f"kill: {kind}", f"{number:,}") for kind, number in found["kills"].items()]
    faults = [(f"fault: {kind}", f"{number:,}") for kind, number in found["faults"].items()]
    recovery = found.get("recovery_by_kind_s") or {"worker": found.get("recovery_s") or {}}
    rows = [(kind, *(_seconds(figures, name) for name in ("p50", "p95", "max"))) for kind, figures in recovery.items()]
    plot = [(f"{row[0]} {name}", float(row[place] or 0), f"{row[place]} s")
            for row in rows for place, name in ((1, "p50"), (2, "p95"), (3, "max")) if row[place]]  # fmt: skip
    bars(directory / "recovery.svg", "Seconds until an order moves again", plot)
    return [
        "## Tier 2: real processes",
        "",
        "Temporal, Postgres, two workers, the REST interface and a local venue over HTTP, under load: processes killed",
        f"and stopped, the venue lying. {_where(found)}",
        "",
        *_table(("what", "figure"), [("orders", f"{found['orders']:,}"), *kills, *faults]),
        "",
        "Seconds from a kill to the next fact of the orders that it hit:",
        "",
        *_table(("after the kill of", "p50", "p95", "max"), rows),
        "",
        "![Seconds until an order moves again](recovery.svg)",
        *[f"\nNot run: {text}." for text in found.get("not_run", ())],
        *_broken(found["violations"]),
    ]


def _seconds(figures: Any, name: str) -> str:
    value = figures.get(name) if isinstance(figures, Mapping) else None
    return f"{float(value):.2f}" if value is not None else ""


def _broken(violations: Sequence[Any]) -> list[str]:
    if not violations:
        return []
    told = []
    for violation in violations[:20]:
        text = str(violation)
        if isinstance(violation, Mapping):
            text = "{invariant} seed {seed} episode {episode}: {text}".format(**violation)
        told.append(f"- {text}")
    return ["", "What broke:", "", *told]


def _where(found: Mapping[str, Any]) -> str:
    machine = found.get("machine") or {}
    if not isinstance(machine, Mapping):
        return f"Measured on {machine}."
    cores, jobs = machine.get("cores", "?"), machine.get("jobs")
    busy = machine.get("load_before")
    told = f"Measured on {cores} cores" + (f", {jobs} processes" if jobs else "")
    return told + (f"; load before it began {busy}." if busy is not None else ".")


def _cut(text: str) -> str:
    first = text.splitlines()[0] if text else ""
    return escape(first[:90], quote=False).replace("|", "/")


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return lines + [f"| {' | '.join(str(cell) for cell in row)} |" for row in rows]
