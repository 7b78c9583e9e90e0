"""The port of the paper venue: the durable book of paper orders and balances, and what it holds."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from pydantic import AwareDatetime

from domain.events import Fill, Reason
from domain.numbers import Amount, Notional, Quantity
from domain.order import Frozen
from domain.reports import Balance, BookLevel, OrderRef, Submission, VenueOrderStatus


class PaperOrder(Frozen):
    """One order in the paper book, as a venue would keep it."""

    submission: Submission
    venue_order_id: str
    status: VenueOrderStatus = VenueOrderStatus.OPEN
    triggered: bool = False
    """Whether a stop order has met its trigger; it is a market or limit order from then on."""
    cum_qty: Quantity = Decimal(0)
    cum_quote_qty: Notional = Decimal(0)
    locked: Amount = Decimal(0)
    """Units of the asset it spends (quote for a buy, base for a sell) that are still set aside for it."""
    updated_at: AwareDatetime


class PaperDesk(Frozen):
    """What the paper book holds of one account and symbol, read under the account's lock."""

    orders: tuple[PaperOrder, ...] = ()
    """The symbol's open orders, oldest first; where a client order id was named, that order alone, if there is one."""
    balances: tuple[Balance, ...] = ()
    asks_taken: tuple[BookLevel, ...] = ()
    """Of the public asks that still stand, what our paper orders have taken already."""
    bids_taken: tuple[BookLevel, ...] = ()
    last_order_number: int = 0
    last_trade_number: int = 0
    disowned: bool = False
    """Whether somebody was told that the book has no order of the named client order id."""
    fills: tuple[Fill, ...] = ()
    """Trades made since the desk was read; they are stored with the rest."""


class PaperBook(Protocol):
    """The durable book of paper orders and balances: what a venue would keep. Used by `PaperExchange` alone.

    Raises `StoreUnavailable`. An account must have been opened before anything else is asked.
    """

    async def open_account(self, account: str, *, opening: Mapping[str, Decimal], now: datetime) -> None:
        """Open the account with these amounts, by asset; an account that is open stays as it is."""

    async def change(
        self,
        account: str,
        symbol: str,
        *,
        client_order_id: str | None = None,
        decide: Callable[[PaperDesk], PaperDesk | Reason],
    ) -> PaperDesk | Reason:
        """Read the desk, let `decide` make the new one, and store what differs: one transaction at a time per account.

        `decide` is pure and quick. With a reason nothing is stored. Returns what `decide` returned.
        """

    async def find(self, account: str, ref: OrderRef) -> PaperOrder | None:
        """Return the order by its venue id where the reference has one, else by its client order id."""

    async def disown(self, account: str, client_order_id: str, *, now: datetime) -> PaperOrder | None:
        """Return the order, or record that there is none: then `change` shows it, and it can never be placed."""

    async def open_orders(self, account: str, *, symbol: str | None = None) -> Sequence[PaperOrder]:
        """Return the open orders, of one symbol or by symbol, oldest first."""

    async def fills(
        self, account: str, symbol: str, *, since: datetime, venue_order_id: str | None = None
    ) -> Sequence[Fill]:
        """Return the trades in the symbol, or of one order, from `since` on, oldest first."""

    async def balances(self, account: str) -> Sequence[Balance]:
        """Return the balance of every asset that the account ever held."""


__all__ = ["PaperBook", "PaperDesk", "PaperOrder"]
