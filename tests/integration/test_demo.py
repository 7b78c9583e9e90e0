"""`volex demo`, as a person without a terminal runs it."""

import re
import subprocess
import sys
from pathlib import Path

import psutil
import pytest


@pytest.mark.timeout(180)
def test_the_demo_ends_as_told_and_leaves_nothing_running(tmp_path: Path) -> None:
    tmp_path.chmod(0o711)
    outcome = subprocess.run(
        [sys.executable, "-m", "cli.main", "demo", "--data-dir", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    said = outcome.stdout
    assert outcome.returncode == 0, said + outcome.stderr
    assert "\x1b[" not in said, "control codes without a terminal"
    for order, ending in (
        ("buy 0.05 BTC, market", "FILLED"),
        ("buy 0.3 BTC, limit 61240", "FILLED"),
        ("sell 0.1 BTC, limit 65000", "CANCELED"),
        ("buy 0.00005 BTC, limit 60000", "DENIED"),
        ("buy 0.2 BTC, limit 61240", "FILLED"),
    ):
        lines = [line for line in said.splitlines() if line.strip().startswith(order)]
        assert ending in lines[-1], said
    assert "killed with -9" in said
    assert re.search(r"4 orders for 4 tickets sent, each exactly once; fills equal on both sides", said)
    assert "/namespaces/default/workflows/order-binanceus-" in said
    left = [p.pid for p in psutil.process_iter(["cmdline"]) if str(tmp_path) in " ".join(p.info["cmdline"] or [])]
    assert left == []
