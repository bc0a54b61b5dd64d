"""The process of the rooms: leads other rooms, or keeps this one in step with a leader.

It runs while a role is set. Control sends it the role and, of a leader, the commands for the rooms;
it sends control the commands of a leader. Where the device is in the mix is read from the desk, and
the rate of the output is written there: the room stays in step while control is restarted. When
standard input closes, it exits.

Control's messages on standard input and the reports on standard output are JSON lines.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

from crowdstream.desk.block import Desk
from crowdstream.rooms.clocks import CardClock
from crowdstream.rooms.files import RoomFiles
from crowdstream.rooms.follower import Follower
from crowdstream.rooms.leader import Leader
from crowdstream.rooms.packets import KeyUnusable, read_key
from crowdstream.rooms.sockets import TimedSocket
from crowdstream.rooms.steering import Place, own_place
from crowdstream.system.control_pipe import report, serve
from crowdstream.timing.steering import output_latency, read_output_mark, release_steering, steer

MARK_SECONDS = 0.02  # between two looks at the device's latest request
REPORT_SECONDS = 0.5  # between two reports of the state
RETRY_SECONDS = 5.0  # until a port that is taken or a key that can't be read is tried again
RESOLVE_SECONDS = 10.0  # between two look-ups of the leader's name, while it does not answer
MAX_KEY_FILE = 65536


class Rooms:
    """Takes part, turn by turn."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._rate = desk.sample_rate
        self._config: dict[str, Any] = {}
        self._socket: TimedSocket | None = None
        self._leader: Leader | None = None
        self._follower: Follower | None = None
        self._card = CardClock(self._rate)
        self._files = RoomFiles(None)
        self._address: Any = None
        self._resolve_at = 0.0
        self._reason = ""
        self._retry_at = self._mark_at = self._report_at = 0.0
        # Of a role that ended: a socket needs a descriptor all the time.
        self._idle, self._idle_other = socket.socketpair()

    @property
    def wake_fd(self) -> int:
        """Readable when a packet has arrived."""
        return self._socket.fileno() if self._socket is not None else self._idle.fileno()

    # Control -----------------------------------------------------------------------------

    def handle(self, message: dict[str, Any]) -> None:
        """Carry out a message of control."""
        what = message.get("do")
        if what == "config":
            if message != self._config:
                self._config = message
                self._end()
                self._retry_at = 0.0
        elif what == "send" and self._leader is not None:
            self._leader.queue(
                self._files.outgoing(message["message"]), str(message.get("to", "")),
            )
        elif what == "report":
            self._report()

    def _end(self) -> None:
        if self._socket is not None:
            self._socket.close()
        if self._follower is not None:
            release_steering(self._desk)
        self._socket = self._leader = self._follower = None

    def _begin(self, now: float) -> None:
        config = self._config
        self._retry_at = now + RETRY_SECONDS
        try:
            with Path(config["key_file"]).expanduser().open("rb") as file:
                key = read_key(file.read(MAX_KEY_FILE))
            self._files = RoomFiles(config["folder"])
            leads = config["role"] == "leader"
            self._socket = self._open_socket(int(config["port"]) if leads else 0)
        except (OSError, KeyUnusable) as error:
            self._fail(str(error))
            return
        self._reason = ""
        about = {**config["requirements"], "sample_rate": self._rate}
        if leads:
            self._leader = Leader(key, about, self._socket.send, self._place, self._event)
        else:
            self._address = None
            self._resolve_at = 0.0
            self._follower = Follower(
                key, {**about, "name": config["name"]}, self._rate, self._send_to_leader,
                self._steer, self._deliver, self._event,
            )
        self._report()

    @staticmethod
    def _open_socket(port: int) -> TimedSocket:
        try:
            return TimedSocket(socket.AF_INET6, "::", port)
        except OSError:
            return TimedSocket(socket.AF_INET, "0.0.0.0", port)  # nosec B104  # without IPv6

    def _fail(self, reason: str) -> None:
        if reason != self._reason:
            self._reason = reason
            self._report()

    # Network -----------------------------------------------------------------------------

    def _send_to_leader(self, data: bytes) -> None:
        now = time.monotonic()
        follower = self._follower
        if now >= self._resolve_at and (follower is None or not follower.joined):
            self._resolve_at = now + RESOLVE_SECONDS
            self._resolve()
        if self._address is not None and self._socket is not None:
            self._socket.send(data, self._address)

    def _resolve(self) -> None:
        assert self._socket is not None
        host, port = self._config["leader"]
        try:
            self._address = self._socket.resolve(host, port)
        except OSError as error:
            self._fail(f"{host}: {error.strerror or error}")
        else:
            self._fail("")

    def _steer(self, rate: float) -> None:
        steer(self._desk, rate)

    def _deliver(self, message: dict[str, Any], shift: int) -> None:
        missing = self._files.missing
        found = self._files.incoming(message)
        report({"event": "message", "shift": shift, "message": found})
        if self._files.missing > missing:
            self._event("missing", {"count": self._files.missing - missing})

    def _event(self, event: str, values: dict[str, Any]) -> None:
        if event == "connected":
            self._reason = ""  # its name may not have been found, but its former address was right
        report({"event": event, **values})

    def _place(self, at: float) -> Place | None:
        card, mark = self._card.read(at), read_output_mark(self._desk)
        if card is None or mark is None:
            return None
        latency = output_latency(self._desk)
        return own_place(card, at, mark.out, mark.place, mark.rate, latency)

    # Turns ---------------------------------------------------------------------------------

    def turn(self) -> float:
        """Do what is due; return the instant (monotonic seconds) of the next turn."""
        now = time.monotonic()
        if not self._config.get("role"):
            return now + RETRY_SECONDS
        if self._leader is None and self._follower is None:
            if now < self._retry_at:
                return self._retry_at
            self._begin(now)
        if self._socket is None:
            return self._retry_at
        self._look(now)
        for data, sender, at in self._socket.receive():
            if self._leader is not None:
                self._leader.receive(data, sender, at)
            elif self._follower is not None:
                # Of any sender: a leader with several addresses may answer from another one.
                self._follower.receive(data, at)
        now = time.monotonic()
        due = self._mark_at
        if self._leader is not None:
            due = min(due, self._leader.turn(now))
        if self._follower is not None:
            due = min(due, self._follower.turn(now, output_latency(self._desk)))
        if now >= self._report_at:
            self._report()
        return due

    def _look(self, now: float) -> None:
        if now < self._mark_at:
            return
        self._mark_at = now + MARK_SECONDS
        mark = read_output_mark(self._desk)
        if mark is None:
            return
        if self._follower is not None:
            self._follower.mark(mark)
        else:
            self._card.add(mark.ns * 1e-9, mark.out)

    def _report(self) -> None:
        self._report_at = time.monotonic() + REPORT_SECONDS
        values: dict[str, Any] = {"reason": self._reason, "missing": self._files.missing}
        if self._leader is not None:
            values |= {
                "forged": self._leader.forged, "repeated": self._leader.repeated,
                "rooms": [
                    [room.name, round(room.deviation, 4), round(room.error, 4), int(room.in_step)]
                    for room in self._leader.rooms.values()
                ],
            }
        if self._follower is not None:
            follower, steering = self._follower, self._follower.steering
            reading = follower.reading
            values |= {
                "forged": follower.forged, "joined": int(follower.joined),
                "reason": self._reason or follower.reason,
                "in_step": int(steering.in_step and follower.joined),
                "known": int(steering.shift is not None), "shift": steering.shift or 0,
                "deviation": 1000.0 * steering.deviation,
                "error": 1000.0 * reading.error if reading else 0.0,
                "clock": reading.difference if reading else 0.0,
                "drift": 1e6 * follower.rate, "relocks": steering.relocks,
                "losses": follower.losses, "clock_changes": follower.clock.contradictions,
            }
        report({"event": "state", **values})

    def close(self) -> None:
        """Free the port; the output keeps its rate for the successor of this process."""
        for one in (self._socket, self._idle, self._idle_other):
            if one is not None:
                one.close()


def main(arguments: list[str]) -> int:
    """Run until standard input closes. `arguments`: the request as one JSON text."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    desk = Desk(int(json.loads(arguments[0])["fd"]))
    gc.collect()
    gc.freeze()
    serve(Rooms(desk))
    return 0


if __name__ == "__main__":
    status = main(sys.argv[1:])
    os._exit(status)
