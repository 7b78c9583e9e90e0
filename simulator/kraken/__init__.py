"""Kraken spot REST over the same market, ledger and faults, as far as ccxt's `kraken` uses it."""
