"""The kill switch and the dead-man switch: what is asked, what is on record, and who needs what from outside.

A switch belongs to a scope (`domain/limits.py`) or to the configuration. While it is on, no order of the scope is
admitted and none is sent; cancels always pass. A dead-man switch is a promise to cancel when an agent falls silent.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Final, Protocol, Self

from pydantic import AwareDatetime, Field, StringConstraints, model_validator

from domain.decisions import Because
from domain.events import Reason
from domain.limits import FIRM, ScopeKind, ScopeName, scope_name
from domain.order import Frozen, Label, Order, OrderRequest

SETTINGS: Final = "settings"
"""Scope of the switch in the configuration: everything, for as long as `[risk] kill_switch` is true."""
MANUAL: Final = "MANUAL"
"""Code of a switch that a person or a program pulled; others are pulled by `domain/trips.py`."""
DEADMAN: Final = "DEADMAN"
"""Code of a switch that a dead-man switch pulled."""
KILL_SWITCH: Final = "KILL_SWITCH"
"""Code of the reason that an order which the switch cancels carries."""
LIFT_VALID_S: Final = 300
"""How long the code that confirms a lift is good for."""
DEADMAN_TIMEOUT_MAX_S: Final = 86_400
FLATTEN_TRIES: Final = 3
"""Orders that are sent to close one position before a person is told that it stands."""

ConfirmCode = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{6}$")]
TimeoutS = Annotated[int, Field(ge=1, le=DEADMAN_TIMEOUT_MAX_S)]


class KillEventKind(StrEnum):
    """What happened to a switch."""

    ENGAGED = "ENGAGED"
    TRIPPED = "TRIPPED"
    """Engaged by the agent itself."""
    EXTENDED = "EXTENDED"
    """It was on, and shall cancel or flatten too."""
    LIFT_ASKED = "LIFT_ASKED"
    LIFTED = "LIFTED"
    SWEPT = "SWEPT"
    """Nothing of the scope rests at an account's venue any more."""
    FLATTENED = "FLATTENED"
    """The positions of the scope were closed, or tried to be; the numbers say what is left."""
    DEADMAN_ARMED = "DEADMAN_ARMED"
    DEADMAN_FIRED = "DEADMAN_FIRED"
    DEADMAN_DISARMED = "DEADMAN_DISARMED"


class KillEvent(Frozen):
    """One entry of the switch's history."""

    event_id: int
    scope: str
    kind: KillEventKind
    by: str
    why: str
    numbers: dict[str, str] = Field(default_factory=dict)
    at: AwareDatetime
    """By the ledger's clock."""


class Engagement(Frozen):
    """What is asked of a switch: on, and what else."""

    scope: ScopeName
    reason: Because
    by: Label = "anonymous"
    cancel_orders: bool = False
    """Cancel every open order of the scope at the venue, until none rests."""
    flatten: bool = False
    """Then close the scope's positions by market orders; includes `cancel_orders`."""

    @model_validator(mode="after")
    def _positions_belong_to_accounts(self) -> Self:
        if self.flatten and self.scope.startswith((f"{ScopeKind.STRATEGY}:", f"{ScopeKind.KEY}:")):
            raise ValueError("positions belong to accounts: flatten a firm's, an account's or a symbol's")
        return self


class Switch(Frozen):
    """A switch that is on."""

    scope: str
    code: str
    reason: str
    engaged_by: str
    engaged_at: AwareDatetime
    event_id: int | None = None
    """The event that last asked something of it."""
    cancel_orders: bool = False
    flatten: bool = False
    lift_asked_at: AwareDatetime | None = None
    lift_asked_by: str | None = None


class Engaged(Frozen):
    """What came of engaging: the switch, and what was on its way to the venue in that moment."""

    switch: Switch
    fresh: bool
    """False when it was on before."""
    in_flight: int = 0
    """Requests of the scope that had passed their last look before the switch was on; all of them have left since."""
    unanswered: int = 0
    """Those of them whose sender had not said what came of it when it could not send any more."""


class LiftAsked(Frozen):
    """The first step of lifting: the code that the second step repeats, and until when it is good."""

    scope: str
    confirm: str
    valid_until: AwareDatetime


class Deadman(Frozen):
    """A dead-man switch: without a heartbeat for `timeout_s` seconds the scope's working orders are canceled."""

    scope: str
    timeout_s: int
    stop_admission: bool
    armed_by: str
    armed_at: AwareDatetime
    beat_at: AwareDatetime
    fired_at: AwareDatetime | None = None
    """Since when it has fired; `None` while heartbeats come. Until the next one, whatever works is canceled."""


class ArmDeadman(Frozen):
    """What an agent asks for: cancel the scope's working orders when it falls silent."""

    scope: ScopeName
    timeout_s: TimeoutS
    stop_admission: bool = False
    """Pull the kill switch of the scope too: a person must lift it."""
    by: Label = "anonymous"


class Condemned(Frozen):
    """An order that a switch cancels, and why."""

    order: Order
    scope: str
    why: str

    def reason(self) -> Reason:
        """Return the reason that the order carries."""
        return Reason(code=KILL_SWITCH, text=f"{self.why} ({self.scope})"[:300], numbers={"scope": self.scope})


class Closing(Frozen):
    """An order that closes a position though the switch is on; its id is on record before it is placed."""

    order_id: str
    symbol: str
    order: Order | None = None
    """As the ledger has it; `None` while it is not admitted."""


class KillSwitch(Protocol):
    """The switches, for people and programs. Each method is one transaction. Raises `StoreUnavailable`."""

    async def engage(self, asked: Engagement) -> Engaged:
        """Switch on, and return once no request of the scope can leave any more: at most seven seconds.

        Repeated, it only adds what else is asked.
        """

    async def ask_lift(self, scope: str, *, because: str, by: str) -> LiftAsked:
        """Ask to lift: the first of two steps. Raises `SwitchNotOn`, `SwitchOfSettings`."""

    async def lift(self, scope: str, *, confirm: str, by: str) -> KillEvent:
        """Lift with the code of the first step. Raises `SwitchNotOn`, `SwitchOfSettings`, `LiftNotConfirmed`."""

    async def switches(self) -> Sequence[Switch]:
        """Return the switches that are on, by scope."""

    async def events(self, *, limit: int, before: int | None) -> Sequence[KillEvent]:
        """Return up to `limit` entries of the history, newest first, with a number below `before`."""

    async def arm(self, asked: ArmDeadman) -> Deadman:
        """Arm a dead-man switch, or change one; it is a heartbeat too."""

    async def beat(self, scope: str) -> Deadman:
        """Take a heartbeat; one that had fired is armed again. Raises `DeadmanNotArmed`."""

    async def disarm(self, scope: str, *, by: str) -> Deadman:
        """Take it away. Raises `DeadmanNotArmed`."""

    async def deadmen(self) -> Sequence[Deadman]:
        """Return the dead-man switches, by scope."""


class SweepStore(Protocol):
    """The switches, for who carries out what they ask. Each method is one transaction. Raises `StoreUnavailable`."""

    async def fire_deadmen(self) -> Sequence[Deadman]:
        """Fire the dead-man switches whose time is over by the ledger's clock, each once, and return them."""

    async def to_be_swept(self, accounts: Sequence[str]) -> Sequence[str]:
        """Return those accounts that have an order to cancel, or a position to close."""

    async def condemned(self, account: str) -> Sequence[Condemned]:
        """Return the account's open orders that a switch cancels."""

    async def record_swept(self, account: str) -> None:
        """Record for each switch that cancels, once, that nothing of its scope rests in this account."""

    async def to_flatten(self, account: str) -> Sequence[Switch]:
        """Return the switches whose positions in this account are still to be closed."""

    async def closings(self, account: str, event_id: int) -> Sequence[Closing]:
        """Return the orders that were meant to close positions for this event, oldest first."""

    async def exempt(self, account: str, event_id: int, *, symbol: str, order_id: str) -> None:
        """Let one order pass the switch, before it is placed."""

    async def record_flattened(self, account: str, switch: Switch, *, left: dict[str, str]) -> None:
        """Record that closing is over, once, and the amounts that are left by symbol."""


class OrderPlacer(Protocol):
    """The way to place an order of the agent's own."""

    async def place(self, request: OrderRequest) -> None:
        """Start the order's workflow; repeated, it is the same order."""


def concerns(scope: str, account: str) -> bool:
    """Tell whether orders of the account can belong to the scope."""
    return scope == scope_name(ScopeKind.ACCOUNT, account) or not scope.startswith(f"{ScopeKind.ACCOUNT}:")


__all__ = [
    "DEADMAN",
    "FIRM",
    "FLATTEN_TRIES",
    "KILL_SWITCH",
    "LIFT_VALID_S",
    "MANUAL",
    "SETTINGS",
    "ArmDeadman",
    "Closing",
    "Condemned",
    "ConfirmCode",
    "Deadman",
    "Engaged",
    "Engagement",
    "KillEvent",
    "KillEventKind",
    "KillSwitch",
    "LiftAsked",
    "OrderPlacer",
    "SweepStore",
    "Switch",
    "concerns",
]
