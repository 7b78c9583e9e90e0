"""Keys from HashiCorp Vault, KV version 2: `api_keys/{exchange}`. Read anew at every call, so a rotated key is seen.

hvac blocks, so every call runs in a thread; one at a time, for its session is not made for more.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import hvac  # type: ignore[import-untyped]  # hvac ships no types
import requests
from hvac.exceptions import Forbidden, InvalidPath, VaultError  # type: ignore[import-untyped]  # as above
from pydantic import SecretStr

from domain.errors import CredentialsUnavailable
from domain.ports import Credentials
from observability.logs import hide

KEYS_PATH: Final = "api_keys"
SETTINGS_PATH: Final = "agents/execution"
_TIMEOUT_S: Final = 5

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class VaultLogin:
    """How to log in: with a token, as an AppRole, or with a Kubernetes service account; the first that is set."""

    token: SecretStr | None = None
    role_id: str | None = None
    secret_id: SecretStr | None = None
    kubernetes_role: str | None = None
    kubernetes_token_path: Path | None = None


class VaultCredentialStore:
    """Vault at `address`. Logs in at the first call, and again when Vault no longer takes the token."""

    def __init__(
        self,
        address: str,
        *,
        login: VaultLogin,
        mount: str = "secret",
        namespace: str | None = None,
        cacert: Path | None = None,
    ) -> None:
        self._address = address
        self._login = login
        self._mount = mount
        self._namespace = namespace
        self._verify = str(cacert) if cacert else True
        self._client: hvac.Client | None = None
        self._one_at_a_time = asyncio.Lock()

    async def credentials(self, account: str, exchange: str) -> Credentials:
        """Return the venue's keys. Raises `CredentialsUnavailable` when Vault does not answer or holds none."""
        found = await self._read(f"{KEYS_PATH}/{exchange}")
        known = {field: str(found[field]) for field in Credentials.model_fields if found.get(field)}
        if not known:
            raise CredentialsUnavailable(f"Vault holds no api_key at {self._mount}/{KEYS_PATH}/{exchange}")
        for text in known.values():
            hide(text)
        return Credentials(**{field: SecretStr(text) for field, text in known.items()})

    async def execution_settings(self) -> Mapping[str, str]:
        """Return what Vault holds for this agent, for `settings.load_settings(vault=...)`; empty when nothing."""
        try:
            found = await self._read(SETTINGS_PATH)
        except _NothingThere:
            return {}
        return {key: str(value) for key, value in found.items()}

    async def _read(self, path: str) -> Mapping[str, Any]:
        async with self._one_at_a_time:
            return await asyncio.to_thread(self._read_blocking, path)

    def _read_blocking(self, path: str) -> Mapping[str, Any]:
        place = f"{self._mount}/{path}"
        try:
            answer = self._logged_in(
                lambda client: client.secrets.kv.v2.read_secret_version(
                    path=path, mount_point=self._mount, raise_on_deleted_version=True
                )
            )
        except InvalidPath:
            raise _NothingThere(f"Vault holds nothing at {place}", advice=f"Write it: vault kv put {place} …") from None
        except Forbidden:
            raise CredentialsUnavailable(
                f"Vault does not let us read {place}", advice="Check the log-in and its policy."
            ) from None
        except (VaultError, requests.RequestException) as error:
            raise CredentialsUnavailable(f"Vault at {self._address} gives no answer ({type(error).__name__})") from None
        found: Mapping[str, Any] = answer["data"]["data"]
        return found

    def _logged_in(self, call: Callable[[hvac.Client], Answer]) -> Answer:
        """Make a call; when the token has expired meanwhile, log in once more."""
        if self._client is not None:
            try:
                return call(self._client)
            except Forbidden:
                self._client = None
        client = self._open()
        answer = call(client)
        self._client = client
        return answer

    def _open(self) -> hvac.Client:
        login = self._login
        token = login.token.get_secret_value() if login.token else ""
        client = hvac.Client(
            url=self._address, token=token, namespace=self._namespace, verify=self._verify, timeout=_TIMEOUT_S
        )
        if token:
            hide(token)
        elif login.role_id and login.secret_id:
            client.auth.approle.login(role_id=login.role_id, secret_id=login.secret_id.get_secret_value())
        elif login.kubernetes_role and login.kubernetes_token_path:
            try:
                jwt = login.kubernetes_token_path.read_text("utf-8").strip()
            except OSError as error:
                raise CredentialsUnavailable(f"{login.kubernetes_token_path}: {error.strerror}") from None
            client.auth.kubernetes.login(role=login.kubernetes_role, jwt=jwt)
        else:
            raise CredentialsUnavailable(
                "no log-in for Vault is configured",
                advice="Set VAULT_TOKEN, or VAULT_ROLE_ID and VAULT_SECRET_ID, or VAULT_KUBERNETES_ROLE.",
            )
        return client


class _NothingThere(CredentialsUnavailable):
    """The path does not exist."""
