"""Hostile requests that schemathesis makes from the interface's own OpenAPI document: fitting it, and breaking it."""

import random
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import requests
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import openapi
from schemathesis.generation import GenerationMode

from tests.campaign.hostile.corpus import KEY_LINE, Shot


def generated(
    document: Mapping[str, Any], dice: random.Random, keys: Sequence[str], routes: Sequence[tuple[str, str]], count: int
) -> list[Shot]:
    """Return about `count` shots over these routes, the same for the same dice."""
    schema = openapi.from_dict(dict(document))
    operations = [found.ok() for found in schema.get_all_operations()]
    operations = [one for one in operations if (one.method.upper(), one.path) in routes]
    modes = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
    each = max(count // (len(operations) * len(modes)), 1)
    shots: list[Shot] = []
    for operation in operations:
        for mode in modes:
            shots += _of(operation, mode, each, dice, keys)
    return shots


def _of(operation: Any, mode: GenerationMode, count: int, dice: random.Random, keys: Sequence[str]) -> list[Shot]:
    shots: list[Shot] = []

    @seed(dice.getrandbits(64))
    @settings(
        max_examples=count,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def collect(case: Any) -> None:
        try:
            sent = requests.Request(**case.as_transport_kwargs("http://127.0.0.1")).prepare()
        except (ValueError, requests.RequestException):
            return  # what no client can send
        shots.append(Shot(f"openapi {mode.value}", case.method, operation.path, dice.choice(keys), _raw(sent)))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of hypothesis: an operation without parameters cannot be broken
        try:
            collect()
        except Exception as error:
            if type(error).__name__ not in ("Unsatisfiable", "FailedHealthCheck", "SkipTest", "Skipped"):
                raise
    return shots


def _raw(sent: requests.PreparedRequest) -> bytes:
    own = ("host", "connection", "content-length", "transfer-encoding")
    body = sent.body or b""
    body = body.encode("utf-8", "surrogatepass") if isinstance(body, str) else bytes(body)
    lines = [f"{sent.method} {sent.path_url} HTTP/1.1", "Host: 127.0.0.1", "Connection: close"]
    lines += [f"{name}: {_text(value)}" for name, value in sent.headers.items() if name.lower() not in own]
    lines += [f"Content-Length: {len(body)}"]
    return ("\r\n".join(lines) + "\r\n").encode("latin-1", "replace") + KEY_LINE + b"\r\n" + body


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value
