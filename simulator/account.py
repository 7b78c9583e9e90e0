"""Balances of the venue's one account: free and locked, exact to eight places, never below zero."""

from decimal import Decimal

from simulator.refusals import balance_insufficient

NOTHING = Decimal(0)


class Account:
    """What the account owns, by asset."""

    def __init__(self, balances: dict[str, Decimal]) -> None:
        self._free = dict(balances)
        self._locked: dict[str, Decimal] = {}

    def assets(self) -> list[str]:
        """Return every asset that was ever held, in order."""
        return sorted({*self._free, *self._locked})

    def free(self, asset: str) -> Decimal:
        """Return what may be used for new orders."""
        return self._free.get(asset, NOTHING)

    def locked(self, asset: str) -> Decimal:
        """Return what open orders may use."""
        return self._locked.get(asset, NOTHING)

    def lock(self, asset: str, amount: Decimal) -> None:
        """Set an amount aside for an order. Raises `Refusal` when it is not there."""
        if self.free(asset) < amount:
            raise balance_insufficient()
        self.put(asset, self.free(asset) - amount, self.locked(asset) + amount)

    def release(self, asset: str, amount: Decimal) -> None:
        """Give back what an order did not use. Raises `ArithmeticError` beyond what is locked."""
        self.put(asset, self.free(asset) + amount, self.locked(asset) - amount)

    def spend(self, asset: str, amount: Decimal) -> None:
        """Pay from what is locked. Raises `ArithmeticError` beyond it."""
        self.put(asset, self.free(asset), self.locked(asset) - amount)

    def receive(self, asset: str, amount: Decimal) -> None:
        """Add to what is free."""
        self.put(asset, self.free(asset) + amount, self.locked(asset))

    def put(self, asset: str, free: Decimal, locked: Decimal) -> None:
        """Set a balance. Raises `ArithmeticError` for a negative one: then this venue's own books are wrong."""
        if free < 0 or locked < 0:
            raise ArithmeticError(f"balance of {asset} below zero: free={free}, locked={locked}")
        self._free[asset], self._locked[asset] = free, locked
