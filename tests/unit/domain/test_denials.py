"""The table of denial codes is the code's: each code that can deny an order is in it, and none that cannot."""

import ast
from collections.abc import Iterator
from pathlib import Path

from domain.controls import CONTROLS
from domain.denials import DENIALS
from domain.risk import Answer
from domain.risk_agent import CODES

ROOT = Path(__file__).parents[3]
DECIDING = ("domain/instrument.py", "domain/risk.py", "domain/measures.py", "activities/validating.py")
"""Where an order is denied."""
MAKERS = frozenset({"deny", "_denied", "_unavailable", "Missing"})
NOT_OF_A_TICKET = frozenset({"RESERVATION_EXCEEDED"})
"""Ends an order that was admitted before."""
OF_THE_WAY_THERE = frozenset({"VENUE_UNAVAILABLE"})
"""An error's code, by which the workflow denies."""


def codes_in(path: str) -> Iterator[str]:
    for node in ast.walk(ast.parse((ROOT / path).read_text("utf-8"))):
        if isinstance(node, ast.Call) and getattr(node.func, "id", None) in MAKERS and node.args:
            first = node.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield first.value


def test_every_code_that_denies_an_order_is_in_the_table_and_no_other() -> None:
    made = {code for path in DECIDING if (ROOT / path).exists() for code in codes_in(path)}
    made |= {control.code for control in CONTROLS} | OF_THE_WAY_THERE
    made |= {code for answer, code in CODES.items() if answer is not Answer.ALLOW}
    assert made - NOT_OF_A_TICKET == set(DENIALS)


def test_every_denial_says_what_to_do() -> None:
    for denial in DENIALS.values():
        assert denial.meaning and denial.what_to_do.endswith(".")
