"""What the venue lists: symbols with their filters, as Binance documents them."""

from dataclasses import dataclass, replace
from decimal import ROUND_DOWN, ROUND_UP, Decimal

ASSET_PRECISION = 8
MAX_NOTIONAL = Decimal(90_000_000)
PERCENT_UP = Decimal(5)
PERCENT_DOWN = Decimal("0.2")
ORDER_TYPES = ("LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS", "STOP_LOSS_LIMIT")


@dataclass(frozen=True)
class Listing:
    """One symbol. `start` is the price it opens at, quote per base."""

    base: str
    quote: str
    tick: Decimal
    step: Decimal
    min_qty: Decimal
    max_qty: Decimal
    min_notional: Decimal
    start: Decimal
    depth: Decimal
    """Base units on each level of the book, on average."""
    max_orders: int = 10_000
    min_price: Decimal | None = None
    """The lowest price that an order may name; one tick if it is not given."""
    order_types: tuple[str, ...] = ORDER_TYPES
    """What the symbol takes; few symbols take all that the venue does."""
    trading: bool = True
    """Whether the venue takes orders; it lists and quotes a halted symbol all the same."""

    @property
    def symbol(self) -> str:
        """The venue's own spelling."""
        return self.base + self.quote

    @property
    def max_price(self) -> Decimal:
        """The highest price that an order may name."""
        return self.start * 100

    def exchange_info(self) -> dict[str, object]:
        """Return the symbol's entry of `exchangeInfo`."""
        return {
            "symbol": self.symbol,
            "status": "TRADING" if self.trading else "BREAK",
            "baseAsset": self.base,
            "baseAssetPrecision": ASSET_PRECISION,
            "quoteAsset": self.quote,
            "quotePrecision": ASSET_PRECISION,
            "quoteAssetPrecision": ASSET_PRECISION,
            "baseCommissionPrecision": ASSET_PRECISION,
            "quoteCommissionPrecision": ASSET_PRECISION,
            "orderTypes": self.order_types,
            "icebergAllowed": False,
            "ocoAllowed": False,
            "quoteOrderQtyMarketAllowed": True,
            "allowTrailingStop": False,
            "cancelReplaceAllowed": True,
            "isSpotTradingAllowed": True,
            "isMarginTradingAllowed": False,
            "permissions": ["SPOT"],
            "filters": self._filters(),
        }

    def _filters(self) -> list[dict[str, object]]:
        return [
            {
                "filterType": "PRICE_FILTER",
                "minPrice": str(self.min_price or self.tick),
                "maxPrice": str(self.max_price),
                "tickSize": str(self.tick),
            },
            {
                "filterType": "LOT_SIZE",
                "minQty": str(self.min_qty),
                "maxQty": str(self.max_qty),
                "stepSize": str(self.step),
            },
            {
                "filterType": "NOTIONAL",
                "minNotional": str(self.min_notional),
                "applyMinToMarket": True,
                "maxNotional": str(MAX_NOTIONAL),
                "applyMaxToMarket": False,
                "avgPriceMins": 5,
            },
            {
                "filterType": "PERCENT_PRICE_BY_SIDE",
                "bidMultiplierUp": str(PERCENT_UP),
                "bidMultiplierDown": str(PERCENT_DOWN),
                "askMultiplierUp": str(PERCENT_UP),
                "askMultiplierDown": str(PERCENT_DOWN),
                "avgPriceMins": 5,
            },
            {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": self.max_orders},
        ]


def _listing(base: str, quote: str, tick: str, step: str, notional: str, start: str, depth: str) -> Listing:
    return Listing(
        base=base,
        quote=quote,
        tick=Decimal(tick),
        step=Decimal(step),
        min_qty=Decimal(step),
        max_qty=Decimal("9000"),
        min_notional=Decimal(notional),
        start=Decimal(start),
        depth=Decimal(depth),
    )


LISTINGS = {
    entry.symbol: entry
    for entry in (
        _listing("BTC", "USDT", "0.01", "0.00001", "5", "61250.00", "0.8"),
        _listing("ETH", "USDT", "0.01", "0.0001", "5", "3125.00", "12"),
        _listing("SOL", "USDT", "0.01", "0.001", "5", "160.00", "150"),
        _listing("ETH", "BTC", "0.00001", "0.0001", "0.0001", "0.05102", "10"),
        _listing("BTC", "USD", "0.01", "0.00001", "5", "61240.00", "0.5"),
        replace(
            _listing("DOGE", "USDT", "0.00001", "1", "1", "0.40000", "50000"),
            min_qty=Decimal(10),
            min_price=Decimal("0.01"),
            order_types=("LIMIT", "MARKET", "STOP_LOSS_LIMIT"),
        ),
        replace(_listing("LTC", "USDT", "0.01", "0.001", "5", "95.00", "90"), trading=False),
    )
}


def cut(value: Decimal) -> Decimal:
    """Cut an amount to the eight places that the venue keeps."""
    return value.quantize(Decimal("0.00000001"), rounding=ROUND_DOWN)


def cut_up(value: Decimal) -> Decimal:
    """Round an amount to be locked up to the eight places that the venue keeps."""
    return value.quantize(Decimal("0.00000001"), rounding=ROUND_UP)


def text(value: Decimal) -> str:
    """Write an amount as the venue does: eight places, no exponent."""
    return format(value.quantize(Decimal("0.00000001")), "f")
