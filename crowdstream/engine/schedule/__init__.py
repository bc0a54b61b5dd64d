"""Scheduled commands and events, the beat clock, the ledger and load shedding."""
