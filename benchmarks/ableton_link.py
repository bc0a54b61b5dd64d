"""Ableton Link: by how much a deck's beats deviate from those of a session.

    python benchmarks/ableton_link.py [--minutes 1] [--frames 512] [--simulated] [--json FILE]

A server on the built-in clock follows a session whose tempo is set by another peer, with the real
Link library. Both are in this process and in a network namespace of their own (`unshare -rn`), so
nothing is sent to the network. Each row is one tempo; deviations are measured every 20 ms, from the
deck's position in its file and the times of the least late callbacks, at the time at which a frame
is audible:

- within 3 ms: seconds from the change until the first second in which no deviation exceeds 3 ms.
- median, p95, max: of the absolute deviations from then on, in ms. A machine that loses blocks
  (underruns, of this row) shifts the sound by whole blocks, which is then corrected.
- tempo: of the clock; at extreme tempi it is an octave lower or higher.

- in phase: the share of this time with a deviation below 3 ms.

With `--simulated`, the same engine and control render in simulated time, beside a session in memory
whose clock is 50 ppm fast. A busy machine has no influence then.

The first row begins when the server joins the session, half a bar out of phase.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import common
from crowdstream.control.dispatcher import Dispatcher
from crowdstream.control.server import Server
from crowdstream.settings import validate
from tests.support.link_peer import RATE, DeckBeats, LinkPeer, loopback_up, wait_for
from tests.support.link_session import LATENCY, FakeSession, deck_beat, synced_deck
from tests.support.offline_server import Rig

TOLERANCE_MS = 3.0
DRIFT = 5e-5  # by which the simulated session's clock is fast
TEMPI = (120.0, 124.0, 128.0, 140.0, 174.0, 90.0, 60.0, 20.0, 999.0, 120.0)
MAX_SETTLING = 120.0  # s
INSIDE = "CROWDSTREAM_LINK_NAMESPACE"  # set in the namespace


def settled_at(times: np.ndarray, found: np.ndarray) -> float:
    """Seconds from the first time until a second begins that is within the tolerance.

    Infinity if there is none yet.
    """
    late = times[np.abs(found) > TOLERANCE_MS]
    bounds = np.concatenate([times[:1], late, times[-1:]])
    calm = np.flatnonzero(np.diff(bounds) >= 1.0)
    return float(bounds[calm[0]] - times[0]) if calm.size else float("inf")


def row_of(
    times: Sequence[float], found: Sequence[float], session_bpm: float, core: Dispatcher,
    underruns: int,
) -> dict[str, Any]:
    """Return the results of one tempo, of which `found` are the deviations in ms at `times`."""
    settling = settled_at(np.array(times), np.array(found))
    after = np.abs(np.array(found)[np.array(times) > times[0] + min(settling, times[-1])])
    after = after if after.size else np.abs(np.array(found))
    return {
        "session_bpm": session_bpm,
        "clock_bpm": round(core.beat_clock.bpm, 2),
        "settled_seconds": round(settling, 2),
        "median_ms": float(np.median(after)),
        "p95_ms": float(np.percentile(after, 95)),
        "max_ms": float(after.max()),
        "in_phase": float(np.mean(after < TOLERANCE_MS)),
        "seconds": round(times[-1] - times[0]),
        "state": core.link.state,
        "underruns": underruns,
    }


def print_row(row: dict[str, Any]) -> None:
    """Print the results of one tempo."""
    print(
        f"{row['session_bpm']:8.4g} {row['clock_bpm']:8g} {row['settled_seconds']:10.2f} s"
        f" {row['median_ms']:8.3f} {row['p95_ms']:8.3f} {row['max_ms']:8.3f}"
        f" {100.0 * row['in_phase']:8.1f} % {row['seconds']:8d}"
        f"  {row['state']}, {row['underruns']}",
        flush=True,
    )


def print_columns() -> None:
    """Print the names of the columns."""
    print(
        f"{'session':>8} {'tempo':>8} {'within 3 ms':>12} {'median':>8} {'p95':>8} {'max':>8}"
        f" {'in phase':>10} {'seconds':>8}  state, underruns"
    )


def measure(server: Server, deck: DeckBeats, peer: LinkPeer, seconds: float) -> dict[str, Any]:
    """Measure until `seconds` after the deviation has settled."""
    core, ledger = server.core, server.desk.ledger
    underruns = int(ledger["device_flags"])
    times: list[float] = []
    found: list[float] = []
    while True:
        octave = server.call(lambda: core.link.octave)
        for at, ms in deck.deviations(peer, 1.0, 2.0**octave, min(4.0, 4.0 * 2.0**octave)):
            times.append(at)
            found.append(ms)
        settling = settled_at(np.array(times), np.array(found))
        if times[-1] - times[0] >= min(settling, MAX_SETTLING) + seconds:
            break
    lost = int(ledger["device_flags"]) - underruns
    row: dict[str, Any] = server.call(lambda: row_of(times, found, peer.bpm, core, lost))
    return row


def simulate(minutes: float, frames: int, folder: Path) -> list[dict[str, Any]]:
    """Run all tempi in simulated time, and print a row for each."""
    rows = []
    print_columns()
    with Rig(rate=RATE, block=frames, link="follower") as rig:
        synced_deck(rig, folder)
        session = FakeSession(rig, TEMPI[0], deck_beat(rig) + 2.0)
        session.drift = DRIFT
        for bpm in TEMPI:
            session.set_tempo(bpm)
            begun, times, found = rig.time, [], []
            while True:
                session.step()
                per_beat = 2.0**rig.core.link.octave
                quantum = min(4.0, 4.0 * per_beat)
                ahead = session.beat_at(rig.time + LATENCY) - deck_beat(rig) * per_beat
                times.append(rig.time)
                found.append((ahead - quantum * round(ahead / quantum)) * 60000.0 / bpm)
                if len(times) % 1000 == 0:
                    settling = settled_at(np.array(times), np.array(found))
                    if rig.time - begun >= min(settling, MAX_SETTLING) + 60.0 * minutes:
                        break
            rows.append(row_of(times, found, bpm, rig.core, 0))
            print_row(rows[-1])
    return rows


def run(minutes: float, frames: int, folder: Path) -> list[dict[str, Any]]:
    """Run all tempi, and print a row for each."""
    server = Server(validate(
        driver="null", buffer_size=frames, cache_mb=128, standby="off", port=0, http=False,
    ))  # fmt: skip
    server.start()
    rows = []
    try:
        deck = DeckBeats(server)
        deck.play(folder)
        peer = LinkPeer(TEMPI[0])
        beat, at = deck.latest()
        peer.force_beat(beat + (time.monotonic() - at) * TEMPI[0] / 60.0 + 2.0)
        server.run_command("/link/enable", (1,), lambda *_: None)
        wait_for(lambda: server.core.link.peers == 1, 20.0, "the server finds the peer")
        print_columns()
        for bpm in TEMPI:
            peer.set_bpm(bpm)
            row = measure(server, deck, peer, 60.0 * minutes)
            rows.append(row)
            print_row(row)
        peer.leave()
    finally:
        server.stop()
    return rows


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=1.0, help="at each tempo (1)")
    parser.add_argument("--frames", type=int, default=512, help="frames per block (512)")
    parser.add_argument("--simulated", action="store_true", help="in simulated time")
    parser.add_argument("--json", type=Path, default=None, help="write the results there")
    options = parser.parse_args()
    if options.simulated:
        common.print_heading("Ableton Link, simulated: deviation of a deck's beats, in ms")
        with tempfile.TemporaryDirectory() as folder, common.quiet():
            rows = simulate(options.minutes, options.frames, Path(folder))
        common.write_json(options.json, rows)
        return 0
    if not os.environ.get(INSIDE):
        if shutil.which("unshare") is None:
            print("this needs unshare, of the package util-linux", file=sys.stderr)
            return 1
        inside = [sys.executable, *sys.argv]
        env = {**os.environ, INSIDE: "1"}
        return subprocess.run(["unshare", "-rn", *inside], env=env, check=False).returncode
    loopback_up()
    common.print_heading("Ableton Link: deviation of a deck's beats from the session's, in ms")
    with tempfile.TemporaryDirectory() as folder, common.quiet():
        rows = run(options.minutes, options.frames, Path(folder))
    common.write_json(options.json, rows)
    return 0


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)  # the library's threads must not delay the exit
