"""The demo's runner with the fake server and with empty tracks."""

import sys
from collections.abc import Sequence
from pathlib import Path
from unittest.mock import patch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from crowdstream.demo import runner  # noqa: E402
from crowdstream.demo.tracks import Progress, Track, tracks_in  # noqa: E402


def _no_tracks(folder: Path, progress: Progress | None = None) -> list[Track]:
    folder.mkdir(parents=True, exist_ok=True)
    return tracks_in(folder)


def _fake(port: int, options: Sequence[str]) -> list[str]:
    server = Path(__file__).with_name("fake_server.py")
    return [sys.executable, str(server), "--port", str(port), *options]


if __name__ == "__main__":
    with (
        patch.object(runner, "write_tracks", _no_tracks),
        patch.object(runner, "command_for", _fake),
        patch.object(runner, "parse_server_options"),  # the fake server has options of its own
    ):
        sys.exit(runner.main())
