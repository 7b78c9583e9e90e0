"""Which store serves which account: the account's own `credentials` setting says."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from credentials.environment import EnvCredentialStore, NoCredentials
from credentials.key_ring import KeyRing
from domain.errors import ConfigurationError
from domain.order import TradingMode
from domain.ports import CredentialStore
from settings import Settings, VaultSettings

if TYPE_CHECKING:
    from credentials.vault_store import VaultCredentialStore

TIMEOUT_S: Final = 5.0
"""One question to Vault."""


def open_credentials(
    settings: Settings,
    account: str,
    *,
    environ: Mapping[str, str] = os.environ,
    vault: "VaultCredentialStore | None" = None,
) -> CredentialStore:
    """Return the store that the account's `credentials` setting names. Nothing is asked of Vault yet.

    Parameters
    ----------
    vault
        The process's Vault, so that its accounts share one log-in; opened anew when left out.

    Raises
    ------
    ConfigurationError
        When it is Vault and no address is configured.
    """
    match settings.accounts[account].credentials:
        case "vault":
            return vault or open_vault(settings)
        case "env":
            return EnvCredentialStore(environ)
        case "none":
            return NoCredentials()


def open_key_ring(settings: Settings, account: str, *, vault: "VaultCredentialStore | None" = None) -> KeyRing:
    """Return the account's keys over time, not read yet. A paper account has none, and asks nobody."""
    entry = settings.accounts[account]
    if settings.mode_of(account) is TradingMode.PAPER:
        return KeyRing(NoCredentials(), account=account, name=entry.exchange)
    return KeyRing(
        open_credentials(settings, account, vault=vault),
        account=account,
        name=entry.vault_key or entry.exchange if entry.credentials == "vault" else entry.exchange,
        usable_s=settings.vault_cache_s if entry.credentials == "vault" else None,
    )


def open_vault(settings: VaultSettings, *, timeout_s: float = TIMEOUT_S) -> "VaultCredentialStore":
    """Return the configured Vault. Raises `ConfigurationError` without `VAULT_ADDR`."""
    if not settings.vault_addr:
        raise ConfigurationError("VAULT_ADDR is not set")
    # hvac takes a sixth of a second to import, which commands without a Vault need not wait for.
    from credentials.vault_login import VaultLogin
    from credentials.vault_store import VaultCredentialStore

    login = VaultLogin(
        token=settings.vault_token,
        role_id=settings.vault_role_id,
        secret_id=settings.vault_secret_id,
        kubernetes_role=settings.vault_kubernetes_role,
        kubernetes_token_path=settings.vault_kubernetes_token_path,
    )
    return VaultCredentialStore(
        settings.vault_addr,
        login=login,
        mount=settings.vault_mount,
        namespace=settings.vault_namespace,
        cacert=settings.vault_cacert,
        timeout_s=timeout_s,
    )
