"""What a workflow hands to an activity: frozen, one object in, and only growing."""

from pydantic import AwareDatetime

from domain.approvals import ApprovalWord
from domain.decisions import Decision
from domain.events import Reason
from domain.kill import Engagement
from domain.lifecycle import OrderEventType
from domain.numbers import Price, Quantity
from domain.order import Frozen, OrderRequest
from domain.risk import Validated


class RiskCall(Frozen):
    """Argument of `risk_check`."""

    request: OrderRequest
    validated: Validated


class DenyCall(Frozen):
    """Argument of `deny`."""

    request: OrderRequest
    reason: Reason


class OrderCall(Frozen):
    """Names one order."""

    account: str
    order_id: str


class SubmitCall(OrderCall):
    """Argument of `submit`. Strategies take turns at the venue."""

    strategy: str | None = None


class PersistCall(OrderCall):
    """Argument of `persist`: how long the order took so far, for the metrics; `None` where that is not known."""

    fill_ms: int | None = None
    """From the venue's taking it to its end."""
    whole_ms: int | None = None
    """From the start of its workflow to its end."""


class CancelCall(OrderCall):
    """Argument of `cancel`. Without a reason only the present attempt is taken back, to be replaced."""

    reason: Reason | None = None


class ResolveCall(OrderCall):
    """Argument of `resolve`."""

    decision: Decision


class ApproveCall(OrderCall):
    """Argument of `approve`: a person's word, and what the venue's side says of the ticket now."""

    word: ApprovalWord
    validated: Validated


class RejectCall(OrderCall):
    """Argument of `reject`."""

    word: ApprovalWord


class EndCall(OrderCall):
    """Argument of `end_unsent` and `end_held`."""

    event_type: OrderEventType
    reason: Reason


class AmendCall(OrderCall):
    """Argument of `request_amend`: new total quantity in base units and new price."""

    quantity: Quantity
    price: Price
    requested_by: str


class FollowCall(Frozen):
    """Argument of `follow_account`. `beat` is the ledger's count that the stretch before ended with."""

    account: str
    beat: int = 0


class Followed(Frozen):
    """What one stretch of following an account came to, for the history's reader."""

    rounds: int
    reports: int
    notices: int
    until: AwareDatetime
    beat: int = 0


class CloseCaseCall(Frozen):
    """Argument of `close_case`; the time goes with it, so that a repeated step is the same closing."""

    account: str
    case_id: int
    resolution: str
    closed_at: AwareDatetime


class ReconcileCall(Frozen):
    """Argument of `reconcile_account`."""

    account: str
    why: str = "its interval"


class EngageCall(Frozen):
    """Argument of `engage_kill`."""

    engagement: Engagement


class SweepCall(Frozen):
    """Argument of `sweep_account`."""

    account: str


class Swept(Frozen):
    """What one stretch of a sweep came to, for the history's reader."""

    account: str
    canceled: int
    """Orders that were canceled, or asked to be."""
    done: bool
    """Whether nothing of what the switches ask is left."""
