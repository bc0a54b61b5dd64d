"""The MIDI corpus: which files have a truth, what it is, and what the bands play."""

from __future__ import annotations

import io

import mido
import numpy as np
import pytest

from benchmarks.bands import BANDS, DRUM_CHANNEL, TICKS, make_moving_song, make_song
from benchmarks.midi_corpus import Unusable, read_score


def midi(
    notes: list[int], tempi: list[tuple[int, int]], meters: list[tuple[int, int]],
    end: int = 200 * 480,
) -> bytes:
    """Return a MIDI file with notes at these ticks, 480 to a quarter, and one at the end."""
    events = [(tick, mido.MetaMessage("set_tempo", tempo=tempo)) for tick, tempo in tempi]
    events += [
        (0, mido.MetaMessage("time_signature", numerator=upper, denominator=lower))
        for upper, lower in meters
    ]
    for tick in [*notes, end]:
        events.append((tick, mido.Message("note_on", note=60, velocity=90)))
        events.append((tick + 100, mido.Message("note_off", note=60)))
    file = mido.MidiFile(ticks_per_beat=480)
    track = mido.MidiTrack()
    file.tracks.append(track)
    now = 0
    for tick, message in sorted(events, key=lambda event: event[0]):
        track.append(message.copy(time=tick - now))
        now = tick
    data = io.BytesIO()
    file.save(file=data)
    return data.getvalue()


QUARTERS = list(range(0, 100 * 480, 480))


@pytest.mark.parametrize(("meter", "bpm"), [((4, 4), 120.0), ((3, 4), 120.0), ((6, 8), 80.0)])
def test_the_beat_of_a_compound_meter_is_a_dotted_quarter(
    meter: tuple[int, int], bpm: float
) -> None:
    score = read_score("x", midi(QUARTERS, [(0, 500_000)], [meter]))
    assert score.bpm == pytest.approx(bpm)
    assert score.meter == meter
    assert score.seconds == pytest.approx(100, abs=0.2)


@pytest.mark.parametrize(("data", "reason"), [
    (midi(QUARTERS, [(0, 500_000), (50 * 480, 400_000)], []), "tempo changes"),
    (midi(QUARTERS, [(0, 500_000)], [(4, 4), (3, 4)]), "meters"),
    (midi(QUARTERS, [(0, 500_000)], [(7, 8)]), "meters"),
    (midi([at * 37 + at * at % 211 for at in range(2000)], [(0, 500_000)], []), "freely"),
    (midi([0, 480], [(0, 500_000)], [], end=20 * 480), "too short"),
    (b"MThd", "unreadable"),
])  # fmt: skip
def test_files_without_a_reliable_truth_are_left_out(data: bytes, reason: str) -> None:
    with pytest.raises(Unusable, match=reason):
        read_score("x", data)


def test_a_tempo_that_hardly_changes_is_one() -> None:
    score = read_score("x", midi(QUARTERS, [(0, 500_000), (199 * 480, 400_000)], []))
    assert score.bpm == pytest.approx(120.0)


@pytest.mark.parametrize("number", range(len(BANDS)))
def test_bands_play_whole_bars_on_their_beats(number: int) -> None:
    name, bpm, meter, bars, key, data = make_song(number, 40.0)
    band = BANDS[number]
    assert name == f"{band.name.replace(' ', '-')}-{number}"
    assert meter == band.meter and band.bpm[0] - 1 <= bpm <= band.bpm[1] + 1
    assert make_song(number, 40.0)[-1] == data
    file = mido.MidiFile(file=io.BytesIO(data))
    [tempo] = [message.tempo for message in file.tracks[0] if message.type == "set_tempo"]
    assert 6e7 / tempo == pytest.approx(bpm, rel=1e-9)
    ticks, starts = 0, []
    for message in file.tracks[0]:
        ticks += message.time
        if message.type == "note_on" and message.velocity:
            starts.append(ticks)
    places = np.array(starts) / TICKS
    assert places[-1] < meter * bars
    # Early and late by at most 4 standard deviations of 12 ms, and half a step of swing.
    steps = places * band.division
    off = np.abs(steps - np.rint(steps)) / band.division
    assert np.median(off) < 4 * 0.012 * bpm / 60
    assert len({int(place) for place in np.rint(places)}) > 0.8 * meter * (bars - 4)
    classes = {
        (message.note - key) % 12 for message in file.tracks[0]
        if message.type == "note_on" and message.channel != DRUM_CHANNEL
    }  # fmt: skip
    assert {0, 4, 7} <= classes <= {0, 2, 4, 5, 7, 9, 11}


def test_patterns_fill_a_bar() -> None:
    for band in BANDS:
        patterns = [*band.bass, *band.chords, *(line for lines in band.drums.values()
                                                for line in lines)]  # fmt: skip
        assert {len(pattern) for pattern in patterns} == {band.meter * band.division}, band.name


@pytest.mark.parametrize("number", range(0, len(BANDS), 5))
def test_bands_without_a_click_play_on_the_beats_that_are_reported(number: int) -> None:
    name, beats, meter, data = make_moving_song(number, 40.0)
    plain, bpm, plain_meter, bars, _key, _data = make_song(number, 40.0)
    assert (name, meter) == (plain, plain_meter)
    assert len(beats) == bars * meter
    gaps = np.diff(beats)
    assert 0.002 < float(gaps.std() / gaps.mean()) < 0.06
    assert 60 / float(np.median(gaps)) == pytest.approx(bpm, rel=0.07)
    now, starts = 0.0, []
    for message in mido.MidiFile(file=io.BytesIO(data)):
        now += message.time
        if message.type == "note_on" and message.velocity:
            starts.append(now)
    places = np.interp(starts, beats, np.arange(len(beats)))
    steps = places * BANDS[number].division
    # The centre of early and late notes is the step itself, but for swing.
    on_beat = np.abs(places - np.rint(places)) < 0.5 / BANDS[number].division
    off = (places - np.rint(places))[on_beat & (np.rint(steps) % BANDS[number].division == 0)]
    assert abs(float(np.median(off))) * 60 / bpm < 0.008
