"""The process that the user started: it keeps what must not be lost, and restarts control."""
