"""Kraken's names: assets with X and Z before them, pairs, and the ids of orders and trades."""

import string
from dataclasses import dataclass

from simulator.listing import LISTINGS, Listing
from simulator.refusals import Refusal

ASSETS = {
    "BTC": ("XXBT", "XBT"),
    "ETH": ("XETH", "ETH"),
    "LTC": ("XLTC", "LTC"),
    "DOGE": ("XXDG", "XDG"),
    "USD": ("ZUSD", "USD"),
}
"""Id and other name of the assets that are not called by the same name twice."""
_DIGITS = string.digits + string.ascii_uppercase
_NUMBER_LENGTH = 6
_MIDDLE = "SIMUL"


@dataclass(frozen=True)
class Pair:
    """One symbol by Kraken's names."""

    listing: Listing
    pair_id: str
    altname: str
    wsname: str

    @property
    def price_decimals(self) -> int:
        """Places of a price."""
        return -int(self.listing.tick.normalize().as_tuple().exponent)

    @property
    def lot_decimals(self) -> int:
        """Places of a volume."""
        return max(-int(self.listing.step.normalize().as_tuple().exponent), 0)


def asset_id(asset: str) -> str:
    """Return Kraken's id of an asset."""
    return ASSETS.get(asset, (asset, asset))[0]


def _pair(listing: Listing) -> Pair:
    (base_id, base), (quote_id, quote) = (ASSETS.get(name, (name, name)) for name in (listing.base, listing.quote))
    # Pairs of two old assets are called by their ids, all others by the other names.
    is_old = base_id != base and quote_id != quote
    return Pair(listing, base_id + quote_id if is_old else base + quote, base + quote, f"{base}/{quote}")


PAIRS = {symbol: _pair(listing) for symbol, listing in LISTINGS.items()}
_BY_NAME = {name: pair for pair in PAIRS.values() for name in (pair.pair_id, pair.altname, pair.wsname)}
_SYMBOLS = tuple(PAIRS)


def pair_named(name: str) -> Pair:
    """Return the pair of any of its names. Raises `Refusal`."""
    if name not in _BY_NAME:
        raise Refusal(0, "EQuery:Unknown asset pair")
    return _BY_NAME[name]


def written_id(letter: str, symbol: str, number: int) -> str:
    """Write the id of an order (O) or trade (T): its symbol and its number there, in Kraken's shape."""
    digits = ""
    while number:
        number, digit = divmod(number, len(_DIGITS))
        digits = _DIGITS[digit] + digits
    return f"{letter}{_SYMBOLS.index(symbol):05}-{_MIDDLE}-{digits:0>{_NUMBER_LENGTH}}"


def read_id(letter: str, written: str) -> tuple[str, int] | None:
    """Return symbol and number that an id names; `None` when it is no id of this venue."""
    parts = written.split("-")
    if len(parts) != 3 or parts[0][:1] != letter or parts[1] != _MIDDLE or len(parts[2]) != _NUMBER_LENGTH:
        return None
    try:
        return _SYMBOLS[int(parts[0][1:])], int(parts[2], len(_DIGITS))
    except (ValueError, IndexError):
        return None
