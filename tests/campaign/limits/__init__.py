"""The gate under attack: real worker processes, killed meanwhile, against limits of the real ledger."""
