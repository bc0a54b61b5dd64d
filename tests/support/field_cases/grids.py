"""Beat grids: tempo, bars and silence."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import soundfile

from crowdstream.analysis.result import Analysis
from crowdstream.dj.setfile.reader import read_set
from tests.support.drum_machine import beats_at, worst_error
from tests.support.field_cases.case import Case, check
from tests.support.offline_server import RATE

NEAR = 0.010  # s: tolerated error of a beat
TEMPO = 125.0  # bpm of the clock; no track has it
PLAYED = 90.0  # s
SILENT = 1e-3  # -60 dBFS
MAX_SILENCE = 2.0  # s


def find_rises(heard: npt.NDArray[np.float32], least: float, apart: float) -> npt.NDArray[np.int64]:
    """Return the frames at which the mix rises above `least` after `apart` s below it."""
    level = np.abs(heard).max(axis=1)
    loud = np.flatnonzero(level > least)
    return loud[np.diff(loud, prepend=-RATE * 60) > apart * RATE]


@check
def grid_from_rounded_tag(case: Case) -> str:
    """A synced deck aligns the kicks of an analysed track with the clock's beats."""
    done = case.analyze()
    assert done.returncode == 0, done.stderr[-200:]
    with case.server() as rig:
        rig.send("/clock/tempo", TEMPO)
        rig.send("/deck/A/load", str(case.path("t.wav")))
        rig.run(2048)
        rig.send("/deck/A/sync", 1)
        # Without keylock, attacks keep their shape; the highs show when they occur.
        rig.send("/deck/A/keylock", 0)
        rig.send("/clock/at", 4.0, "/deck/A/play")
        rig.seconds(PLAYED)
        assert not rig.fails(), f"{rig.fails()}"
        source = rig.status()["deck.A.grid"]
        frames = _kicks(rig.out)
        beats = np.array([rig.core.beat_clock.beat(int(frame)) for frame in frames])
    late = (beats - np.rint(beats)) * 60 / TEMPO
    kicks = late[np.abs(late) < 0.12]  # hats are half a beat, 0.24 s, away
    assert len(kicks) > 0.9 * (PLAYED - 4) * TEMPO / 60, f"{len(kicks)} kicks heard"
    worst = 1000 * float(np.abs(kicks).max())
    assert worst < 1000 * NEAR, f"kicks up to {worst:.1f} ms off, grid from {source}"
    return f"{len(kicks)} kicks, at most {worst:.1f} ms off the clock; grid from {source}"


def _kicks(heard: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    # Onset of a kick: the first frame that reaches a tenth of the level after a pause.
    return find_rises(heard, 0.05, 0.08)


def _only(case: Case) -> Analysis:
    done = case.analyze()
    assert done.returncode == 0, done.stderr[-200:]
    (entry,) = case.tracks()
    return case.analysis(entry)


def _check_uncertain(case: Case, name: str) -> str:
    """Check that the list and the deck report an uncertain grid; return a description."""
    listed = case.run("analyze", "--list", case.path(name)).stdout
    deck = case.load(case.path(name))
    sure = float(deck.status["deck.A.grid_confidence"])
    assert "uncertain" in listed, "the list does not mark it"
    assert sure < 0.6, f"the deck's confidence is {sure:g}"
    return f"uncertain in the list and on the deck ({sure:g})"


@check
def two_tempi(case: Case) -> str:
    """Two tempos in one file: the beats of both halves are correct, or the grid is uncertain."""
    tempo = _only(case).tempo
    beats = np.concatenate([beats_at(100, 60), 60 + beats_at(128, 60)])
    off = worst_error(tempo.anchors, beats)
    if off < NEAR and not tempo.uncertain:
        return f"beats at most {1000 * off:.1f} ms off"
    uncertain = _check_uncertain(case, "two.wav")
    return f"beats at most {1000 * off:.1f} ms off; {uncertain}; {tempo.doubt}"


@check
def waltz(case: Case) -> str:
    """Bars of three are recognised, or the grid is uncertain."""
    found = _only(case)
    off = worst_error(found.tempo.anchors, beats_at(150, 119))
    if found.downbeat.meter == 3 and off < NEAR:
        return f"bars of three, beats at most {1000 * off:.1f} ms off"
    assert "three" in found.tempo.doubt, f"doubt: {found.tempo.doubt!r}"
    return f"beats at most {1000 * off:.1f} ms off; {_check_uncertain(case, 'waltz.wav')}"


@check
def hidden_track(case: Case) -> str:
    """No planned set has more than 2 s of silence."""
    done = case.analyze("m")
    assert done.returncode == 0, done.stderr[-200:]
    results = []
    for seed in (1, 2):
        file, out = case.data / f"set{seed}.toml", case.data / f"set{seed}.wav"
        made = case.run(
            "plan", case.path("m"), "--minutes", "13", "--seed", str(seed), "-o", file
        )
        assert made.returncode == 0, made.stderr[-200:]
        rendered = case.run("render", "--quiet", file, out)
        assert rendered.returncode == 0, rendered.stderr[-200:]
        sound, rate = soundfile.read(out, dtype="float32")
        out.unlink()
        mix = read_set(file)
        hidden = [entry for entry in mix.entries if "hidden" in entry.path]
        quiet = _longest_silence(np.asarray(sound)) / rate
        assert quiet < MAX_SILENCE, f"seed {seed}: {quiet:.1f} s of silence"
        results.append(f"seed {seed}: {quiet:.2f} s{', hidden.wav in it' if hidden else ''}")
    return "longest silence " + "; ".join(results)


def _longest_silence(sound: npt.NDArray[np.float32]) -> int:
    loud = np.flatnonzero(np.abs(sound).max(axis=1) > SILENT)
    # Silence after the last audio is the end of the file, not a pause.
    return int(np.diff(loud, prepend=0).max())
