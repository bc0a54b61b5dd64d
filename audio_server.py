"""The audio server, as a program and as a Python object.

    python audio_server.py --help

    from audio_server import PythonAudioServer
"""

from __future__ import annotations

import sys

from crowdstream.cli import serve
from crowdstream.control.python import PythonAudioServer

__all__ = ["PythonAudioServer"]

if __name__ == "__main__":
    sys.exit(serve(sys.argv[1:], "audio_server.py"))
