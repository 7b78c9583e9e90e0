"""Search attributes of an order's workflow: the one list, shared by who starts it and by itself. No secrets here."""

from typing import Final

from temporalio.common import SearchAttributeKey

ACCOUNT: Final = SearchAttributeKey.for_keyword("Account")
EXCHANGE: Final = SearchAttributeKey.for_keyword("Exchange")
SYMBOL: Final = SearchAttributeKey.for_keyword("Symbol")
SIDE: Final = SearchAttributeKey.for_keyword("Side")
ORDER_TYPE: Final = SearchAttributeKey.for_keyword("OrderType")
ORDER_STATUS: Final = SearchAttributeKey.for_keyword("OrderStatus")
CLIENT_ORDER_ID: Final = SearchAttributeKey.for_keyword("ClientOrderId")
VENUE_ORDER_ID: Final = SearchAttributeKey.for_keyword("VenueOrderId")
STRATEGY: Final = SearchAttributeKey.for_keyword("Strategy")
NEEDS_ATTENTION: Final = SearchAttributeKey.for_bool("NeedsAttention")

ALL: Final = (
    ACCOUNT,
    EXCHANGE,
    SYMBOL,
    SIDE,
    ORDER_TYPE,
    ORDER_STATUS,
    CLIENT_ORDER_ID,
    VENUE_ORDER_ID,
    STRATEGY,
    NEEDS_ATTENTION,
)
