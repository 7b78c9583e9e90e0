"""The commands' pure parts: arguments, exit codes, and where they look for the stack."""

import json
import os
from decimal import Decimal

import pytest
from typer.testing import CliRunner

from cli import addresses, render
from cli.account import RestRefused
from cli.exit_codes import ExitCode, code_of
from cli.main import app
from cli.orders import _order_type, _outcome
from domain.errors import (
    ConfigurationError,
    ExecutionError,
    IdempotencyConflict,
    InvalidRequest,
    OrderNotFound,
    StoreUnavailable,
    UnknownAccount,
)
from domain.events import OrderEvent
from domain.lifecycle import OrderEventType, OrderStatus
from domain.order import TradingMode
from starter.failures import EngineUnavailable
from starter.reading import view_of
from tests.factories import NOW, make_request

ORDER_COMMANDS = ("place", "show", "list", "watch", "cancel", "amend", "resolve")
ACCOUNT_COMMANDS = ("balance", "ticker", "positions", "exchanges", "health", "doctor")


@pytest.fixture
def alone(tmp_path, monkeypatch):
    """A folder without a settings file, and an environment that says nothing of Temporal."""
    monkeypatch.chdir(tmp_path)
    for name in ("TEMPORAL_ADDRESS", "VOLEX_CONFIG", "API_HOST", "API_PORT", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def running_stack(folder, **changes):
    """Write what a running stack says of itself; this process stands for its supervisor."""
    config = folder / "stack.toml"
    config.write_text('[accounts.grid]\nexchange = "binanceus"\n')
    told = {
        "api": "http://127.0.0.1:1111",
        "temporal": "127.0.0.1:2222",
        "database": "postgresql://u:p@127.0.0.1:3333/volex",
        "config": str(config),
        "data_dir": str(folder),
        "pids": {"supervisor": os.getpid()},
        **changes,
    }
    (folder / "run").mkdir(exist_ok=True)
    (folder / "run" / "ready.json").write_text(json.dumps(told))


def an_order(*event_types):
    """Return an order after these facts."""
    order = make_request().new_order(exchange="binanceus", mode=TradingMode.PAPER)
    for event_type in event_types:
        event = OrderEvent(event_type=event_type, ts_event=NOW, attempt=1, client_order_id="c", venue_order_id="7")
        order = order.apply(event)
    return order


@pytest.mark.parametrize("command", [*(("order", name) for name in ORDER_COMMANDS), *((n,) for n in ACCOUNT_COMMANDS)])
def test_help_shows_an_example_the_json_option_and_the_exit_codes(command):
    shown = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": "200"}).output
    assert f"volex {' '.join(command)}" in shown.partition("Example")[2]
    assert "--json" in shown
    assert "Exit codes: 0 done" in shown


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["place", "LONG", "1", "BTC/USDT"], "LONG"),
        (["place", "BUY", "0", "BTC/USDT"], "above zero"),
        (["place", "BUY", "1e5", "BTC/USDT"], "plain decimal number"),
        (["place", "BUY", "NaN", "BTC/USDT"], "plain decimal number"),
        (["place", "BUY", "1", "btc-usdt"], "BASE/QUOTE"),
        (["place", "BUY", "1", "BTC/USDT", "--limit", "0"], "above zero"),
        (["place", "BUY", "1", "BTC/USDT", "--expires-in", "2w"], "not a duration"),
        (["place", "BUY", "1", "BTC/USDT", "--expires-at", "2030-01-01T00:00:00"], "with its zone"),
        (["place", "BUY", "1", "BTC/USDT", "--expires-in", "2h", "--key", "k"], "--expires-at"),
        (["place", "BUY", "1", "BTC/USDT", "--key", "a b"], "visible ASCII"),
        (["place", "BUY", "1", "BTC/USDT", "--strategy", "x" * 65], "strategy"),
        (["amend", "aaaaaaaaaaaaaaaa"], "--price"),
        (["list", "--limit", "501"], "500"),
    ],
)
def test_wrong_argument_is_named_and_nothing_is_asked_of_temporal(arguments, problem, alone):
    result = CliRunner().invoke(app, ["order", *arguments, "--data-dir", str(alone)], env={"COLUMNS": "200"})
    assert result.exit_code == ExitCode.USAGE
    assert problem in result.output


@pytest.mark.parametrize(
    ("limit", "stop", "order_type"),
    [(None, None, "market"), (1, None, "limit"), (None, 1, "stop"), (1, 1, "stop-limit")],
)
def test_prices_make_the_type(limit, stop, order_type):
    prices = [Decimal(price) if price else None for price in (limit, stop)]
    assert _order_type(*prices) == order_type


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidRequest("x"), ExitCode.USAGE),
        (UnknownAccount("x"), ExitCode.USAGE),
        (ConfigurationError("x"), ExitCode.USAGE),
        (IdempotencyConflict("x"), ExitCode.REFUSED),
        (OrderNotFound("x"), ExitCode.REFUSED),
        (EngineUnavailable("x"), ExitCode.UNREACHABLE),
        (StoreUnavailable("x"), ExitCode.UNREACHABLE),
        (ExecutionError("x"), ExitCode.FAILED),
    ],
)
def test_error_ends_with_its_exit_code(error, code):
    assert code_of(error) == code


def test_order_ends_the_command_with_what_became_of_it():
    e = OrderEventType
    assert _outcome(None) == _outcome(an_order()) == ExitCode.UNDECIDED
    assert _outcome(an_order(e.SUBMITTED, e.SUBMIT_UNKNOWN)) == ExitCode.UNDECIDED
    assert _outcome(an_order(e.DENIED)) == _outcome(an_order(e.SUBMITTED, e.REJECTED)) == ExitCode.REFUSED
    assert _outcome(an_order(e.SUBMITTED, e.ACCEPTED)) == ExitCode.DONE
    assert _outcome(an_order(e.SUBMITTED, e.ACCEPTED, e.CANCELED)) == ExitCode.DONE


@pytest.mark.parametrize(("status", "code"), [(404, 2), (422, 2), (401, 2), (500, 1), (502, 5), (503, 5)])
def test_problem_of_the_rest_interface_ends_with_its_exit_code(status, code):
    assert RestRefused(status, "not even JSON").exit_code == code
    assert str(status) in RestRefused(status, "not even JSON").line()


def test_commands_find_the_stack_that_runs_in_the_data_directory(alone):
    running_stack(alone)
    found = addresses.find(alone)
    assert (found.api, found.settings.temporal_address, found.stack) == (
        "http://127.0.0.1:1111", "127.0.0.1:2222", alone,
    )  # fmt: skip
    assert found.settings.database_url.get_secret_value().endswith(":3333/volex")
    assert found.account(None) == "grid"
    with pytest.raises(UnknownAccount) as refused:
        found.account("gird")
    assert "grid" in refused.value.what_to_do


def test_configured_temporal_wins_over_the_stack(alone, monkeypatch):
    running_stack(alone)
    monkeypatch.setenv("TEMPORAL_ADDRESS", "temporal.example:7233")
    monkeypatch.setenv("API_PORT", "9999")
    found = addresses.find(alone)
    assert (found.settings.temporal_address, found.api, found.stack) == (
        "temporal.example:7233", "http://127.0.0.1:9999", None,
    )  # fmt: skip
    # Whose accounts these are is not known here; the worker knows.
    assert found.account("anything") == "anything"


@pytest.mark.parametrize("trace", ["none", "torn", "of a stack that was killed"])
def test_without_a_running_stack_the_defaults_count(alone, trace):
    if trace == "torn":
        running_stack(alone)
        (alone / "run" / "ready.json").write_text('{"api":')
    elif trace == "of a stack that was killed":
        running_stack(alone, pids={"supervisor": 2**22 + 1})  # above the largest pid of Linux
    found = addresses.find(alone)
    assert (found.settings.temporal_address, found.api, found.stack) == (
        "127.0.0.1:7233", "http://127.0.0.1:8002", None,
    )  # fmt: skip


def test_words_of_a_venue_cannot_steer_the_terminal():
    assert render.printable("no\x1b[2J\r\nway") == "no [2J  way"


def test_line_of_an_amended_order_names_the_price_that_counts():
    order = an_order(OrderEventType.SUBMITTED, OrderEventType.ACCEPTED)
    assert order.status is OrderStatus.ACCEPTED
    assert "@ 100 LIMIT GTC  ACCEPTED" in render.order_line(view_of(order))
    amended = order.model_copy(update={"price": Decimal("101.50")})
    assert "@ 100 LIMIT GTC, now @ 101.5  ACCEPTED" in render.order_line(view_of(amended))
