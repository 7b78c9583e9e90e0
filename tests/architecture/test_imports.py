"""The direction of dependencies, as pyproject.toml says it."""

import subprocess
import sys
from pathlib import Path

from tests.architecture.sources import ROOT


def test_import_contracts_are_kept() -> None:
    linter = Path(sys.executable).parent / "lint-imports"
    outcome = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stdout
