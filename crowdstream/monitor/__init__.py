"""Monitoring: the engine's ledger and meters in readable units, and warnings with advice."""
