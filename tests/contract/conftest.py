"""Fixtures of the contract tests."""

from tests.contract.raw_account import exchange, raw

__all__ = ["exchange", "raw"]
