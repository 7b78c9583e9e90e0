"""A receiver of traces: OTLP over HTTP on loopback, which keeps what it is sent for a test to look at."""

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class Receiver:
    """What has arrived so far: spans with the name of the service that sent them, headers, and raw bodies."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, Span]] = []
        self.headers: list[dict[str, str]] = []
        self.bodies: list[bytes] = []
        self.address = ""

    def take(self, body: bytes, headers: dict[str, str]) -> None:
        """Keep one export."""
        self.headers.append(headers)
        self.bodies.append(body)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            names = {entry.key: entry.value.string_value for entry in resource.resource.attributes}
            for scope in resource.scope_spans:
                self.spans.extend((names["service.name"], span) for span in scope.spans)

    def trace_of(self, order_id: str) -> list[tuple[str, Span]]:
        """Return the spans of the trace whose request placed the order."""
        for _, span in self.spans:
            if attributes(span).get("volex.order_id") == order_id:
                return [entry for entry in self.spans if entry[1].trace_id == span.trace_id]
        return []


def attributes(span: Span) -> dict[str, str]:
    """Return a span's attributes as text."""
    return {entry.key: entry.value.string_value or str(entry.value.int_value) for entry in span.attributes}


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Serve one on a free port for as long as the block runs."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            receiver.take(body, dict(self.headers))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    receiver.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
