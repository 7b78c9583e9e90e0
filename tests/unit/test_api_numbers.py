"""Exact numbers on the wire: what comes in by its text leaves by its text."""

import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.errors import BodyUnreadable
from api.numbers import JsonNumber, read_json, write_json
from domain.order import OrderSide
from tests.factories import make_fill

amounts = st.decimals(min_value=0, max_value=Decimal("9e17"), places=18, allow_nan=False, allow_infinity=False)


@given(amounts)
def test_amount_survives_the_way_out_and_in(amount):
    read = read_json(write_json({"amount": amount}))
    assert isinstance(read, dict)
    assert read["amount"].exact() == amount


@pytest.mark.parametrize(
    ("text", "value"), [("5e-05", "0.00005"), ("1E2", "100"), ("0.10", "0.1"), ("123456789012345678", None)]
)
def test_any_json_notation_is_read_exactly(text, value):
    assert read_json(text.encode()) == JsonNumber(text)
    assert JsonNumber(text).exact() == Decimal(value or text)


@pytest.mark.parametrize("text", ["NaN", "-Infinity", "1e400", "1" * 40, "9" * 10_000, "0." + "1" * 19, "-1", "-0.5"])
def test_number_outside_the_grammar_is_read_but_not_understood(text):
    number = read_json(text.encode())
    assert number == JsonNumber(text)
    with pytest.raises(ValueError) as refused:
        number.exact()
    assert len(str(refused.value)) < 150


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"", "not JSON"),
        (b'{"a":', "not JSON"),
        (b"\xff\xfe", "UTF-8"),
        (b"[" * 60_000, "nested"),
        (b'{"amount": 1, "amount": 2}', "twice"),
    ],
)
def test_unreadable_body_says_why(body, problem):
    with pytest.raises(BodyUnreadable, match=problem):
        read_json(body)


def test_values_are_written_plainly():
    moment = datetime(2026, 11, 24, 13, 0, 0, 5, tzinfo=timezone(timedelta(hours=1)))
    value = {"d": Decimal("1E-8"), "t": moment, "e": OrderSide.BUY, "n": None, "b": True, "i": 3, "l": ("é", "\ud800")}
    assert write_json(value) == (
        b'{"d":0.00000001,"t":"2026-11-24T12:00:00.000005Z","e":"buy","n":null,"b":true,'
        b'"i":3,"l":["\\u00e9","\\ud800"]}'
    )


def test_model_is_written_with_numbers_as_numbers():
    written = json.loads(write_json(make_fill(last_px=Decimal("100.10"), ts_event=datetime(2026, 1, 1, tzinfo=UTC))))
    assert (written["last_px"], written["ts_event"]) == (100.1, "2026-01-01T00:00:00.000000Z")


@pytest.mark.parametrize("value", [0.1, Decimal("NaN"), {1, 2}, b"bytes"])
def test_what_is_not_exact_is_refused(value):
    with pytest.raises(TypeError):
        write_json([value])


@pytest.mark.parametrize(
    "body", [rb'{"a": "b\u0000"}', rb'{"a": "\ud800"}', rb'{"\udfff": 1}', rb'{"a": "\udc00\ud800"}']
)
def test_what_is_no_character_is_refused(body):
    with pytest.raises(BodyUnreadable):
        read_json(body)


def test_a_whole_pair_of_surrogates_is_a_character():
    assert read_json(rb'{"a": "\ud83d\udcb8"}') == {"a": "💸"}
