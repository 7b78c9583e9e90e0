"""Ways to people for users who run no Alertmanager: a signed webhook, a Slack-compatible one, e-mail."""

from alerting.mail import MailChannel, MailServer
from alerting.webhooks import SlackChannel, WebhookChannel, sign

__all__ = ["MailChannel", "MailServer", "SlackChannel", "WebhookChannel", "sign"]
