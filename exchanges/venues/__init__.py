"""What differs from venue to venue: one table for each. Read from ccxt's source, from what it sends, and from the
venues' documentation. `docs/venues.md` is generated from them; `tests/wire` holds them to what really leaves.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from exchanges.venues.binance import BINANCE, BINANCEUS
from exchanges.venues.bitfinex import BITFINEX
from exchanges.venues.bitget import BITGET
from exchanges.venues.bitstamp import BITSTAMP
from exchanges.venues.bybit import BYBIT
from exchanges.venues.coinbase import COINBASE
from exchanges.venues.cryptocom import CRYPTOCOM
from exchanges.venues.gate import GATE
from exchanges.venues.gemini import GEMINI
from exchanges.venues.htx import HTX
from exchanges.venues.kraken import KRAKEN
from exchanges.venues.kucoin import KUCOIN
from exchanges.venues.mexc import MEXC
from exchanges.venues.okx import OKX
from exchanges.venues.table import VenueRules

VENUES: Final[Mapping[str, VenueRules]] = MappingProxyType(
    {
        "binanceus": BINANCEUS,
        "coinbase": COINBASE,
        "kraken": KRAKEN,
        "binance": BINANCE,
        "okx": OKX,
        "bybit": BYBIT,
        "kucoin": KUCOIN,
        "bitget": BITGET,
        "gate": GATE,
        "bitfinex": BITFINEX,
        "gemini": GEMINI,
        "cryptocom": CRYPTOCOM,
        "htx": HTX,
        "mexc": MEXC,
        "bitstamp": BITSTAMP,
    }
)
"""The tables by ccxt id."""
