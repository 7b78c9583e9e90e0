"""The engine's refusals in Kraken's words. Kraken answers them with status 200."""

from simulator import refusals
from simulator.refusals import Refusal

UNKNOWN_ORDER = "EOrder:Unknown order"
INVALID_ORDER = "EOrder:Invalid order"
_WORDS = {
    refusals.filter_failure("PRICE_FILTER").message: "EOrder:Invalid price",
    refusals.filter_failure("PERCENT_PRICE_BY_SIDE").message: "EOrder:Invalid price",
    refusals.filter_failure("LOT_SIZE").message: "EOrder:Order minimum not met",
    refusals.filter_failure("NOTIONAL").message: "EOrder:Cost minimum not met",
    refusals.filter_failure("MAX_NUM_ORDERS").message: "EOrder:Orders limit exceeded",
    refusals.market_closed().message: "EService:Market in cancel_only mode",
    refusals.balance_insufficient().message: "EOrder:Insufficient funds",
    # Kraken's own text for this is not documented; no client may rest on it.
    refusals.duplicate_order().message: "EOrder:Duplicate cl_ord_id",
    refusals.would_trigger().message: "EOrder:Invalid price:Trigger price would trigger immediately",
    refusals.unknown_order().message: UNKNOWN_ORDER,
    refusals.no_such_order().message: INVALID_ORDER,
}


def said(words: str) -> Refusal:
    """Return a refusal in Kraken's own words."""
    return Refusal(0, words)


def invalid(name: str) -> Refusal:
    """Return the refusal of an argument."""
    return said(f"EGeneral:Invalid arguments:{name}")


def words_of(refusal: Refusal) -> str:
    """Return what Kraken says."""
    return refusal.message if refusal.code == 0 else _WORDS.get(refusal.message, "EGeneral:Internal error")
