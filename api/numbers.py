"""JSON in and out with exact numbers: read from their text, written from their text, never through a float."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from json.encoder import encode_basestring_ascii
from typing import Any, Final

from pydantic import BaseModel

from api.errors import BodyUnreadable
from domain.numbers import parse_json_number, plain

_HALF: Final = re.compile(rb"\\u[dD][89a-fA-F]")
"""Half of a surrogate pair: whether the other half is there has to be looked at."""


@dataclass(frozen=True, slots=True)
class JsonNumber:
    """A number as its sender wrote it, not yet understood; `NaN` too, so that its field can refuse it."""

    text: str

    def exact(self) -> Decimal:
        """Return its value. Raises `ValueError` when it does not fit into 18 + 18 digits or is below zero."""
        if self.text.lstrip("-") in ("NaN", "Infinity"):
            raise ValueError(f"{self.text} is not a number")
        if self.text.startswith("-"):
            raise ValueError(f"{self.text[:40]} is below zero")
        return parse_json_number(self.text)


def read_json(body: bytes) -> object:
    """Read a body; its numbers become `JsonNumber`.

    Raises
    ------
    BodyUnreadable
        When it is not JSON in UTF-8, names a field twice, is nested too deeply, or holds what is no character.
    """
    if b"\\u0000" in body:
        raise BodyUnreadable("the body holds a NUL character")
    try:
        told = json.loads(
            body.decode("utf-8"),
            parse_float=JsonNumber,
            parse_int=JsonNumber,
            parse_constant=JsonNumber,
            object_pairs_hook=_without_repetition,
        )
        if _HALF.search(body):
            json.dumps(told, ensure_ascii=False, default=str).encode("utf-8")
        return told
    except UnicodeEncodeError:
        raise BodyUnreadable("the body holds half of a character") from None
    except UnicodeDecodeError:
        raise BodyUnreadable("the body is not UTF-8") from None
    except RecursionError:
        raise BodyUnreadable("the body is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise BodyUnreadable(f"the body is not JSON: {error}") from None


def _without_repetition(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Refuse a field that is named twice: which of the two amounts was meant, nobody can tell."""
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise BodyUnreadable("the body names a field twice")
    return fields


def write_json(value: object) -> bytes:
    """Write values of ours: models, mappings, sequences, text, `Decimal`, whole numbers, times. A float is refused."""
    parts: list[str] = []
    _write(value, parts)
    return "".join(parts).encode("ascii")


def write_time(moment: datetime) -> str:
    """Write a time: UTC, ISO 8601, microseconds, `Z`."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"


def _write(value: Any, parts: list[str]) -> None:
    match value:
        case None:
            parts.append("null")
        case bool():
            parts.append("true" if value else "false")
        case str():
            parts.append(encode_basestring_ascii(value))
        case int():
            parts.append(str(value))
        case Decimal() if value.is_finite():
            parts.append(plain(value))
        case datetime():
            parts.append(f'"{write_time(value)}"')
        case BaseModel():
            _write_fields(value.__dict__, parts)
        case Mapping():
            _write_fields(value, parts)
        case list() | tuple():
            parts.append("[")
            for position, item in enumerate(value):
                if position:
                    parts.append(",")
                _write(item, parts)
            parts.append("]")
        case _:
            raise TypeError(f"{type(value).__name__} is not written to this wire")


def _write_fields(fields: Mapping[str, object], parts: list[str]) -> None:
    parts.append("{")
    for position, (name, item) in enumerate(fields.items()):
        parts.append(f"{',' if position else ''}{encode_basestring_ascii(name)}:")
        _write(item, parts)
    parts.append("}")
