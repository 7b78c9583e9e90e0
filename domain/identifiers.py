"""Names of things: how they are derived, and what they look like. Everything here is a pure function.

`order_id` is 16 lower-case hex digits whose first is a to f: 14 of 15 venues take that form as a client order id, so
one word finds an order in the Web UI, the ledger and at the venue.
"""

import hashlib
import re
from typing import Annotated, Final

from pydantic import StringConstraints

ORDER_ID: Final = re.compile(r"[a-f][0-9a-f]{15}", re.ASCII)
ACCOUNT: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}", re.ASCII)

OrderId = Annotated[str, StringConstraints(pattern=r"^[a-f][0-9a-f]{15}$")]
Account = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")]
Symbol = Annotated[str, StringConstraints(pattern=r"^[A-Z0-9]{1,20}/[A-Z0-9]{1,20}$")]


def order_id_from_bytes(entropy: bytes) -> str:
    """Make an order id from at least 8 bytes, random or hashed."""
    if len(entropy) < 8:
        raise ValueError("an order id needs 8 bytes")
    digits = entropy[:8].hex()
    return "abcdef"[int(digits[0], 16) % 6] + digits[1:]


def derive_order_id(account: str, idempotency_key: str) -> str:
    """Derive the order id from the account and the caller's key: the same key is the same order, for ever."""
    return order_id_from_bytes(hashlib.sha256(f"{account}\0{idempotency_key}".encode()).digest())


def derive_client_order_id(order_id: str, *, attempt: int) -> str:
    """Derive what the venue is told: the order's own id for attempt 1, a hash of (order, attempt) after that."""
    if attempt < 1:
        raise ValueError("attempts count from 1")
    if attempt == 1:
        return order_id
    return order_id_from_bytes(hashlib.sha256(f"{order_id}\0attempt\0{attempt}".encode()).digest())


def order_workflow_id(account: str, order_id: str) -> str:
    """Name the workflow of an order."""
    return f"order-{account}-{order_id}"


def parse_order_workflow_id(workflow_id: str) -> tuple[str, str]:
    """Return (account, order id) of an order's workflow id; `ValueError` when it is not one."""
    prefix, _, rest = workflow_id.partition("-")
    account, _, order_id = rest.rpartition("-")
    if prefix != "order" or not ACCOUNT.fullmatch(account) or not ORDER_ID.fullmatch(order_id):
        raise ValueError(f"{workflow_id!r} is not the workflow id of an order")
    return account, order_id


def feed_workflow_id(account: str) -> str:
    """Name the workflow that follows an account at its venue."""
    return f"feed-{account}"


def sweep_workflow_id(account: str) -> str:
    """Name the workflow that cancels what the kill switch cancels in an account."""
    return f"kill-{account}"


def reconciler_workflow_id(account: str) -> str:
    """Name the workflow that compares an account with its venue."""
    return f"reconcile-{account}"


ORDERS_QUEUE: Final = "orders"
"""Task queue of all workflows and of the activities that touch only our ledger."""


def venue_queue(account: str) -> str:
    """Name the task queue of the activities that touch the account's venue."""
    return f"venue-{account}"
