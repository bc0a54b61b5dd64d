"""Listening in: the master or the cue bus, sent to browsers while it is mixed."""

from crowdstream.web.streaming.routes import routes

__all__ = ["routes"]
