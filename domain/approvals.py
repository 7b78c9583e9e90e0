"""Approvals: what a person is asked about an order that is held, who may answer, and what came of it."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Final, Protocol

from pydantic import AwareDatetime, StringConstraints

from domain.controls import APPROVAL_EXPIRES_S
from domain.decisions import Because
from domain.events import Reason
from domain.lifecycle import OrderEventType, OrderStatus
from domain.order import Frozen, Label, Order, OrderRequest, OrderTicket, TradingMode
from domain.risk import AccountTerms, Decision, Finding, Validated

APPROVAL_REQUIRED: Final = "APPROVAL_REQUIRED"
"""Reason code of an order that waits for a person."""
APPROVED: Final = "APPROVED"
REJECTED: Final = "APPROVAL_REJECTED"
EXPIRED: Final = "APPROVAL_EXPIRED"
MODE_CHANGED: Final = "ORDER_MODE_CHANGED"
"""Reason code of an order that was held in one mode of its account and approved in another: it keeps its mode."""
EXPIRES_AFTER: Final = timedelta(seconds=APPROVAL_EXPIRES_S)
"""How long an approval is waited for, where the reason of an order says nothing else."""
EXPIRES_S: Final = "approval_expires_s"
"""The number of an order's reason that says so, in seconds."""

Fingerprint = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
_NOBODY: Final = frozenset({"", "anonymous", "unknown", "rest", "cli", "temporal", "reconciler"})
"""Names that say by which way somebody came, and not who."""


class ApprovalWord(Frozen):
    """A person's word on an order that is held. With `fingerprint` it counts for exactly that ticket."""

    by: Label = "anonymous"
    because: Because
    fingerprint: Fingerprint | None = None


class ApprovalEnding(StrEnum):
    """What came of asking for an approval."""

    APPROVED = "approved"
    REJECTED = "rejected"
    DENIED = "denied"
    """It was approved, and the limits, checked again then, did not allow it any more."""
    EXPIRED = "expired"
    CANCELED = "canceled"
    KNOWN_BEFORE = "known_before"
    """The order was not held any more when the word arrived."""


class Approval(Frozen):
    """An approval that was asked for, and what came of it; `decision` and what follows are `None` while it is open."""

    approval_id: int
    account: str
    order_id: str
    mode: TradingMode
    ticket: OrderTicket
    fingerprint: str
    """Names the exact ticket that was asked about; the approval counts for no other."""
    reason: Reason
    """Which limit held the order, with the numbers."""
    asked_by: str | None
    asked_at: AwareDatetime
    expires_at: AwareDatetime
    decision: ApprovalEnding | None = None
    decided_by: str | None = None
    decided_at: AwareDatetime | None = None
    because: str | None = None


class Asked(Frozen):
    """The order as it stands and its approval; `fresh` for the call that put it on record."""

    order: Order
    approval: Approval | None
    """`None` only when the order is not held, and nobody was ever asked."""
    fresh: bool = False


class Decided(Frozen):
    """What came of a person's word, and the order after it. `told` says it in a sentence.

    `decision` is `None` when the gate has no answer (`reason`): the order is held as before.
    """

    order: Order
    decision: ApprovalEnding | None
    told: str
    reason: Reason | None = None


class ApprovalStore(Protocol):
    """Approvals in the ledger. Each method is one transaction. Raises `StoreUnavailable`.

    An order that is not held any more is left as it is, whatever is asked.
    """

    async def ask(self, account: str, order_id: str) -> Asked:
        """Put on record that a person is asked about a held order; asked again, it returns what is on record."""

    async def foresee(
        self, account: str, order_id: str, *, validated: Validated, terms: AccountTerms, now: datetime
    ) -> tuple[OrderRequest, Decision] | None:
        """Return what was asked for and what the gate would say of it now; nothing is recorded. `None`: not held."""

    async def approve(
        self,
        account: str,
        order_id: str,
        word: ApprovalWord,
        *,
        validated: Validated,
        terms: AccountTerms,
        now: datetime,
        outside: tuple[Finding, ...] = (),
    ) -> Decided:
        """Pass the gate again: ADMITTED with who and why, or DENIED with the numbers, or EXPIRED when it is too late.

        Raises `FourEyes` when the asker, or nobody in particular, approves, and `TicketDiffers`.
        """

    async def reject(self, account: str, order_id: str, word: ApprovalWord, *, now: datetime) -> Decided:
        """End the order DENIED, with who and why."""

    async def end_held(
        self, account: str, order_id: str, *, event_type: OrderEventType, reason: Reason, now: datetime
    ) -> Order:
        """End an order that is held without anybody's word: EXPIRED or CANCELED."""


class ApprovalReader(Protocol):
    """Approvals as people read them. Raises `StoreUnavailable`."""

    async def listed(
        self, accounts: Collection[str], *, is_open: bool | None, limit: int, before: int | None
    ) -> Sequence[Approval]:
        """Return up to `limit` approvals, newest first, with a number below `before`.

        Open are those of orders that are held: what ended an order in another way has closed its approval too.
        """


def expires_at(order: Order) -> datetime:
    """Return until when a person's word on a held order counts."""
    numbers = order.reason.numbers if order.reason is not None else {}
    told = numbers.get(EXPIRES_S, "")
    after = timedelta(seconds=int(told)) if told.isascii() and told.isdecimal() else EXPIRES_AFTER
    return order.updated_at + after


def person(name: str | None) -> str:
    """Return who is meant, as far as it is known: `CLI:Jo` and `jo` are one, and `rest` is nobody in particular."""
    words = " ".join((name or "").casefold().split())
    way, colon, rest = words.partition(":")
    who = rest.strip() if colon and way in _NOBODY else words
    return "" if who in _NOBODY else who


def why_not_approved_by(order: Order, by: str) -> str | None:
    """Say why this person cannot approve the order (four eyes); `None` for one who can."""
    approver = person(by)
    if not approver:
        return "an approval needs the name of who approves"
    if approver == person(order.requested_by):
        return "who asked for an order cannot approve it"
    return None


def known_before(order: Order) -> Decided:
    """Say that an order was not held any more when somebody's word on it arrived."""
    told = f"the order is {order.status} already: nothing was left to decide"
    return Decided(order=order, decision=ApprovalEnding.KNOWN_BEFORE, told=told)


def command(order: Order) -> str:
    """Return the command by which a person approves the order."""
    return f'volex approvals approve {order.order_id} --account {order.account} --because "WHY"'


def next_for_held(order: Order) -> str | None:
    """Say what a held order waits for; `None` for every other."""
    if order.status is not OrderStatus.HELD:
        return None
    return f"held: a person approves it until {expires_at(order):%Y-%m-%d %H:%M:%S}Z: {command(order)}"


__all__ = [
    "APPROVAL_REQUIRED",
    "APPROVED",
    "EXPIRED",
    "EXPIRES_AFTER",
    "EXPIRES_S",
    "MODE_CHANGED",
    "REJECTED",
    "Approval",
    "ApprovalEnding",
    "ApprovalReader",
    "ApprovalStore",
    "ApprovalWord",
    "Asked",
    "Decided",
    "command",
    "expires_at",
    "known_before",
    "next_for_held",
    "person",
    "why_not_approved_by",
]
