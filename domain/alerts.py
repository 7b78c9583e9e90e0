"""Alerts: matters that people are told about, from when they begin to when they are over.

The ledger says what there is to tell: open cases, kill switches, held orders, the age of feeds. An alert is told once
for each channel when it begins and once when it is over; the pair (code, fingerprint) is open once at most.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Final, Protocol

from pydantic import AwareDatetime, BaseModel, ConfigDict

TEXT_MAX: Final = 500
"""Characters of an alert's text, at most: channels limit the length of a message."""
BACKOFF_FIRST_S: Final = 2
BACKOFF_MAX_S: Final = 300
"""A channel that comes back after a long night is used within five minutes."""
TOLD_FOR_S: Final = 72 * 3600
"""After three days of failing a notice is given up, and the log says so."""


class Severity(StrEnum):
    """How soon a person should look."""

    CRITICAL = "critical"
    WARNING = "warning"


class AlertKind(BaseModel):
    """What a code means: how urgent it is, and which section of the runbook says what to do."""

    model_config = ConfigDict(frozen=True)

    severity: Severity
    section: str


def _kind(severity: Severity, section: str) -> AlertKind:
    return AlertKind(severity=severity, section=section)


ALERT_KINDS: Final[Mapping[str, AlertKind]] = {
    "ORDER_IN_DOUBT": _kind(Severity.CRITICAL, "an-order-in-doubt"),
    "KILL_SWITCH_ON": _kind(Severity.CRITICAL, "kill-switch"),
    "DEADMAN_FIRED": _kind(Severity.CRITICAL, "dead-man-switch"),
    "FEED_STALE": _kind(Severity.CRITICAL, "feed-is-stale"),
    "VENUE_SILENT": _kind(Severity.CRITICAL, "venue-is-down"),
    "RECONCILIATION_LATE": _kind(Severity.CRITICAL, "reconciliation-failed"),
    "VAULT_DOWN": _kind(Severity.CRITICAL, "vault-is-away"),
    "LEDGER_RESTORED": _kind(Severity.CRITICAL, "the-ledger-was-restored-from-an-earlier-moment"),
    "POSITION_MISMATCH": _kind(Severity.CRITICAL, "balance-or-position-that-does-not-fit"),
    "BALANCE_MISMATCH": _kind(Severity.WARNING, "balance-or-position-that-does-not-fit"),
    "ORPHAN_ORDER": _kind(Severity.WARNING, "orphans"),
    "OPEN_AFTER_END": _kind(Severity.WARNING, "orphans"),
    "ORDER_HELD": _kind(Severity.WARNING, "approvals"),
    "TEST": _kind(Severity.WARNING, "alerts"),
}
OTHER_KIND: Final = _kind(Severity.WARNING, "cases")
"""A case of any other code."""


def kind_of(code: str) -> AlertKind:
    """Return what a code means."""
    return ALERT_KINDS.get(code, OTHER_KIND)


class NoticeState(StrEnum):
    """Which of the two things a notice says."""

    FIRING = "firing"
    RESOLVED = "resolved"


class Alert(BaseModel):
    """One matter. `resolved_at` is `None` while it lasts."""

    model_config = ConfigDict(frozen=True)

    alert_id: int
    code: str
    fingerprint: str
    account: str | None = None
    order_id: str | None = None
    summary: str
    started_at: AwareDatetime
    resolved_at: AwareDatetime | None = None
    resolution: str | None = None


class Notice(BaseModel):
    """What one channel is to be told of one alert. `attempts` counts this try."""

    model_config = ConfigDict(frozen=True)

    alert: Alert
    state: NoticeState
    attempts: int

    @property
    def notice_id(self) -> str:
        """The same for every try, so that a receiver can drop what it has."""
        return f"{self.alert.alert_id}-{self.state}"


class WatchTerms(BaseModel):
    """What counts as too old, in seconds, for which accounts, and what nobody wants to be told."""

    model_config = ConfigDict(frozen=True)

    accounts: tuple[str, ...]
    feed_stale_s: int = 60
    venue_silent_s: int = 120
    reconciliation_late_s: int = 300
    mute: tuple[str, ...] = ()


class VaultWord(StrEnum):
    """What the watching process knows of Vault. UNSURE neither begins an alert nor ends one."""

    SERVES = "serves"
    UNSURE = "unsure"
    DOWN = "down"


class AlertStore(Protocol):
    """The queue in the ledger. Every method raises `StoreUnavailable`."""

    async def take_lease(self, holder: str, *, started: bool) -> bool:
        """Take or keep the turn to watch for the whole fleet; false while another holds it.

        Parameters
        ----------
        started
            It is this process's first round: what is old may only have waited for it.
        """
        ...

    async def watch(self, terms: WatchTerms, *, channels: Sequence[str], vault: VaultWord) -> Sequence[Alert]:
        """Write what began and what is over, and queue a notice of each for every channel; return what changed."""
        ...

    async def claim(self, channel: str) -> Sequence[Notice]:
        """Take what is due for a channel, oldest first, for a minute: whoever dies with it leaves it to the next."""
        ...

    async def delivered(self, channel: str, notices: Sequence[Notice]) -> None:
        """Note that the receiver has taken them."""
        ...

    async def failed(self, channel: str, notices: Sequence[Notice], *, error: str) -> int:
        """Note that it has not, and when each is tried again; return how many were given up."""
        ...

    async def release_lease(self, holder: str) -> None:
        """Leave the turn to another process at once."""
        ...


class AlertChannel(Protocol):
    """A way to people."""

    name: str

    async def send(self, notices: Sequence[Notice]) -> None:
        """Tell them, in one message. Raises `NoticeNotDelivered` unless the receiver has said that it took it."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


def backoff_s(attempts: int) -> int:
    """Return the seconds until the next try, after so many."""
    return int(min(BACKOFF_FIRST_S * 2 ** min(max(attempts - 1, 0), 10), BACKOFF_MAX_S))


def headline(notice: Notice) -> str:
    """Return a notice in one line."""
    alert = notice.alert
    what = f"{alert.code}: {alert.summary}"
    if notice.state is NoticeState.FIRING:
        return f"[{kind_of(alert.code).severity.upper()}] {what}"
    return f"[RESOLVED] {what}" + (f" ({alert.resolution})" if alert.resolution else "")


def moment(at: datetime) -> str:
    """Return a time as our interfaces write it."""
    return f"{at:%Y-%m-%dT%H:%M:%S.%fZ}"


__all__ = [
    "ALERT_KINDS",
    "Alert",
    "AlertChannel",
    "AlertKind",
    "AlertStore",
    "Notice",
    "NoticeState",
    "Severity",
    "VaultWord",
    "WatchTerms",
    "backoff_s",
    "headline",
    "kind_of",
    "moment",
]
