"""The JACK callback: frames are copied or interpolated, and another clock is followed."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator

import numpy as np
import pytest

from crowdstream.desk.atomics import store_release
from crowdstream.desk.block import Desk
from crowdstream.desk.constants import TAP_CUE, TAP_FRAMES, TAP_MASTER
from crowdstream.desk.dtypes import TAP
from crowdstream.desk.layout import REGIONS
from crowdstream.jack.kernel import STATE, coefficients, compile_callback
from crowdstream.jack.main import ports_of
from crowdstream.settings.schema import JACK_GROUPS

RATE = 44100.0
BLOCK = 256
HERTZ = 997.0
_FIELDS = TAP.fields
assert _FIELDS is not None
_HEAD = REGIONS["taps"].offset + _FIELDS["head"][1]
_CALLBACK = compile_callback()
_GetBuffer = ctypes.CFUNCTYPE(ctypes.c_size_t, ctypes.c_size_t, ctypes.c_uint32)


class Graph:
    """A JACK server and an engine, in virtual time. The engine writes a sine to all taps."""

    def __init__(self, frames: int, jack_rate: float = RATE, locked: bool = False) -> None:
        self.desk = Desk.create(0)
        self.frames, self.jack_rate = frames, jack_rate
        self.buffers = np.zeros((4, frames), np.float32)
        self._get_buffer = _GetBuffer(lambda port, _frames: self.buffers[port].ctypes.data)
        self.table = coefficients(RATE / jack_rate)
        self.state = np.zeros(1, STATE)
        state = self.state[0]
        state["desk"], state["table"] = self.desk.address, self.table.ctypes.data
        state["get_buffer"] = ctypes.cast(self._get_buffer, ctypes.c_void_p).value
        state["rate"], state["block"], state["locked"] = RATE, BLOCK, locked
        state["ratio"] = RATE / jack_rate
        state["port"][0], state["port"][1] = (TAP_MASTER, 0, 1, 0, 0), (TAP_CUE, 2, 3, 0, 0)
        state["ports"] = 2
        self.written = 0
        self.calls = 0

    def write(self, until: int) -> None:
        """Let the engine render whole blocks up to the frame `until`."""
        while self.written + BLOCK <= until:
            at = np.arange(self.written, self.written + BLOCK)
            sine = np.sin(2.0 * np.pi * HERTZ / RATE * at)
            for tap, gain in ((TAP_MASTER, 0.5), (TAP_CUE, -0.25)):
                ring = self.desk.tap_rings[tap]
                ring[at % TAP_FRAMES, 0] = gain * sine
                ring[at % TAP_FRAMES, 1] = -gain * sine
                place = self.desk.address + _HEAD + TAP.itemsize * tap
                store_release(place, self.written + BLOCK)
            self.written += BLOCK

    def run(self, seconds: float, ppm: float = 0.0, rng: np.random.Generator | None = None
            ) -> np.ndarray:  # fmt: skip
        """Let time pass; return what the ports carried, `(frames, 4)`. `ppm`: engine's drift."""
        periods = []
        for _ in range(round(seconds * self.jack_rate / self.frames)):
            self.calls += 1
            now = self.calls * self.frames / self.jack_rate
            late = rng.uniform(0.0, BLOCK / RATE) if rng is not None else 0.0
            self.write(int((now - late) * RATE * (1.0 + ppm * 1e-6)))
            _CALLBACK.ctypes(self.frames, self.state.ctypes.data)
            periods.append(self.buffers.copy())
        return np.concatenate(periods, axis=1).T

    def close(self) -> None:
        """Release the memory."""
        self.desk.close()


@pytest.fixture
def graphs() -> Iterator[list[Graph]]:
    """Graphs to close at the end."""
    made: list[Graph] = []
    yield made
    for one in made:
        one.close()


def residue(heard: np.ndarray, rate: float) -> float:
    """Largest deviation from a sine: a step, or an interpolation error."""
    step = 2.0 * np.cos(2.0 * np.pi * HERTZ / rate)
    return float(np.abs(heard[2:] - step * heard[1:-1] + heard[:-2]).max())


@pytest.mark.parametrize("frames", [64, 256, 1024, 8192])
def test_frames_of_one_clock_are_copied(graphs: list[Graph], frames: int) -> None:
    graphs.append(graph := Graph(frames, locked=True))
    heard = graph.run(2.0)
    first = int(np.flatnonzero(heard[:, 1])[0]) + frames  # which are faded in
    end = int(graph.state["place"][0])
    for port, tap in enumerate((TAP_MASTER, TAP_CUE)):
        ring = graph.desk.tap_rings[tap]
        expected = ring[np.arange(end - len(heard) + first, end) % TAP_FRAMES]
        assert np.array_equal(heard[first:, 2 * port : 2 * port + 2], expected)
    assert graph.state["gaps"][0] == 0 and len(heard) - first > RATE
    assert graph.state["drift"][0] == 0.0


@pytest.mark.parametrize("ppm", [-200.0, 0.0, 100.0, 200.0])
def test_the_drift_of_another_clock_is_followed(graphs: list[Graph], ppm: float) -> None:
    graphs.append(graph := Graph(256))
    rng = np.random.default_rng(1)
    graph.run(60.0, ppm, rng)
    heard = graph.run(20.0, ppm, rng)
    assert graph.state["gaps"][0] == 0
    assert graph.state["drift"][0] * 1e6 == pytest.approx(ppm, abs=25.0)
    assert residue(heard[:, 0], RATE) < 2e-4, "neither a click nor an audible change of pitch"


@pytest.mark.parametrize("rate", [22050.0, 48000.0, 96000.0])
def test_another_rate_is_resampled(graphs: list[Graph], rate: float) -> None:
    graphs.append(graph := Graph(512, rate))
    heard = graph.run(4.0)[-int(rate) :]
    assert residue(heard[:, 0], rate) < 4e-4
    assert np.abs(heard[:, 3]).max() == pytest.approx(0.25, rel=1e-3)
    assert np.array_equal(heard[:, 0], -heard[:, 1])


@pytest.mark.parametrize("locked", [True, False])
def test_an_engine_that_pauses_is_silent_and_returns(graphs: list[Graph], locked: bool) -> None:
    graphs.append(graph := Graph(256, locked=locked))
    graph.run(2.0)
    write, graph.write = graph.write, lambda until: None  # type: ignore[method-assign]
    silence = graph.run(0.5)
    assert graph.state["gaps"][0] == 1
    assert not silence[-1000:].any() and np.isfinite(silence).all()
    graph.write = write  # type: ignore[method-assign]
    heard = graph.run(1.0)[-int(RATE / 2) :]
    assert residue(heard[:, 0], RATE) < 1e-4
    assert graph.state["gaps"][0] <= 2, "the frames that were made up for are skipped"


def test_ports_are_those_of_the_groups() -> None:
    every = ports_of(list(JACK_GROUPS), 2)
    assert len(set(every.values())) == len(every) == 3 + 4 + 32 + 2
    assert list(ports_of(["decks", "master"], 0)) == [
        "master", "deck_A", "deck_B", "deck_C", "deck_D",
    ]
    assert ports_of(["inputs"], 1) == {"input_1": every["input_1"]}
    assert ports_of([], 2) == {}
