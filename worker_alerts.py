"""How a worker comes to its share in telling people: settings → channels → watch. It only wires."""

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncEngine

from activities.alert_watch import AlertWatch
from alerting import MailChannel, MailServer, SlackChannel, WebhookChannel
from domain.alerts import AlertChannel, WatchTerms
from observability import metrics
from observability.logs import hide
from settings import NotifySettings, Settings
from storage.alerts import SqlAlertStore

_INTERVALS_MISSED = 5
"""So many reconciliations, or looks at the balances, that did not come are no accident."""


def open_channels(own: NotifySettings) -> Sequence[AlertChannel]:
    """Make the channels that are configured. Nothing is connected yet; their secrets are hidden from logs."""
    for secret in (own.webhook_url, own.webhook_secret, own.slack_url, own.smtp_password):
        hide(secret)
    channels: list[AlertChannel] = []
    if own.webhook_url is not None:
        channels.append(WebhookChannel(own.webhook_url, own.webhook_secret, runbook_url=own.runbook_url))
    if own.slack_url is not None:
        channels.append(SlackChannel(own.slack_url, runbook_url=own.runbook_url))
    if own.smtp_host is not None:
        server = MailServer(
            own.smtp_host, own.smtp_port, security=own.smtp_security, user=own.smtp_user, password=own.smtp_password
        )
        sender = own.mail_from or ""  # the settings have checked that there is one
        channels.append(MailChannel(server, sender=sender, receivers=own.mail_to, runbook_url=own.runbook_url))
    return channels


def open_alert_watch(settings: Settings, engine: AsyncEngine, identity: str) -> AlertWatch | None:
    """Return what watches and tells; `None` where nobody is to be told."""
    channels = open_channels(settings.notify)
    if not channels:
        return None
    idle_s = settings.worker.feed_idle_interval_ms // 1000
    terms = WatchTerms(
        accounts=tuple(settings.accounts),
        venue_silent_s=max(120, _INTERVALS_MISSED * idle_s),
        reconciliation_late_s=max(300, _INTERVALS_MISSED * settings.worker.reconcile_interval_s),
        mute=settings.notify.mute,
    )
    return AlertWatch(
        SqlAlertStore(engine),
        channels,
        terms=terms,
        holder=identity,
        vault_fails=lambda: bool(settings.vault_addr) and not metrics.vault_is_up(),
    )
