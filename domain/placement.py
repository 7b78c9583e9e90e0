"""Where an order type is worked: at the venue, by us until its trigger comes, or nowhere."""

from enum import StrEnum


class Placement(StrEnum):
    """What becomes of an order type at one venue."""

    NATIVE = "native"
    """The venue has it, and ccxt carries it there as it is meant."""
    HELD = "held"
    """We wait for the trigger price, then send the market or limit order that it stands for."""
    REFUSED = "refused"
    """It is denied: neither the venue nor we can work it as it is meant."""
