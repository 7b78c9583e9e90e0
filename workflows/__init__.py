"""The life of an order as durable workflows. Deterministic: no clock, no I/O, no randomness of their own."""
