"""The ledger's versions, oldest first."""
