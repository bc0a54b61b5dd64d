"""The web process: pages, audio streaming and the HTTP API; see `main`."""
