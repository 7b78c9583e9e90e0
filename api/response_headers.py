"""Headers that leave with every answer: nothing is cached, framed, sniffed, or shown to pages of other sites."""

from typing import Final

from starlette.types import Message, Scope, Send

DOCUMENTS: Final = ("/", "/docs")
_ALWAYS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)
_NOTHING: Final = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
_PAGE: Final = (
    b"content-security-policy",
    b"default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    b"connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
)
"""The page of the documentation starts itself by a script within it; no word of a caller's is in that page."""
_TLS: Final = (b"strict-transport-security", b"max-age=31536000")


def headers_of(path: str, scheme: str) -> tuple[tuple[bytes, bytes], ...]:
    """Return the headers for an answer to that path."""
    policy = _PAGE if path in DOCUMENTS else _NOTHING
    return (*_ALWAYS, policy, _TLS) if scheme == "https" else (*_ALWAYS, policy)


def with_headers(send: Send, scope: Scope) -> Send:
    """Return how answers to a request are sent with these headers; one that an answer has already stays."""
    own = headers_of(scope["path"], scope.get("scheme", "http"))

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", ()))
            there = {name.lower() for name, _ in headers}
            message = {**message, "headers": headers + [header for header in own if header[0] not in there]}
        await send(message)

    return sending
