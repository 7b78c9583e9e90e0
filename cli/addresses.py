"""Where commands find Temporal, ledger and REST interface: as configured, else the stack of this machine."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]  # psutil ships no types
from pydantic import SecretStr

from cli.stack import default_data_dir
from credentials import load_seen_settings
from domain.errors import UnknownAccount
from embedded.configuration import reachable_url
from embedded.data_directory import DataDirectory
from settings import Settings


@dataclass(frozen=True)
class Addresses:
    """The settings that count, with the addresses of the running stack where nothing else is configured.

    `stack` is the data directory of that stack; `None` when the settings alone say where everything is.
    """

    settings: Settings
    api: str
    stack: Path | None = None

    def account(self, name: str | None) -> str:
        """Return the account's name, or the default one's.

        Raises
        ------
        UnknownAccount
            When the accounts are known here, and it is none of them: no worker would serve its order.
        """
        accounts = self.settings.accounts
        known = self.stack is not None or "accounts" in self.settings.model_fields_set
        if name is not None and known and name not in accounts:
            raise UnknownAccount(
                f"no account {name[:40]!r} is configured", advice=f"Use one of these: {', '.join(accounts)}."
            )
        return name or self.settings.default_exchange


def find(data_dir: Path | None = None) -> Addresses:
    """Find them. `TEMPORAL_ADDRESS` (or the file's) wins over a stack that runs in the data directory.

    Raises
    ------
    ConfigurationError
        When the settings do not fit.
    """
    own = load_seen_settings()
    configured = Addresses(settings=own, api=reachable_url(own.api_host, own.api_port, scheme=own.api_scheme))
    stack = _running_stack(data_dir or default_data_dir())
    if stack is None:
        return configured
    if "temporal_address" in own.model_fields_set and own.temporal_address != stack["temporal"]:
        return configured
    # The stack's own file knows its accounts; the environment is as strong as ever.
    environ = {**({"VOLEX_CONFIG": stack["config"]} if stack.get("config") else {}), **os.environ}
    changes: dict[str, Any] = {
        "temporal_address": stack["temporal"],
        "temporal_api_key": None,
        **dict.fromkeys(name for name in Settings.model_fields if name.startswith("temporal_tls_")),
    }
    if stack["database"]:
        changes["database_url"] = SecretStr(stack["database"])
    return Addresses(
        settings=load_seen_settings(environ).model_copy(update=changes),
        api=stack["api"] or configured.api,
        stack=Path(stack["data_dir"]),
    )


def _running_stack(data_dir: Path) -> dict[str, Any] | None:
    """Return what the stack in that folder says of itself; `None` when none runs there."""
    try:
        told: dict[str, Any] = json.loads(DataDirectory(data_dir).ready_path.read_text("utf-8"))
        runs = psutil.pid_exists(told["pids"]["supervisor"])
    except (OSError, ValueError, KeyError):
        return None
    return told if runs and told.get("temporal") else None
