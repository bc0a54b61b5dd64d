"""The web process: pages, listening in, and the HTTP interface; see `process`."""
