"""How one logs in to Vault, and what the token that comes of it is good for. Blocking, like hvac."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hvac  # type: ignore[import-untyped]  # hvac ships no types
from hvac.exceptions import Forbidden  # type: ignore[import-untyped]  # as above
from pydantic import SecretStr

from domain.errors import CredentialsUnavailable
from observability.logs import hide


@dataclass(frozen=True)
class VaultLogin:
    """How to log in: with a token, as an AppRole, or with a Kubernetes service account; the first that is set."""

    token: SecretStr | None = None
    role_id: str | None = None
    secret_id: SecretStr | None = None
    kubernetes_role: str | None = None
    kubernetes_token_path: Path | None = None

    @property
    def can_repeat(self) -> bool:
        """Whether a new token can be had without a person."""
        return self.token is None


@dataclass(frozen=True)
class Lease:
    """What a token is good for. `ttl_s` is 0 for one that never expires."""

    ttl_s: int
    renewable: bool

    @property
    def renew_after_s(self) -> float:
        """Seconds after which it is renewed: two thirds of its life, as Vault's own agent does."""
        return self.ttl_s * 2 / 3


def log_in(client: hvac.Client, login: VaultLogin) -> Lease:
    """Give the client a token.

    Raises
    ------
    CredentialsUnavailable
        When nothing is configured to log in with. What Vault says comes as hvac's own errors.
    """
    if login.token is not None:
        hide(login.token)
        client.token = login.token.get_secret_value()
        try:
            found = client.auth.token.lookup_self()["data"]
        except Forbidden:
            # Wrong, or without the default policy: the call that follows tells.
            return Lease(ttl_s=0, renewable=False)
        return Lease(ttl_s=int(found.get("ttl") or 0), renewable=bool(found.get("renewable")))
    if login.role_id and login.secret_id:
        hide(login.secret_id)
        answer = client.auth.approle.login(role_id=login.role_id, secret_id=login.secret_id.get_secret_value())
    elif login.kubernetes_role and login.kubernetes_token_path:
        # Read anew each time: Kubernetes replaces the file.
        try:
            jwt = login.kubernetes_token_path.read_text("utf-8").strip()
        except OSError as error:
            raise CredentialsUnavailable(f"{login.kubernetes_token_path}: {error.strerror}") from None
        hide(jwt)
        answer = client.auth.kubernetes.login(role=login.kubernetes_role, jwt=jwt)
    else:
        raise CredentialsUnavailable(
            "no log-in for Vault is configured",
            advice="Set VAULT_TOKEN, or VAULT_ROLE_ID and VAULT_SECRET_ID, or VAULT_KUBERNETES_ROLE.",
        )
    return lease_of(answer)


def lease_of(answer: Mapping[str, Any]) -> Lease:
    """Read the answer to a log-in or a renewal."""
    granted = answer["auth"]
    hide(granted.get("client_token"))
    return Lease(ttl_s=int(granted.get("lease_duration") or 0), renewable=bool(granted.get("renewable")))
