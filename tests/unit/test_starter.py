"""The client's pure parts: ids, translation of failures, bounds, and the command's reading of tickets."""

import asyncio
import json
import time
from decimal import Decimal

import pytest
from temporalio.client import WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from activities.failures import to_failure
from domain.errors import ExecutionError, IdempotencyConflict, NotAmendable, RateLimited, StoreUnavailable
from domain.identifiers import ORDER_ID, derive_order_id
from domain.order import OrderType
from starter.__main__ import _arguments, main, ticket_of
from starter.bounded import repeated, within
from starter.client import _place_update_id, new_request
from starter.failures import EngineUnavailable, to_domain_error
from starter.order_start import start_options
from tests.factories import make_request, make_ticket


def test_key_names_the_order_and_no_key_names_a_new_one():
    named = [new_request(make_ticket(), account="a", idempotency_key="k").order_id for _ in range(2)]
    assert named == [derive_order_id("a", "k")] * 2
    unnamed = {new_request(make_ticket(), account="a").order_id for _ in range(100)}
    assert len(unnamed) == 100
    assert all(ORDER_ID.fullmatch(order_id) for order_id in unnamed)


def test_update_is_named_by_the_ticket_and_the_wait():
    ticket, other = make_ticket(), make_ticket(quantity=Decimal("0.2"))
    same = make_ticket(quantity=Decimal("0.10"))
    assert _place_update_id(ticket, "venue") == _place_update_id(same, "venue")
    assert len({_place_update_id(t, wait) for t in (ticket, other) for wait in ("venue", "final")}) == 4


def test_start_says_what_people_search_by():
    options = start_options(make_request(strategy="grid"))
    found = {pair.key.name: pair.value for pair in options["search_attributes"].search_attributes}
    assert found["Account"] == "binanceus"
    assert (found["Symbol"], found["Side"], found["OrderType"], found["Strategy"]) == (
        "BTC/USDT",
        "buy",
        "limit",
        "grid",
    )
    assert options["static_summary"] == "BUY 0.1 BTC/USDT @ 100 LIMIT GTC"


@pytest.mark.parametrize(
    "error",
    [
        StoreUnavailable("down"),
        NotAmendable("no", numbers={"price": "1.5"}, advice="do this"),
        RateLimited("slow", retry_after_s=7),
        IdempotencyConflict("used"),
        EngineUnavailable("gone"),
    ],
)
def test_error_survives_the_way_through_temporal(error):
    back = to_domain_error(WorkflowUpdateFailedError(to_failure(error)))
    assert type(back) is type(error)
    assert (back.message, back.numbers) == (error.message, error.numbers)


def test_conflict_names_the_first_order():
    failure = ApplicationError("used", {"order_id": "abc"}, type=IdempotencyConflict.code)
    assert to_domain_error(WorkflowUpdateFailedError(failure)).numbers == {"order_id": "abc"}


def test_failure_of_another_kind_keeps_its_words():
    error = to_domain_error(WorkflowUpdateFailedError(ApplicationError("boom", type="Other")))
    assert type(error) is ExecutionError
    assert "boom" in error.message or "update failed" in error.message


async def test_call_beyond_its_bound_is_given_up():
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        await within(asyncio.Event().wait(), 0.05)
    assert time.monotonic() - began < 2


async def test_call_is_repeated_while_temporal_does_not_answer():
    calls = 0

    async def third_time_lucky(_: object) -> str:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise RPCError("down", RPCStatusCode.UNAVAILABLE, b"")
        if calls == 2:
            raise RuntimeError("Failed client connect")
        return "answer"

    assert await repeated(third_time_lucky, 10) == "answer"
    assert calls == 3


async def test_temporal_out_of_reach_for_the_whole_time_is_said():
    async def down(_: object) -> str:
        raise RPCError("down", RPCStatusCode.UNAVAILABLE, b"")

    with pytest.raises(EngineUnavailable, match="UNAVAILABLE"):
        await repeated(down, 0.3)


async def test_refusal_is_not_repeated():
    calls = 0

    async def refused(_: object) -> str:
        nonlocal calls
        calls += 1
        raise RPCError("no", RPCStatusCode.NOT_FOUND, b"")

    with pytest.raises(RPCError):
        await repeated(refused, 5)
    assert calls == 1


@pytest.mark.parametrize(
    "argv",
    [
        ["BTC/USDT", "--side", "buy", "--amount", "0.1", "--price", "100"],
        ['{"symbol": "BTC/USDT", "side": "buy", "order_type": "limit", "quantity": 0.1, "price": "100"}'],
        ['{"symbol": "BTC/USDT", "side": "sell", "quantity": "7", "price": 100}', "--side", "buy", "--amount", "0.1"],
    ],
)
def test_command_reads_flags_json_or_both(argv):
    assert ticket_of(_arguments(argv)) == make_ticket()


def test_command_reads_a_file(tmp_path):
    path = tmp_path / "order.json"
    path.write_text(json.dumps({"symbol": "BTC/USDT", "side": "sell", "quantity": "0.1"}))
    ticket = ticket_of(_arguments([f"@{path}"]))
    assert (ticket.order_type, ticket.quantity) == (OrderType.MARKET, Decimal("0.1"))


@pytest.mark.parametrize("argv", [["{"], ["@/nowhere"], ["BTC/USDT"], ["BTC/USDT", "--side", "buy", "--amount", "1e5"]])
def test_unreadable_order_ends_with_code_2(argv, capsys):
    assert main(argv) == 2
    assert "not readable" in capsys.readouterr().err
