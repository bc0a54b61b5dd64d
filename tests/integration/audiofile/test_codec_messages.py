"""C libraries are silenced, and Python's messages remain."""

import subprocess
import sys


def test_only_python_messages_reach_standard_error() -> None:
    program = (
        "import os, sys\n"
        "from crowdstream.audiofile.codec_messages import mute_c_libraries\n"
        "mute_c_libraries()\n"
        "os.write(2, b'from C')\n"
        "print('from Python', file=sys.stderr)\n"
        "raise ValueError('a crash')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60
    )
    assert "from C" not in done.stderr
    assert done.stderr.startswith("from Python\n")
    assert "ValueError: a crash" in done.stderr
