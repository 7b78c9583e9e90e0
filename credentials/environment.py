"""Keys from the environment, by account name in capitals; and no keys, for accounts that need none."""

from collections.abc import Mapping
from typing import Final

from pydantic import SecretStr

from domain.errors import CredentialsUnavailable
from domain.ports import Credentials
from observability.logs import hide

SUFFIXES: Final = {"api_key": "API_KEY", "secret_key": "SECRET_KEY", "passphrase": "PASSPHRASE", "uid": "UID"}
"""How each field's variable ends: `BINANCEUS_API_KEY` is the `api_key` of account `binanceus`."""


class EnvCredentialStore:
    """Reads variables such as `MY_ACC_API_KEY` for account `my-acc`."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    async def credentials(self, account: str, exchange: str) -> Credentials:
        """Return the account's keys. Raises `CredentialsUnavailable`, naming the variables, when there are none."""
        prefix = account.upper().replace("-", "_")
        names = {field: f"{prefix}_{suffix}" for field, suffix in SUFFIXES.items()}
        found = {field: self._environ[name] for field, name in names.items() if self._environ.get(name)}
        if not found:
            raise CredentialsUnavailable(
                f"account {account!r}: the environment holds no keys",
                advice=f"Set {names['api_key']} and {names['secret_key']}.",
            )
        for text in found.values():
            hide(text)
        return Credentials(**{field: SecretStr(text) for field, text in found.items()})


class NoCredentials:
    """Gives no keys: for public market data and paper accounts."""

    async def credentials(self, account: str, exchange: str) -> Credentials:
        """Return empty keys."""
        return Credentials()
