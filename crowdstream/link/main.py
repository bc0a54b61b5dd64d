"""The Link process: takes part in a Link session, and exchanges its timeline with control.

Control starts it and ends it by closing its standard input. It touches neither the desk nor the
sound: if it dies, hangs or is slow, the clock runs on.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import sys
import time
from typing import Any

from crowdstream.link.session import LinkMissing, LinkSession, SessionState
from crowdstream.system.control_pipe import Ended, report

POLL_SECONDS = 0.02  # between two looks at the session: how late a change of it may be noticed
REPORT_SECONDS = 1.0  # between two reports of an unchanged session
SEARCH_SECONDS = 30.0  # between two attempts to load a missing library


class LinkProcess:
    """Holds the session. `request`: the clock's timeline, `at`, `beat` and `bpm`.

    `source`: descriptor of control's messages.
    """

    def __init__(self, request: dict[str, Any], source: int = 0) -> None:
        self._source = source
        self._timeline = [float(request[name]) for name in ("at", "beat", "bpm")]
        self._settings: dict[str, Any] = {}
        self._session: LinkSession | None = None
        self._latest: SessionState | None = None
        self._reason: str | None = None
        self._rest = b""

    def run(self) -> None:
        """Take part until the source closes."""
        try:
            self._join()
            while self._session is not None:
                self._look(self._session)
                self._listen(POLL_SECONDS)
        except Ended:
            pass
        finally:
            if self._session is not None:
                self._session.close()

    def _join(self) -> None:
        while self._session is None:
            try:
                self._session = LinkSession(*self._timeline)
            except LinkMissing as error:
                self._reason = str(error)
                report({"event": "lost", "reason": self._reason})
                self._listen(SEARCH_SECONDS)
            else:
                self._reason = None
                self._apply(self._session)

    def _look(self, session: LinkSession) -> None:
        state, latest = session.read(), self._latest
        if latest is None or latest.moved(state) or state.at >= latest.at + REPORT_SECONDS:
            self._latest = state
            report(state.to_message())

    def _listen(self, seconds: float) -> None:
        # Carry out control's messages until the time has passed. Raises `Ended`.
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if not select.select([self._source], [], [], left)[0]:
                return
            received = os.read(self._source, 65536)
            if not received:
                raise Ended
            *lines, self._rest = (self._rest + received).split(b"\n")
            for line in lines:
                # A control process that has died may have left half a line.
                with contextlib.suppress(ValueError, KeyError, TypeError):
                    self._handle(json.loads(line))

    def _handle(self, message: dict[str, Any]) -> None:
        what = message["do"]
        if what == "settings":
            self._settings = message
        if self._session is None:
            if self._reason:
                report({"event": "lost", "reason": self._reason})
            return
        if what == "settings":
            self._apply(self._session)
        elif what == "timeline":
            self._session.set_timeline(
                float(message["at"]), float(message["beat"]), float(message["bpm"])
            )
        elif what == "tempo":
            self._session.set_tempo(float(message["at"]), float(message["bpm"]))
        elif what == "play":
            self._session.set_playing(float(message["at"]), bool(message["on"]))
        self._latest = None  # report at once what has become of it

    def _apply(self, session: LinkSession) -> None:
        if self._settings:
            session.quantum = float(self._settings["quantum"])
            session.set_start_stop(bool(self._settings["start_stop"]))


def main(arguments: list[str]) -> int:
    """Run until standard input closes. `arguments`: the request as one JSON text."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    process = LinkProcess(json.loads(arguments[0]))
    gc.collect()
    gc.freeze()
    process.run()
    return 0


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(status)  # the library's threads must not delay the exit
