"""The venue's refusals: Binance's codes and texts."""


class Refusal(Exception):
    """An answer with an error code. `status` is the HTTP status."""

    def __init__(
        self,
        code: int,
        message: str,
        status: int = 400,
        headers: dict[str, str] | None = None,
        data: dict[str, object] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.headers = headers or {}
        self.data = data

    def wire(self) -> dict[str, object]:
        """Return the answer's body."""
        body: dict[str, object] = {"code": self.code, "msg": self.message}
        return body if self.data is None else {**body, "data": self.data}


def filter_failure(name: str) -> Refusal:
    """A ticket that breaks a filter."""
    return Refusal(-1013, f"Filter failure: {name}")


def market_closed() -> Refusal:
    """An order in a symbol that is halted."""
    return Refusal(-1013, "Market is closed.")


def type_not_taken(kind: str) -> Refusal:
    """An order of a type that its symbol does not list."""
    return Refusal(-1013, f"{kind.replace('_', ' ').capitalize()} orders are not supported for this symbol.")


def missing(name: str) -> Refusal:
    """A parameter that is not there."""
    return Refusal(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")


def illegal(name: str, legal: str) -> Refusal:
    """A parameter that is not written as it must be."""
    return Refusal(-1100, f"Illegal characters found in parameter '{name}'; legal range is '{legal}'.")


def superfluous(name: str) -> Refusal:
    """A parameter that this kind of order does not take."""
    return Refusal(-1106, f"Parameter '{name}' sent when not required.")


def balance_insufficient() -> Refusal:
    """Not enough of the asset."""
    return Refusal(-2010, "Account has insufficient balance for requested action.")


def duplicate_order() -> Refusal:
    """The client id belongs to an order that is still open."""
    return Refusal(-2010, "Duplicate order sent.")


def would_take() -> Refusal:
    """A maker-only order that would meet the book."""
    return Refusal(-2010, "Order would immediately match and take.")


def would_trigger() -> Refusal:
    """A stop that the market has passed already."""
    return Refusal(-2010, "Stop price would trigger immediately.")


def unknown_order() -> Refusal:
    """Cancel of what is not open."""
    return Refusal(-2011, "Unknown order sent.")


def no_such_order() -> Refusal:
    """A query for what was never placed."""
    return Refusal(-2013, "Order does not exist.")


def stale_timestamp() -> Refusal:
    """Too late for the request's window."""
    return Refusal(-1021, "Timestamp for this request is outside of the recvWindow.")
