"""Which store serves which account: the account's own `credentials` setting says."""

import os
from collections.abc import Mapping

from credentials.environment import EnvCredentialStore, NoCredentials
from credentials.vault_store import VaultCredentialStore, VaultLogin
from domain.errors import ConfigurationError
from domain.ports import CredentialStore
from settings import Settings


def open_credentials(settings: Settings, account: str, *, environ: Mapping[str, str] = os.environ) -> CredentialStore:
    """Return the store that the account's `credentials` setting names. Nothing is asked of Vault yet.

    Raises
    ------
    ConfigurationError
        When it is Vault and no address is configured.
    """
    match settings.accounts[account].credentials:
        case "vault":
            return open_vault(settings)
        case "env":
            return EnvCredentialStore(environ)
        case "none":
            return NoCredentials()


def open_vault(settings: Settings) -> VaultCredentialStore:
    """Return the configured Vault. Raises `ConfigurationError` without `VAULT_ADDR`."""
    if not settings.vault_addr:
        raise ConfigurationError("VAULT_ADDR is not set")
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
    )
