"""The benchmark of group starts finds no deviations, and detects provoked ones."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from benchmarks import common, group_start
from crowdstream.control.engine_queue.queue import EngineQueue
from crowdstream.desk.opcodes import OP_START


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR, "crowdstream")


def run(trials: int = 200) -> dict[str, Any]:
    return group_start.run(trials, 5, common.Progress(trials))


def test_no_deck_is_a_frame_off(tmp_path: Path) -> None:
    file = tmp_path / "starts.json"
    assert group_start.main(["--trials", "600", "--seed", "3", "--json", str(file)]) == 0
    (result,) = json.loads(file.read_text())
    assert result["trials"] == 600
    assert result["largest_distance_frames"] == 0
    assert result["largest_offset_frames"] == 0
    assert set(result["trials_by_kind"]) == set(group_start.KINDS)
    assert set(result["trials_by_decks"]) == {"2", "3", "4"}


def test_a_deck_that_starts_a_frame_later_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    add = EngineQueue.add

    def shifted(self: EngineQueue, op: int, *rest: Any, **fields: Any) -> int:
        if op == OP_START and fields["target"] == 1 and fields["frame"]:
            fields["frame"] += 1
        return add(self, op, *rest, **fields)

    monkeypatch.setattr(EngineQueue, "add", shifted)
    result = run()
    assert result["largest_distance_frames"] == 1
    assert result["faulty_trials"] > 0


def test_a_bundle_a_frame_off_its_time_tag_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    add = EngineQueue.add

    def shifted(self: EngineQueue, op: int, *rest: Any, **fields: Any) -> int:
        if op == OP_START and fields["frame"]:
            fields["frame"] += 1
        return add(self, op, *rest, **fields)

    monkeypatch.setattr(EngineQueue, "add", shifted)
    result = run()
    assert result["largest_distance_frames"] == 0
    assert result["largest_offset_frames"] == 1


def test_a_deck_that_does_not_start_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    add = EngineQueue.add

    def lost(self: EngineQueue, op: int, *rest: Any, **fields: Any) -> int:
        if op == OP_START and fields["target"] == 2:
            fields["sources"] = [1000]
        return add(self, op, *rest, **fields)

    monkeypatch.setattr(EngineQueue, "add", lost)
    assert run(60)["faulty_trials"] > 0
