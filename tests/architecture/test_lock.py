"""The lock names everything with hashes, and no host."""

import re
import tomllib
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.architecture.sources import ROOT

LOCK = (ROOT / "requirements.lock").read_text("utf-8")
PINS = dict(re.findall(r"^([a-z0-9-]+)==([^ ;\\\n]+)", LOCK, re.MULTILINE))


def project() -> dict[str, Any]:
    loaded: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return loaded


def test_every_dependency_is_pinned_within_its_bounds() -> None:
    wanted = [Requirement(line) for line in project()["dependencies"] + project()["optional-dependencies"]["dev"]]
    wrong = [
        str(requirement)
        for requirement in wanted
        if not requirement.specifier.contains(PINS.get(canonicalize_name(requirement.name), "0"), prereleases=True)
    ]
    assert not wrong, f"run `make lock`: {wrong}"


def test_every_pin_has_a_hash() -> None:
    blocks = re.split(r"^(?=[a-z0-9])", LOCK, flags=re.MULTILINE)[1:]
    assert len(blocks) >= len(PINS) > 50
    assert all("--hash=sha256:" in block for block in blocks)


def test_the_lock_names_no_host() -> None:
    assert "://" not in LOCK
    assert "index-url" not in LOCK
