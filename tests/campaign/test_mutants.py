"""The campaign notices every broken variant, and nothing in the code as it is: it is not blind, and cries no wolf."""

import logging
import os
import secrets

import pytest

from tests.campaign import mutants
from tests.campaign.variants import Variant

pytestmark = pytest.mark.timeout(180)

SEED = int(os.environ.get("VOLEX_CAMPAIGN_SEED") or secrets.randbelow(10**9))
VARIANTS_MIN = 24


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the log of broken code out of the test's output."""
    monkeypatch.setattr(logging.root.manager, "disable", logging.CRITICAL)


def test_there_are_at_least_as_many_variants_as_promised() -> None:
    names = [variant.name for variant in mutants.VARIANTS]
    assert len(set(names)) == len(names) >= VARIANTS_MIN


@pytest.mark.parametrize("variant", mutants.VARIANTS, ids=lambda variant: variant.name)
def test_a_broken_variant_is_caught(variant: Variant) -> None:
    print(f"\nVOLEX_CAMPAIGN_SEED={SEED}")
    row = mutants.run_variant(SEED, variant)
    assert row["caught_by"], f"{variant.what}: survived {row['lives']} lives"


def test_the_code_as_it_is_breaks_in_none_of_their_weathers() -> None:
    print(f"\nVOLEX_CAMPAIGN_SEED={SEED}")
    assert mutants.baseline(SEED) == []
