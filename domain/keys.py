"""An account's keys over time: they are rotated while orders work, and the store that holds them can be away."""

from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Protocol

from domain.order import Frozen
from domain.ports import Credentials


class KeyChange(StrEnum):
    """What asking the store again, after the venue refused a key, has shown."""

    NEWER = "newer"
    """There are other keys than those that were refused: go on with them."""
    SAME = "same"
    """The store holds the very keys that were refused."""
    UNKNOWN = "unknown"
    """The store does not answer; it may hold newer ones."""


Identify = Callable[[Credentials], Awaitable[str | None]]
"""Asks the venue whose keys these are; `None` where it does not tell. Raises the port's errors."""


class KeySource(Protocol):
    """Where an open account takes its keys from. `version` counts up whenever they change."""

    @property
    def keys(self) -> Credentials:
        """The keys that count now."""

    @property
    def version(self) -> int:
        """How often they have changed."""

    @property
    def stale_since_s(self) -> float | None:
        """For how many seconds they have been too old for new orders; `None` while they are not."""

    async def renewed_since(self, version: int) -> KeyChange:
        """Ask the store for newer keys than those of `version`. Never raises."""

    def compare_by(self, identify: Identify) -> None:
        """Take over newer keys only if they are the same account's: another one would not show our orders."""


class KeyPermissions(Frozen):
    """What a key may do, as far as the venue tells. `None` stands for "not told"."""

    read: bool | None = None
    trade: bool | None = None
    withdraw: bool | None = None
    ip_restricted: bool | None = None


class KeyCheck(Frozen):
    """What a signed read with an account's keys has shown."""

    works: bool
    problem: str | None = None
    """Why they do not work."""
    permissions: KeyPermissions = KeyPermissions()
