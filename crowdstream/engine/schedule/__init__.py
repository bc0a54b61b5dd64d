"""Commands and events in frames, the beat clock, the ledger, load shedding."""
