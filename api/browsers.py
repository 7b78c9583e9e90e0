"""What tells a program from a web page that got into a browser of this machine: host, origin, kind of body. Pure.

Three things must each fail before a page can trade: a page cannot give a request our host's name (a name of its own
that leads to 127.0.0.1 is refused), it cannot hide its origin, and it cannot send `application/json` to another origin
without asking first, which nothing here answers: there is no CORS.
"""

import ipaddress
import re
from typing import Final

from starlette.datastructures import Headers

from api.errors import HostRefused, NotJson, OriginRefused
from domain.errors import RequestError
from settings import Settings

LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_HOST: Final = re.compile(
    r"(?:\[([0-9a-f:.]{2,45})\]|([a-z0-9_](?:[a-z0-9_.-]{0,252})))(?::([0-9]{1,5}))?", re.IGNORECASE
)
_JSON: Final = re.compile(r'application/json(?:\s*;\s*charset\s*=\s*"?utf-8"?)?\s*', re.IGNORECASE)
_ELSEWHERE: Final = ("cross-site", "same-site")


class HostsAndOrigins:
    """Which hosts requests may be for, and which pages may make them.

    On loopback these are its names; on another address any name, for a key is needed there, unless some are named.
    """

    def __init__(self, settings: Settings) -> None:
        self._named = frozenset(name.lower() for name in settings.api_allowed_hosts)
        self._hosts = _allowed_hosts(settings.api_host, self._named)

    def refusal(self, method: str, headers: Headers) -> RequestError | None:
        """Return why the request is refused; `None` for one that is let on."""
        told = headers.getlist("host")
        host = host_of(told[0]) if len(told) == 1 else ""
        if not host or (self._hosts is not None and host not in self._hosts):
            return HostRefused(f"requests for host {', '.join(told)[:80]!r} are not answered")
        origins = headers.getlist("origin")
        if any(not self._is_own_page(origin, told[0]) for origin in origins) or len(origins) > 1:
            return OriginRefused(f"requests from pages of {', '.join(origins)[:80]!r} are not answered")
        opened_as_page = method == "GET" and headers.get("sec-fetch-mode") == "navigate"
        if headers.get("sec-fetch-site") in _ELSEWHERE and not origins and not opened_as_page:
            return OriginRefused("requests from pages of another site are not answered")
        return None

    def _is_own_page(self, origin: str, host: str) -> bool:
        scheme, _, address = origin.partition("://")
        if scheme not in ("http", "https") or not host_of(address):
            return False
        return address.lower() == host.lower() or host_of(address) in self._named


def host_of(address: str) -> str:
    """Return the host's name without port and brackets, in lower case; empty when it is not exactly a host."""
    found = _HOST.fullmatch(address)
    if found is None or int(found[3] or 0) > 65535:
        return ""
    return (found[1] or found[2]).lower().rstrip(".")


def kind_refusal(headers: Headers) -> RequestError | None:
    """Refuse a body that says to be anything but JSON, or says nothing: a page's form can send such a one unasked."""
    kinds = headers.getlist("content-type")
    has_body = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
    if not kinds and not has_body:
        return None
    if len(kinds) == 1 and _JSON.fullmatch(kinds[0]):
        return None
    return NotJson(f"the body is {kinds[0][:80]!r}" if kinds else "the body says not what it is")


def _allowed_hosts(api_host: str, named: frozenset[str]) -> frozenset[str] | None:
    try:
        loopback = api_host == "localhost" or ipaddress.ip_address(api_host).is_loopback
    except ValueError:
        loopback = False
    if loopback:
        return LOOPBACK_NAMES | {api_host.lower()} | named
    return named | LOOPBACK_NAMES if named else None
