"""Audio streaming: the master or the cue bus, sent live to browsers."""

from crowdstream.web.streaming.routes import routes

__all__ = ["routes"]
