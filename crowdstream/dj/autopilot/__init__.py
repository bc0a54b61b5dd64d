"""The DJ as a client of a running server: it plays a set, or plans one without an end."""
