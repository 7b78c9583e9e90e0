"""What a client may send to an order and see of it. Messages are frozen, one object in, one out, and only grow."""

from enum import StrEnum

from pydantic import Field

from domain.approvals import ApprovalEnding, ApprovalWord
from domain.comparison import CASE_ID_MAX
from domain.decisions import Because, Decision, Ending
from domain.events import Reason
from domain.kill import Engagement
from domain.numbers import Price, Quantity
from domain.order import Frozen, Order, OrderRequest
from domain.ports import Notice

ORDER_WORKFLOW = "order"
"""Workflow type of an order, as the Web UI shows it."""
FEED_WORKFLOW = "account-feed"
"""Workflow type of an account's feed."""
RECONCILER_WORKFLOW = "account-reconciler"
"""Workflow type of an account's reconciler."""
SWEEP_WORKFLOW = "account-sweep"
"""Workflow type of an account's sweep."""


class Stage(StrEnum):
    """Where in its life an order is: the five stages and their end."""

    VALIDATE = "validate"
    RISK_CHECK = "risk_check"
    SUBMIT = "submit"
    POLL_FILL = "poll_fill"
    PERSIST = "persist"
    DONE = "done"


class OrderInput(Frozen):
    """What an order's workflow starts with. `adopt` is set when the ledger has the order already: it is taken over."""

    request: OrderRequest
    adopt: Order | None = None
    cancel: Reason | None = None
    amend: "AmendOrder | None" = None
    """Wishes that the run before had not carried out yet."""


class PlaceOrder(Frozen):
    """Argument of the update `place`. Answers when the venue has answered, or, with `wait_final`, at the end."""

    request: OrderRequest
    wait_final: bool = False


class CancelOrder(Frozen):
    """Argument of the update `request_cancel` and of the signal `cancel`."""

    requested_by: str = "anonymous"
    because: str = "asked for"


class AmendOrder(Frozen):
    """Argument of the update `amend`: new total quantity and new price; what is left out stays as it is."""

    quantity: Quantity | None = None
    price: Price | None = None
    requested_by: str = "anonymous"


class ResolveOrder(Decision):
    """Argument of the update `resolve`: the venue's order id, or that it was never placed; why, and who says so."""


class DecideHeld(ApprovalWord):
    """Argument of the updates `approve` and `reject`: who says so and why; with `fingerprint`, of which ticket."""


class OrderView(Frozen):
    """What an order's workflow shows. `order` is `None` while nothing is recorded yet."""

    order_id: str
    account: str
    workflow_id: str
    stage: Stage
    order: Order | None


class ResolveAnswer(Frozen):
    """What came of a person's decision, in a sentence too, and the order after it."""

    view: OrderView
    ending: Ending
    told: str


class ApprovalAnswer(Frozen):
    """What came of a person's word on a held order, in a sentence too, and the order after it."""

    view: OrderView
    decision: ApprovalEnding
    told: str


class OrderResult(Frozen):
    """What an order's workflow returns: the order as it ended."""

    order: Order


class ReconcilerInput(Frozen):
    """What an account's reconciler starts with."""

    account: str


class ReconcileNow(Frozen):
    """Argument of the update `reconcile` and of the signal `reconcile_soon`."""

    why: str = "asked for"


class CloseCase(Frozen):
    """Argument of the update `close_case`: the case's number, why it is settled, and who says so."""

    case_id: int = Field(ge=1, le=CASE_ID_MAX)
    because: Because
    closed_by: str = "anonymous"


class EngageKill(Engagement):
    """Argument of the signal `kill`: switch on; see `domain.kill.Engagement`."""


class SweepInput(Frozen):
    """What an account's sweep starts with."""

    account: str


class FeedInput(Frozen):
    """What an account's feed starts with. `beat` is the ledger's count as the feed before it knew it."""

    account: str
    beat: int = 0


__all__ = [
    "AmendOrder",
    "ApprovalAnswer",
    "CancelOrder",
    "CloseCase",
    "EngageKill",
    "DecideHeld",
    "FeedInput",
    "Notice",
    "OrderInput",
    "OrderResult",
    "OrderView",
    "PlaceOrder",
    "ReconcileNow",
    "ReconcilerInput",
    "ResolveAnswer",
    "ResolveOrder",
    "Stage",
    "SweepInput",
]
