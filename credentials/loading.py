"""Settings with what Vault holds for this agent: for every process that trades, and whoever must see what it sees."""

import logging
import os
from collections.abc import Mapping
from typing import Final

from credentials.choosing import open_vault
from domain.errors import ConfigurationError, CredentialsUnavailable
from domain.order import TradingMode
from settings import Settings, load_settings, load_vault_settings

READER_TIMEOUT_S: Final = 2.0
"""A command that only looks does not wait longer for Vault."""
log = logging.getLogger("volex.settings")


def load_all_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read all settings, Vault's `agents/execution` among them where `VAULT_ADDR` is set.

    Raises
    ------
    ConfigurationError
        When they do not fit; and when Vault does not answer although an account could trade for real, or the risk
        agent's secret can only be there: what Vault would have said may be a limit.
    """
    environ = os.environ if environ is None else environ
    vault = load_vault_settings(environ)
    if not vault.vault_addr:
        return load_settings(environ)
    try:
        texts = open_vault(vault).read_execution_settings()
    except CredentialsUnavailable as error:
        settings = load_settings(environ)
        _refuse_without_vault(settings, error)
        log.warning("vault_unavailable", extra={"text": f"paper mode goes on without Vault's settings: {error}"})
        return settings
    settings = load_settings(environ, vault=texts)
    if settings.risk.agent.url is not None and settings.risk.agent.secret is None:
        raise ConfigurationError(
            "risk.agent needs a secret, and Vault's agents/execution holds no risk_agent_secret",
            advice="Write it with `vault kv patch`, or set RISK__AGENT__SECRET.",
        )
    return settings


def load_seen_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read all settings for a command that only looks: a Vault that does not answer soon is done without."""
    vault = load_vault_settings(environ)
    if not vault.vault_addr:
        return load_settings(environ)
    try:
        return load_settings(environ, vault=open_vault(vault, timeout_s=READER_TIMEOUT_S).read_execution_settings())
    except CredentialsUnavailable:
        return load_settings(environ)


def _refuse_without_vault(settings: Settings, error: CredentialsUnavailable) -> None:
    decided = "dry_run_mode" in settings.model_fields_set
    real = [
        name
        for name, entry in settings.accounts.items()
        if entry.mode is not TradingMode.PAPER and not (decided and settings.dry_run_mode)
    ]
    if real:
        raise ConfigurationError(
            f"Vault does not answer, and {', '.join(sorted(real))} would not be in paper mode: {error.message}",
            advice=f"Start or unseal Vault ({error.what_to_do}) Or set DRY_RUN_MODE=true to go on in paper mode.",
        )
    if settings.risk.agent.url is not None and settings.risk.agent.secret is None:
        raise ConfigurationError(
            f"the risk agent's secret is in Vault, which does not answer: {error.message}",
            advice="Start or unseal Vault, or set RISK__AGENT__SECRET.",
        )
