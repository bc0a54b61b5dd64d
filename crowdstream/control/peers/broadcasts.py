"""Broadcasts as seen by control: their targets, what their process reports, and the title."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from crowdstream.broadcast.target import Target, TargetError, parse
from crowdstream.commands.errors import Refused
from crowdstream.control.decks.track import Track
from crowdstream.control.processes.child import Child
from crowdstream.control.processes.fork_server import BROADCAST_MODULE, ForkServer
from crowdstream.control.processes.supervised import Process, SupervisedProcess
from crowdstream.desk.block import Desk
from crowdstream.desk.ramps import RAMP_CROSSFADER, RAMP_LEFT, RAMP_RIGHT, deck_level_ramp
from crowdstream.desk.taps import BROADCAST, release_owner
from crowdstream.settings import SettingError
from crowdstream.system.text import printable

log = logging.getLogger(__name__)

NAME = "broadcast"  # under which the process is kept for a successor of control

MAX_BROADCASTS = 8
LOOK_SECONDS = 1.0  # between two looks at which track is audible
MIN_AUDIBLE = 0.1  # linear gain from which a track can be the audible one
LEAD = 1.1  # by which another track must be louder to be the audible one: both fade at once

STATES = ("starting", "connecting", "live", "waiting", "failed")
"""States of a broadcast: live sends, waiting tries again later, failed does not."""
CONNECTING, LIVE, FAILED = "connecting", "live", "failed"


@dataclass
class Broadcast:
    """One broadcast. `url` contains its password; `place` does not.

    `setting`: the URL of the settings from which it was started, or empty.
    `roots`: the folders in which its folder or pipe must lie; none: it may lie anywhere. `sent`:
    bytes. `dropped`: seconds of audio that the receiver was too slow for. `faults`: connections
    that were lost or did not succeed.
    """

    number: int
    url: str
    format: str
    bitrate: int
    place: str
    setting: str = ""
    roots: list[str] = field(default_factory=list)
    state: str = "starting"
    reason: str = ""
    connections: int = 0
    sent: int = 0
    dropped: float = 0.0
    faults: int = 0
    reported: bool = False  # the present fault has been reported


class Sounding(Protocol):
    """The tracks that play (see `VoiceAllocator`)."""

    def sounding(self) -> Sequence[Track]:
        """Return the tracks that play."""


class Broadcasts:
    """The broadcasts of a server. For the control thread.

    `notify` sends an event to all subscribers, `report` one to the event log. `authorities`: a file
    with certificates that are trusted besides the system's.
    """

    def __init__(
        self,
        desk: Desk,
        voices: Sounding,
        notify: Callable[..., None],
        report: Callable[[str, str], None],
        monotonic: Callable[[], float] = time.monotonic,
        authorities: Path | None = None,
    ) -> None:
        self.authorities = authorities
        self._desk = desk
        self._voices = voices
        self._notify = notify
        self._report = report
        self._monotonic = monotonic
        self._look_at = 0.0
        self._track: Track | None = None
        self.title = ("", "")
        """Artist and title of the audible track."""
        self.all: dict[int, Broadcast] = {}
        self.send: Callable[[dict[str, Any]], None] = lambda _message: None
        """Sends a message to the process, if it runs."""
        self.enable: Callable[[bool], None] = lambda _on: None
        """Starts the process, if it does not run."""

    # Commands ----------------------------------------------------------------------------

    def start(self, target: Target, setting: str = "", roots: Sequence[str] = ()) -> int:
        """Start a broadcast and return its number. `setting`, `roots`: see `Broadcast`.

        Raises `Refused` if there are too many, or one to the same place.
        """
        place = target.place
        if any(one.place == place for one in self.all.values()):
            raise Refused(f"there is a broadcast to {place} already: stop it first")
        free = [number for number in range(1, MAX_BROADCASTS + 1) if number not in self.all]
        if not free:
            raise Refused(f"{MAX_BROADCASTS} broadcasts run already: stop one first")
        number = free[0]
        one = Broadcast(
            number, target.url, target.format, target.bitrate, place, setting, list(roots)
        )
        self.all[number] = one
        self.send({"do": "start", **_request(one)})
        self.enable(True)
        return number

    def stop(self, number: int) -> None:
        """Stop a broadcast. Raises `Refused` if there is none with this number."""
        if number not in self.all:
            raise Refused(f"there is no broadcast {number}: see /broadcast/list")
        del self.all[number]
        self.send({"do": "stop", "id": number})

    def stop_all(self) -> None:
        """Stop all broadcasts."""
        for number in list(self.all):
            self.stop(number)

    def set_configured(self, urls: Iterable[str]) -> None:
        """Start and stop broadcasts so that those of the settings are these valid URLs."""
        urls = list(urls)
        for one in list(self.all.values()):
            if one.setting and one.setting not in urls:
                self.stop(one.number)
        running = {one.setting for one in self.all.values()}
        for url in urls:
            if url not in running:
                try:
                    self.start(parse(url), url)
                except Refused as error:
                    log.warning("broadcast: %s", error)

    def set_authorities(self, path: Path | None) -> None:
        """Trust the certificates of this file besides the system's, from the next connection on."""
        self.authorities = path
        self._send_authorities()

    def _send_authorities(self) -> None:
        path = self.authorities
        self.send({"do": "authorities", "path": str(path.expanduser()) if path else ""})

    # The process -------------------------------------------------------------------------

    def started(self) -> None:
        """The process runs, or was taken over: send it all that it must know."""
        self._send_authorities()
        artist, title = self.title
        self.send({"do": "title", "artist": artist, "title": title})
        self.send({"do": "all", "broadcasts": [_request(one) for one in self.all.values()]})

    def handle(self, message: Mapping[str, Any]) -> None:
        """Process a message of the process."""
        one = self.all.get(int(message.get("id", 0)))
        if message.get("event") != "state" or one is None:
            return
        one.connections, one.sent = int(message["connections"]), int(message["sent"])
        one.dropped = float(message["dropped"])
        self._set_state(one, str(message["state"]), printable(str(message["reason"])))

    def lost(self, reason: str) -> None:
        """The process has died, or could not be started: all broadcasts are interrupted."""
        for one in self.all.values():
            self._set_state(one, "waiting", reason)

    def _set_state(self, one: Broadcast, state: str, reason: str) -> None:
        if (state, reason) == (one.state, one.reason):
            return
        was, one.state, one.reason = one.state, state, reason
        text = f"broadcast {one.number} ({one.place})"
        if state == LIVE:
            one.reported = False
            if was != LIVE:
                log.info("%s is live", text)
                self._report("broadcast_live", f"{text} is live")
                self._notify("/broadcast", one.number, state, "")
        elif state != CONNECTING:
            one.faults += 1
            # The same outage is reported once, even if its reasons change.
            if not one.reported:
                one.reported = True
                log.warning("%s is interrupted: %s", text, reason)
                self._report("broadcast_lost", f"{text} is interrupted: {reason}")
                self._notify("/broadcast", one.number, state, reason)

    # The title ---------------------------------------------------------------------------

    def tick(self) -> None:
        """Notice that another track has become the audible one. Call this regularly."""
        if not self.all or self._monotonic() < self._look_at:
            return
        self._look_at = self._monotonic() + LOOK_SECONDS
        track = self._audible()
        if track is None:
            return
        self._track = track
        title = printable(track.artist), printable(track.title or track.name)
        if title != self.title:
            self.title = title
            self.send({"do": "title", "artist": title[0], "title": title[1]})

    def _audible(self) -> Track | None:
        # The loudest track of a deck; None if none is audible.
        gains = {track: self._gain(track) for track in self._voices.sounding() if track.on_deck}
        if not gains:
            return None
        loudest = max(gains, key=lambda track: gains[track])
        if gains[loudest] < MIN_AUDIBLE:
            return None
        present = self._track
        if present in gains and gains[loudest] < LEAD * gains[present]:
            return present
        return loudest

    def _gain(self, track: Track) -> float:
        # The deck's level and crossfader; of its curves, the additive one is near enough.
        values = self._desk.ramps["value"]
        left, right = float(values[RAMP_LEFT + track.deck]), float(values[RAMP_RIGHT + track.deck])
        place = float(values[RAMP_CROSSFADER])
        share = left * min(1.0, 2.0 - 2.0 * place) + right * min(1.0, 2.0 * place)
        return float(values[deck_level_ramp(track.deck)]) * (share + 1.0 - left - right)

    # Reports -----------------------------------------------------------------------------

    def readings(self) -> dict[str, Any]:
        """Return the values for the status."""
        every = self.all.values()
        return {
            "broadcasts": len(every),
            "broadcasts_live": sum(one.state == LIVE for one in every),
            "broadcast_dropped_s": round(sum(one.dropped for one in every), 2),
            "broadcast_faults": sum(one.faults for one in every),
        }

    def value(self) -> list[dict[str, Any]]:
        """Return the broadcasts as JSON values, without passwords."""
        hidden = ("url", "setting", "roots", "reported", "sent")
        return [
            {name: value for name, value in asdict(one).items() if name not in hidden}
            for one in self.all.values()
        ]

    # Saved state -------------------------------------------------------------------------

    def to_state(self) -> list[dict[str, Any]]:
        """Return the broadcasts as JSON-compatible state; see `restore`."""
        return [asdict(one) for one in self.all.values()]

    def restore(
        self, state: Sequence[Mapping[str, Any]], title: Sequence[str] = ("", "")
    ) -> None:
        """Restore the broadcasts from `to_state`, and the `title` that receivers have."""
        self.all = {one["number"]: Broadcast(**one) for one in state}
        artist, name = title
        self.title = artist, name


def check_broadcasts(urls: Iterable[str]) -> None:
    """Raise `SettingError` if one of these URLs of the settings is no target."""
    for url in urls:
        try:
            parse(url)
        except TargetError as error:
            raise SettingError(f"broadcast: {error}") from None


def _request(one: Broadcast) -> dict[str, Any]:
    return {"id": one.number, "url": one.url, "roots": one.roots}


def start_broadcast(fork_server: ForkServer, desk: Desk) -> Child:
    """Start the broadcast process. Raises `ChildError`."""
    return Child(fork_server, BROADCAST_MODULE, str(desk.fd), desk.fd, NAME)


def broadcast_process(
    desk: Desk,
    broadcasts: Broadcasts,
    start: Callable[[], Process],
    monotonic: Callable[[], float] = time.monotonic,
) -> SupervisedProcess:
    """Return the process of all broadcasts. It does not start before the first one.

    It stays when the last one stops: it then waits without using the processor, and control need
    not wait for its end.
    """

    def lost(reason: str) -> None:
        release_owner(desk, BROADCAST)
        broadcasts.lost(reason)

    made = SupervisedProcess(
        NAME, start, broadcasts.handle, lost, broadcasts.started,
        enabled=bool(broadcasts.all), monotonic=monotonic,
    )  # fmt: skip
    broadcasts.send, broadcasts.enable = made.send, made.enable
    return made
