"""When the agent pulls the kill switch by itself: pure decisions over figures that somebody else has measured.

A wrong trip stops trading, so a trip is off unless it is asked for; but for a position that is not the sum of its
fills: then the ledger itself is wrong, and every limit that rests on it with it.
"""

from collections.abc import Collection, Sequence
from decimal import Decimal
from typing import Final

from pydantic import AwareDatetime

from domain.comparison import BALANCE_MISMATCH, POSITION_MISMATCH
from domain.events import Reason
from domain.instrument import deny
from domain.limits import ScopeKind, scope_name
from domain.order import Frozen

LOSS_LIMIT: Final = "LOSS_LIMIT"
VENUE_ERRORS: Final = "VENUE_ERRORS"
RECONCILIATION_MISMATCH: Final = "RECONCILIATION_MISMATCH"
STALE_MARKET_DATA: Final = "STALE_MARKET_DATA"
CLOCK_SKEWED: Final = "CLOCK_SKEWED"


class TripTerms(Frozen):
    """Which findings pull the switch of an account. What is `None` or false does not."""

    position_mismatch: bool = True
    """An open case says that a position is not the sum of the account's fills: a defect of ours."""
    balance_mismatch: bool = False
    """An open case says that a balance is not what it was plus our fills. Off: a deposit is one too."""
    max_error_share: Decimal | None = None
    """Share of a venue's calls that may fail within `error_window_s`, 0 to 1."""
    error_window_s: int = 60
    error_calls_min: int = 20
    """Fewer calls than this in the window say nothing."""
    max_market_age_s: int | None = None
    """Seconds that the market data of a symbol with working orders may be old, or missing."""
    max_clock_skew_ms: int | None = None
    """Milliseconds that our clock may differ from the venue's."""
    loss_limit: bool = False
    """A scope has reached its `max_daily_loss`. Off: the gate denies what opens anyway, and lets what reduces pass."""
    cancel_orders: bool = False
    """Whether a trip cancels the account's orders too."""

    @property
    def asks_the_venue(self) -> bool:
        """Tell whether any of them needs a call of its own."""
        return self.max_market_age_s is not None or self.max_clock_skew_ms is not None


class Trip(Frozen):
    """A decision to pull the switch of a scope, with the figures that led to it."""

    scope: str
    reason: Reason
    cancel_orders: bool = False


class CallCount(Frozen):
    """Calls of a venue since the process began, and how many of them failed."""

    at: AwareDatetime
    asked: int
    failed: int


def mismatch_trip(account: str, open_codes: Collection[str], terms: TripTerms) -> Trip | None:
    """Trip on an open case of a figure that does not fit."""
    watched = {POSITION_MISMATCH: terms.position_mismatch, BALANCE_MISMATCH: terms.balance_mismatch}
    found = sorted(code for code in set(open_codes) if watched.get(code, False))
    if not found:
        return None
    text = "ledger and venue do not agree; look into the open cases, and close them before lifting"
    return _of_account(account, deny(RECONCILIATION_MISMATCH, text, cases=",".join(found)), terms)


def error_trip(account: str, counts: Sequence[CallCount], terms: TripTerms) -> Trip | None:
    """Trip when too large a share of the venue's calls failed within the window; `counts` oldest first."""
    if terms.max_error_share is None or not counts:
        return None
    latest = counts[-1]
    within = [count for count in counts if (latest.at - count.at).total_seconds() <= terms.error_window_s]
    asked, failed = latest.asked - within[0].asked, latest.failed - within[0].failed
    if asked < max(terms.error_calls_min, 1) or Decimal(failed) <= terms.max_error_share * asked:
        return None
    reason = deny(
        VENUE_ERRORS,
        "too many of the venue's calls fail",
        failed=str(failed),
        asked=str(asked),
        window_s=str(terms.error_window_s),
        max_error_share=terms.max_error_share,
    )
    return _of_account(account, reason, terms)


def stale_trip(account: str, symbol: str, age_s: float | None, terms: TripTerms) -> Trip | None:
    """Trip when the market data of a symbol with working orders is too old.

    Parameters
    ----------
    age_s
        Seconds since the venue last gave any.
    """
    if terms.max_market_age_s is None or age_s is None or age_s <= terms.max_market_age_s:
        return None
    reason = deny(
        STALE_MARKET_DATA,
        "orders work in a market that we no longer see",
        symbol=symbol,
        age_s=f"{age_s:.1f}",
        max_market_age_s=str(terms.max_market_age_s),
    )
    return _of_account(account, reason, terms)


def skew_trip(account: str, skew_ms: int | None, terms: TripTerms) -> Trip | None:
    """Trip when our clock and the venue's differ too much; what is not known trips nothing."""
    if terms.max_clock_skew_ms is None or skew_ms is None or abs(skew_ms) <= terms.max_clock_skew_ms:
        return None
    reason = deny(
        CLOCK_SKEWED,
        "our clock is not the venue's; synchronize this machine's clock",
        clock_skew_ms=str(skew_ms),
        max_clock_skew_ms=str(terms.max_clock_skew_ms),
    )
    return _of_account(account, reason, terms)


def loss_trip(scope: str, *, loss: Decimal, limit: Decimal, currency: str, terms: TripTerms) -> Trip | None:
    """Trip when a scope has lost as much as it may; both in the currency, losses above zero."""
    if not terms.loss_limit or loss < limit:
        return None
    reason = deny(LOSS_LIMIT, "the day's loss has reached its limit", loss=loss, limit=limit, currency=currency)
    return Trip(scope=scope, reason=reason, cancel_orders=terms.cancel_orders)


def _of_account(account: str, reason: Reason, terms: TripTerms) -> Trip:
    scope = scope_name(ScopeKind.ACCOUNT, account)
    return Trip(scope=scope, reason=reason, cancel_orders=terms.cancel_orders)


__all__ = [
    "CLOCK_SKEWED",
    "LOSS_LIMIT",
    "RECONCILIATION_MISMATCH",
    "STALE_MARKET_DATA",
    "VENUE_ERRORS",
    "CallCount",
    "Trip",
    "TripTerms",
    "error_trip",
    "loss_trip",
    "mismatch_trip",
    "skew_trip",
    "stale_trip",
]
