"""Which files the checks of this folder look at."""

import ast
import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PRODUCT = (
    "domain",
    "workflows",
    "activities",
    "exchanges",
    "storage",
    "credentials",
    "risk_agent",
    "alerting",
    "observability",
    "starter",
    "api",
    "cli",
    "embedded",
    "simulator",
)


@cache
def tracked() -> tuple[Path, ...]:
    """Return every file that git knows, or every file beside the caches where there is no git."""
    try:
        listed = subprocess.run(
            ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.splitlines()
        return tuple(path for name in listed if (path := ROOT / name).is_file())
    except (OSError, subprocess.CalledProcessError):
        skipped = {".venv", ".git", "__pycache__", ".mypy_cache", ".ruff_cache", ".hypothesis"}
        return tuple(p for p in ROOT.rglob("*") if p.is_file() and not skipped & set(p.relative_to(ROOT).parts))


def python_files(*folders: str) -> list[Path]:
    """Return the Python files below these folders, or all of them."""
    return [
        path
        for path in tracked()
        if path.suffix == ".py" and (not folders or path.relative_to(ROOT).parts[0] in folders)
    ]


@cache
def tree(path: Path) -> ast.Module:
    """Return a file's syntax tree."""
    return ast.parse(path.read_text("utf-8"), str(path))


def name(path: Path) -> str:
    """Return a path as the messages show it."""
    return str(path.relative_to(ROOT))
