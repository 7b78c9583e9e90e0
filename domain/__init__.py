"""The pure heart: what an order is and how it may change. Standard library and pydantic only: no clock, no I/O."""
