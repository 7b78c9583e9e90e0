"""The page of metrics of a process without an HTTP interface: ours, and below them those of Temporal's SDK.

The SDK serves its own on a port of loopback that nobody else needs to know; it counts in its own threads, and costs
the orders nothing.
"""

import http.client
import socket
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Final

from temporalio.runtime import PrometheusConfig, Runtime, TelemetryConfig

from observability import metrics

SDK_TIMEOUT_S: Final = 2.0
_BIND_TRIES: Final = 5


class SdkMetrics:
    """Temporal's runtime with its metrics on, and how they are read."""

    def __init__(self) -> None:
        self.runtime, self._port = _open_runtime()

    def read(self) -> bytes:
        """Return them as Prometheus reads them; empty while they do not answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=SDK_TIMEOUT_S)
        try:
            connection.request("GET", "/metrics")
            return connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            return b""
        finally:
            connection.close()


def _open_runtime() -> tuple[Runtime, int]:
    """Find a free port; another program may take it before the SDK does, so it is tried again."""
    for left in reversed(range(_BIND_TRIES)):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        prometheus = PrometheusConfig(
            bind_address=f"127.0.0.1:{port}", counters_total_suffix=True, unit_suffix=True, durations_as_seconds=True
        )
        try:
            return Runtime(telemetry=TelemetryConfig(metrics=prometheus)), port
        except RuntimeError:
            if not left:
                raise
    raise AssertionError("the last try returns or raises")


def serve(address: str, *, number: int = 1, sdk: SdkMetrics | None = None) -> int:
    """Serve the page on `host:port` from a thread of its own; return the port.

    Parameters
    ----------
    number
        The worker's on this host, from 1 on: the second one serves at the next port.

    Raises
    ------
    OSError
        When the port is taken.
    """
    host, _, port = address.rpartition(":")
    handler = type("Page", (_Page,), {"sdk": sdk})
    server = ThreadingHTTPServer((host or "127.0.0.1", int(port) + (number - 1 if int(port) else 0)), handler)
    server.daemon_threads = True
    Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    return int(server.server_address[1])


class _Page(BaseHTTPRequestHandler):
    sdk: SdkMetrics | None = None
    server_version = "volex"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer with the page."""
        if self.path.partition("?")[0] not in ("/metrics", "/"):
            self.send_error(404)
            return
        body = metrics.render() + (self.sdk.read() if self.sdk is not None else b"")
        self.send_response(200)
        self.send_header("Content-Type", metrics.CONTENT_TYPE)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: a scrape every few seconds is no event."""
