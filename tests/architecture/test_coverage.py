"""`docs/coverage.md` names files and tests that exist, and the examples of every call that answers with JSON."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "coverage.md").read_text("utf-8")
_NAMED = re.compile(r"`([\w.-][\w./-]*\.(?:py|md|json|yml)|Dockerfile)(?:::(\w+))?`")


def named() -> list[tuple[str, str | None]]:
    """Return every file, and test in it, that the page names."""
    return [(file, test or None) for file, test in _NAMED.findall(PAGE)]


def rows() -> list[list[str]]:
    """Return the rows of the page's tables, without their heads."""
    lines = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| feature")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_every_file_and_every_test_that_is_named_exists() -> None:
    missing = []
    for file, test in named():
        path = ROOT / file
        if not path.is_file():
            missing.append(file)
        elif test is not None and test not in functions(path):
            missing.append(f"{file}::{test}")
    assert len(named()) > 100 and not missing


def test_every_feature_names_code_and_a_test_that_shows_it() -> None:
    poor = []
    for feature, code, shown_by in rows():
        files, tests = _NAMED.findall(code), _NAMED.findall(shown_by)
        if not files or not tests or not all(file.startswith("tests/") for file, _ in tests):
            poor.append(feature)
    assert len(rows()) > 40 and not poor


def functions(path: Path) -> set[str]:
    """Return the names of a file's functions."""
    tree = ast.parse(path.read_text("utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
