"""What leaves is what was reviewed; and what the review looked for, said once more without the venues' tables."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from domain.order import OrderSide, OrderType
from domain.placement import Placement
from exchanges.venue_rules import listed_venues, placement, venue_rules
from tests.wire.capture import VARIANTS, snapshot_of
from tests.wire.cases import CLIENT_ORDER_ID, ORDERS, PRICE, QUANTITY, TRIGGER
from tests.wire.record import SNAPSHOTS, written

KNOWN = {path.stem: json.loads(path.read_text("utf-8")) for path in SNAPSHOTS.glob("*.json")}
SENT = [
    (variant, name, requests)
    for variant, snapshot in sorted(KNOWN.items())
    for name, requests in snapshot["orders"].items()
    if isinstance(requests, list)
]


@pytest.mark.parametrize("variant", VARIANTS)
async def test_what_leaves_is_what_was_reviewed(variant: str) -> None:
    stored = (SNAPSHOTS / f"{variant}.json").read_text("utf-8")
    assert written(await snapshot_of(variant)) == stored, "read the difference, then `python -m tests.wire.record`"


def test_each_of_the_fifteen_venues_is_written_down() -> None:
    assert len(listed_venues()) == 15
    assert set(KNOWN) == set(VARIANTS) >= set(listed_venues())


def leaves(tree: Any) -> list[str]:
    if isinstance(tree, Mapping):
        return [leaf for branch in tree.values() for leaf in leaves(branch)]
    if isinstance(tree, list):
        return [leaf for branch in tree for leaf in leaves(branch)]
    return [str(tree)]


@pytest.mark.parametrize(
    ("variant", "name", "requests"), SENT, ids=lambda value: value if isinstance(value, str) else ""
)
def test_order_leaves_in_one_request_with_its_id_and_figures(variant: str, name: str, requests: list[Any]) -> None:
    rules, order = venue_rules(VARIANTS[variant][0]), ORDERS[name]
    assert len(requests) == 1
    values = [value.removeprefix(rules.client_ids.prefix).lstrip("-") for value in leaves(requests)]
    own_id = str(int(CLIENT_ORDER_ID, 16) % 2**45) if variant == "bitfinex" else CLIENT_ORDER_ID
    times = 2 if variant == "gemini" else 1  # its order stands in a header, and a second time in the body
    assert values.count(own_id) == times
    assert values.count(str(QUANTITY)) == times
    assert values.count(str(PRICE)) == times * ("price" in order)
    assert values.count(str(TRIGGER)) == times * ("trigger_price" in order)


@pytest.mark.parametrize("variant", KNOWN)
def test_no_two_kinds_of_order_look_alike(variant: str) -> None:
    sent = {name: json.dumps(requests) for shown, name, requests in SENT if shown == variant}
    assert len(set(sent.values())) == len(sent)


@pytest.mark.parametrize("variant", KNOWN)
def test_nothing_secret_is_written_down(variant: str) -> None:
    text = (SNAPSHOTS / f"{variant}.json").read_text("utf-8")
    assert "-of-the-test" not in text and "c2VjcmV0" not in text


@pytest.mark.parametrize("variant", KNOWN)
@pytest.mark.parametrize("order_type", OrderType)
@pytest.mark.parametrize("side", OrderSide)
def test_native_is_what_leaves(variant: str, order_type: OrderType, side: OrderSide) -> None:
    left = isinstance(KNOWN[variant]["orders"][f"{order_type} {side}"], list)
    assert left is (placement(VARIANTS[variant][0], order_type, side) is Placement.NATIVE)


@pytest.mark.parametrize("variant", KNOWN)
def test_look_up_and_cancel_by_our_id_carry_it(variant: str) -> None:
    rules = venue_rules(VARIANTS[variant][0])
    if rules.lookup_key is not None and isinstance(KNOWN[variant]["look up"]["by our id"], list):
        assert CLIENT_ORDER_ID in json.dumps(KNOWN[variant]["look up"]["by our id"])
    if rules.cancel_key is not None or rules.client_ids.prefix:
        assert CLIENT_ORDER_ID in json.dumps(KNOWN[variant]["cancel"]["by our id"])
