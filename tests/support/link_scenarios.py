"""The items of Link's test plan, with the real library: a server and a peer in one namespace.

    unshare -rn python -m tests.support.link_scenarios <folder>

The items are those of TEST-PLAN.md in https://github.com/Ableton/link. The results are printed as
one JSON object, for `tests/integration/test_link.py`.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from crowdstream.control.peers.link import MAX_CORRECTION
from crowdstream.control.server import Server
from crowdstream.settings import validate
from tests.support.link_peer import RATE, DeckBeats, LinkPeer, loopback_up, wait_for
from tests.support.network_namespace import SIOCSIFFLAGS
from tests.support.server import server

SECONDS = 60.0  # for anything to happen
TOLERANCE_MS = 3.0


def loopback_down() -> None:
    """Disable the network of this namespace."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", 0))


class Scene:
    """A server whose deck A plays in sync with its clock."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.deck = DeckBeats(server)
        self.deck.play(folder)

    def send(self, address: str, *arguments: Any) -> list[str]:
        """Carry out a command; return the reasons why it failed."""
        failures: list[str] = []

        def reply(said: str, *values: Any) -> None:
            if said == "/fail":
                failures.append(str(values[1]))

        self.server.run_command(address, arguments, reply)
        return failures

    def link(self) -> dict[str, Any]:
        """What the server says of Link."""
        found: dict[str, Any] = self.server.call(self.server.core.link.readings)
        return found

    @property
    def bpm(self) -> float:
        """The clock's tempo now."""
        core, desk = self.server.core, self.server.desk
        return float(self.server.call(lambda: core.beat_clock.bpm_at(desk.frame)))

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for a condition."""
        wait_for(condition, SECONDS, f"{what}: {self.link()}, clock {self.bpm}")

    def pass_beats(self, count: int) -> None:
        """Let beats pass: of two sessions, the older one lasts if they differ by half a second."""
        begun, _frame = self.deck.rendered()
        self.until(lambda: self.deck.rendered()[0] > begun + count, "beats")

    def until_tempo(self, bpm: float) -> None:
        """Wait until the clock is near a tempo."""
        self.until(lambda: abs(self.bpm - bpm) < 0.05 * bpm, f"{bpm} BPM")

    def until_state(self, *states: str) -> None:
        """Wait until Link is in one of the states."""
        self.until(lambda: self.link()["link.state"] in states, " or ".join(states))

    def until_in_phase(self, peer: LinkPeer, octave: int = 0) -> float:
        """Wait until a second has passed in phase; return its median deviation in ms."""
        deadline = time.monotonic() + 2 * SECONDS
        quantum = min(4.0, 4.0 * 2.0**octave)
        while True:
            found = [ms for _, ms in self.deck.deviations(peer, 1.0, 2.0**octave, quantum)]
            if np.percentile(np.abs(found), 95) < TOLERANCE_MS:
                return float(np.median(np.abs(found)))
            if time.monotonic() > deadline:
                raise TimeoutError(f"not in phase: {np.median(found)} ms, {self.link()}")

    def steps(self, action: Callable[[], object]) -> float:
        """Return the largest step of the deck's beats between two readings, in beats.

        Expected is the tempo before, over frames: the machine may lose some of these, which is
        made up for by `MAX_CORRECTION` of the tempo. `action` is done in between.
        """
        per_frame = self.bpm / 60.0 / RATE
        beat, begun = self.deck.rendered()
        action()
        largest = 0.0
        until = time.monotonic() + 3.0
        while time.monotonic() < until:
            now, frame = self.deck.rendered()
            expected = (frame - begun) * per_frame
            largest = max(largest, abs(now - beat - expected) - MAX_CORRECTION * expected)
            beat, begun = now, frame
            time.sleep(0.01)
        return largest


@contextlib.contextmanager
def scene(folder: Path, **settings: Any) -> Iterator[Scene]:
    """A running server."""
    server = Server(validate(
        driver="null", cache_mb=64, standby="off", port=0, http=False, buffer_size=512, **settings
    ))  # fmt: skip
    server.start()
    try:
        yield Scene(server, folder)
    finally:
        server.stop()


def tempo_1(folder: Path) -> dict[str, Any]:
    """Tempo changes are transmitted between the peers, in both directions."""
    found: dict[str, Any] = {}
    with scene(folder, link="peer") as on:
        peer = LinkPeer(120.0)
        on.until(lambda: on.link()["link.peers"] == 1, "a peer")
        on.send("/clock/tempo", 126.0)
        on.until(lambda: abs(peer.bpm - 126.0) < 0.01, "the peer has the server's tempo")
        found["own"] = on.until_in_phase(peer)
        peer.set_bpm(133.0)
        on.until(lambda: abs(on.bpm - 133.0) < 1.0, "the server has the peer's tempo")
        found["others"] = on.until_in_phase(peer)
        on.send("/link/mode", "leader")
        on.send("/clock/tempo", 125.0, 8.0)
        on.until(lambda: abs(peer.bpm - 125.0) < 0.01, "the leader's ramp has arrived")
        found["leader"] = on.until_in_phase(peer)
        on.send("/link/mode", "follower")
        found["refused"] = on.send("/clock/tempo", 140.0)
        found["session"] = peer.bpm
        peer.leave()
    return found


def tempo_2_3_4(folder: Path) -> dict[str, Any]:
    """An existing session keeps its tempo, whatever is opened or loaded; then extreme tempi."""
    found: dict[str, Any] = {}
    peer = LinkPeer(130.0)
    # Of two sessions, the older one lasts; below half a second of difference, either may.
    wait_for(lambda: peer.beat_at(time.monotonic()) > 3.0, SECONDS, "the session is older")
    with scene(folder, link="follower", bpm=100.0) as on:
        on.until(lambda: on.link()["link.peers"] == 1, "a peer")
        found["joined"] = on.until_in_phase(peer)
        found["session"] = peer.bpm
        found["clock"] = round(on.bpm, 1)
        other = folder / "other.wav"
        soundfile.write(other, np.zeros((20 * RATE, 1), np.int16), RATE)
        for address, *arguments in (
            ("/deck/B/load", str(other)), ("/deck/B/grid", 98.0), ("/deck/B/sync", 1),
            ("/deck/B/play",),
        ):
            assert on.send(address, *arguments) == []
        found["loaded"] = on.until_in_phase(peer)
        found["after_loading"] = peer.bpm
        on.send("/deck/B/stop")
        for bpm, octave in ((20.0, -1), (999.0, 2), (128.0, 0)):
            peer.set_bpm(bpm)
            clock = bpm / 2.0**octave
            on.until_tempo(clock)
            found[f"at_{bpm:g}"] = on.until_in_phase(peer, octave)
        peer.leave()
    return found


def tempo_5_beattime(folder: Path) -> dict[str, Any]:
    """Enabling and disabling change neither tempo nor beat time; nor does a peer that joins."""
    found: dict[str, Any] = {}
    with scene(folder) as on:
        on.send("/clock/tempo", 127.0)
        on.until(lambda: on.bpm == 127.0, "the tempo")
        found["enabled"] = on.steps(lambda: on.send("/link/enable", 1))
        on.until_state("alone")
        found["tempo_enabled"] = on.bpm
        on.send("/clock/tempo", 122.0)
        on.until(lambda: on.bpm == 122.0, "another tempo")
        found["disabled"] = on.steps(lambda: on.send("/link/enable", 0))
        found["tempo_disabled"] = on.bpm
        on.send("/link/enable", 1)
        on.until_state("alone")
        on.pass_beats(4)
        peers: list[LinkPeer] = []
        found["joined"] = on.steps(lambda: peers.append(LinkPeer(90.0)))
        on.until(lambda: on.link()["link.peers"] == 1, "a peer")
        found["phase"] = on.until_in_phase(peers[0])
        found["tempo_joined"] = peers[0].bpm
        peers[0].leave()
    return found


def start_stop(folder: Path) -> dict[str, Any]:
    """Starts and stops are shared if that is enabled, and only then."""
    found: dict[str, Any] = {}
    with scene(folder, link="follower") as on:
        peer = LinkPeer(120.0, start_stop=True)
        on.until(lambda: on.link()["link.peers"] == 1, "a peer")
        on.until_in_phase(peer)
        peer.play(True)
        peer.play(False)
        on.send("/link/startstop", 1, "A")
        peer.play(True)
        on.until(lambda: on.link()["link.playing"] == 1, "the session plays")
        peer.play(False)
        on.until(lambda: not on.deck.plays(), "the deck has stopped")
        peer.play(True)
        on.until(on.deck.plays, "the deck plays")
        found["started"] = on.until_in_phase(peer)
        beat, at = on.deck.latest()
        # The track's beginning is on a bar of the session.
        found["bar"] = abs((peer.beat_at(at) - beat + 2.0) % 4.0 - 2.0)
        on.send("/link/mode", "leader")
        on.send("/deck/A/stop")
        on.until(lambda: not peer.playing, "the session has stopped")
        on.send("/deck/A/play", 0.0, 1)
        on.until(lambda: peer.playing, "the session plays again")
        found["leader"] = True
        peer.leave()
    return found


def faults(folder: Path) -> dict[str, Any]:
    """The process dies, the network is gone and returns: the deck plays on."""
    found: dict[str, Any] = {}
    with scene(folder, link="follower") as on:
        peer = LinkPeer(120.0)
        on.until(lambda: on.link()["link.peers"] == 1, "a peer")
        peer.set_bpm(124.0)
        on.until_tempo(124.0)
        on.until_in_phase(peer)
        server = on.server

        def kill() -> None:
            pids = server.call(
                lambda: {k: v for one in server._supervised for k, v in one.pids.items()}
            )
            os.kill(pids["link"], signal.SIGKILL)

        found["killed"] = on.steps(kill)
        on.until(lambda: on.link()["link.peers"] == 1, "the peer again")
        found["restarted"] = on.until_in_phase(peer)
        found["without_network"] = on.steps(loopback_down)
        on.until(lambda: on.link()["link.peers"] == 0, "no peers")
        found["tempo"] = round(on.bpm, 1)
        loopback_up()
        on.until(lambda: on.link()["link.peers"] == 1, "the peer again")
        found["network_again"] = on.until_in_phase(peer)
        found["events"] = server.call(
            lambda: [e.text for e in server.core.events.latest() if e.kind.startswith("link")]
        )
        peer.leave()
    return found


def successor(folder: Path) -> dict[str, Any]:
    """Control dies: its successor takes the Link process over, and follows on."""
    peer = LinkPeer(124.0)
    wait_for(lambda: peer.beat_at(time.monotonic()) > 3.0, SECONDS, "the session is older")
    options = ("--driver", "null", "--cache-mb", "64", "--standby", "off", "--link", "follower")
    with server(folder, *options) as running:
        status = running.client.status
        wait_for(lambda: status()["link.state"] == "locked", SECONDS, "in phase")
        before = running.child_named("link")
        running.child_named("control").kill()
        wait_for(lambda: status()["restarts_control"] == 1, SECONDS, "another control")
        wait_for(lambda: status()["link.state"] == "locked", SECONDS, "in phase again")
        peer.set_bpm(131.0)
        wait_for(lambda: abs(status()["bpm"] - 131.0) < 0.1, SECONDS, "the tempo")
        return {
            "same_process": running.child_named("link") == before,
            "faults": status()["link.faults"], "mode": status()["link.mode"],
        }  # fmt: skip


SCENARIOS = (successor, tempo_1, tempo_2_3_4, tempo_5_beattime, start_stop, faults)


def main(arguments: list[str]) -> int:
    """Run the scenarios named, or all, and print the results."""
    loopback_up()
    found = {}
    for scenario in SCENARIOS:
        if not arguments[1:] or scenario.__name__ in arguments[1:]:
            folder = Path(arguments[0]) / scenario.__name__
            folder.mkdir()
            found[scenario.__name__] = scenario(folder)
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(status)  # the library's threads must not delay the exit
