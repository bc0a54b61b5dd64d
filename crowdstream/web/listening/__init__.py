"""Listening in: the master or the cue bus, sent to browsers while it is mixed."""

from crowdstream.web.listening.routes import routes

__all__ = ["routes"]
