"""Folders of stems on a deck: which files play, and which are reported as left out."""

from __future__ import annotations

import json
import logging
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from crowdstream.audiofile.loudness import LoudnessMeter
from crowdstream.audiofile.stems.track_files import find_stems_by_audio
from crowdstream.control.processes.loader_client import LoaderLog
from tests.support.offline_server import RATE, Rig
from tests.support.stem_folders import SPELLINGS, mixed, noises, parts, put, put_all, song

FOUR = ("drums", "bass", "vocals", "other")
LOAD, PLAY = "/deck/A/load", "/deck/A/play"


@pytest.fixture(scope="module")
def track() -> dict[str, np.ndarray]:
    return {name: sound * np.float32(0.6) for name, sound in parts().items()}


def stems(rig: Rig) -> tuple[str, ...]:
    return rig.core.track_table.deck_track(0).stems


def lufs(samples: np.ndarray) -> float:
    meter = LoudnessMeter(RATE)
    meter.feed(np.ascontiguousarray(samples))
    measured = meter.integrated()
    assert measured is not None
    return float(measured)


def played(path: Path, *mutes: int) -> np.ndarray:
    """Return the output of a deck that plays a path for 4 s, with these stems muted."""
    rig = Rig(memory_mb=64)
    try:
        rig.send(LOAD, str(path))
        rig.run(512)
        for number in mutes:
            rig.send(f"/deck/A/stem/{number}/mute", 1)
        rig.run(RATE // 10)
        rig.send(PLAY)
        begin = rig.desk.frame
        rig.seconds(4.0)
        assert not rig.fails()
        return rig.out[begin:].copy()
    finally:
        rig.close()


@pytest.mark.parametrize("name", ["Song.wav", "full.wav", "no_vocals.wav"])
def test_a_mixdown_is_not_played_so_mutes_are_effective(
    name: str, track: dict[str, np.ndarray], tmp_path: Path
) -> None:
    whole = put(tmp_path / "whole.wav", mixed(track))
    folder = put_all(tmp_path / "m", track, "Song_{}.wav")
    put(folder / name, mixed(track, "vocals") if name == "no_vocals.wav" else mixed(track))
    expected = lufs(played(whole))
    assert abs(lufs(played(folder)) - expected) < 0.1
    silent = played(folder, 1, 2, 3, 4)
    assert np.abs(silent).max() == 0.0
    voice = played(put(tmp_path / "v.wav", track["vocals"]))
    alone = played(folder, 1, 2, 4)
    assert np.abs(alone - voice).max() < 1e-4


def test_the_reply_and_the_log_name_files_that_are_left_out(
    rig: Rig, track: dict[str, np.ndarray], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    put_all(tmp_path, {name: track[name] for name in ("drums", "bass", "other")})
    put(tmp_path / "x.wav", mixed(track, "vocals"))
    (tmp_path / "vocals.ofr").write_bytes(b"x")
    for _ in range(2):  # examined now, and cached the second time
        before = len(rig.heard("/stems/left_out"))
        rig.send(LOAD, str(tmp_path))
        rig.run(512)
        assert stems(rig) == ("drums", "bass", "other")
        left_out = {file: reason for _, file, reason in rig.heard("/stems/left_out")[before:]}
        assert set(left_out) == {"vocals.ofr", "x.wav"} and "sum of" in left_out["x.wav"]
    levels = {record.levelno for record in caplog.records if "vocals.ofr" in record.getMessage()}
    assert levels == {logging.WARNING}


def test_sources_of_left_out_files_are_freed_and_gains_are_kept(
    rig: Rig, track: dict[str, np.ndarray], tmp_path: Path
) -> None:
    put_all(tmp_path, track)
    put(tmp_path / "zz.wav", mixed(track))
    free = rig.state()["sources"]
    rig.send(LOAD, str(tmp_path))
    rig.send("/deck/A/stem/5/mute", 1)  # before it is known that there is no fifth stem
    rig.send("/deck/A/stem/2/mute", 1)
    rig.run(512)
    assert rig.state()["sources"] == free - 4
    assert rig.core.track_table.deck_track(0).mix.gains == [1.0, 0.0, 1.0, 1.0]
    assert rig.status()["deck.A.state"] == "ready"
    json.dumps(rig.core.track_table.deck_track(0).to_state())
    rig.send("/deck/A/unload")
    rig.run(RATE)
    assert rig.state()["sources"] == free


def test_nine_files_of_which_one_is_the_mixdown_load(
    rig: Rig, tmp_path: Path
) -> None:
    eight = noises(("Kick", "Snare", "Hats", "Bass", "Pad", "Lead", "FX", "Vocals"))
    put(put_all(tmp_path, eight) / "whatever.wav", mixed(eight))
    rig.send(LOAD, str(tmp_path))
    rig.run(512)
    assert len(stems(rig)) == 8 and not rig.fails()


def test_more_than_eight_stems_are_refused_in_one_line_and_leak_nothing(
    rig: Rig, tmp_path: Path
) -> None:
    names = ("Kick", "Snare", "Hats", "Bass", "Pad", "Lead", "FX", "Vocals", "Keys", "Sax")
    put_all(tmp_path, noises(names, 9999))
    before = rig.state()["sources"]
    rig.send(LOAD, str(tmp_path))
    rig.run(512)
    [fault] = rig.fails()
    assert "10 stems and a deck has 8" in fault and "\n" not in fault
    assert rig.state()["sources"] == before and not rig.state()["tracks"]


def test_files_that_are_not_stems_of_one_track_are_refused(
    rig: Rig, tmp_path: Path
) -> None:
    for number, name in enumerate(("Keys", "Bass", "Drums")):
        put(tmp_path / f"{name}.wav", song(10.0 + 8 * number, number))
    for _ in range(2):  # by the loader, then from the cache
        rig.send(LOAD, str(tmp_path))
        rig.run(512)
    assert len(rig.fails()) == 2
    assert all("does not hold the stems of one track" in fault for fault in rig.fails())


def test_a_playing_deck_continues_while_a_folder_is_examined(
    rig: Rig, track: dict[str, np.ndarray], tmp_path: Path
) -> None:
    rig.send("/deck/B/load", str(put(tmp_path / "a.wav", track["other"])))
    rig.run(512)
    rig.send("/deck/B/play")
    put_all(tmp_path / "m", track)
    rig.send(LOAD, str(tmp_path / "m"))
    rig.seconds(0.5)
    assert int(rig.desk.ledger["missing_frames"]) == 0 and stems(rig) == FOUR


@pytest.mark.parametrize(
    "name",
    ["ideo\u3000graphic", "no\u00a0break", "family\U0001f468\u200d\U0001f469", "soft\u00adhyphen",
     "thin\u2009space", "x" * 251, "\u97f3" * 83],
)  # fmt: skip
def test_any_name_of_up_to_255_bytes_loads(
    rig: Rig, name: str, track: dict[str, np.ndarray], tmp_path: Path
) -> None:
    path = put(tmp_path / f"{name}.wav", track["bass"])
    rig.send(LOAD, str(path))
    rig.run(512)
    assert not rig.fails() and rig.status()["deck.A.state"] == "ready"
    assert not rig.heard("/grid/fault")


def test_a_name_is_found_in_either_unicode_normalization(
    rig: Rig, track: dict[str, np.ndarray], tmp_path: Path
) -> None:
    for form, other in SPELLINGS:
        folder = tmp_path / form / unicodedata.normalize(form, "Café")
        put_all(folder, track)
        single = put(folder.parent / unicodedata.normalize(form, "Été à la plage.wav"),
                     track["bass"])  # fmt: skip
        for path in (folder, single):
            rig.send(LOAD, unicodedata.normalize(other, str(path)))
            rig.run(512)
    assert not rig.fails() and len(rig.heard("/done")) == 4
    assert [stem.name for stem in find_stems_by_audio(folder).stems] == list(FOUR)


def test_the_next_loader_examines_again_or_adopts_the_result() -> None:
    loader_log = LoaderLog()
    stems_ = [(7, "/m/bass.wav"), (8, "/m/drums.wav"), (9, "/m/full.wav")]
    loader_log.record_request(
        {"do": "load", "track": 1, "stems": stems_, "cue": 0.0, "folder": "/m"}
    )
    assert loader_log.requests_for_successor()[-1]["folder"] == "/m", (
        "the loader died while it examined the folder"
    )
    loader_log.record_event({"event": "opened", "track": 1, "frames": 9, "files": [[1, 2], [3, 4]],
                   "streamed": False, "kept": [8, 7], "names": ["drums", "bass"]})  # fmt: skip
    to_state = json.loads(json.dumps(loader_log.to_state()))
    loader_log = LoaderLog()
    loader_log.restore(to_state)
    adoption = loader_log.requests_for_successor()[0]
    assert [tuple(stem) for stem in adoption["stems"]] == [(8, "/m/drums.wav"), (7, "/m/bass.wav")]
    assert [event["track"] for event in loader_log.fail("/m/bass.wav", "bad")] == [1]
    assert loader_log.fail("/m/full.wav", "bad") == []
