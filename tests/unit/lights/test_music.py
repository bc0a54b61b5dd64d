"""Beats, phrases, sections and energy at a frame, and the messages and channels made from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from crowdstream.lights.channels import MAP, values
from crowdstream.lights.levels import LevelReader, Levels
from crowdstream.lights.music import Moment, Music, energy_of
from crowdstream.lights.os2l import Os2lMessages
from crowdstream.lights.structure import Place, Structure, StructureCache, plain_place
from tests.support.offline_server import RATE, Rig, level, write
from tests.support.osc_client import until
from tests.support.track_analyses import analysis

BPM = 120.0
BEAT = RATE // 2  # frames
SHOWN = Levels(0.5, 0.25, 0.125, 1.0, 0.5)


def sine(hertz: float, seconds: float, gain: float) -> np.ndarray:
    """A stereo sine."""
    wave = gain * np.sin(2.0 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE)
    return np.stack([wave, wave], 1).astype(np.float32)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """Decks A and B hold tracks of 120 BPM; the first beat of B is 0.25 s later."""
    with Rig() as rig:
        for deck, first in (("A", 0.0), ("B", 0.25)):
            rig.send(f"/deck/{deck}/load", str(write(tmp_path / f"{deck}.wav", level(30))))
            rig.run(1024)
            rig.send(f"/deck/{deck}/grid", BPM, first)
        assert rig.fails() == []
        yield rig


def at_beat(beat: float, place: Place | None = None, bpm: float = BPM) -> Moment:
    """A moment of deck A."""
    return Moment(beat, bpm, "A", True, place or plain_place(beat, 4))


def test_the_clock_leads_while_no_deck_plays(rig: Rig) -> None:
    rig.send("/clock/reset")
    rig.run(4 * BEAT)
    now = Music(rig.desk).at(rig.desk.frame)
    assert now.source == "clock" and not now.playing
    assert now.beat == pytest.approx(4.0, abs=0.02) and now.bpm == pytest.approx(BPM)


def test_the_deck_leads_with_its_own_beats_ahead_of_time(rig: Rig) -> None:
    rig.send("/deck/B/play")
    rig.run(2 * BEAT)
    start = rig.first_sound()
    music = Music(rig.desk)
    for ahead in (-3000, 0, 10000):
        now = music.at(rig.desk.frame + ahead)
        expected = (rig.desk.frame + ahead - start) / BEAT - 0.5
        assert now.source == "B" and now.playing
        assert now.beat == pytest.approx(expected, abs=0.001)


def test_the_louder_deck_leads_and_nothing_flaps_between_equals(rig: Rig) -> None:
    music = Music(rig.desk)
    rig.send("/deck/A/play")
    rig.run(BEAT)
    assert music.at(rig.desk.frame).source == "A"
    rig.send("/deck/B/play")
    rig.run(BEAT)
    assert music.at(rig.desk.frame).source == "A"
    rig.send("/deck/A/level", 0.7, 0.0)
    rig.run(BEAT)
    assert music.at(rig.desk.frame).source == "B"
    rig.send("/deck/B/level", 0.0, 0.0)
    rig.run(BEAT)
    assert music.at(rig.desk.frame).source == "A"


def test_the_crossfader_counts(rig: Rig) -> None:
    for deck, side in (("A", "left"), ("B", "right")):
        rig.send(f"/deck/{deck}/crossfader", side)
        rig.send(f"/deck/{deck}/play")
    rig.send("/mix/crossfader", 1.0, 0.0)
    rig.run(BEAT)
    assert rig.fails() == []
    assert Music(rig.desk).at(rig.desk.frame).source == "B"


def test_a_loop_is_followed_ahead_of_time(rig: Rig) -> None:
    rig.send("/deck/A/play")
    rig.send("/deck/A/loop/set", 0.0, 2.0)
    rig.run(round(3.75 * BEAT))
    ahead = Music(rig.desk).at(rig.desk.frame + BEAT)
    assert ahead.beat == pytest.approx(0.75, abs=0.05)


def test_the_structure_of_the_leading_track_is_used(rig: Rig) -> None:
    asked: list[list[str]] = []

    def look(files: Sequence[str]) -> Structure:
        asked.append(list(files))
        return Structure(analysis(BPM, bars=24))

    structures = StructureCache(look)
    music = Music(rig.desk, structures)
    rig.send("/deck/A/play")
    rig.run(10 * BEAT)
    track = rig.core.voice_allocator.sounding()[0]
    message = {"meter": 4, "tracks": [[track.voice, track.number, ["a.wav"]]]}
    music.set(message)
    until(lambda: structures.get(track.number) is not None)
    music.set(message)
    now = music.at(rig.desk.frame)
    assert asked == [["a.wav"]]
    # The first beat of the analysis is 0.1 s after that of the deck's grid.
    assert now.place.section == "intro" and now.place.number == 1
    assert now.place.energy == pytest.approx(0.4)
    assert now.place.phrase_beat == pytest.approx(now.beat - 0.2, abs=0.01)


def test_a_library_that_fails_leaves_the_lights_running() -> None:
    def look(files: Sequence[str]) -> Structure | None:
        if files == ["bad"]:
            raise RuntimeError("damaged")
        return Structure(analysis())

    structures = StructureCache(look)
    structures.request(1, ["bad"])
    structures.request(2, ["good"])
    until(lambda: structures.get(2) is not None)
    assert structures.get(1) is None
    for number in range(100):
        structures.request(10 + number, ["good"])
    assert structures.get(2) is None  # the oldest were forgotten


def test_places_of_a_structure() -> None:
    structure = Structure(analysis(BPM, bars=24))  # sections of 16, 8, 24, 16, 16 and 16 beats
    drop = structure.at(0.1 + 30 * 0.5)
    assert (drop.section, drop.number) == ("drop", 3)
    assert drop.section_left == pytest.approx(18.0)
    assert drop.section_done == pytest.approx(0.25) and drop.energy == pytest.approx(0.95)
    assert drop.phrase_beat == pytest.approx(30.0)
    behind = structure.at(0.1 + 200 * 0.5)
    assert behind.section == "" and behind.energy is None
    assert 0.0 <= behind.phrase_beat < behind.phrase_beats


def test_a_track_without_a_beat_has_bars_of_two_seconds() -> None:
    place = Structure(analysis(0.0, bars=24)).at(10.0)
    assert place.phrase_beat == pytest.approx(20.0)


def test_the_messages_of_a_beat() -> None:
    messages = Os2lMessages()
    place = Place(4, 0.0, 32.0, "drop", 3, 0.25, 18.0, 0.95)
    first = messages.beat(at_beat(32.0, place), SHOWN)
    assert first[0] == {"evt": "beat", "change": True, "pos": 32, "bpm": 120.0, "strength": 0.95}
    assert [one["name"] for one in first if one["evt"] == "btn"] == ["bar", "phrase", "drop"]
    commands = {one["id"]: one["param"] for one in first if one["evt"] == "cmd"}
    assert commands == {1: 95.0, 2: 0.0, 3: 25.0}
    second = messages.beat(at_beat(33.0, Place(4, 1.0, 32.0, "break")), SHOWN)
    assert second[0]["change"] is False and second[0]["strength"] == 0.5
    pressed = [(one["name"], one["state"]) for one in second if one["evt"] == "btn"]
    assert pressed == [("bar", "off"), ("phrase", "off"), ("drop", "off"), ("break", "on")]
    assert messages.beat(at_beat(35.0), SHOWN)[0]["change"] is True, "a jump"
    silent = Moment(36.0, BPM, "clock", False, plain_place(36.0, 4))
    assert messages.section(silent) == []
    assert energy_of(silent, SHOWN) == 0.0


def test_the_section_is_released_when_nothing_plays() -> None:
    messages = Os2lMessages()
    messages.beat(at_beat(0.0, Place(4, 0.0, 32.0, "drop")), SHOWN)
    silent = Moment(1.0, BPM, "clock", False, plain_place(1.0, 4))
    assert [(one["name"], one["state"]) for one in messages.section(silent)] == [
        ("bar", "off"), ("phrase", "off"), ("drop", "off")
    ]


def test_the_buttons_of_a_beat_are_released_once_when_nothing_plays() -> None:
    messages = Os2lMessages()
    messages.beat(at_beat(32.0), SHOWN)
    assert messages.section(at_beat(32.5)) == []
    silent = Moment(33.0, BPM, "clock", False, plain_place(33.0, 4))
    assert len(messages.section(silent)) == 2
    assert messages.section(silent) == []


def test_the_channels() -> None:
    place = Place(4, 9.25, 32.0, "drop", 3, 0.5, 18.0, 0.95)
    made = list(values(at_beat(9.25, place), SHOWN))
    assert made == [128, 64, 0, 80, 2, 74, 23, 60, 128, 18, 242, 128, 64, 32, 255, 120]
    assert list(values(at_beat(8.0), SHOWN))[:5] == [255, 0, 255, 0, 1]
    silent = Moment(8.0, BPM, "clock", False, plain_place(8.0, 4))
    assert list(values(silent, SHOWN)) == [0] * 11 + [128, 64, 32, 255, 0]
    assert len(MAP) == 16


def test_the_guide_lists_the_channels() -> None:
    guide = Path(__file__).parents[3] / "docs" / "how-to" / "drive-lights.md"
    text = guide.read_text(encoding="utf-8")
    for number, (about, _value) in enumerate(MAP, 1):
        assert f"| {number} | {about} |" in text


@pytest.mark.parametrize(("hertz", "band"), [(60.0, "low"), (1000.0, "mid"), (8000.0, "high")])
def test_the_levels_of_a_tone(tmp_path: Path, hertz: float, band: str) -> None:
    with Rig() as rig:
        levels = LevelReader(rig.desk)
        path = write(tmp_path / "tone.wav", sine(hertz, 4.0, 0.25))
        rig.send("/deck/A/load", str(path))
        rig.run(1024)
        rig.send("/deck/A/play")
        for _ in range(100):
            rig.run(1024)
            found = levels.read(rig.desk.frame)
        # -12 dBFS; the other bands get what the window spreads.
        assert getattr(found, band) == pytest.approx(1.0 - 12.04 / 60.0, abs=0.01)
        assert found.sum == pytest.approx(0.8, abs=0.01) and found.energy > 0.5
        for other in {"low", "mid", "high"} - {band}:
            assert getattr(found, other) < 0.3
        again = levels.read(rig.desk.frame)
        assert again == found, "the same frames are not counted twice"
        levels.close()
        assert not rig.desk.taps["on"].any()
