"""What only a REST interface can refuse."""

from collections.abc import Mapping, Sequence

from domain.errors import InvalidRequest, RequestError


class BodyUnreadable(RequestError):
    """The body is not JSON."""

    code = "BODY_UNREADABLE"
    advice = "Send a JSON object in UTF-8."


class BodyTooLarge(RequestError):
    """The body is larger than any order can be."""

    code = "BODY_TOO_LARGE"
    advice = "Send one order, of at most 64 kB."


class Unauthorized(RequestError):
    """No API key, or a wrong one."""

    code = "API_KEY_WRONG"
    advice = "Send the API key as `Authorization: Bearer KEY` or as `X-API-Key: KEY`."


class NotPermitted(RequestError):
    """The API key is good, and not for this."""

    code = "API_KEY_NOT_PERMITTED"
    advice = "Use a key with the scope and the accounts that this needs; `volex keys list` shows what each may do."


class KeysUnavailable(RequestError):
    """The ledger does not answer, so that it is not known whether the API key was revoked."""

    code = "API_KEYS_UNAVAILABLE"
    retryable = True
    advice = "Ask again when the ledger answers, or use the key of the setting API_KEY."


class NotJson(RequestError):
    """The body is not declared to be JSON: a web page can send such a one to any address."""

    code = "CONTENT_TYPE_NOT_JSON"
    advice = "Send the header `Content-Type: application/json`."


class TextUnreadable(RequestError):
    """The path or the query holds what no text of ours can: a NUL character."""

    code = "REQUEST_UNREADABLE"
    advice = "Send printable characters."


class HeadTooLarge(RequestError):
    """Path, query and headers are longer than any request of ours."""

    code = "REQUEST_HEAD_TOO_LARGE"
    advice = "Send at most 32 kB of path, query and headers."


class BodyTooSlow(RequestError):
    """The body did not arrive in time."""

    code = "BODY_TOO_SLOW"
    advice = "Send the whole body within ten seconds."


class TooManyRequests(RequestError):
    """The caller made more requests than it may."""

    code = "TOO_MANY_REQUESTS"
    advice = "Wait as long as `Retry-After` says; the limit is the setting API_REQUESTS_PER_MINUTE."


class HostRefused(RequestError):
    """The request was meant for another host: a web page may have led a browser here under a name of its own."""

    code = "HOST_NOT_ALLOWED"
    advice = "Use 127.0.0.1 or localhost, or add the name to API_ALLOWED_HOSTS."


class OriginRefused(RequestError):
    """A browser sent the request for a page of another origin."""

    code = "ORIGIN_NOT_ALLOWED"
    advice = "Send the request from a program, or from a page of this address."


class WrongFields(InvalidRequest):
    """Fields are missing, superfluous or wrong; all of them are listed."""

    def __init__(self, errors: Sequence[Mapping[str, object]]) -> None:
        super().__init__("; ".join(f"{error['field']}: {error['message']}" for error in errors)[:1000])
        self.errors = tuple(errors)
