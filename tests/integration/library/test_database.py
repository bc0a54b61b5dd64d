"""A library keeps whole transactions when its writer is killed."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from crowdstream.library.database import Library, LibraryError
from tests.support.environment import PROJECT, child_environment
from tests.support.library_rows import row
from tests.support.server import until


def test_a_killed_writer_leaves_only_whole_transactions(place: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from crowdstream.library.database import Library\n"
        "from tests.support.library_rows import row\n"
        "library = Library(Path(sys.argv[1]))\n"
        "for number in range(10**6):\n"
        "    library.put([row(f'/m/{number}-{part}.wav') for part in range(5)])\n"
    )
    writer = subprocess.Popen(
        [sys.executable, "-c", program, str(place)], cwd=PROJECT, env=child_environment()
    )
    try:
        def begun() -> bool:
            try:
                with Library(place, write=False) as library:
                    return len(library.find()) >= 20
            except LibraryError:
                return False

        until(begun)
    finally:
        writer.send_signal(signal.SIGKILL)
        writer.wait()
    with Library(place) as library:
        kept = len(library.find())
        assert kept >= 20 and kept % 5 == 0
        library.put([row("/m/after.wav")])
        assert len(library.find()) == kept + 1
