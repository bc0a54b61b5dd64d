"""The audio server, as a program and as a Python object.

    python audio_server.py --help

    from audio_server import PythonAudioServer
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crowdstream.control.python_api import PythonAudioServer

__all__ = ["PythonAudioServer"]


def __getattr__(name: str) -> Any:
    # Only when asked for: the program itself is the supervisor, which imports next to nothing.
    if name == "PythonAudioServer":
        from crowdstream.control.python_api import PythonAudioServer

        return PythonAudioServer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


if __name__ == "__main__":
    from crowdstream.supervisor.main import supervise
    from crowdstream.system.process import exit_quietly_on_broken_pipe

    sys.exit(exit_quietly_on_broken_pipe(lambda: supervise(sys.argv[1:], "audio_server.py")))
