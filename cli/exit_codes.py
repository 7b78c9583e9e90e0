"""The exit codes of every command, and which error ends with which."""

from enum import IntEnum
from typing import Final

from domain.errors import (
    CaseClosed,
    CaseNotFound,
    ConfigurationError,
    DecisionContradicted,
    ExecutionError,
    FourEyes,
    HistoryNotFound,
    IdempotencyConflict,
    KeyNameTaken,
    KeyNotFound,
    LedgerNotEmpty,
    NotAmendable,
    NotHeld,
    NotInDoubt,
    OrderClosed,
    OrderNotFound,
    RequestError,
    TicketDiffers,
)


class ExitCode(IntEnum):
    """What a script may rely on."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    REFUSED = 3
    UNDECIDED = 4
    UNREACHABLE = 5


EPILOG: Final = (
    "Exit codes: 0 done; 1 failed; 2 wrong arguments, request or settings; 3 denied, rejected or impossible; "
    "4 not decided yet, or in doubt; 5 Temporal, database, venue or REST interface not reachable."
)
_IMPOSSIBLE: Final = (
    CaseClosed,
    CaseNotFound,
    DecisionContradicted,
    FourEyes,
    HistoryNotFound,
    IdempotencyConflict,
    LedgerNotEmpty,
    KeyNameTaken,
    KeyNotFound,
    NotAmendable,
    NotHeld,
    NotInDoubt,
    OrderClosed,
    OrderNotFound,
    TicketDiffers,
)


def code_of(error: ExecutionError) -> ExitCode:
    """Return the exit code of a command that ended with the error."""
    if isinstance(error, _IMPOSSIBLE):
        return ExitCode.REFUSED
    if isinstance(error, RequestError | ConfigurationError):
        return ExitCode.USAGE
    return ExitCode.UNREACHABLE if error.retryable else ExitCode.FAILED
