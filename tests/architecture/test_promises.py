"""What the README promises is attacked, sentence by sentence, by tests and broken variants that exist."""

import re
from pathlib import Path

import pytest

from tests.campaign.mutants import VARIANTS
from tests.promises import PROMISES, Attack

ROOT = Path(__file__).parents[2]


def test_every_sentence_of_the_promise_is_attacked() -> None:
    section = (ROOT / "README.md").read_text("utf-8").split("## What it promises")[1].split("##")[0]
    items = re.findall(r"^\d+\. (.+)$", section, re.MULTILINE)
    assert " ".join(items) == " ".join(PROMISES)


@pytest.mark.parametrize("attack", PROMISES.values(), ids=range(len(PROMISES)))
def test_attacks_exist(attack: Attack) -> None:
    assert attack.tests and attack.variants
    for name in attack.tests:
        path, function = name.split("::")
        assert f"def {function}(" in (ROOT / path).read_text("utf-8"), name
    assert set(attack.variants) <= {variant.name for variant in VARIANTS}


def test_obligations_of_the_protocol_name_attacks_that_exist() -> None:
    text = (ROOT / "domain" / "protocol.py").read_text("utf-8").split('"""')[1]
    variants = {variant.name for variant in VARIANTS}
    named = [
        part for words in re.findall(r"mutants? ((?:`\w+`(?:, )?)+)", text) for part in re.findall(r"`(\w+)`", words)
    ]
    assert named and set(named) <= variants
    for file in re.findall(r"`([\w/]*test_\w+\.py)", text):
        assert list(ROOT.glob(f"tests/**/{Path(file).name}")), file
