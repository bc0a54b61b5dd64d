"""The lights process: reads the music from the desk and sends it to lighting programs.

It runs while there are targets. Control sends it the targets, the lead, and which tracks play;
beats, positions and levels come from the desk, so it never waits for control. Everything is
computed for the frame that is audible `lead` from now. When standard input closes, it exits.

Control's messages on standard input and the reports on standard output are JSON lines.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import sys
import time
from typing import Any

from crowdstream.desk.block import Desk
from crowdstream.lights.channels import values
from crowdstream.lights.levels import LevelReader
from crowdstream.lights.music import Moment, Music
from crowdstream.lights.os2l import Os2lMessages, section_change
from crowdstream.lights.outputs import Output, make_output
from crowdstream.settings.light_target import OS2L, parse_target
from crowdstream.system.control_pipe import report, serve
from crowdstream.timing.output_clock import OutputClock

# Seconds between two DMX frames. A frame is sent exactly on each beat; the shortest distance is
# that of DMX512 at its full rate of 44 Hz, which E1.31 allows at most.
FRAME_SECONDS = 0.025
MIN_FRAME_SECONDS = 1.0 / 44.0
REPORT_SECONDS = 5.0  # between two reports of the counters
END_SECONDS = 0.3  # for the threads to say goodbye
TOO_LATE_SECONDS = 0.1  # a beat that is this old is not sent


class Lights:
    """Sends the music of a desk to its targets, turn by turn."""

    def __init__(self, desk: Desk) -> None:
        self._clock = OutputClock(desk)
        self._music = Music(desk)
        self._levels = LevelReader(desk)
        self._rate = desk.sample_rate
        self._lead = 0.0
        self._outputs: dict[str, Output] = {}
        self._messages = Os2lMessages()
        # Of each OS2L target: whether it receives, and the section that it was sent last.
        self._sections: dict[str, tuple[bool, str]] = {}
        self._wake_reader, self._wake_writer = os.pipe()
        os.set_blocking(self._wake_reader, False)
        os.set_blocking(self._wake_writer, False)
        self._beat: tuple[str, int] = ("", 0)
        self._frame_at = self._sent_at = 0.0
        self._report_at = 0.0
        self._reported: list[dict[str, Any]] = []

    @property
    def wake_fd(self) -> int:
        """Readable when the state of an output has changed."""
        return self._wake_reader

    def handle(self, message: dict[str, Any]) -> None:
        """Carry out a message of control."""
        match message.get("do"):
            case "targets":
                self._lead = float(message["lead"])
                self._set_targets([str(text) for text in message["targets"]])
            case "music":
                self._music.set(message)
            case "report":
                self._report()

    def _set_targets(self, texts: list[str]) -> None:
        for text in self._outputs.keys() - set(texts):
            self._outputs.pop(text).close()
            self._sections.pop(text, None)
        for text in texts:
            if text not in self._outputs:
                self._outputs[text] = output = make_output(parse_target(text), self._wake)
                output.start()
        self._report()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # full: a report is pending anyway
            os.write(self._wake_writer, b"x")

    def turn(self) -> float:
        """Send what is due; return the instant (monotonic seconds) of the next turn."""
        now = time.monotonic()
        self._clock.read()
        frame = self._clock.audible_frame(now + self._lead)
        moment = self._music.at(frame)
        beat = (moment.source, moment.number)
        on_beat = beat != self._beat
        dmx_due = now >= self._frame_at
        if on_beat or dmx_due:
            levels = self._levels.read(frame)
            late = moment.phase * 60.0 / max(1.0, moment.bpm)
            if on_beat:
                self._beat = beat
                if moment.playing and late < TOO_LATE_SECONDS:
                    self._offer(self._messages.beat(moment, levels), True)
            self._offer(self._messages.section(moment), True)
            if dmx_due or now - self._sent_at >= MIN_FRAME_SECONDS:
                self._sent_at = now
                self._offer([values(moment, levels)], False)
        self._restore_sections()
        self._report_if_due(now)
        return self._next_turn(now, moment)

    def _restore_sections(self) -> None:
        # A program that is found in the middle of a section has missed its beginning.
        section = self._messages.pressed_section
        for text, output in self._outputs.items():
            if output.target.kind != OS2L:
                continue
            received, before = self._sections.get(text, (False, ""))
            receives = output.state == "sending"
            if receives and not received:
                for item in section_change(before, section):
                    output.offer(item)
            self._sections[text] = receives, section if receives else before

    def _offer(self, items: list[Any], to_os2l: bool) -> None:
        for output in self._outputs.values():
            if (output.target.kind == OS2L) == to_os2l:
                for item in items:
                    output.offer(item)

    def _next_turn(self, now: float, moment: Moment) -> float:
        beat_at = now + moment.seconds_left
        self._frame_at = self._sent_at + FRAME_SECONDS
        if self._sent_at + MIN_FRAME_SECONDS <= beat_at < self._sent_at + 2 * MIN_FRAME_SECONDS:
            self._frame_at = beat_at
        return min(self._frame_at, beat_at)

    def _report_if_due(self, now: float) -> None:
        try:
            changed = bool(os.read(self._wake_reader, 4096))
        except BlockingIOError:
            changed = False
        if changed or now >= self._report_at:
            self._report(only_changes=not changed)

    def _report(self, only_changes: bool = False) -> None:
        self._report_at = time.monotonic() + REPORT_SECONDS
        outputs = [output.values() for output in self._outputs.values()]
        if not only_changes or outputs != self._reported:
            self._reported = outputs
            report({"event": "outputs", "outputs": outputs})

    def close(self) -> None:
        """End all streams."""
        for output in self._outputs.values():
            output.close()
        deadline = time.monotonic() + END_SECONDS
        for output in self._outputs.values():
            output.join(max(0.0, deadline - time.monotonic()))
        self._levels.close()


def main(arguments: list[str]) -> int:
    """Run until standard input closes. `arguments`: the request as one JSON text."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    desk = Desk(int(json.loads(arguments[0])["fd"]))
    gc.collect()
    gc.freeze()
    serve(Lights(desk))
    return 0


if __name__ == "__main__":
    status = main(sys.argv[1:])
    os._exit(status)  # a thread that waits for a network must not delay the exit
