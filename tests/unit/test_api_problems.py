"""Errors as problems."""

import json

import pytest

from api.problems import near, problem, status_of
from domain.errors import (
    ConfigurationError,
    ExecutionError,
    NotAmendable,
    OrderClosed,
    OrderNotFound,
    RateLimited,
    StoreUnavailable,
    UnknownSymbol,
    VenueRefused,
    VenueUnavailable,
)
from starter.failures import EngineUnavailable


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (OrderNotFound("x"), 404),
        (UnknownSymbol("x"), 404),
        (OrderClosed("x"), 409),
        (NotAmendable("its state does not allow it"), 409),
        (NotAmendable("its figures do not fit", numbers={"price": "1"}), 422),
        (StoreUnavailable("x"), 503),
        (EngineUnavailable("x"), 503),
        (VenueUnavailable("x"), 503),
        (VenueRefused("x"), 502),
        (ConfigurationError("x"), 500),
        (ExecutionError("x"), 500),
    ],
)
def test_error_has_its_status(error, status):
    assert status_of(error) == status


def test_problem_carries_code_numbers_advice_and_order():
    answer = problem(
        OrderClosed("it is over", numbers={"left": "0.50", "id": "abc"}), order={"id": "abc"}, instance="/x"
    )
    assert answer.media_type == "application/problem+json"
    body = json.loads(answer.body)
    assert (body["status"], body["code"], body["title"]) == (409, "ORDER_CLOSED", "Conflict")
    assert body["numbers"] == {"left": 0.5, "id": "abc"}
    assert body["what_to_do"] == OrderClosed.advice
    assert (body["order"], body["instance"]) == ({"id": "abc"}, "/x")


def test_weather_says_when_to_come_back():
    assert problem(RateLimited("slow down", retry_after_s=7)).headers["Retry-After"] == "7"
    assert problem(StoreUnavailable("down")).headers["Retry-After"] == "1"


@pytest.mark.parametrize(
    ("word", "found"), [("BTCUSDT", "BTC/USDT"), ("btc/usdt", "BTC/USDT"), ("ETH/UST", "ETH/USDT"), ("zzz", None)]
)
def test_near_names_are_found_whatever_the_case(word, found):
    assert next(iter(near(word, ["BTC/USDT", "ETH/USDT", "SOL/USDT"])), None) == found
