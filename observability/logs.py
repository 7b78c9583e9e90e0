"""Logs: one line per event, JSON unless a person is looking, and never a secret.

`set_up_logs()` routes the standard library's logging (Temporal's, uvicorn's, SQLAlchemy's) through the same chain.
`bound(order_id=...)` puts names on every line that is written inside it, `bind(...)` on every later one of the task.
`hide(secret)` masks a value everywhere.
"""

import logging
import re
import sys
from collections.abc import Mapping
from typing import Any, Final, TextIO

import structlog
from pydantic import SecretStr
from structlog.contextvars import bind_contextvars as bind
from structlog.contextvars import bound_contextvars as bound
from structlog.typing import EventDict, Processor, WrappedLogger

from domain.identifiers import parse_order_workflow_id

MASK: Final = "[hidden]"
SECRET_NAME: Final = re.compile(
    r"(api[_-]?key|secret|passw|passphrase|token|authorization|signature|private[_-]?key|cookie)", re.IGNORECASE
)
_SECRET_IN_TEXT: Final = (
    (re.compile(r"(://[^\s:/@]+:)[^\s/@]+(?=@)"), rf"\1{MASK}"),
    (
        re.compile(r"((?:signature|api_?key|secret(?:_?key)?|token|passphrase|password)=)[^\s&\"']+", re.IGNORECASE),
        rf"\1{MASK}",
    ),
    # Headers and JSON that stand in a text. A word after a colon may be prose: what looks like a key has a digit.
    (
        re.compile(
            r"((?:api-?_?key|secret(?:[-_]?key)?|token|passphrase|password|signature|api-sign)[\"']*\s*:\s*[\"']*)"
            r"(?=[^\s,;&\"'}]*\d)[^\s,;&\"'}]{8,}",
            re.IGNORECASE,
        ),
        rf"\1{MASK}",
    ),
    (re.compile(r"(\b(?:Bearer|Basic)\s+)[A-Za-z0-9._~+/=-]+"), rf"\1{MASK}"),
    (re.compile(r"\bhv[sbr]\.[A-Za-z0-9_-]{8,}"), MASK),  # Vault's tokens
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL), MASK),
    (re.compile(r"\b(vlx_[0-9a-f]{8}_)[A-Za-z0-9_-]{43}"), rf"\1{MASK}"),  # keys of our own interface
)
_MAY_HOLD_SECRET: Final = re.compile(r"=|://|[A-Za-z_\"']\s*:\s*\S{8}|Bearer|Basic|\bhv[sbr]\.|vlx_|-----BEGIN")
"""One quick look spares most texts the others."""
_SECRET_LENGTH_MIN: Final = 4
"""A shorter value is not masked by itself: it would blank out ordinary words."""
_ORDER_WORKFLOW: Final = re.compile(r"order-[a-z0-9_-]{1,32}-[a-f][0-9a-f]{15}", re.ASCII)
_QUIET_LOGGERS: Final = ("httpx2", "httpcore2", "asyncio", "urllib3", "alembic")
_hidden: set[str] = set()


def hide(secret: SecretStr | str | None) -> None:
    """Mask this value wherever it turns up in a log line from now on."""
    text = secret.get_secret_value() if isinstance(secret, SecretStr) else secret
    if text and len(text) >= _SECRET_LENGTH_MIN:
        _hidden.add(text)


def masked(value: Any) -> Any:
    """Return the value with every known secret masked; tables and lists are walked."""
    if isinstance(value, str):
        return _masked_text(value)
    if isinstance(value, SecretStr):
        return MASK
    if isinstance(value, Mapping):
        return {key: MASK if _names_secret(key) and item else masked(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [masked(item) for item in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return _masked_text(str(value))


def set_up_logs(*, level: str = "INFO", stream: TextIO | None = None, as_json: bool | None = None) -> None:
    """Set up logging for the process. May be called again; the last call counts.

    Parameters
    ----------
    level
        Least level written: DEBUG, INFO, WARNING or ERROR.
    stream
        `None`: standard error.
    as_json
        `None`: JSON lines unless the stream is a terminal.
    """
    stream = sys.stderr if stream is None else stream
    as_json = not stream.isatty() if as_json is None else as_json
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    renderer: Processor = structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer()
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder(), _trim],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            # The trace becomes text before masking, so that no secret hides in an exception's message.
            structlog.processors.format_exc_info,
            _mask,
            renderer,
        ],
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _QUIET_LOGGERS:
        logging.getLogger(name).setLevel(max(root.level, logging.WARNING))
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return a logger that takes facts as keywords: `log.info("order placed", order_id=...)`."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger


def _names_secret(key: object) -> bool:
    return isinstance(key, str) and SECRET_NAME.search(key) is not None


def _masked_text(text: str) -> str:
    for secret in _hidden:
        if secret in text:
            text = text.replace(secret, MASK)
    if _MAY_HOLD_SECRET.search(text) is None:
        return text
    for pattern, replacement in _SECRET_IN_TEXT:
        text = pattern.sub(replacement, text)
    return text


def _mask(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return {key: MASK if _names_secret(key) and value else masked(value) for key, value in event.items()}


def _trim(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Keep of Temporal's context what finds an order: its workflow and, in an activity, the step and its attempt."""
    event.pop("color_message", None)  # uvicorn's second copy of its message, for terminals
    for source in ("temporal_workflow", "temporal_activity"):
        context = event.pop(source, None)
        if isinstance(context, Mapping):
            for key in ("workflow_id", "activity_type", "attempt"):
                if key in context:
                    event.setdefault(key, context[key])
    if "workflow_id" not in event and str(event.get("logger")).startswith("temporalio"):
        named = _ORDER_WORKFLOW.search(str(event.get("event")))  # the SDK's own lines name it in their text
        if named is not None:
            event["workflow_id"] = named[0]
    for key, value in names_of(event.get("workflow_id")).items():
        event.setdefault(key, value)
    return event


def names_of(workflow_id: object) -> Mapping[str, str]:
    """Return account and order id of an order's workflow; nothing for every other one."""
    try:
        account, order_id = parse_order_workflow_id(str(workflow_id))
    except ValueError:
        return {}
    return {"account": account, "order_id": order_id}


__all__ = ["MASK", "bind", "bound", "get_logger", "hide", "masked", "set_up_logs"]
