"""A venue whose answers are bytes of the test's choice, to send what no proper server would.

It speaks enough of Binance's spot REST for markets and time; every other answer is set by the test.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

HANG = b"hang"
DROP = b"drop"

_MARKETS = {
    "timezone": "UTC",
    "symbols": [
        {
            "symbol": "BTCUSDT",
            "status": "TRADING",
            "baseAsset": "BTC",
            "quoteAsset": "USDT",
            "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS", "STOP_LOSS_LIMIT"],
            "permissions": ["SPOT"],
            "filters": [
                {"filterType": "PRICE_FILTER", "minPrice": "0.01", "maxPrice": "1000000", "tickSize": "0.01"},
                {"filterType": "LOT_SIZE", "minQty": "0.00001", "maxQty": "9000", "stepSize": "0.00001"},
                {"filterType": "MIN_NOTIONAL", "minNotional": "5"},
            ],
        }
    ],
}


def answer(status: int, body: object, *, headers: dict[str, str] | None = None, cut: int = 0) -> bytes:
    """Write an HTTP answer; `cut` bytes of its announced body are missing."""
    text = body if isinstance(body, str) else json.dumps(body)
    content = text.encode()
    lines = [f"HTTP/1.1 {status} X", "Content-Type: application/json", f"Content-Length: {len(content)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content[: len(content) - cut]


@dataclass(slots=True)
class Request:
    """What arrived."""

    method: str
    path: str
    params: dict[str, str]
    connection: int


@dataclass
class RawVenue:
    """Answers of the test's choice, by method and path; what arrived is kept in `requests`."""

    url: str = ""
    clock_ahead_ms: int = 0
    requests: list[Request] = field(default_factory=list)
    answers: dict[str, bytes | Callable[[Request], bytes]] = field(default_factory=dict)
    idle_timeout_s: float | None = None
    connections: int = 0
    open_connections: int = 0

    def of(self, method: str, path: str = "") -> list[Request]:
        """Return the requests that arrived with this method, to this path if one is given."""
        return [made for made in self.requests if made.method == method and made.path.endswith(path)]

    def now_ms(self) -> int:
        """Return the venue's time."""
        return int(time.time() * 1000) + self.clock_ahead_ms

    def _bytes(self, request: Request) -> bytes:
        given = self.answers.get(f"{request.method} {request.path.removeprefix('/api/v3/')}")
        if given is not None:
            return given(request) if callable(given) else given
        if request.path.endswith("/time"):
            return answer(200, {"serverTime": self.now_ms()})
        if request.path.endswith("/exchangeInfo"):
            return answer(200, _MARKETS)
        return answer(404, "")

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        self.connections += 1
        self.open_connections += 1
        connection = self.connections
        try:
            while True:
                async with asyncio.timeout(self.idle_timeout_s):
                    head = (await reader.readuntil(b"\r\n\r\n")).decode()
                request_line, *header_lines = head.split("\r\n")
                method, target, _ = request_line.split(" ")
                headers = dict(line.lower().split(": ", 1) for line in header_lines if ": " in line)
                body = (await reader.readexactly(int(headers.get("content-length", 0)))).decode()
                params = dict(parse_qsl(urlsplit(target).query) + parse_qsl(body))
                request = Request(method, urlsplit(target).path, params, connection)
                self.requests.append(request)
                reply = self._bytes(request)
                if reply == HANG:
                    await reader.read()
                    return
                if reply == DROP:
                    return
                writer.write(reply)
                await writer.drain()
                if b"\r\nContent-Length: " not in reply or not _is_whole(reply):
                    return
        except (asyncio.IncompleteReadError, ConnectionError, TimeoutError):
            return
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
            self.open_connections -= 1


def _is_whole(reply: bytes) -> bool:
    head, _, content = reply.partition(b"\r\n\r\n")
    announced = int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0])
    return len(content) == announced


@asynccontextmanager
async def raw_venue() -> AsyncIterator[RawVenue]:
    """Run one on a free port."""
    venue = RawVenue()
    server = await asyncio.start_server(venue.serve, "127.0.0.1", 0)
    port: Any = server.sockets[0].getsockname()[1]
    venue.url = f"http://127.0.0.1:{port}/api/v3"
    try:
        yield venue
    finally:
        server.close()
