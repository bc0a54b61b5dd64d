"""CrowdStream: an automated DJ's stem-mixing audio server."""

__version__ = "0.1.0"
