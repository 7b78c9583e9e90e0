"""Keys from HashiCorp Vault, KV version 2: `api_keys/{exchange}`. Read anew at every call, so a rotated key is seen.

hvac blocks, so every call runs in a thread of our own; one at a time, for its session is not made for more. `keep()`
renews the token before it expires, and logs in again where it cannot be renewed any more.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeVar

import hvac  # type: ignore[import-untyped]  # hvac ships no types
import requests
from hvac.exceptions import Forbidden, InvalidPath, VaultError  # type: ignore[import-untyped]  # as above
from pydantic import SecretStr

from credentials.choosing import TIMEOUT_S
from credentials.vault_login import Lease, VaultLogin, lease_of, log_in
from domain.errors import CredentialsUnavailable
from domain.ports import Credentials
from observability import metrics
from observability.logs import hide

KEYS_PATH: Final = "api_keys"
SETTINGS_PATH: Final = "agents/execution"
LOOK_INTERVAL_S: Final = 60.0
"""A token that never expires, or that nobody can renew, is looked at this rarely."""
RETRY_S: Final = 2.0
"""Pause after a renewal that failed: Vault is down or sealed, and the token goes on expiring."""
EXPIRY_WARNED_S: Final = 24 * 3600
log = logging.getLogger("volex.vault")

Answer = TypeVar("Answer")


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
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._address = address
        self._login = login
        self._mount = mount
        self._namespace = namespace
        self._verify = str(cacert) if cacert else True
        self._timeout_s = timeout_s
        self._client: hvac.Client | None = None
        self._lease: Lease | None = None
        self._granted_s: int | None = None
        self._one_at_a_time = threading.Lock()
        # Not asyncio's own threads: a Vault that hangs would take them from the look-up of the venues' addresses.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="vault")
        self._probing: asyncio.Task[Mapping[str, Any]] | None = None

    async def credentials(self, account: str, exchange: str) -> Credentials:
        """Return the keys under that name. Raises `CredentialsUnavailable` when Vault does not answer or holds none."""
        found = await self._in_thread(lambda: self._read(f"{KEYS_PATH}/{exchange}"))
        known = {field: str(found[field]) for field in Credentials.model_fields if found.get(field)}
        if not known:
            raise CredentialsUnavailable(f"Vault holds no api_key at {self._mount}/{KEYS_PATH}/{exchange}")
        for text in known.values():
            hide(text)
        return Credentials(**{field: SecretStr(text) for field, text in known.items()})

    async def execution_settings(self) -> Mapping[str, str]:
        """Return what Vault holds for this agent, for `settings.load_settings(vault=...)`; empty when nothing."""
        return await self._in_thread(self.read_execution_settings)

    def read_execution_settings(self) -> Mapping[str, str]:
        """Do the same, blocking: for the start of a process."""
        try:
            found = self._read(SETTINGS_PATH)
        except _NothingThere:
            return {}
        for key, value in found.items():
            if "secret" in key:
                hide(str(value))
        return {key: str(value) for key, value in found.items()}

    async def probe(self) -> None:
        """Raise `CredentialsUnavailable` unless Vault is there, unsealed, and takes our token."""
        probing = self._probing
        if probing is None or probing.done():
            probing = self._probing = asyncio.create_task(self._in_thread(self._look_at_token))
            # Who asked may have gone when it fails.
            probing.add_done_callback(lambda probed: probed.cancelled() or probed.exception())
        await asyncio.shield(probing)

    async def _in_thread(self, step: Callable[[], Answer]) -> Answer:
        return await asyncio.get_running_loop().run_in_executor(self._thread, step)

    def _look_at_token(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self._asked("our own token", lambda client: client.auth.token.lookup_self()["data"])
        return found

    async def keep(self) -> None:
        """Renew the token for as long as this runs. Never raises for what Vault does."""
        while True:
            try:
                pause_s = await self._in_thread(self._renew)
            except CredentialsUnavailable as error:
                metrics.show_vault(up=False)
                log.warning("vault_token_not_renewed", extra={"text": str(error)})
                pause_s = RETRY_S
            else:
                metrics.show_vault(up=True)
            await asyncio.sleep(pause_s)

    def _renew(self) -> float:
        """Renew the token, or log in again. Return the seconds until it is due once more."""
        lease, client = self._lease, self._client
        if client is None or lease is None:
            self._look_at_token()
        elif lease.ttl_s and lease.renewable:
            renewed = self._asked("our own token", lambda kept: lease_of(kept.auth.token.renew_self()))
            with self._one_at_a_time:
                # A token near the end of its longest life is given less at each renewal.
                self._lease = renewed
                if self._granted_s is not None and renewed.ttl_s < self._granted_s / 2 and self._login.can_repeat:
                    self._client = self._lease = None
                    return 0.0
        elif lease.ttl_s and self._login.can_repeat:
            with self._one_at_a_time:
                self._client = self._lease = None
            self._look_at_token()
        else:
            self._warn_of_the_end()
        return self._next_look_s()

    def _next_look_s(self) -> float:
        lease = self._lease
        if lease is None or not lease.ttl_s or not (lease.renewable or self._login.can_repeat):
            return LOOK_INTERVAL_S
        return max(lease.renew_after_s, 0.2)

    def _warn_of_the_end(self) -> None:
        """Look at a token that nobody here can renew."""
        left_s = int(self._look_at_token().get("ttl") or 0)
        if 0 < left_s < EXPIRY_WARNED_S:
            log.warning("vault_token_expires", extra={"text": f"VAULT_TOKEN ends in {left_s} s, and is not renewable"})

    def _read(self, path: str) -> Mapping[str, Any]:
        place = f"{self._mount}/{path}"

        def read(client: hvac.Client) -> Mapping[str, Any]:
            kv = client.secrets.kv.v2
            answer = kv.read_secret_version(path=path, mount_point=self._mount, raise_on_deleted_version=True)
            found: Mapping[str, Any] = dict(answer["data"]["data"])
            return found

        return self._asked(place, read)

    def _asked(self, what: str, call: Callable[[hvac.Client], Answer]) -> Answer:
        """Ask Vault, logged in. Raises `CredentialsUnavailable`; no word of its answer is in the message."""
        try:
            with self._one_at_a_time:
                return self._logged_in(call)
        except InvalidPath:
            raise _NothingThere(f"Vault holds nothing at {what}", advice=f"Write it: vault kv put {what} …") from None
        except Forbidden:
            raise CredentialsUnavailable(
                f"Vault does not let us read {what}", advice="Check the log-in and its policy."
            ) from None
        except requests.exceptions.SSLError:
            raise CredentialsUnavailable(
                f"the certificate of Vault at {self._address} is not trusted",
                advice="Set VAULT_CACERT to the certificate of the authority that signed it.",
            ) from None
        except (VaultError, requests.RequestException, OSError, KeyError, TypeError, ValueError) as error:
            # The last three: something else than Vault answers at that address.
            raise CredentialsUnavailable(f"Vault at {self._address} gives no answer ({type(error).__name__})") from None

    def _logged_in(self, call: Callable[[hvac.Client], Answer]) -> Answer:
        """Make a call; when the token has expired meanwhile, log in once more."""
        if self._client is not None:
            try:
                return call(self._client)
            except Forbidden:
                self._client = self._lease = None
        client = hvac.Client(
            url=self._address, token="", namespace=self._namespace, verify=self._verify, timeout=self._timeout_s
        )
        lease = log_in(client, self._login)
        answer = call(client)
        self._client, self._lease, self._granted_s = client, lease, lease.ttl_s
        return answer


class _NothingThere(CredentialsUnavailable):
    """The path does not exist."""
