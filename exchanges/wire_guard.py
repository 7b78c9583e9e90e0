"""The last check of an order's request: that it says what was asked for. ccxt drops what it does not know.

The request is read back field by field, whatever form it has, and held against the venue's table.
"""

import base64
import binascii
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from domain.numbers import plain
from domain.reports import Submission
from exchanges.ccxt_transport import NotSent
from exchanges.venues.table import EVERY, VenueRules

PAYLOAD_HEADERS: Final = ("X-GEMINI-PAYLOAD",)
"""Headers whose value is the request: JSON, base64."""
CONTAINER: Final = "{}"
"""Stands as the value of a field that holds further fields."""
_CODES: Final[Mapping[str, str]] = {
    "{id}": "CLIENT_ORDER_ID_NOT_CARRIED",
    "{trigger}": "TRIGGER_NOT_CARRIED",
    "{quantity}": "FIGURE_NOT_CARRIED",
    "{signed_quantity}": "FIGURE_NOT_CARRIED",
    "{price}": "FIGURE_NOT_CARRIED",
}
"""Our code by what is missing; anything else is what makes the order the type that it is."""

Fields = Mapping[str, list[str]]


def fields_of(url: str, headers: Mapping[str, str] | None, body: object) -> Fields:
    """Read a request: its path under `path`, and every field of query, body and payload by its own name.

    A field that is `null` or an empty list is not there.
    """
    address = urlsplit(url)
    pairs: list[tuple[str, str]] = [("path", address.path), *parse_qsl(address.query)]
    pairs += _pairs_of_text(body) if isinstance(body, str) else _pairs("", body)
    for name in PAYLOAD_HEADERS:
        try:
            pairs += _pairs_of_text(base64.b64decode((headers or {}).get(name, "")).decode("utf-8", "replace"))
        except binascii.Error:
            continue
    fields: dict[str, list[str]] = {}
    for name, value in pairs:
        fields.setdefault(name, []).append(value)
    return fields


def _pairs_of_text(text: str) -> Iterator[tuple[str, str]]:
    try:
        yield from _pairs("", json.loads(text, parse_float=str, parse_int=str))
    except ValueError:
        yield from parse_qsl(text)


def _pairs(name: str, value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        if name:
            yield name, CONTAINER
        for key, inner in value.items():
            yield from _pairs(str(key), inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _pairs(name, inner)
    elif value is not None:
        yield name, str(value)


@dataclass(frozen=True, slots=True)
class WireCheck:
    """Holds one order's request against the venue's table; without a table, against what no order can do without."""

    submission: Submission
    rules: VenueRules

    def __call__(self, url: str, headers: Mapping[str, str] | None, body: object) -> None:
        """Raise `NotSent`, refused, when the request does not say what was asked for."""
        fields = fields_of(url, headers, body)
        if not self.rules.wire:
            self._hold_generic(fields)
        for names, form in self._expected().items():
            if not self._holds(fields, names.split("|"), form):
                said = [value for name in names.split("|") for value in fields.get(name, [])]
                code = _CODES.get((form or "").removeprefix(self.rules.client_ids.prefix), "ORDER_TYPE_NOT_CARRIED")
                text = f"ccxt would send {names} as {', '.join(said)[:60] or 'nothing'}; it must be {form or 'absent'}"
                raise NotSent(code, text, refused=True)

    def _expected(self) -> Mapping[str, str | None]:
        """What each field must hold: of every order, of its type, then of its conditions."""
        sent = self.submission
        parts = [EVERY, str(sent.order_type), str(sent.time_in_force), *(["post-only"] if sent.post_only else [])]
        return {names: form for part in parts for names, form in self.rules.wire.get(part, {}).items()}

    def _holds(self, fields: Fields, names: list[str], form: str | None) -> bool:
        values = [value for name in names for value in fields.get(name, [])]
        if form is None or not values:
            return form is None and not values
        if form == "*":
            return True
        figure = self._figures().get(form)
        if figure is not None:
            return all(_number(value) == figure for value in values)
        words = self._filled_in(form).lower()
        if names == ["path"]:
            return words in values[0].lower()
        return all(value.lower() == words for value in values)

    def _figures(self) -> Mapping[str, Decimal | None]:
        sent = self.submission
        return {
            "{quantity}": sent.quantity,
            "{signed_quantity}": sent.quantity if sent.side == "buy" else sent.quantity.copy_negate(),
            "{price}": sent.price,
            "{trigger}": sent.trigger_price,
        }

    def _filled_in(self, form: str) -> str:
        return (
            form.replace("{id}", self.submission.client_order_id)
            .replace("{side}", self.submission.side)
            .replace("{direction}", "up" if self.submission.side == "buy" else "down")
        )

    def _hold_generic(self, fields: Fields) -> None:
        """Where no table says which field it is, our id must stand in one, and each figure be the value of one."""
        sent = self.submission
        values = [value for held in fields.values() for value in held]
        if not any(sent.client_order_id in value for value in values):
            raise NotSent("CLIENT_ORDER_ID_NOT_CARRIED", "ccxt left our client order id out", refused=True)
        numbers = {number for value in values if (number := _number(value)) is not None}
        for figure in (sent.quantity, sent.price):
            if figure is not None and figure not in numbers:
                raise NotSent("FIGURE_NOT_CARRIED", f"ccxt left {plain(figure)} out of the request", refused=True)


def _number(text: str) -> Decimal | None:
    try:
        return Decimal(text)
    except InvalidOperation:
        return None
