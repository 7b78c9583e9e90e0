"""Tells alerts over HTTP: one POST for up to twenty notices, taken when the answer is 2xx.

    POST <url>
    Content-Type: application/json
    Idempotency-Key: <the same for every try>
    X-Volex-Timestamp: <seconds since 1970>  refuse what is older than you like
    X-Volex-Signature: v1=<hex of HMAC-SHA256(secret, timestamp "." body)>   only where a secret is set

The webhook's body is Alertmanager's (version 4), so that what receives from Alertmanager receives from here. A Slack
webhook gets `{"text": "…"}`. Neither the address nor the answer's text is ever shown: both may hold secrets.
"""

import hashlib
import hmac
import json
import time
from collections.abc import Sequence
from typing import Any, Final

import httpx2
from pydantic import SecretStr

from domain.alerts import Alert, Notice, NoticeState, headline, kind_of, moment
from domain.errors import NoticeNotDelivered

TIMEOUT_S: Final = 8.0
SIGNATURE: Final = "X-Volex-Signature"
TIMESTAMP: Final = "X-Volex-Timestamp"
_NEVER: Final = "0001-01-01T00:00:00Z"
"""How Alertmanager writes the end of what is not over."""


class _HttpChannel:
    """Posts to one address, and nowhere else: no proxy of the environment, no redirect."""

    name = "http"

    def __init__(self, url: SecretStr, *, runbook_url: str) -> None:
        self._url = url
        self._runbook_url = runbook_url
        self._client = httpx2.AsyncClient(timeout=TIMEOUT_S, trust_env=False, follow_redirects=False)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _post(self, body: bytes, headers: dict[str, str]) -> None:
        try:
            answer = await self._client.post(
                self._url.get_secret_value(), content=body, headers={"Content-Type": "application/json", **headers}
            )
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            raise NoticeNotDelivered(f"{self.name}: {type(error).__name__}") from None
        if not answer.is_success:
            raise NoticeNotDelivered(f"{self.name}: answered {answer.status_code}")

    def _runbook(self, alert: Alert) -> str:
        return f"{self._runbook_url}#{kind_of(alert.code).section}"


class WebhookChannel(_HttpChannel):
    """Implements `domain.alerts.AlertChannel` with a webhook of Alertmanager's shape.

    Parameters
    ----------
    secret
        What each message is signed with; `None`: unsigned.
    """

    name = "webhook"

    def __init__(self, url: SecretStr, secret: SecretStr | None, *, runbook_url: str) -> None:
        super().__init__(url, runbook_url=runbook_url)
        self._secret = secret

    async def send(self, notices: Sequence[Notice]) -> None:
        """Post them in one message."""
        body = json.dumps(self._message(notices), ensure_ascii=False).encode()
        headers = {"Idempotency-Key": ",".join(notice.notice_id for notice in notices)}
        if self._secret is not None:
            headers[TIMESTAMP] = str(int(time.time()))
            headers[SIGNATURE] = sign(self._secret.get_secret_value(), timestamp=headers[TIMESTAMP], body=body)
        await self._post(body, headers)

    def _message(self, notices: Sequence[Notice]) -> dict[str, Any]:
        firing = any(notice.state is NoticeState.FIRING for notice in notices)
        return {
            "version": "4",
            "groupKey": "volex",
            "truncatedAlerts": 0,
            "status": "firing" if firing else "resolved",
            "receiver": "volex",
            "groupLabels": {},
            "commonLabels": {"source": "volex"},
            "commonAnnotations": {},
            "externalURL": "",
            "alerts": [self._alert(notice) for notice in notices],
        }

    def _alert(self, notice: Notice) -> dict[str, Any]:
        alert = notice.alert
        labels = {"alertname": alert.code, "severity": kind_of(alert.code).severity.value, "source": "volex"}
        labels |= {"account": alert.account} if alert.account else {}
        labels |= {"order_id": alert.order_id} if alert.order_id else {}
        annotations = {"summary": alert.summary, "runbook_url": self._runbook(alert)}
        over = notice.state is NoticeState.RESOLVED and alert.resolved_at is not None
        return {
            "status": notice.state.value,
            "labels": labels,
            "annotations": annotations | ({"resolution": alert.resolution} if over and alert.resolution else {}),
            "startsAt": moment(alert.started_at),
            "endsAt": moment(alert.resolved_at) if over and alert.resolved_at is not None else _NEVER,
            "generatorURL": "",
            "fingerprint": alert.fingerprint,
            "notice_id": notice.notice_id,
        }


class SlackChannel(_HttpChannel):
    """Implements `domain.alerts.AlertChannel` with a webhook that takes what Slack's takes."""

    name = "slack"

    async def send(self, notices: Sequence[Notice]) -> None:
        """Post them as one text."""
        lines = [f"{_escaped(headline(notice))}\n{self._runbook(notice.alert)}" for notice in notices]
        await self._post(json.dumps({"text": "\n".join(lines)}, ensure_ascii=False).encode(), {})


def sign(secret: str, *, timestamp: str, body: bytes) -> str:
    """Return the signature of a message, as its header has it."""
    return f"v1={hmac.new(secret.encode(), timestamp.encode() + b'.' + body, hashlib.sha256).hexdigest()}"


def _escaped(text: str) -> str:
    """A venue's words in a reason must not become a mention or a link."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


__all__ = ["SlackChannel", "WebhookChannel", "sign"]
