"""The journal of sends, as people read it."""

from pydantic import AwareDatetime

from domain.order import Frozen


class RecordedAttempt(Frozen):
    """One send of an order, as the journal has it."""

    attempt: int
    client_order_id: str
    venue_order_id: str | None = None
    worker: str
    state: str
    signed_at: AwareDatetime
    left_at: AwareDatetime | None = None
    """When its sender passed its last look; `None` when none did: then it was never sent."""
