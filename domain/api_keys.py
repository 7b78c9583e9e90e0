"""Keys of the REST interface: who shows one, what it may do, for which accounts, and until when.

A key is `vlx_`, eight hex digits by which it is recognized, and 256 random bits. The ledger keeps the SHA-256 of the
whole: of so many random bits nothing can be guessed, so no slow hash is needed. A key is shown once, when it is made.
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Final, Protocol

from pydantic import AwareDatetime, Field, StringConstraints

from domain.decisions import Because
from domain.errors import UnknownAccount
from domain.identifiers import Account
from domain.order import Frozen, Label

MARK: Final = "vlx_"
"""What every key of the ledger begins with, so that one that got lost is recognized."""
ID_LENGTH: Final = 8
RANDOM_BYTES: Final = 32
RESERVED: Final = frozenset(
    {"anonymous", "cli", "nobody", "reconciler", "rest", "starter", "temporal", "unknown", "volex"}
)
"""Names that say by which way somebody came, or mean the agent itself."""

KeyName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,47}$")]
KeyId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8}$")]


class Scope(StrEnum):
    """What a key may do. `trade` and `admin` may read too; an `admin` alone cannot trade."""

    READ = "read"
    TRADE = "trade"
    """Place, amend, cancel, pull a kill switch, arm a dead-man switch."""
    ADMIN = "admin"
    """Decide: approve, resolve a doubt, close a case, change limits, lift a kill switch."""


class ApiKey(Frozen):
    """A key as the ledger has it. The key itself is not in it."""

    key_id: KeyId
    name: KeyName
    """Whom it stands for: the scope `key:NAME` of the risk gate, and who approves."""
    digest: bytes = Field(repr=False)
    scopes: frozenset[Scope] = Field(min_length=1)
    accounts: frozenset[Account] | None
    """`None`: every account, also those that are configured later."""
    created_by: Label
    created_at: AwareDatetime
    expires_at: AwareDatetime | None = None
    revoked_by: Label | None = None
    revoked_at: AwareDatetime | None = None
    revoked_because: Because | None = None


class NewKey(Frozen):
    """A key that is asked for."""

    name: KeyName
    scopes: frozenset[Scope] = Field(min_length=1)
    accounts: frozenset[Account] | None = None
    expires_at: AwareDatetime | None = None
    created_by: Label


class Caller(Frozen):
    """Who makes a request, and what it may do."""

    name: str | None = None
    """The key's name; `None`: by the key of the configuration, or without one where none is needed."""
    key_id: str | None = None
    scopes: frozenset[Scope] = frozenset(Scope)
    accounts: frozenset[str] | None = None

    def may(self, scope: Scope) -> bool:
        """Tell whether the scope is among what it may do; who may do anything may read."""
        return scope in self.scopes or (scope is Scope.READ and bool(self.scopes))

    def may_use(self, account: str) -> bool:
        """Tell whether it may use the account."""
        return self.accounts is None or account in self.accounts

    def check_account(self, account: str) -> None:
        """Raise `UnknownAccount` for an account that it may not use, as if it were not there."""
        if self.accounts is not None and account not in self.accounts:
            raise unknown_account(account, self.accounts)

    def signs(self, said: str | None, *, otherwise: str) -> str:
        """Return who did something, for the record: the key's name, else what the caller says."""
        return self.name or said or otherwise


def unknown_account(account: str, known: frozenset[str]) -> UnknownAccount:
    """Return the refusal of an account's name."""
    advice = f"Use one of these: {', '.join(sorted(known)[:10])}."
    return UnknownAccount(f"no exchange {account[:64]!r} is configured", advice=advice)


def write_key(random: bytes) -> tuple[KeyId, str]:
    """Make a key of random bytes: four for its id, and `RANDOM_BYTES`. Returns id and key."""
    key_id = random[: ID_LENGTH // 2].hex()
    secret = base64.urlsafe_b64encode(random[ID_LENGTH // 2 :]).decode("ascii").rstrip("=")
    return key_id, f"{MARK}{key_id}_{secret}"


def id_in(key: bytes) -> str:
    """Return the id that a shown key names; anything for what is no key."""
    return key[len(MARK) : len(MARK) + ID_LENGTH].decode("ascii", "replace")


def digest_of(key: bytes) -> bytes:
    """Return what the ledger keeps of a key."""
    return hashlib.sha256(key).digest()


_NO_KEY: Final = bytes(32)


def find(shown: bytes, keys: Mapping[str, ApiKey], *, now: AwareDatetime) -> Caller | None:
    """Return who shows this key; `None` when it is none, or revoked, or expired. Takes as long for each of them.

    Parameters
    ----------
    keys
        By id.
    now
        The API process's time.
    """
    key = keys.get(id_in(shown))
    fits = hmac.compare_digest(digest_of(shown), key.digest if key is not None else _NO_KEY)
    if key is None or not fits or key.revoked_at is not None:
        return None
    if key.expires_at is not None and key.expires_at <= now:
        return None
    return Caller(name=key.name, key_id=key.key_id, scopes=key.scopes, accounts=key.accounts)


class ApiKeys(Protocol):
    """The keys in the ledger. Each method is one transaction. Raises `StoreUnavailable`."""

    async def usable(self) -> Sequence[ApiKey]:
        """Return the keys that are not revoked, expired or not."""

    async def listed(self) -> Sequence[ApiKey]:
        """Return every key that was ever made, newest first."""

    async def create(self, wanted: NewKey, *, rotate: bool = False) -> tuple[ApiKey, str]:
        """Make a key; returns what is on record, and the key, which nobody can read again.

        Raises `KeyNameTaken` when another usable key has the name, unless `rotate`.
        """

    async def revoke(self, which: str, *, by: str, because: str) -> Sequence[ApiKey]:
        """Revoke a key by its id, or all keys of a name; returns those that were usable before.

        Raises `KeyNotFound` when there is none.
        """


__all__ = [
    "MARK",
    "RANDOM_BYTES",
    "RESERVED",
    "ApiKey",
    "ApiKeys",
    "Caller",
    "KeyName",
    "NewKey",
    "Scope",
    "digest_of",
    "find",
    "id_in",
    "unknown_account",
    "write_key",
]
