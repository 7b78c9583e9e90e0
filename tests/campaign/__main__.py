"""`python -m tests.campaign`: run the campaign's tiers, reproduce one episode, or write the report.

python -m tests.campaign simulate --seed 7 --lives 1000000 --minutes 20 --jobs 2
python -m tests.campaign simulate --seed 7 --episode 12 --trace
python -m tests.campaign mutants
python -m tests.campaign limits --tickets 10000 --callers 64 --units 3217
python -m tests.campaign hostile --requests 20000
python -m tests.campaign report
python -m tests.campaign all
"""

import argparse
import json
import secrets
import sys
from pathlib import Path
from typing import Any

DOCUMENTS = Path(__file__).resolve().parents[2] / "docs" / "campaign"


def _save(name: str, report: dict[str, Any]) -> None:
    DOCUMENTS.mkdir(parents=True, exist_ok=True)
    (DOCUMENTS / name).write_text(json.dumps(report, indent=1) + "\n")


def _simulate(options: argparse.Namespace) -> int:
    from tests.campaign.simulation import campaign

    campaign.quieten()
    if options.episode is not None:
        world = campaign.run_episode(options.seed, options.episode, traced=True)
        print(world.plan)
        for violation in world.judge.violations:
            print(f"{violation.invariant} {violation.order_id}: {violation.text}")
            print("\n".join(world.story(violation.order_id)))
        if options.trace:
            for at, order_id, text in world.trace or ():
                print(f"{at:9.3f} s  {order_id:16}  {text}")
        print(f"{world.tally.lives} lives, {len(world.judge.violations)} violations, mark {world.trace_hash()}")
        return int(bool(world.judge.violations))
    print(f"seed {options.seed}")
    report = campaign.simulate(options.seed, lives=options.lives, seconds=options.minutes * 60, jobs=options.jobs)
    for violation in report["violations"][:5]:
        print(json.dumps(violation, indent=1))
    if options.save:
        _save("tier1.json", report)
    return int(bool(report["violations_total"] or report["same_seed_unlike"]))


def _mutants(options: argparse.Namespace) -> int:
    from tests.campaign import mutants
    from tests.campaign.simulation import campaign

    campaign.quieten()
    report = mutants.run_all(options.seed, only=options.only)
    print(mutants.table(report))
    if options.save:
        _save("tier0.json", report)
    return int(bool(report["survived"] or report["unbroken"]))


def _limits(options: argparse.Namespace) -> int:
    from tests.campaign.limits import command

    return command.main(options)


def _hostile(options: argparse.Namespace) -> int:
    from tests.campaign.hostile import command

    return command.main(options)


def _report(options: argparse.Namespace) -> int:
    from tests.campaign import report

    print(report.write(DOCUMENTS))
    return 0


def _all(options: argparse.Namespace) -> int:
    from tests.campaign.processes import run as processes

    options.save, options.only, options.episode = True, None, None
    failed = _mutants(options)
    failed |= _simulate(options)
    failed |= int(bool(processes.main(["--seed", str(options.seed), "--save", str(DOCUMENTS / "tier2.json")])))
    _report(options)
    return failed


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.campaign", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    parts = {name: commands.add_parser(name) for name in COMMANDS}
    for name in ("simulate", "mutants", "limits", "hostile", "all"):
        parts[name].add_argument("--seed", type=int, default=secrets.randbelow(10**9), help="fresh if left out")
        parts[name].add_argument("--save", action="store_true", help="write the figures to docs/campaign")
    for name in ("simulate", "all"):
        parts[name].add_argument("--lives", type=int, default=1_000_000)
        parts[name].add_argument("--minutes", type=float, default=20.0)
        parts[name].add_argument("--jobs", type=int, default=2)
    parts["simulate"].add_argument("--episode", type=int, help="run this one alone and show what went wrong")
    parts["simulate"].add_argument("--trace", action="store_true", help="with --episode: show every step")
    parts["mutants"].add_argument("--only", help="run the broken variants whose name holds this word")
    parts["hostile"].add_argument("--requests", type=int, default=20_000)
    parts["limits"].add_argument("--tickets", type=int, default=10_000, help="per limit, and as many over REST")
    parts["limits"].add_argument("--callers", type=int, default=64)
    parts["limits"].add_argument("--units", type=int, default=3217, help="tickets that each limit allows")
    parts["limits"].add_argument("--only", help="attack the limits whose name holds this word; `rest`: the whole stack")
    return parser


COMMANDS = {
    "simulate": _simulate,
    "mutants": _mutants,
    "limits": _limits,
    "hostile": _hostile,
    "report": _report,
    "all": _all,
}


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the exit code is 0 when nothing was broken and no broken variant survived."""
    options = _parser().parse_args(arguments)
    return COMMANDS[options.command](options)


if __name__ == "__main__":
    sys.exit(main())
