"""The venue's words as they are kept for evidence: masked, cut, and with the name that the venue gave the request."""

import re
from typing import Final

from domain.reports import VenueAnswer
from exchanges.ccxt_transport import HttpCall
from observability.logs import MASK, masked

BODY_LENGTH_MAX: Final = 64 * 1024
_REQUEST_IDS: Final = (
    "x-mbx-uuid", "x-request-id", "request-id", "x-requestid", "x-kraken-request-id", "traceid", "x-trace-id",
    "x-bapi-trace-id", "x-in-request-id", "cf-ray",
)  # fmt: skip
"""Headers in which venues name a request, the venue's own before those of what stands in front of it."""
_SECRETS: Final = re.compile(
    r"(?i)(\"(?:[a-z_-]*(?:signature|api_?key|secret|passphrase|token)[a-z_-]*|sign)\"\s*:\s*\")[^\"]+(?=\")"
)


def answer_of(call: HttpCall | None) -> VenueAnswer | None:
    """Return what came back of a request; `None` when no whole answer did."""
    if call is None or call.status is None:
        return None
    named = next((call.headers[name] for name in _REQUEST_IDS if name in call.headers), None)
    text = _SECRETS.sub(rf"\1{MASK}", masked(call.body[:BODY_LENGTH_MAX]))
    body = text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()
    return VenueAnswer(http_status=call.status, request_id=named[:200] if named else None, body=body)


__all__ = ["answer_of"]
