"""`python -m tests.campaign limits`: the long attack, limit after limit on a server of its own, then over REST."""

import argparse
import asyncio
import json
import tempfile
from pathlib import Path
from typing import Any

from tests.campaign.limits import rest
from tests.campaign.limits.cases import CASES
from tests.campaign.limits.run import Plan, run
from tests.campaign.limits.server import empty_ledger
from tests.campaign.processes.machine import machine

OUT = Path(__file__).resolve().parents[3] / "docs" / "campaign" / "limits.json"


def main(options: argparse.Namespace) -> int:
    """Attack every limit and print what came of it; 1 when one was exceeded."""
    reports: dict[str, dict[str, Any]] = {}
    for case in CASES:
        if options.only is None or options.only in case.name:
            plan = Plan(options.seed, options.tickets, options.units, options.callers, cases=(case.name,))
            with empty_ledger("volex-limits-") as url:
                reports[case.name] = run(plan, url)
            print(json.dumps({case.name: reports[case.name]}), flush=True)
    if options.only in (None, "rest"):
        with tempfile.TemporaryDirectory(prefix="volex-limits-") as directory:
            told = {"seed": options.seed, "tickets": options.tickets, "units": options.units}
            reports["rest"] = asyncio.run(rest.run(Path(directory), callers=options.callers, **told))
        print(json.dumps({"rest": reports["rest"]}), flush=True)
    if options.save:
        OUT.write_text(json.dumps({"machine": machine(), **reports}, indent=1) + "\n")
    return int(any(report["violations"] for report in reports.values()))
