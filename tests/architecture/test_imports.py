"""The direction of dependencies, as pyproject.toml says it."""

import ast
import subprocess
import sys
from pathlib import Path

from tests.architecture.sources import ROOT, name, python_files, tree


def test_import_contracts_are_kept() -> None:
    linter = Path(sys.executable).parent / "lint-imports"
    outcome = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stdout


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []


def test_the_domain_imports_the_standard_library_and_pydantic_only() -> None:
    allowed = sys.stdlib_module_names | {"domain", "pydantic"}
    wrong = [
        f"{name(path)}: {module}"
        for path in python_files("domain")
        for node in ast.walk(tree(path))
        for module in _imported(node)
        if module.partition(".")[0] not in allowed
    ]
    assert not wrong, f"the domain is pure: {wrong}"
