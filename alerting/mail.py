"""Tells alerts by e-mail: one message for up to twenty notices, delivered when the server took it for all."""

import asyncio
import smtplib
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Final, Literal

from pydantic import SecretStr

from domain.alerts import Notice, NoticeState, headline, kind_of, moment
from domain.errors import NoticeNotDelivered

TIMEOUT_S: Final = 8.0
SUBJECT_MAX: Final = 120


@dataclass(frozen=True)
class MailServer:
    """Where and how mail is handed in. The password is only ever sent over TLS, or to this machine."""

    host: str
    port: int
    security: Literal["starttls", "tls", "none"]
    user: str | None = None
    password: SecretStr | None = None


class MailChannel:
    """Implements `domain.alerts.AlertChannel` over SMTP."""

    name = "mail"

    def __init__(self, server: MailServer, *, sender: str, receivers: Sequence[str], runbook_url: str) -> None:
        self._server = server
        self._sender = sender
        self._receivers = list(receivers)
        self._runbook_url = runbook_url

    async def send(self, notices: Sequence[Notice]) -> None:
        """Hand them in as one message, in a thread: the standard library's client waits."""
        message = self._message(notices)
        try:
            await asyncio.to_thread(self._hand_in, message)
        except smtplib.SMTPResponseException as error:
            raise NoticeNotDelivered(f"mail: {type(error).__name__} {error.smtp_code}") from None
        except (smtplib.SMTPException, OSError) as error:
            raise NoticeNotDelivered(f"mail: {type(error).__name__}") from None

    async def close(self) -> None:
        """Nothing is held open between two messages."""

    def _hand_in(self, message: EmailMessage) -> None:
        with self._connected() as client:
            if self._server.user is not None and self._server.password is not None:
                client.login(self._server.user, self._server.password.get_secret_value())
            refused = client.send_message(message, self._sender, self._receivers)
        if refused:
            # Some have it already, and get it again with the next try: better twice than never.
            raise smtplib.SMTPRecipientsRefused(refused)

    def _connected(self) -> smtplib.SMTP:
        server = self._server
        if server.security == "tls":
            return smtplib.SMTP_SSL(server.host, server.port, timeout=TIMEOUT_S, context=ssl.create_default_context())
        client = smtplib.SMTP(server.host, server.port, timeout=TIMEOUT_S)
        if server.security == "starttls":
            client.starttls(context=ssl.create_default_context())
        return client

    def _message(self, notices: Sequence[Notice]) -> EmailMessage:
        message = EmailMessage()
        more = f" (and {len(notices) - 1} more)" if len(notices) > 1 else ""
        message["Subject"] = f"volex {headline(notices[0])}".replace("\n", " ")[:SUBJECT_MAX] + more
        message["From"] = self._sender
        message["To"] = ", ".join(self._receivers)
        message["Date"] = format_datetime(notices[0].alert.resolved_at or notices[0].alert.started_at)
        message["Auto-Submitted"] = "auto-generated"
        message["X-Volex-Notices"] = ",".join(notice.notice_id for notice in notices)
        message.set_content("\n\n".join(self._paragraph(notice) for notice in notices) + "\n")
        return message

    def _paragraph(self, notice: Notice) -> str:
        alert = notice.alert
        lines = [headline(notice), f"since: {moment(alert.started_at)}"]
        if notice.state is NoticeState.RESOLVED and alert.resolved_at is not None:
            lines.append(f"over: {moment(alert.resolved_at)}")
        lines.append(f"what to do: {self._runbook_url}#{kind_of(alert.code).section}")
        return "\n".join(lines)


__all__ = ["MailChannel", "MailServer"]
