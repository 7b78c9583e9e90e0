"""Tier 1: the real domain, workflows and activities on a virtual clock, against a simulated venue and ledger."""
