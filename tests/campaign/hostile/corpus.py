"""Hostile requests of our own making, byte by byte: each is a route of the interface with something wrong about it.

Some are wholly good but for the key: those must have no effect either.
"""

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

ORDER: Final = {"symbol": "BTC/USDT", "side": "buy", "order_type": "limit", "amount": 0.01, "price": 50000}
SCOPE: Final = "key:trader"
"""The scope of the risk gate that hostile callers with rights can reach: their own."""
BODIES: Final[Mapping[tuple[str, str], Mapping[str, Any]]] = {
    ("POST", "/orders"): ORDER,
    ("POST", "/orders/validate"): ORDER,
    ("POST", "/risk/simulate"): ORDER,
    ("PATCH", "/orders/{exchange}/{order_id}"): {"amount": 0.02, "price": 50001},
    ("POST", "/orders/{exchange}/{order_id}/resolve"): {"never_placed": True, "because": "so"},
    ("POST", "/orders/{exchange}/{order_id}/approve"): {"because": "so", "by": "jo"},
    ("POST", "/orders/{exchange}/{order_id}/reject"): {"because": "so", "by": "jo"},
    ("POST", "/cases/{exchange}/{case_id}/close"): {"because": "so"},
    ("POST", "/risk/kill"): {"scope": SCOPE, "reason": "so", "cancel_orders": True, "flatten": False},
    ("POST", "/risk/kill/lift"): {"scope": SCOPE, "because": "so"},
    ("POST", "/risk/deadman"): {"scope": SCOPE, "timeout_s": 3600, "stop_admission": False},
    ("POST", "/risk/deadman/beat"): {"scope": SCOPE},
    ("POST", "/risk/deadman/disarm"): {"scope": SCOPE},
    ("PATCH", "/risk/limits"): {"scope": SCOPE, "limits": {"max_open_orders": 5}, "because": "so"},
    ("POST", "/risk/try"): {"risk": {"max_order_notional": "10"}},
}
GOOD: Final = {"exchange": "binanceus", "order_id": "a" * 16, "case_id": "1", "kind": "fills", "symbol": "BTC/USDT"}
SEGMENTS: Final = (
    "..",
    "../../etc/passwd",
    "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "%00",
    "binanceus%00",
    "%ff%fe",
    "%0d%0aX-A:%20b",
    "nowhere",
    "' OR 1=1--",
    "1;DROP TABLE orders",
    "$(id)",
    "{{7*7}}",
    "%25%32%65",
    "..;/",
    "BINANCEUS",
    "binanceus%2f..",
    "a" * 4000,
    "-1",
    "0",
    "9" * 40,
    "NaN",
    "%D9%A3",
    "%F0%9F%92%B8",
    "%C0%AF",
    "null",
    "undefined",
    "%",
    "?",
    "#",
    "*",
    "//",
    "\\",
)
VALUES: Final = (
    "NaN",
    "-Infinity",
    "1e400",
    "1e-400",
    "-1",
    "0",
    "-0.0",
    "9" * 400,
    "1e18",
    "0.1e999999999999",
    "5e-05",
    "00012",
    '""',
    '"NaN"',
    '"1"',
    "null",
    "true",
    "[]",
    "{}",
    "[[[[[[]]]]]]",
    '{"a": {"b": [1, 2]}}',
    '"' + "a" * 70 + '"',
    '"\\u0000"',
    '"\\ud800"',
    '"\\u202eBTC"',
    '"BTC/USDT\\u0000"',
    "\"' OR '1'='1\"",
    '"; DROP TABLE orders;--"',
    '"../../etc/passwd"',
    '"${jndi:ldap://127.0.0.1/a}"',
    '"<script>alert(1)</script>"',
    '"\\n\\rX: y"',
    '"💸"',
    '"ｂｕｙ"',
    "1" + "0" * 5000,
    '"9999-12-31T23:59:59+23:59"',
    '"0000-00-00"',
    "1E+2147483648",
    "0x10",
    "1_000",
    "Infinity",
    '"%s%s%n"',
)
QUERIES: Final = (
    "",
    "?limit=-1",
    "?limit=1e9",
    "?limit=99999999999999999999999",
    "?limit=1&limit=2",
    "?before=%00",
    "?before=' OR 1=1--",
    "?status=%ff",
    "?symbol=" + "A" * 3000,
    "?wait=never",
    "?timeout_s=NaN",
    "?timeout_s=1e308",
    "?timeout_s=-1",
    "?year=0",
    "?year=2026&method=%F0%9F%92%B8",
    "?mode=live'--",
    "?%5B%5D=1",
    "?a=" + "&a=" * 500,
    "?currency=%00",
    "?open=maybe",
    "?;",
    "?before=9223372036854775808",
    "?before=-9223372036854775809",
    "?scope=firm%00",
    "?exchange=nowhere",
    "?since=yesterday",
)
KINDS: Final = (
    "application/json",
    "application/json",
    "application/json",
    "text/plain",
    "application/x-www-form-urlencoded",
    "",
    "multipart/form-data; boundary=a",
    "application/json; charset=utf-16",
    "application/xml",
    "application/json, text/plain",
)
HEADERS: Final = (
    "X-HTTP-Method-Override: DELETE",
    "X-Forwarded-For: 127.0.0.1",
    "X-Forwarded-Host: evil.example",
    "Forwarded: for=_x",
    "X-Original-URL: /risk/kill",
    "X-Rewrite-URL: /orders",
    "Cookie: key=1",
    "Accept: application/xml",
    "Accept: */*;q=NaN",
    "Idempotency-Key: " + "k" * 300,
    "Idempotency-Key: \x01",
    "Idempotency-Key: a b",
    "Idempotency-Key: \xff\xfe",
    "Origin: https://evil.example",
    "Origin: null",
    "Sec-Fetch-Site: cross-site",
    "Range: bytes=0-99999999999",
    "If-None-Match: *",
    "Upgrade: websocket",
    "Upgrade: h2c",
    "Connection: keep-alive, X-API-Key",
    "Te: trailers",
    "Content-Encoding: gzip",
    "Expect: 100-continue",
    "X-A: " + "b" * 20_000,
    "traceparent: 00-zz-zz-zz",
    "X-API-Key: admin",
)
METHODS: Final = (
    "PUT",
    "HEAD",
    "OPTIONS",
    "TRACE",
    "CONNECT",
    "FOO",
    "post",
    "DELETE",
    "PATCH",
    "GET",
    "POST",
    "PROPFIND",
)
_BROKEN: Final[Sequence[Callable[[bytes], bytes]]] = (
    lambda body: body[: len(body) // 2],
    lambda body: b"\xff\xfe" + body,
    lambda body: b"\xef\xbb\xbf" + body,
    lambda body: body.decode().encode("utf-16"),
    lambda body: body.replace(b"{", b'{"symbol": "ETH/USDT", "scope": "firm", ', 1),  # a field twice
    lambda body: b"[" * 30_000,
    lambda body: b'{"a":' * 12_000 + b"1" + b"}" * 12_000,
    lambda body: b"[" + body + b"]",
    lambda body: body + b"\x00",
    lambda body: body + body,
    lambda body: body.replace(b'"', b"'"),
    lambda body: b'"' + b"a" * 70_000 + b'"',
    lambda body: b" " * 66_000 + body,
    lambda body: b"",
    lambda body: b"\x1f\x8b\x08\x00" + body,
)
_SMUGGLED: Final = (
    "Content-Length: 5\r\nContent-Length: 6",
    "Transfer-Encoding: chunked\r\nContent-Length: 4",
    "Transfer-Encoding: xchunked",
    "Transfer-Encoding : chunked",
    "Content-Length: -1",
    "Content-Length: +5",
    "Content-Length: 0x5",
    "Host: evil.example",
    "X-A: b\r\n folded: c",
    "X-\x00A: b",
    "Content-Length: 99999999999999999999",
    "Transfer-Encoding: chunked, identity",
)


@dataclass(frozen=True)
class Shot:
    """One hostile request."""

    what: str
    method: str
    path: str
    """As it is declared."""
    key: str
    """Name of the key that is shown."""
    raw: bytes
    """What is sent; the key is to be put in place of `KEY_LINE`."""


KEY_LINE: Final = b"X-Key-Here: 1\r\n"


class Corpus:
    """Makes shots, the same ones for the same dice.

    Parameters
    ----------
    routes
        Methods and paths as they are declared.
    keys
        Names of keys to be shown.
    spoiled
        Whether every request has something wrong about it but the key.
    """

    def __init__(
        self, dice: random.Random, routes: Sequence[tuple[str, str]], keys: Sequence[str], *, spoiled: bool
    ) -> None:
        self._dice = dice
        self._routes = routes
        self._keys = keys
        self._spoiled = spoiled

    def shot(self) -> Shot:
        """Make one."""
        dice = self._dice
        method, path = dice.choice(self._routes)
        ways = ("segment", "query", "value", "value", "value", "broken", "kind", "header", "method", "smuggled")
        what = dice.choice(ways if self._spoiled else (*ways, "good", "good", "good"))
        sent_method, target, kind = method, _filled(path, GOOD), "application/json"
        body = json.dumps(BODIES.get((method, path), {})).encode() if method in ("POST", "PATCH") else b""
        extra = ""
        match what:
            case "segment":
                names = [name for name in GOOD if f"{{{name}" in path]
                hostile = {**GOOD, **({dice.choice(names): dice.choice(SEGMENTS)} if names else {})}
                target = _filled(path, hostile) if names else path + "/" + dice.choice(SEGMENTS)
            case "query":
                target += dice.choice(QUERIES[1:])
            case "value":
                body = self._with_value(method, path) or body
                target += dice.choice(("", "", dice.choice(QUERIES))) if method == "GET" else ""
            case "broken":
                body = dice.choice(_BROKEN)(body or b"{}")
            case "kind":
                kind = dice.choice(KINDS[3:])
            case "header":
                extra = dice.choice(HEADERS) + "\r\n"
            case "method":
                sent_method = dice.choice([other for other in METHODS if other != method])
            case "smuggled":
                extra = dice.choice(_SMUGGLED) + "\r\n"
        return Shot(
            what, sent_method, path, dice.choice(self._keys), _raw(sent_method, target, kind, body, extra, what)
        )

    def _with_value(self, method: str, path: str) -> bytes:
        fields = {name: json.dumps(value) for name, value in BODIES.get((method, path), {}).items()}
        if not fields:
            return b""
        name = self._dice.choice(
            (*fields, "unknown", "__proto__", "requested_by", "stop_price", "expires_at", "strategy")
        )
        fields[name] = self._dice.choice(VALUES)
        return ("{" + ", ".join(f'"{name}": {value}' for name, value in fields.items()) + "}").encode()


def _filled(path: str, values: Mapping[str, str]) -> str:
    for name, value in values.items():
        path = path.replace(f"{{{name}}}", value).replace(f"{{{name}:path}}", value)
    return path


def _raw(method: str, target: str, kind: str, body: bytes, extra: str, what: str) -> bytes:
    target = target.replace(" ", "%20")
    head = f"{method} {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
    head += f"Content-Type: {kind}\r\n" if body or what == "kind" else ""
    head += f"Content-Length: {len(body)}\r\n" if (body or method in ("POST", "PATCH")) and what != "smuggled" else ""
    return head.encode("latin-1", "replace") + KEY_LINE + extra.encode("latin-1", "replace") + b"\r\n" + body
