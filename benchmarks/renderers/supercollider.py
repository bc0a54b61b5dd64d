"""SuperCollider's server in non-real-time mode."""

from __future__ import annotations

import socket
from pathlib import Path

from benchmarks.renderers.base import Renderer, program_version
from benchmarks.renderers.synthdef import (
    ADD,
    AUDIO,
    CONTROL,
    MULTIPLY,
    SCALAR,
    Definition,
    Output,
    message,
    score,
)
from benchmarks.scene import HIGH_HZ, LOW_HZ, MID_HZ, MID_Q, SHELF_Q, Deck, Scene, decibels

LOOK_AHEAD = 0.01  # default of its Limiter
WIRES = 256  # maximum number of connections between unit generators
ADD_TO_TAIL = 1
LIVE_SECONDS = 30.0  # for the files to be read
GAIN = 1.0
LINEAR = 2


class SuperCollider(Renderer):
    """Files are read into buffers. A synth per deck uses `PlayBuf` (always cubic), or `Phasor`
    and `BufRd` (linear), and the equalisers of the BEQ suite; a master synth uses `Limiter`."""

    get = "apt install supercollider-server"

    def __init__(self, kind: str) -> None:
        self._cubic = kind == "cubic"
        self.name = f"scsynth {kind}"
        how = "PlayBuf, cubic" if self._cubic else "BufRd, linear"
        self.does = f"{how}; BLowShelf, BPeakEQ, BHiShelf; Limiter"

    def version(self) -> str | None:
        """See `Renderer`."""
        return program_version("scsynth", "-v", pattern=r"scsynth (\d[\d.]*)")

    def command(self, scene: Scene, folder: Path, out: Path) -> list[str]:
        """See `Renderer`."""
        (folder / "score.osc").write_bytes(self.score(scene))
        stems = sum(len(deck.stems) for deck in scene.decks)
        return [
            *("scsynth", "-N", "score.osc", "_", str(out), f"{scene.sample_rate}", "WAV", "float"),
            *("-i", "0", "-o", "2", "-b", str(max(16, stems)), "-w", str(WIRES)),
        ]

    def live_command(self, scene: Scene, folder: Path, frames: int) -> list[str] | None:
        """See `Renderer`."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = int(probe.getsockname()[1])
        return [
            *("env", "SC_JACK_DEFAULT_OUTPUTS=system", "scsynth", "-u", str(self._port)),
            *("-i", "0", "-o", "2", "-w", str(WIRES)),
        ]

    def begin_live(self, scene: Scene) -> None:
        """See `Renderer`. Raises `TimeoutError`."""
        begin, starts = self._messages(scene)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as connection:
            connection.settimeout(LIVE_SECONDS)
            connection.connect(("127.0.0.1", self._port))
            for part in (*begin, message("/sync", 1)):
                connection.send(part)
            while b"/synced" not in connection.recv(65536):
                pass
            for part in starts:
                connection.send(part)

    def score(self, scene: Scene) -> bytes:
        """Return definitions, buffers and synths at 0 seconds, and the end."""
        begin, starts = self._messages(scene)
        return score([(0.0, [*begin, *starts]), (scene.seconds, [message("/c_set", 0, 0)])])

    def _messages(self, scene: Scene) -> tuple[list[bytes], list[bytes]]:
        # Definitions and buffers, then synths.
        begin = []
        starts = []
        buffer = 0
        for number, deck in enumerate(scene.decks):
            definition = self._deck(f"deck{number}", deck, buffer, scene)
            begin.append(message("/d_recv", definition.encoded()))
            for stem in deck.stems:
                begin.append(message("/b_allocRead", buffer, stem.path, 0, 0))
                buffer += 1
            starts.append(message("/s_new", f"deck{number}", 1000 + number, ADD_TO_TAIL, 0))
        if scene.limiter:
            begin.append(message("/d_recv", _master().encoded()))
            starts.append(message("/s_new", "master", 2000, ADD_TO_TAIL, 0))
        return begin, starts

    def _deck(self, name: str, deck: Deck, buffer: int, scene: Scene) -> Definition:
        made = Definition(name)
        sides: list[Output] = []
        for number, stem in enumerate(deck.stems):
            played = self._play(made, buffer + number, scene)
            scaled = [made.operate(MULTIPLY, side, stem.gain) for side in played]
            sides = (
                [made.operate(ADD, a, b) for a, b in zip(sides, scaled, strict=True)]
                if sides
                else scaled
            )
        if not deck.flat:
            sides = [_equalised(made, side, deck) for side in sides]
        level = made.unit("Line", CONTROL, [deck.begin, deck.end, scene.seconds, 0.0])[0]
        made.unit("Out", AUDIO, [0.0, *(made.operate(MULTIPLY, s, level) for s in sides)], 0)
        return made

    def _play(self, made: Definition, buffer: int, scene: Scene) -> list[Output]:
        if self._cubic:
            return made.unit("PlayBuf", AUDIO, [buffer, scene.rate, 1.0, 0.0, 0.0, 0.0], 2)
        frames = made.unit("BufFrames", SCALAR, [buffer])[0]
        phase = made.unit("Phasor", AUDIO, [0.0, scene.rate, 0.0, frames, 0.0])[0]
        return made.unit("BufRd", AUDIO, [buffer, phase, 0.0, float(LINEAR)], 2)


def _equalised(made: Definition, side: Output, deck: Deck) -> Output:
    low, mid, high = (decibels(gain) for gain in deck.eq)
    # A shelf slope of 1 corresponds to a Q of 1/sqrt(2).
    assert SHELF_Q**2 * 2 - 1 < 1e-9
    side = made.unit("BLowShelf", AUDIO, [side, LOW_HZ, 1.0, low])[0]
    side = made.unit("BPeakEQ", AUDIO, [side, MID_HZ, 1.0 / MID_Q, mid])[0]
    return made.unit("BHiShelf", AUDIO, [side, HIGH_HZ, 1.0, high])[0]


def _master() -> Definition:
    made = Definition("master")
    sides = made.unit("In", AUDIO, [0.0], 2)
    limited = [made.unit("Limiter", AUDIO, [side, GAIN, LOOK_AHEAD])[0] for side in sides]
    made.unit("ReplaceOut", AUDIO, [0.0, *limited], 0)
    return made


def variants() -> list[Renderer]:
    """Return linear and cubic interpolation."""
    return [SuperCollider("linear"), SuperCollider("cubic")]
