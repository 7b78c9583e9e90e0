"""`docs/security.md` names a test for every risk of the OWASP API Security Top 10 (2023), and each is there."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text("utf-8")


def rows() -> dict[str, list[str]]:
    """Return the tests that each line of the table names, by the risk's number."""
    lines = [line for line in PAGE.splitlines() if line.startswith("| API")]
    return {line.split()[1]: re.findall(r"`(tests/[^`]+)`", line.rpartition(" | ")[2]) for line in lines}


def test_every_risk_has_a_line_with_a_test() -> None:
    assert list(rows()) == [f"API{number}" for number in range(1, 11)]
    assert all(rows().values()), rows()


def test_every_named_test_is_there() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", PAGE)
    assert len(named) >= 15
    for path, name in named:
        file = ROOT / path
        assert file.is_file(), path
        functions = (ast.FunctionDef, ast.AsyncFunctionDef)
        there = {node.name for node in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(node, functions)}
        assert not name or name in there, f"{path} has no {name}"
