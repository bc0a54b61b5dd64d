"""CrowdStream: an automated DJ's stem-mixing audio server."""

__version__ = "0.1.0"

REPORT = "please report it where you got CrowdStream from, as docs/how-to/report-a-fault.md says"
"""Ends a message about a fault of the program itself."""
