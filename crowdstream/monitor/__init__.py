"""The monitor: what the ledger says, in words and numbers."""
