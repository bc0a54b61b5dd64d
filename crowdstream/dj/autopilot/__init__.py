"""The autopilot: a client that plays a set, or an endless mix, on a running server."""
