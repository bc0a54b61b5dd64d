"""Random commands in their valid ranges: output finite and within full scale, no hang."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from crowdstream.desk.constants import PENDING, SLOTS, VOICES
from crowdstream.desk.opcodes import (
    OP_CANCEL,
    OP_CLOCK,
    OP_GRID,
    OP_JUMP,
    OP_LOOP,
    OP_MARK,
    OP_RAMP,
    OP_REVERSE,
    OP_SEEK,
    OP_SLIP,
    OP_SPIN,
    OP_START,
    OP_STOP,
    OP_STOP_ALL,
    OP_SYNC,
    OP_TONE,
)
from crowdstream.desk.ramps import (
    RAMP_MASTER,
    VOICE_GAIN,
    VOICE_RATE,
    VOICE_STEM,
    deck_level_ramp,
    eq_ramp,
    voice_ramp,
)
from tests.support.render_harness import RenderHarness, noise, sine

FRAMES = 3000
_voice = st.integers(0, 5)
_frame = st.one_of(st.just(0), st.integers(1, 9000))
_gain = st.floats(0.0, 4.0, width=32)
_rate = st.floats(0.25, 4.0, width=32)
_beats = st.one_of(st.floats(-4.0, 64.0, width=32), st.sampled_from([0.0, 0.03125, 1.0]))
_tempo = st.floats(60 / 60 / 44100, 240 / 60 / 44100)
_row = st.one_of(
    st.sampled_from([RAMP_MASTER]),
    st.builds(deck_level_ramp, st.integers(0, 3)),
    st.builds(eq_ramp, st.integers(0, 3), st.integers(0, 2)),
    st.builds(voice_ramp, _voice, st.sampled_from([VOICE_GAIN, VOICE_STEM, VOICE_STEM + 1])),
)
_rate_row = st.builds(voice_ramp, _voice, st.just(VOICE_RATE))


@st.composite
def _starts(draw: st.DrawFn) -> dict[str, Any]:
    loop_in = draw(st.integers(0, FRAMES - 1))
    return {
        "op": OP_START,
        "target": draw(_voice),
        "index": draw(st.integers(1, 4)),
        "flags": draw(st.integers(0, 3)) << 1 | draw(st.integers(0, 1)),
        "x": draw(_rate),
        "y": draw(_gain),
        "start": draw(st.integers(0, FRAMES + 10)),
        "loop_in": loop_in,
        "loop_out": draw(st.integers(loop_in + 1, FRAMES)),
        "end": draw(st.integers(1, FRAMES)),
        "grid": draw(st.integers(-1, 1)),
        "sources": draw(st.lists(st.integers(0, 4), min_size=8, max_size=8)),
        "gains": draw(st.lists(_gain, min_size=8, max_size=8)),
        "frame": draw(_frame),
    }


def _op(code: int, **fields: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"op": st.just(code), "frame": _frame, **fields})


_commands = st.one_of(
    _starts(),
    _op(OP_RAMP, index=_row, x=_gain, y=st.integers(0, 3000)),
    _op(OP_RAMP, index=_rate_row, x=_rate, y=st.integers(0, 3000)),
    _op(OP_STOP, target=_voice),
    _op(OP_SEEK, target=_voice, start=st.integers(0, FRAMES + 100)),
    _op(OP_CANCEL, target=_voice),
    _op(OP_TONE, x=st.floats(20, 20000), y=st.floats(0, 1), start=st.integers(0, 9000)),
    _op(OP_STOP_ALL),
    _op(OP_MARK),
    _op(OP_CLOCK, start=_frame, x=_beats, y=_tempo, z=_tempo, loop_out=st.integers(0, 3000)),
    _op(OP_GRID, target=_voice, index=st.integers(-1, 1)),
    _op(
        OP_SYNC,
        target=_voice,
        index=st.integers(0, 1),
        x=st.sampled_from([0.5, 1.0, 2.0]),
        y=st.sampled_from([0.0, 1.0, 4.0]),
        by_beat=st.integers(0, 1),
        beat=_beats,
    ),
    _op(
        OP_LOOP,
        target=_voice,
        index=st.integers(0, 7),
        x=_beats,
        y=_beats,
        z=st.floats(-1.0, FRAMES),
        loop_in=st.integers(-5, FRAMES),
        loop_out=st.integers(0, FRAMES),
    ),
    _op(
        OP_JUMP,
        target=_voice,
        index=st.integers(0, 1),
        y=_beats,
        by_beat=st.integers(0, 1),
        beat=_beats,
    ),
    _op(OP_JUMP, target=_voice, y=st.floats(-FRAMES, FRAMES)),
    _op(OP_SLIP, target=_voice, index=st.integers(0, 1)),
    _op(OP_REVERSE, target=_voice, index=st.integers(0, 1)),
    _op(
        OP_SPIN,
        target=_voice,
        index=st.integers(0, 1),
        x=st.sampled_from([0.0, 0.3, 1.0, 1.5]),
        y=st.integers(0, 3000),
    ),
)


@settings(max_examples=80)
@given(st.data())
def test_random_commands_stay_finite_and_can_be_stopped(data: st.DataObject) -> None:
    batches = data.draw(
        st.lists(
            st.tuples(st.lists(_commands, max_size=12), st.integers(1, 2500)),
            min_size=1,
            max_size=8,
        )
    )
    with RenderHarness(pages=16) as harness:
        harness.grid((0.0, 100.0), (1.0, 1900.5))
        harness.grid((-2.0, 10.0), (1.0, 900.0), (3.0, 3100.0), (4.0, 4000.0))
        harness.load(noise(FRAMES, 2, peak=1.0))
        harness.load(sine(100.0, FRAMES))
        harness.load(noise(FRAMES, 1, peak=1.0, seed=1), missing=[0])
        harness.load(np.full(FRAMES // 2, -1.0, np.float32))
        harness.load(np.array([[np.nan, 1.0], [np.inf, 3e38]] * (FRAMES // 2), np.float32))
        peaks = []
        for commands, length in batches:
            for fields in commands:
                harness.send(fields["op"], **{k: v for k, v in fields.items() if k != "op"})
            out = harness.render(length, 700)
            assert np.all(np.isfinite(out))
            peaks.append(float(np.max(np.abs(out))))
        desk = harness.desk
        assert max(peaks) <= 1.0
        assert np.all(np.isfinite(desk.history))
        assert np.all(np.isfinite(desk.eq))
        assert np.all(np.isfinite(desk.ramps["value"]))
        assert set(np.unique(desk.voices["state"])) <= {0, 1, 2}
        assert (desk.voices["fraction"] >= 0).all() and (desk.voices["fraction"] < 1).all()
        # Everything can be stopped: afterwards the output is exactly silent and nothing is left.
        for voice in range(VOICES):
            harness.send(OP_CANCEL, target=voice)
        harness.send(OP_STOP_ALL)
        # Commands scheduled by beat find that it has passed.
        harness.send(OP_CLOCK, start=desk.frame, x=1000.0, y=1e-5, z=1e-5)
        harness.render(800)
        for deck in range(4):
            for band in range(3):
                harness.ramp(eq_ramp(deck, band), 1.0)
        # Ramps and tones that are still scheduled take effect.
        harness.render(9000 + 9000 + 3000)
        assert not harness.render(1000).any()
        assert not desk.voices["state"].any()
        assert int(desk.master["pending"]) == 0
        assert sorted(desk.spare.tolist()) == list(range(PENDING))
        assert desk.voices["state"].shape == (SLOTS,)
