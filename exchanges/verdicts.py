"""What an answer, or its absence, proves. Pure: four facts in, one verdict out.

The facts are whether bytes may have left, the HTTP status, the body, and ccxt's exception. The exception's class alone
decides nothing about an order: ccxt gives `InvalidOrder` for a time-out of one venue and `ExchangeNotAvailable` for an
order that was read and lost. Where the tables hold no proof, the verdict is UNKNOWN.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, Final

import ccxt

from domain.errors import ClockSkew, CredentialsRefused, ExecutionError, RateLimited, VenueError, VenueUnavailable
from domain.events import Reason
from domain.reports import SubmitOutcome, SubmitVerdict
from exchanges.ccxt_mapping import acknowledgment_from
from exchanges.ccxt_transport import HttpCall, NotSent, Probe
from exchanges.venue_rules import VenueRules
from exchanges.venue_words import Words
from observability.logs import masked

VENUE_TEXT_LENGTH_MAX: Final = 500
RATE_PAUSE_S: Final = 5
"""Taken where a venue asks to slow down and does not say for how long."""
BAN_PAUSE_S: Final = 120
"""Binance's shortest ban (418), taken where it does not say how long."""
RETRY_AFTER_MAX_S: Final = 3 * 24 * 3600
"""Binance's longest ban."""
PAUSE_BEFORE_RETRY_S: Final = 1
_SECRETS: Final = re.compile(
    r"(?i)(signature|sign|api-?key|secret|passphrase|token)([\"']?\s*[=:]\s*[\"']?)[^\s&\"',}]+"
)
_URL_QUERY: Final = re.compile(r"(https?://[^\s?\"']+)\?[^\s\"']*")

_TEXTS: Final = (
    ("insufficient balance", "INSUFFICIENT_FUNDS"),
    ("would immediately match", "POST_ONLY_WOULD_TAKE"),
    ("would trigger immediately", "TRIGGER_PRICE_PASSED"),
    ("market is closed", "MARKET_CLOSED"),
)
"""Binance gives one code, -2010, to every refusal of its matching engine: its fixed texts tell them apart."""
_DUPLICATE_TEXT: Final = "duplicate"

READ_FAILURES: Final[Mapping[type[Exception], type[VenueError]]] = {
    ccxt.AuthenticationError: CredentialsRefused,
    ccxt.PermissionDenied: CredentialsRefused,
    ccxt.AccountNotEnabled: CredentialsRefused,
    ccxt.AccountSuspended: CredentialsRefused,
    ccxt.DDoSProtection: RateLimited,
    ccxt.RateLimitExceeded: RateLimited,
    ccxt.InvalidNonce: ClockSkew,
    **dict.fromkeys(
        (
            ccxt.BaseError, ccxt.ExchangeError, ccxt.ArgumentsRequired, ccxt.BadRequest, ccxt.BadSymbol,
            ccxt.OperationRejected, ccxt.NoChange, ccxt.MarginModeAlreadySet, ccxt.MarketClosed,
            ccxt.ManualInteractionNeeded, ccxt.RestrictedLocation, ccxt.InsufficientFunds, ccxt.InvalidAddress,
            ccxt.AddressPending, ccxt.InvalidOrder, ccxt.OrderNotFound, ccxt.OrderNotCached,
            ccxt.OrderImmediatelyFillable, ccxt.OrderNotFillable, ccxt.DuplicateOrderId, ccxt.ContractUnavailable,
            ccxt.NotSupported, ccxt.InvalidProxySettings, ccxt.ExchangeClosedByUser, ccxt.OperationFailed,
            ccxt.NetworkError, ccxt.ExchangeNotAvailable, ccxt.OnMaintenance, ccxt.ChecksumError, ccxt.RequestTimeout,
            ccxt.BadResponse, ccxt.NullResponse, ccxt.CancelPending, ccxt.UnsubscribeError,
        ),
        VenueUnavailable,
    ),
}  # fmt: skip
"""Every class of ccxt, by hand: a class that a new version brings has to be thought about (a test says so)."""


def clean(text: str) -> str:
    """Return a venue's text as it may be shown: cut, no key or signature, no URL with its query.

    A venue may repeat our key in its own words: what is known to be a secret is masked wherever it stands.
    """
    return _URL_QUERY.sub(r"\1", _SECRETS.sub(r"\1\2***", str(masked(text))))[:VENUE_TEXT_LENGTH_MAX]


def retry_after_s(call: HttpCall) -> int:
    """Return the seconds that the venue asks to wait, from its header or our default for the status."""
    asked = call.headers.get("retry-after", "")
    if asked.isascii() and asked.isdigit():
        return min(int(asked), RETRY_AFTER_MAX_S)
    return BAN_PAUSE_S if call.status == 418 else RATE_PAUSE_S


def judge_submission(
    probe: Probe, *, order: Mapping[str, Any] | None, error: Exception | None, symbol: str, rules: VenueRules,
    now: datetime,
) -> SubmitOutcome:  # fmt: skip
    """Say what came of one order's submission."""
    call = probe.order_call
    if call is None or not call.may_have_left:
        return _nothing_left(probe, error)
    if call.succeeded and error is None and order is not None and order.get("id"):
        with suppress(VenueUnavailable):  # an answer for another symbol proves nothing about this order
            report = acknowledgment_from(order, symbol=symbol, rules=rules, now=now)
            return SubmitOutcome(verdict=SubmitVerdict.ACCEPTED, report=report)
    words = rules.words(call.document)
    if words.codes and _is_final_word(call.status):
        proven = _proven(call, words, rules)
        if proven is not None:
            return proven
    return SubmitOutcome(verdict=SubmitVerdict.UNKNOWN, reason=_doubt(call, words, error, rules))


def _nothing_left(probe: Probe, error: Exception | None) -> SubmitOutcome:
    if isinstance(error, NotSent):
        verdict = SubmitVerdict.REFUSED if error.refused else SubmitVerdict.NOT_SENT
        return SubmitOutcome(
            verdict=verdict, reason=Reason(code=error.code, text=error.text), retry_after_s=error.retry_after_s
        )
    name = type(error).__name__
    if not probe.calls and isinstance(error, ccxt.ExchangeError) and not isinstance(error, ccxt.ExchangeClosedByUser):
        # No request was made, so these are ccxt's own checks of what it was given; its words hold no URL.
        reason = Reason(code="REFUSED_LOCALLY", text=f"ccxt refuses the order: {name}", venue_text=clean(str(error)))
        return SubmitOutcome(verdict=SubmitVerdict.REFUSED, reason=reason)
    if not probe.calls and not isinstance(error, ccxt.BaseError | ExecutionError | OSError | TimeoutError):
        reason = Reason(code="ADAPTER_FAILED", text=f"the order could not be written down for the venue: {name}")
        return SubmitOutcome(verdict=SubmitVerdict.REFUSED, reason=reason)
    reason = Reason(code="VENUE_UNREACHABLE", text=f"the request did not leave: {_cause(error)}")
    return SubmitOutcome(verdict=SubmitVerdict.NOT_SENT, reason=reason, retry_after_s=PAUSE_BEFORE_RETRY_S)


def _is_final_word(status: int | None) -> bool:
    """Server errors, time-outs and conflicts leave open what became of the order, whatever their body says."""
    return status is not None and (200 <= status < 300 or 400 <= status < 500) and status not in (408, 409)


def _proven(call: HttpCall, words: Words, rules: VenueRules) -> SubmitOutcome | None:
    """Look the venue's codes up in its white lists; every code must be there."""
    if _is_duplicate(words, rules):
        return None
    if all(code in rules.turned_away for code in words.codes):
        code = rules.turned_away[words.codes[0]]
        pause_s = retry_after_s(call) if code == RateLimited.code else PAUSE_BEFORE_RETRY_S
        reason = _reason(code, "the venue turned the request away unread", call, words)
        return SubmitOutcome(verdict=SubmitVerdict.NOT_SENT, reason=reason, retry_after_s=pause_s)
    if all(code in rules.refusals for code in words.codes):
        code = _named(rules.refusals[words.codes[0]], words)
        return SubmitOutcome(
            verdict=SubmitVerdict.REFUSED, reason=_reason(code, "the venue refuses the order", call, words)
        )
    return None


def _named(code: str, words: Words) -> str:
    text = words.text.lower()
    return next((named for part, named in _TEXTS if part in text), code) if code == "VENUE_REFUSED" else code


def _is_duplicate(words: Words, rules: VenueRules) -> bool:
    return any(code in rules.duplicates for code in words.codes) or _DUPLICATE_TEXT in words.text.lower()


def _doubt(call: HttpCall, words: Words, error: Exception | None, rules: VenueRules) -> Reason:
    if _is_duplicate(words, rules):
        return _reason("DUPLICATE_CLIENT_ORDER_ID", "the venue says that it has this order already", call, words)
    if call.status is None:
        return _reason("NO_WHOLE_ANSWER", f"the request may have arrived: {_cause(error)}", call, words)
    return _reason("ANSWER_PROVES_NOTHING", "the venue's answer leaves open what became of the order", call, words)


def _reason(code: str, text: str, call: HttpCall, words: Words) -> Reason:
    numbers = {"venue_code": ",".join(words.codes)} if words.codes else {}
    if call.status is not None:
        numbers["http_status"] = str(call.status)
    return Reason(code=code, text=text, numbers=numbers, venue_text=clean(words.text or call.body) or None)


def _cause(error: Exception | None) -> str:
    """Name what failed, by class only: ccxt's texts hold URLs, and URLs can hold signatures."""
    if error is None:
        return "no error, and no answer"
    return type(error.__cause__ or error).__name__


def refused_cancel(call: HttpCall | None, rules: VenueRules) -> Reason | None:
    """Return why the venue does not cancel, if that is what it says; `None` when it gave no such answer."""
    if call is None or not _is_final_word(call.status):
        return None
    words = rules.words(call.document)
    if not words.codes or any(code in rules.turned_away or code in rules.bad_credentials for code in words.codes):
        return None
    return _reason("CANCEL_REFUSED", "the venue does not cancel", call, words)


def read_failure(error: Exception | None, call: HttpCall | None, rules: VenueRules) -> VenueError:
    """Say why a read gave no answer, as an error of ours."""
    words = rules.words(call.document) if call is not None else Words()
    said = f"{','.join(words.codes)} {words.text}".strip() or _cause(error)
    text = clean(f"the venue gave no answer: {said}" + (f" (HTTP {call.status})" if call and call.status else ""))
    if call is None:
        return CredentialsRefused(text) if isinstance(error, ccxt.AuthenticationError) else VenueUnavailable(text)
    if any(code in rules.bad_credentials for code in words.codes):
        return CredentialsRefused(text)
    if any(code in rules.bad_clock for code in words.codes):
        return ClockSkew(text)
    if call.status in (418, 429) or "VENUE_RATE_LIMITED" in {rules.turned_away.get(code) for code in words.codes}:
        return RateLimited(text, retry_after_s=retry_after_s(call))
    if call.document is None:
        return VenueUnavailable(text)
    kind = READ_FAILURES.get(type(error), VenueUnavailable) if error is not None else VenueUnavailable
    return RateLimited(text, retry_after_s=retry_after_s(call)) if kind is RateLimited else kind(text)


def says_not_found(error: Exception | None, call: HttpCall | None, rules: VenueRules) -> bool:
    """Tell whether the venue itself, in a whole answer, says that it has no such order."""
    if call is None or call.document is None or not _is_final_word(call.status):
        return False
    if rules.not_found:
        return bool(words := rules.words(call.document).codes) and all(code in rules.not_found for code in words)
    # ccxt also finds no order in an answer that holds nothing at all.
    is_empty = not rules.words(call.document).codes and incomplete(call, rules, listing=False) is not None
    return isinstance(error, ccxt.OrderNotFound) and not (call.succeeded and is_empty)


def incomplete(call: HttpCall, rules: VenueRules, *, listing: bool) -> str | None:
    """Say what is missing from a read's answer that ccxt took for one; `None` when it is whole.

    ccxt makes an empty list, an order of nothing or "not found" of a body that was cut.
    """
    if call.status is None:
        return "nothing was read"
    if not 200 <= call.status < 300:
        return f"HTTP {call.status}"
    if call.document is None:
        return "the body is no JSON"
    if isinstance(call.document, Mapping):
        if not call.document:
            return "the body is empty"
        if rules.answer_keys and not any(key in call.document for key in rules.answer_keys):
            return "the body holds no result"
        if listing and rules.lists_are_arrays:
            return "the body is no list"
    return None
