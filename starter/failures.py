"""From Temporal's failures back to errors of ours: the only such translation on the callers' side."""

from collections.abc import Iterator, Mapping
from typing import Any

from temporalio.exceptions import ApplicationError

from domain.errors import ExecutionError, RateLimited


class EngineUnavailable(ExecutionError):
    """Temporal does not answer. Whether the request was taken is not known; repeated with the same id it is safe."""

    code = "TEMPORAL_UNAVAILABLE"
    retryable = True
    advice = (
        "Check that Temporal runs and that TEMPORAL_ADDRESS is right; then look the order up, or repeat the request."
    )


def _tree(root: type[ExecutionError]) -> Iterator[type[ExecutionError]]:
    yield root
    for child in root.__subclasses__():
        yield from _tree(child)


_BY_CODE: Mapping[str, type[ExecutionError]] = {error.code: error for error in reversed([*_tree(ExecutionError)])}
"""A class that only narrows its parent has the parent's code: it arrives as the parent."""


def to_domain_error(failure: BaseException) -> ExecutionError:
    """Translate a failure by the code of the first error of ours among its causes; without one, keep its words."""
    cause: BaseException | None = failure
    while cause is not None:
        if isinstance(cause, ExecutionError):
            return cause
        if isinstance(cause, ApplicationError) and cause.type is not None and cause.type in _BY_CODE:
            return _translated(cause, _BY_CODE[cause.type])
        cause = cause.__cause__
    return ExecutionError(f"the order's workflow failed: {type(failure).__name__}: {failure}"[:300])


def _translated(failure: ApplicationError, kind: type[ExecutionError]) -> ExecutionError:
    told: Mapping[str, Any] = failure.details[0] if failure.details and isinstance(failure.details[0], dict) else {}
    numbers = told.get("numbers", {key: value for key, value in told.items() if key not in ("code", "what_to_do")})
    numbers = {str(name): str(value) for name, value in numbers.items()}
    if kind is RateLimited:
        return RateLimited(failure.message, retry_after_s=int(numbers.get("retry_after_s", "1")))
    return kind(failure.message, numbers=numbers, advice=told.get("what_to_do"))
