"""What a page is shown of a recording, which a process of its own writes."""

from __future__ import annotations

from pathlib import Path

from crowdstream.control.publish.state_view import StateView
from tests.support.offline_server import Rig


def test_a_recording_is_shown_while_it_runs(rig: Rig, tmp_path: Path) -> None:
    picture = StateView(rig.core)
    assert picture.changes()["recording"] == {"files": [], "began": None, "lost": 0}
    path = tmp_path / "mix.wav"
    rig.send("/record/start", str(path))
    assert picture.changes()["recording"]["files"] == [str(path)]
    rig.core.recordings.close()
