"""What every setting is called, what it may be and what it means: the rows of the generated page docs/settings.md."""

from collections.abc import Hashable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from domain.limits import Limits
from domain.order import TradingMode
from settings import LIMITED, SECTIONS, AccountSettings, RiskAgentSettings, Settings


class SettingRow(NamedTuple):
    """One line of the generated page."""

    name: str
    env: str
    type: str
    default: str
    meaning: str


def settings_reference() -> Iterator[SettingRow]:
    """Yield every setting for the generated page."""
    for name, field in Settings.model_fields.items():
        if name not in ("accounts", *SECTIONS):
            yield _row(name, field, env=name.upper())
    sections: dict[str, type[BaseModel]] = {"accounts.NAME": AccountSettings, **SECTIONS}
    sections["risk.agent"] = RiskAgentSettings
    sections["risk.accounts.NAME"] = Limits
    for section, model in sections.items():
        for name, field in model.model_fields.items():
            if section != "risk" or name not in (*LIMITED, "agent"):
                place = f"{section}.{name}"
                yield _row(place, field, env=place.upper().replace(".", "__"))


def _row(name: str, field: FieldInfo, *, env: str) -> SettingRow:
    default = field.get_default(call_default_factory=True) if not field.is_required() else "required"
    shown = default.get_secret_value() if isinstance(default, SecretStr) else default
    text = "" if shown is None or shown == () or shown == {} else str(shown)
    return SettingRow(name, env, _type_name(field.annotation), text, field.description or "")


def _type_name(annotation: Any) -> str:
    """Write a type in words that a reader of the file knows."""
    words = {SecretStr: "secret", bool: "true or false", int: "whole number", str: "text", Path: "path"}
    if annotation in words:
        return words[annotation]
    if annotation is Decimal or Decimal in _flat(annotation):
        return "amount, as text"
    if annotation is TradingMode:
        return " | ".join(TradingMode)
    options = [option for option in get_args(annotation) if option is not type(None)]
    if options and all(isinstance(option, str) for option in options):
        return " | ".join(options)
    if Ellipsis in _flat(annotation):
        return "list of text"
    return _type_name(options[0]) if len(options) == 1 else "table"


def _flat(annotation: Any) -> set[Any]:
    """Return what a type is made of, below `Annotated` and `| None`; a table's parts are its own."""
    if get_origin(annotation) is dict:
        return set()
    parts = {annotation} if isinstance(annotation, Hashable) else set()
    return parts.union(*(_flat(part) for part in get_args(annotation)))
