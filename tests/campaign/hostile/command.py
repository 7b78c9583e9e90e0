"""`python -m tests.campaign hostile`: the long run, against a stack of its own."""

import argparse
import asyncio
import json
import tempfile
from pathlib import Path
from typing import Any

from tests.campaign.hostile.run import run
from tests.campaign.processes.machine import machine
from tests.faults.floor import open_floor

OUT = Path(__file__).resolve().parents[3] / "docs" / "campaign" / "hostile.json"
ENOUGH = {"API_REQUESTS_PER_MINUTE": "10000000", "API_REQUESTS_PER_MINUTE_OF_ADDRESS": "10000000"}
"""So that it is not the limit on requests that turns them away; `tests/unit/test_request_limits.py` looks at that."""


def main(options: argparse.Namespace) -> int:
    """Send the requests and print what came of them; 1 when one did what it must not."""
    with tempfile.TemporaryDirectory(prefix="volex-hostile-") as directory:
        report = asyncio.run(_run(Path(directory), options.seed, options.requests))
    print(json.dumps(report, indent=1))
    if options.save:
        OUT.write_text(json.dumps({"machine": machine(), **report}, indent=1) + "\n")
    return int(bool(report["violations"]))


async def _run(directory: Path, seed: int, count: int) -> dict[str, Any]:
    async with open_floor(directory, environ=ENOUGH) as floor:
        await floor.until_reconciled()
        return await run(floor, seed=seed, count=count)
