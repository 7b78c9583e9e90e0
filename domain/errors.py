"""Every error of ours, drawn as a tree. Retry is decided by `retryable` here and translated once, in
`activities/failures.py`.

    ExecutionError
    ├── ConfigurationError      settings contradict each other          stop and say which
    ├── InvalidTransition       a (status, event) pair not in the table a bug: stop this order, alert
    ├── RequestError            the caller's request cannot be taken    answer 4xx, nothing was recorded
    │   ├── InvalidRequest      not readable, or not by the grammar
    │   ├── UnknownAccount      no such account configured
    │   ├── UnknownSymbol       the venue does not list it
    │   ├── OrderNotFound       no order with that id
    │   ├── IdempotencyConflict the key was used for another ticket
    │   ├── OrderClosed         the order can no longer be changed
    │   ├── NotAmendable        the order cannot be amended right now
    │   ├── NotInDoubt          only an order in doubt is decided by a person
    │   ├── DecisionContradicted what the venue shows does not fit a person's decision
    │   ├── CaseNotFound        no case with that number
    │   ├── CaseClosed          the case was closed before
    │   ├── SwitchNotOn         no kill switch of that scope is on
    │   ├── SwitchOfSettings    the configuration's kill switch is lifted there alone
    │   ├── LiftNotConfirmed    lifting takes two steps, and the second does not fit
    │   ├── DeadmanNotArmed     no dead-man switch of that scope is armed
    │   ├── NotHeld             only an order that is held is approved or rejected
    │   ├── FourEyes            who asked for an order cannot approve it
    │   ├── TicketDiffers       the approval is about another ticket
    │   ├── HistoryNotFound     neither the archive nor Temporal has a history of the order
    │   ├── LedgerNotEmpty      a backup is restored into an empty ledger alone
    │   ├── KeyNameTaken        an API key of that name can be used
    │   └── KeyNotFound         no such API key, or it was revoked before
    ├── VenueError              the venue, or the way to it
    │   ├── VenueUnavailable    no answer, or an answer we cannot read  ask again later
    │   ├── RateLimited         the venue asks us to slow down          ask again after `retry_after_s`
    │   ├── ClockSkew           our clock is off for the venue          sync, then ask again
    │   ├── CredentialsRefused  key wrong, revoked or not permitted     a person must act; asked again
    │   └── VenueRefused        a proven refusal of this request        record and stop
    ├── RecordDamaged           an archive or a backup is not what was written   take another copy
    ├── CredentialsUnavailable  the credential store gives none         ask again later
    ├── NoticeNotDelivered      no receiver took an alert's notice      told again later
    └── StoreUnavailable        the ledger does not answer              ask again later
"""

from collections.abc import Mapping
from typing import ClassVar


class ExecutionError(Exception):
    """Root of every error of ours. `code` is stable; `numbers` holds the operands as text; `advice` says what to do."""

    code: ClassVar[str] = "EXECUTION_ERROR"
    retryable: ClassVar[bool] = False
    advice: ClassVar[str] = "Look at the log of the worker."

    def __init__(self, message: str, *, numbers: Mapping[str, str] | None = None, advice: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.numbers: dict[str, str] = dict(numbers or {})
        self.what_to_do = advice or self.advice


class ConfigurationError(ExecutionError):
    """Settings are missing or contradict each other. The process refuses to start."""

    code = "CONFIGURATION_INVALID"
    advice = "Correct the named setting and start again."


class InvalidTransition(ExecutionError):
    """The lifecycle table has no row for what was about to be applied: a bug of ours."""

    code = "INVALID_TRANSITION"
    advice = "Keep the order's events and report them: this is a defect of the execution agent."


# The caller's request cannot be taken.


class RequestError(ExecutionError):
    """The caller's request cannot be taken. Nothing was recorded and nothing was sent."""

    code = "REQUEST_ERROR"
    advice = "Correct the request and send it again."


class InvalidRequest(RequestError):
    """A field is missing, superfluous or not by the grammar."""

    code = "REQUEST_INVALID"


class UnknownAccount(RequestError):
    """No account of that name is configured."""

    code = "ACCOUNT_UNKNOWN"
    advice = "Use one of the configured accounts; GET /exchanges lists them."


class UnknownSymbol(RequestError):
    """The venue does not list that symbol."""

    code = "SYMBOL_UNKNOWN"
    advice = "Use the unified form BASE/QUOTE of a symbol that the venue lists."


class OrderNotFound(RequestError):
    """The account has no order with that id."""

    code = "ORDER_NOT_FOUND"
    advice = "Check the id; the list of orders shows those of the account."


class IdempotencyConflict(RequestError):
    """The idempotency key was used before, for another ticket."""

    code = "IDEMPOTENCY_KEY_REUSED"
    advice = "Use a new key for a new ticket, or repeat the first ticket unchanged."


class OrderClosed(RequestError):
    """The order has ended and cannot be changed any more."""

    code = "ORDER_CLOSED"
    advice = "Nothing is left to change; the order's final state is in the answer."


class NotAmendable(RequestError):
    """The order cannot be amended in its present state, or not to these figures."""

    code = "ORDER_NOT_AMENDABLE"
    advice = "Only a resting limit order can be amended; cancel it or wait."


class NotInDoubt(RequestError):
    """The order is not in doubt: there is nothing for a person to decide."""

    code = "ORDER_NOT_IN_DOUBT"
    advice = "Nothing is to be decided; the order's state is in the answer."


class DecisionContradicted(RequestError):
    """What the venue shows does not fit a person's decision on an order in doubt. The order stays as it is."""

    code = "DECISION_CONTRADICTED"
    advice = "Compare the numbers with the venue's own page, and decide again."


class CaseNotFound(RequestError):
    """The account has no case with that number."""

    code = "CASE_NOT_FOUND"
    advice = "Check the number and the account; `volex cases --all` lists every case."


class CaseClosed(RequestError):
    """The case was closed before. What was said of it then stays."""

    code = "CASE_CLOSED"
    advice = "Nothing is left to do; what was said of it is in the numbers."


class SwitchNotOn(RequestError):
    """No kill switch of that scope is on."""

    code = "KILL_SWITCH_NOT_ON"
    advice = "Check the scope; `volex kill list` lists the switches that are on."


class SwitchOfSettings(RequestError):
    """The kill switch of the configuration is lifted by changing the configuration."""

    code = "KILL_SWITCH_OF_SETTINGS"
    advice = "Set `[risk] kill_switch = false`, and start the workers anew."


class LiftNotConfirmed(RequestError):
    """The code that confirms a lift is missing, wrong or too old. The switch stays on."""

    code = "KILL_LIFT_NOT_CONFIRMED"
    advice = "Ask to lift, and repeat the code of the answer within five minutes."


class DeadmanNotArmed(RequestError):
    """No dead-man switch of that scope is armed."""

    code = "DEADMAN_NOT_ARMED"
    advice = "Arm it first: POST /risk/deadman, or `volex deadman arm`."


class NotHeld(RequestError):
    """The order is not held: there is nothing to approve or to reject."""

    code = "ORDER_NOT_HELD"
    advice = "Nothing is to be decided; the order's state is in the answer."


class FourEyes(RequestError):
    """Who asked for an order cannot approve it, and nor can somebody without a name. The order stays held."""

    code = "FOUR_EYES"
    advice = "Let another person approve it, by name."


class TicketDiffers(RequestError):
    """The approval names another ticket than the one that is held. The order stays held."""

    code = "TICKET_DIFFERS"
    advice = "Look at the order again, and approve what it is now."


class HistoryNotFound(RequestError):
    """Neither the archive nor Temporal has a history of that order."""

    code = "HISTORY_NOT_FOUND"
    advice = "Check the id and the account. The ledger's facts of an order are kept for ever: volex explain."


class LedgerNotEmpty(RequestError):
    """A backup is restored into an empty ledger alone: what stands there is never written over."""

    code = "LEDGER_NOT_EMPTY"
    advice = "Restore into an empty database, or into a data directory that does not exist yet."


# The venue, or the way to it.


class KeyNameTaken(RequestError):
    """A key of that name can be used: two keys of one name are one caller."""

    code = "API_KEY_NAME_TAKEN"
    advice = "Choose another name, or make a second key for the same caller with --rotate and revoke the first."


class KeyNotFound(RequestError):
    """No usable API key has that id or name."""

    code = "API_KEY_NOT_FOUND"
    advice = "List them with `volex keys list`."


class VenueError(ExecutionError):
    """The venue, or the way to it."""

    code = "VENUE_ERROR"
    advice = "Look at the venue's status."


class VenueUnavailable(VenueError):
    """No answer, or one that is not a whole answer. For a read it says nothing: it is asked again."""

    code = "VENUE_UNAVAILABLE"
    retryable = True
    advice = "Nothing to do: it is asked again. If it lasts, look at the venue's status page."


class RateLimited(VenueError):
    """The venue asks us to slow down.

    Parameters
    ----------
    retry_after_s
        Seconds to wait, 0 or more, from the venue's own header or our default.
    """

    code = "VENUE_RATE_LIMITED"
    retryable = True
    advice = "Nothing to do: calls go on after the pause that the venue asked for."

    def __init__(self, message: str, *, retry_after_s: int) -> None:
        super().__init__(message, numbers={"retry_after_s": str(retry_after_s)})
        self.retry_after_s = retry_after_s


class ClockSkew(VenueError):
    """The venue refuses our timestamps."""

    code = "CLOCK_SKEW"
    retryable = True
    advice = "Synchronize this machine's clock (NTP)."


class CredentialsRefused(VenueError):
    """The venue does not take the key, or the key lacks the permission.

    What must happen is asked again: keys are rotated, and an order in doubt is not given up for a key.
    """

    code = "CREDENTIALS_REFUSED"
    retryable = True
    advice = "Check the account's API key, its permissions and its list of allowed addresses."


class VenueRefused(VenueError):
    """The venue refuses this request, and says so in a way that is proof."""

    code = "VENUE_REFUSED"
    advice = "Read the venue's words in `reason` and change the order."


class RecordDamaged(ExecutionError):
    """An archived history or a backup is not what was written: it was changed, or a part of it is missing."""

    code = "RECORD_DAMAGED"
    advice = "Take another copy of it. The ledger is not touched by this."


class CredentialsUnavailable(ExecutionError):
    """The credential store gives no keys for the account."""

    code = "CREDENTIALS_UNAVAILABLE"
    retryable = True
    advice = "Set the account's keys in the environment or in Vault, or start Vault."


class NoticeNotDelivered(ExecutionError):
    """A receiver of alerts has not said that it took a notice. It stays in the queue."""

    code = "NOTICE_NOT_DELIVERED"
    retryable = True
    advice = "Nothing to do: it is told again. If it lasts, check the section notify of the settings."


class StoreUnavailable(ExecutionError):
    """The ledger does not answer."""

    code = "STORE_UNAVAILABLE"
    retryable = True
    advice = "Check that Postgres runs and that DATABASE_URL is right."
