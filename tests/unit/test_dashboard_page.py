"""The dashboard drawn without Grafana: every panel, its query filled in, and red above a budget."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from docs.dashboard_page import DASHBOARD, Prometheus, page, shown

NOW = 1_790_000_000.0


class Answers(BaseHTTPRequestHandler):
    """Answers as Prometheus does: one series, of a value, for whatever is asked."""

    asked: list[str] = []  # noqa: RUF012 -- the server makes a handler for each request
    value = "0.75"

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        self.asked.append(parse_qs(parts.query)["query"][0])
        one: dict[str, Any] = {"metric": {"account": "<main>"}}
        at = NOW - 60
        one |= {"values": [[at, self.value], [NOW, "+Inf"]]} if "range" in parts.path else {"value": [NOW, self.value]}
        body = json.dumps({"status": "success", "data": {"result": [one]}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def prometheus() -> Iterator[Prometheus]:
    Answers.asked.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield Prometheus(f"http://127.0.0.1:{server.server_address[1]}", end_s=NOW, minutes=5)
    finally:
        server.shutdown()
        server.server_close()


def test_every_panel_is_drawn_and_what_is_above_its_budget_is_red(prometheus: Prometheus) -> None:
    dashboard = json.loads(DASHBOARD.read_text("utf-8"))
    drawn = "".join(page(dashboard, prometheus))
    assert all(f">{panel['title'].replace('&', '&amp;')}<" in drawn for panel in dashboard["panels"])
    assert not [query for query in Answers.asked if "$" in query]
    assert drawn.count('#c4162a">75.00 %') == 1 and drawn.count('#c4162a">750 ms') == 2
    assert "&lt;main&gt;" in drawn and "<main>:" not in drawn, "a label is text"


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [(0.00042, "percentunit", "0.04 %"), (0.492, "s", "492 ms"), (2.5, "s", "2.5 s"), (float("inf"), "s", "never")],
)
def test_values_are_written_in_their_unit(value: float, unit: str, text: str) -> None:
    assert shown(value, unit) == text
