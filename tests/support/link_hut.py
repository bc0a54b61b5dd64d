"""Ableton's own example program beside a server, and both recorded: AUDIOENGINE-1 of the test plan.

    unshare -rn python -m tests.support.link_hut <folder>

LinkHut (Debian: ableton-link-utils) clicks on each beat. The server plays a deck that clicks on
each beat of its track, in sync. Both play on a JACK server without a sound card, and are recorded
from there into one file. The results are printed as one JSON object, for
`tests/system/test_link_hut.py`.
"""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from contrib.soundcard import JackDummy
from crowdstream.control.peers.link import LinkSync
from crowdstream.control.server import Server
from crowdstream.settings import validate
from tests.support.link_peer import loopback_up, wait_for

RATE = 44100
PERIOD = 1024  # of JACK, frames: large, so that busy machines lose none
BPM = 120.0
TRACK_BEATS = 480
CLICK_SECONDS = 0.005
RECORD_SECONDS = 12
SECONDS = 90.0  # for anything to happen
TOLERANCE_MS = 3.0  # of the test plan
NEAR = 0.2  # s: clicks further apart than that are not of the same beat

# "yes | 1 | 4 | no [playing] | 120.00 | 3.75 | XXXX": enabled, peers, quantum, start/stop sync,
# transport, tempo, beat.
_STATE = re.compile(
    r"(yes|no)\s+\|\s+(\d+)\s+\|\s+\d+\s+\|\s+(yes|no)\s+\[(\w+)\s*\]\s+\|\s+([\d.]+)"
)


class LinkHut:
    """LinkHut in a terminal of its own."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._text = ""
        self._pid, self._terminal = pty.fork()
        if self._pid == 0:
            os.execvpe("LinkHut", ["LinkHut"], dict(env))
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # the terminal is closed
            while data := os.read(self._terminal, 4096):
                self._text = (self._text + data.decode(errors="replace"))[-4000:]

    @property
    def state(self) -> tuple[bool, int, bool, float]:
        """Whether it is enabled, the number of its peers, whether it plays, and its tempo."""
        found = _STATE.findall(self._text)
        if not found:
            return False, 0, False, 0.0
        enabled, peers, _sync, transport, bpm = found[-1]
        return enabled == "yes", int(peers), transport == "playing", float(bpm)

    def press(self, keys: str) -> None:
        """Press keys: a enables Link, space plays, w and e change the tempo."""
        os.write(self._terminal, keys.encode())

    def set_bpm(self, bpm: float) -> None:
        """Change the tempo in its steps of 1 BPM. It loses keys that are pressed too fast."""
        while abs(self.state[3] - bpm) > 0.01:
            self._step("e" if self.state[3] < bpm else "w")

    def _step(self, key: str) -> None:
        before = self.state[3]
        self.press(key)
        wait_for(lambda: self.state[3] != before, SECONDS, "another tempo")

    def close(self) -> None:
        """End the program."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        os.close(self._terminal)


@contextlib.contextmanager
def linkhut(env: Mapping[str, str]) -> Iterator[LinkHut]:
    """A running LinkHut."""
    hut = LinkHut(env)
    try:
        wait_for(lambda: hut.state[3] > 0.0, SECONDS, "LinkHut shows its state")
        yield hut
    finally:
        hut.close()


def click_track(path: Path) -> None:
    """Write a track that clicks on each beat."""
    samples = np.zeros((round(TRACK_BEATS * 60.0 / BPM * RATE), 1), np.float32)
    for beat in range(TRACK_BEATS):
        begin = round(beat * 60.0 / BPM * RATE)
        samples[begin : begin + round(CLICK_SECONDS * RATE)] = 0.5
    soundfile.write(path, samples, RATE)


def onsets(samples: np.ndarray) -> np.ndarray:
    """Times in seconds of the first frames above half the peak, after a pause."""
    loud = np.flatnonzero(np.abs(samples) > 0.5 * np.abs(samples).max())
    begun: np.ndarray = loud[np.diff(loud, prepend=-RATE) > 0.15 * RATE] / RATE
    return begun


def apart(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """By how many ms our clicks are later than the nearest ones of LinkHut."""
    found = np.array([one - theirs[np.abs(theirs - one).argmin()] for one in ours])
    near: np.ndarray = 1000.0 * found[np.abs(found) < NEAR]
    return near


def ports(env: Mapping[str, str]) -> list[str]:
    """The ports of the JACK server that are connected to its output."""
    shown = subprocess.run(
        ["jack_lsp", "-c", "system:playback_1"], env=dict(env), capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    return [line.strip() for line in shown.stdout.splitlines()[1:] if line.startswith(" ")]


def record(env: Mapping[str, str], folder: Path, names: list[str]) -> np.ndarray:
    """Record ports for `RECORD_SECONDS`; shape `(frames, ports)`."""
    path = folder / "recorded.wav"
    subprocess.run(
        ["jack_rec", "-f", str(path), "-d", str(RECORD_SECONDS), "-b", "16", *names],
        env=dict(env), capture_output=True, check=True, timeout=SECONDS,
    )  # fmt: skip
    samples: np.ndarray = soundfile.read(path, always_2d=True)[0]
    return samples


def until_locked(link: LinkSync, bpm: float) -> None:
    """Wait until the server is in phase at a tempo."""
    wait_for(
        lambda: abs(link.session_bpm - bpm) < 0.01 and link.state == "locked", SECONDS,
        f"the server is in phase at {bpm} BPM",
    )


def until_in_phase(
    env: Mapping[str, str], folder: Path, names: list[str]
) -> dict[str, float]:
    """Record until the clicks are in phase: a busy machine loses frames, of either program."""
    deadline = time.monotonic() + SECONDS
    while True:
        samples = record(env, folder, names)
        late = apart(onsets(samples[:, 1]), onsets(samples[:, 0]))
        found = {
            "clicks": len(late), "median": float(np.median(late)), "min": float(late.min()),
            "max": float(late.max()),
        }  # fmt: skip
        if abs(found["median"]) < TOLERANCE_MS or time.monotonic() > deadline:
            return found


def measure(folder: Path, card: JackDummy) -> dict[str, Any]:
    """Follow LinkHut, and record both."""
    env = {**os.environ, **card.env}
    os.environ.update(card.env)  # for the engine
    found: dict[str, Any] = {}
    with linkhut(env) as hut:
        hut.press("a")
        hut.press(" ")
        wait_for(lambda: hut.state[0] and hut.state[2], SECONDS, "LinkHut plays")
        server = Server(validate(
            driver="pyaudio", cache_mb=64, standby="off", port=0, http=False, buffer_size=PERIOD,
            link="follower", limiter_lookahead=0.0,
        ))  # fmt: skip
        server.start()
        try:
            core, run = server.core, server.run_command
            track = folder / "clicks.wav"
            click_track(track)
            done: list[str] = []
            run("/deck/A/load", (str(track),), lambda address, *_: done.append(address))
            wait_for(lambda: bool(done), SECONDS, "the track is loaded")
            for address, *arguments in (
                ("/deck/A/grid", BPM), ("/deck/A/sync", 1, 4.0), ("/deck/A/play", 0.0, 1),
            ):
                assert run(address, tuple(arguments), lambda *_: None)
            wait_for(lambda: core.link.state == "locked", SECONDS, "the server is in phase")
            found["latency_ms"] = 1000.0 * float(server.desk.clock["latency"])
            names = sorted(ports(env), key=lambda name: not name.startswith("LinkHut"))
            for name, bpm in (("same", BPM), ("faster", 124.0), ("slower", 112.0)):
                hut.set_bpm(bpm)
                until_locked(core.link, bpm)
                found[name] = until_in_phase(env, folder, names[:2])
                found[name]["bpm"] = hut.state[3]
            run("/link/mode", ("leader",), lambda *_: None)
            run("/clock/tempo", (125.0, 8.0), lambda *_: None)
            wait_for(lambda: abs(hut.state[3] - 125.0) < 0.01, SECONDS, "LinkHut follows")
            found["led"] = hut.state[3]
            found["peers"] = hut.state[1]
        finally:
            server.stop()
    return found


def main(arguments: list[str]) -> int:
    """Run, and print the results."""
    loopback_up()
    with JackDummy(RATE, PERIOD) as card:
        found = measure(Path(arguments[0]), card)
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(status)  # the library's threads must not delay the exit
