"""How the REST interface is served: TLS, and how long a connection may take to say what it wants."""

import asyncio
import logging
import ssl
from typing import Any, Final

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from settings import Settings

HEADERS_TIMEOUT_S: Final = 10.0
"""From the first byte of a connection or a request to the end of its headers."""
HEADERS_MAX_BYTES: Final = 32 * 1024
log = logging.getLogger("volex.api")


class PunctualProtocol(H11Protocol):
    """uvicorn's own, which waits for ever for headers that trickle in; here the connection is closed."""

    headers_timeout_s: float = HEADERS_TIMEOUT_S
    _overdue: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Take in what came; the time runs on as long as it is no whole head of a request."""
        super().data_received(data)
        if self._is_unfinished():
            self._wait()
        else:
            self._wait_no_more()

    def on_response_complete(self) -> None:
        """Wait for the rest of a body that was answered before it had come; nobody reads it."""
        super().on_response_complete()
        if self.conn.their_state is h11.SEND_BODY:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._wait_no_more()
        super().connection_lost(exc)

    def _is_unfinished(self) -> bool:
        """Tell whether the caller owes the rest of something, and nothing is being answered."""
        is_answering = self.cycle is not None and not self.cycle.response_complete
        return not is_answering and self.conn.their_state in (h11.IDLE, h11.SEND_BODY)

    def _wait(self) -> None:
        if self._overdue is None:
            self._overdue = self.loop.call_later(self.headers_timeout_s, self._close)

    def _wait_no_more(self) -> None:
        if self._overdue is not None:
            self._overdue.cancel()
            self._overdue = None

    def _close(self) -> None:
        self._overdue = None
        if not self.transport.is_closing():
            self.transport.close()


def options_of(settings: Settings) -> dict[str, Any]:
    """Return how uvicorn is to serve by these settings. An unencrypted interface on a network is warned of."""
    options: dict[str, Any] = {
        "host": settings.api_host,
        "port": settings.api_port,
        "log_config": None,
        "access_log": settings.debug,
        "http": PunctualProtocol,
        "ws": "none",
        "h11_max_incomplete_event_size": HEADERS_MAX_BYTES,
        "server_header": False,
        # A connection that is kept open must not hold up the stop of the stack.
        "timeout_graceful_shutdown": 2,
        "proxy_headers": bool(settings.api_trusted_proxies),
        "forwarded_allow_ips": list(settings.api_trusted_proxies),
    }
    if settings.api_tls_cert_path is not None:
        options |= {"ssl_certfile": settings.api_tls_cert_path, "ssl_keyfile": settings.api_tls_key_path}
        if settings.api_tls_client_ca_path is not None:
            options |= {"ssl_ca_certs": settings.api_tls_client_ca_path, "ssl_cert_reqs": ssl.CERT_REQUIRED}
    elif not settings.is_on_loopback:
        text = "keys and orders cross the network unencrypted: set API_TLS_CERT_PATH, or serve behind a proxy with TLS"
        log.warning("api_unencrypted", extra={"text": text})
    return options


def serve(app: ASGIApp, settings: Settings) -> None:
    """Serve until a signal comes. Raises `OSError` or `ssl.SSLError` for a certificate that cannot be read."""
    uvicorn.run(app, **options_of(settings))
