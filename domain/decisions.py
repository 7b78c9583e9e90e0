"""What a person decides on an order in doubt, and whether the venue's own word fits it."""

from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Self

from pydantic import StringConstraints, model_validator

from domain.events import Reason
from domain.instrument import deny
from domain.order import Frozen, Order
from domain.reports import OrderReport, Submission

DECIDED_BY_PERSON = "DECIDED_BY_PERSON"
"""Reason code of a fact that rests on a person's word."""

Because = Annotated[str, StringConstraints(pattern=r"^[\x20-\x7e]{1,200}$")]
"""Why somebody decides so: printable ASCII, 1 to 200 characters."""
VenueOrderId = Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]{1,64}$")]


class Decision(Frozen):
    """A person's word on an order in doubt: either it is the venue's order `placed`, or it was never placed."""

    placed: VenueOrderId | None = None
    never_placed: bool = False
    because: Because
    requested_by: str = "anonymous"

    @model_validator(mode="after")
    def _is_one_of_two(self) -> Self:
        if (self.placed is not None) == self.never_placed:
            raise ValueError("name either the venue's order id or never_placed")
        return self


class Ending(StrEnum):
    """How a doubt ended."""

    ADOPTED = "adopted"
    """A person named the venue's order, and it fits."""
    FOUND = "found"
    """The venue showed the order."""
    NEVER_PLACED = "never_placed"
    """It never reached the venue: proven, or decided."""
    KNOWN_BEFORE = "known_before"
    """It had ended when the decision arrived."""


class Resolution(Frozen):
    """What came of a decision. `told` says it in a sentence, with what was taken on a person's word alone."""

    order: Order
    ending: Ending
    told: str


def misfit(submission: Submission, report: OrderReport) -> Reason | None:
    """Return in which figures the venue's order differs from what was sent; `None` when it fits.

    What the venue does not tell cannot contradict, but for the quantity: an order without one proves nothing.
    """
    pairs: tuple[tuple[str, Decimal | str | None, Decimal | str | None], ...] = (
        ("symbol", submission.symbol, report.symbol),
        ("side", str(submission.side), report.side),
        ("quantity", submission.quantity, report.quantity),
        ("price", submission.price, report.price),
        ("client_order_id", submission.client_order_id, report.client_order_id),
    )
    numbers: dict[str, Decimal | str] = {}
    for name, ours, theirs in pairs:
        if ours is not None and theirs is not None and ours != theirs:
            numbers |= {name: ours, f"venue_{name}": theirs}
    if report.quantity is None:
        numbers |= {"quantity": submission.quantity, "venue_quantity": "not told"}
    if not numbers:
        return None
    return deny("ORDER_DIFFERS", "the venue's order is not the one that was sent", **numbers)
