"""Logs: one JSON object a line, whoever wrote it, and no secret in any of them."""

import io
import json
import logging

import pytest
from pydantic import SecretStr

from observability.logs import MASK, bound, get_logger, hide, set_up_logs


@pytest.fixture
def lines():
    """Return a function that gives the JSON lines written so far; restores the root logger afterwards."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    stream = io.StringIO()
    set_up_logs(level="INFO", stream=stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.handlers[:] = before
    root.setLevel(level)


def test_event_is_one_json_line_with_its_facts(lines):
    get_logger("volex.test").info("order placed", order_id="a1", quantity="0.10")
    (line,) = lines()
    assert line["event"] == "order placed"
    assert (line["order_id"], line["quantity"], line["level"], line["logger"]) == ("a1", "0.10", "info", "volex.test")
    assert line["timestamp"].endswith("Z")


def test_standard_library_lines_come_out_the_same_way_with_their_extras(lines):
    logging.getLogger("uvicorn.error").warning("listening on %s", "127.0.0.1", extra={"port": 8002})
    (line,) = lines()
    assert (line["event"], line["port"], line["level"]) == ("listening on 127.0.0.1", 8002, "warning")


def test_temporal_context_is_reduced_to_what_finds_an_order(lines):
    context = {"workflow_id": "order-a-b", "activity_type": "submit", "attempt": 2, "task_queue": "orders"}
    logging.getLogger("temporalio.activity").info("sent", extra={"temporal_activity": context})
    (line,) = lines()
    assert (line["workflow_id"], line["activity_type"], line["attempt"]) == ("order-a-b", "submit", 2)
    assert "temporal_activity" not in line


def test_bound_names_are_on_every_line_inside_and_on_none_after(lines):
    with bound(order_id="a1", client_order_id="c1"):
        logging.getLogger("any").info("inside")
    logging.getLogger("any").info("outside")
    inside, outside = lines()
    assert (inside["order_id"], inside["client_order_id"]) == ("a1", "c1")
    assert "order_id" not in outside


@pytest.mark.parametrize("key", ["api_key", "apiKey", "X-MBX-APIKEY", "secret_key", "passphrase", "Authorization"])
def test_value_under_a_secret_name_is_masked_at_any_depth(lines, key):
    get_logger("t").info("call", **{key: "hunter2"}, request={"headers": [{key: "hunter2"}]})
    (line,) = lines()
    assert line[key] == MASK
    assert "hunter2" not in json.dumps(line)


def test_hidden_value_is_masked_in_text_arguments_and_traces(lines):
    hide(SecretStr("correct-horse"))
    log = logging.getLogger("t")
    log.info("key correct-horse given")
    log.info("argument %s", "correct-horse")
    try:
        raise ValueError("venue said: correct-horse")
    except ValueError:
        log.exception("failed")
    written = lines()
    assert len(written) == 3
    assert "correct-horse" not in json.dumps(written)
    assert "ValueError" in written[2]["exception"]


@pytest.mark.parametrize(
    "text",
    [
        "POST /api/v3/order?symbol=BTCUSDT&signature=0badc0de",
        "connect postgresql://volex:0badc0de@127.0.0.1/volex",
        "Authorization: Bearer 0badc0de",
        "Authorization: Basic 0badc0de",
        "X-MBX-APIKEY: 0badc0de",
        "answer {'apiKey': '0badc0de', 'x': 1}",
        'answer {"secret_key": "0badc0de"}',
        "API-Sign: 0badc0de==",
        "POST /order?passphrase=0badc0de&password=0badc0de",
        "token hvs" + ".CAESI0badc0de taken",
        "-----BEGIN EC " + "PRIVATE KEY-----\nMHcCAQEE0badc0de\n-----END EC PRIVATE KEY-----",
    ],
)
def test_secret_in_a_known_form_is_masked_without_being_named(lines, text):
    logging.getLogger("t").info(text)
    assert "0badc0de" not in json.dumps(lines())


def test_below_the_level_nothing_is_written(lines):
    logging.getLogger("t").debug("detail")
    assert lines() == []


def test_terminal_gets_text_for_people():
    root = logging.getLogger()
    before = root.handlers[:]
    stream = io.StringIO()
    try:
        set_up_logs(stream=stream, as_json=False)
        get_logger("t").info("order placed", order_id="a1")
    finally:
        root.handlers[:] = before
    assert "order placed" in stream.getvalue()
    assert not stream.getvalue().startswith("{")


@pytest.mark.parametrize(
    "text",
    [
        "risk.agent: needs a secret: set RISK__AGENT__SECRET",
        "the token: expired",
        "order token-7 is fine",
        "1 basic fill",
    ],
)
def test_ordinary_words_are_left_alone(lines, text):
    logging.getLogger("t").info(text)
    assert lines()[0]["event"] == text


def test_a_terminal_gets_words_instead_of_json_and_the_same_masks():
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    try:
        set_up_logs(level="INFO", stream=terminal)
        get_logger("volex.test").info("order placed", order_id="a1", api_key="hunter2")
    finally:
        root.handlers[:] = before
        root.setLevel(level)
    text = terminal.getvalue()
    assert "order placed" in text and "a1" in text and "hunter2" not in text
    with pytest.raises(ValueError):
        json.loads(text)


def test_line_of_the_sdk_that_names_an_orders_workflow_in_its_text_carries_the_orders_names(lines):
    workflow_id = "order-my-account-" + "a" * 16
    logging.getLogger("temporalio.worker").info("Running activity of %s", workflow_id)
    logging.getLogger("temporalio.worker").info("Running activity of feed-my-account")
    named, other = lines()
    assert (named["order_id"], named["account"], named["workflow_id"]) == ("a" * 16, "my-account", workflow_id)
    assert "order_id" not in other
