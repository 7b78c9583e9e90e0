"""What Vault's `agents/execution` holds, read into settings. Everything there may be text.

Lists are a JSON array or written as Python does, truth is `true` or `false` in any case, numbers are plain.
"""

import ast
import difflib
import json
import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

from domain.errors import ConfigurationError

PLACE: Final = "agents/execution"
_TRUE: Final = ("true", "1", "yes", "on")
_FALSE: Final = ("false", "0", "no", "off")
_RATE_MAX: Final = 1_000_000
log = logging.getLogger("volex.settings")


def from_vault(texts: Mapping[str, str], *, configured: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that the secret holds, for merging below `configured`.

    Parameters
    ----------
    texts
        The secret's fields.
    configured
        What the file says. A venue that one of its accounts trades on gets no second account.

    Raises
    ------
    ConfigurationError
        When a field cannot be read. Its value is not in the message.
    """
    values: dict[str, Any] = {}
    for name, text in texts.items():
        reader = _READERS.get(name)
        if reader is None:
            near = difflib.get_close_matches(name, _READERS, n=1)
            known = f"; did you mean {near[0]}?" if near else ""
            log.warning(
                "vault_field_unknown", extra={"text": f"{PLACE} holds {name[:64]!r}, which is no setting{known}"}
            )
            continue
        try:
            read = reader(str(text).strip())
        except ValueError as error:
            raise ConfigurationError(
                f"Vault's {PLACE}: {name} cannot be read: {error}",
                advice="Correct it with `vault kv patch`; `volex vault init` writes an example.",
            ) from None
        _put(values, name, read, configured)
    return values


def _put(values: dict[str, Any], name: str, read: Any, configured: Mapping[str, Any]) -> None:
    match name:
        case "enabled_exchanges":
            values["accounts"] = _accounts(read, configured)
            if not values["accounts"]:
                del values["accounts"]
        case "max_order_size":
            values.setdefault("risk", {})["max_order_notional"] = read
        case "risk_agent_secret":
            values.setdefault("risk", {}).setdefault("agent", {})["secret"] = read
        case "notify_webhook_secret" | "notify_slack_url" | "notify_smtp_password":
            values.setdefault("notify", {})[name.removeprefix("notify_")] = read
        case _:
            values[name] = read


def _accounts(names: list[str], configured: Mapping[str, Any]) -> dict[str, Any]:
    """One account for each venue, named after it, in paper mode: only the file or the environment makes one live."""
    own = configured.get("accounts")
    own = own if isinstance(own, Mapping) else {}
    served = {entry.get("exchange") for name, entry in own.items() if isinstance(entry, Mapping) and name not in names}
    return {
        name: {"exchange": name, "credentials": "vault"}
        for name in names
        if name not in served and "exchange" not in own.get(name, {})
    }


def _words(text: str) -> list[str]:
    for read in (json.loads, ast.literal_eval):
        try:
            found = read(text)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
        if isinstance(found, list) and found and all(isinstance(word, str) and word.strip() for word in found):
            return [word.strip() for word in found]
    raise ValueError('write a JSON array or a Python list of names, such as ["binanceus", "coinbase"]')


def _truth(text: str) -> bool:
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise ValueError("write true or false")


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= _RATE_MAX:
        raise ValueError(f"write a whole number from 1 to {_RATE_MAX}")
    return int(text)


def _word(text: str) -> str:
    if not text:
        raise ValueError("it is empty")
    return text


_READERS: Final[Mapping[str, Callable[[str], Any]]] = {
    "enabled_exchanges": _words,
    "dry_run_mode": _truth,
    "default_exchange": _word,
    "max_order_size": _word,
    "rate_limit_per_minute": _count,
    "risk_agent_secret": _word,
    "notify_webhook_secret": _word,
    "notify_slack_url": _word,
    "notify_smtp_password": _word,
}
FIELDS: Final = tuple(_READERS)
"""The fields that the secret may have."""
