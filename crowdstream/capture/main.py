"""The capture process: records one input device, and searches for it while it is gone.

There is one per live input. It writes the frames to the desk, where the engine reads them, so
neither control nor the engine waits for a device. It also compares the input with the music, and
reports feedback. When standard input closes, it exits.

Control's messages on standard input and the reports on standard output are JSON lines.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import time
from collections import deque
from dataclasses import asdict
from typing import Any

import numpy as np

from crowdstream.capture.feedback import STEP_SECONDS, FeedbackDetector
from crowdstream.capture.howling import NO_TONE
from crowdstream.capture.stream import InputInfo, InputStream
from crowdstream.desk.block import Desk
from crowdstream.desk.constants import INPUT_FRAMES, TAP_MUSIC
from crowdstream.desk.inputs import InputWriter
from crowdstream.desk.ramps import RAMP_INPUT_GAIN, RAMP_INPUT_LEVEL
from crowdstream.desk.stream_info import DeviceError
from crowdstream.desk.taps import CAPTURES, TapReader
from crowdstream.system.control_pipe import Ended, is_asked, report

SEARCH_SECONDS = 1.0  # between attempts to open a device
LIMITS = 3  # readings of the limiter that are averaged: a second
# What the judgement of a tone means for control.
HOWLING_EVENTS = {"suspected": "howling", "confirmed": "howls", "refuted": "whistles"}
MIN_LIMIT = 0.1  # -20 dB: a limiter that attenuates more has other reasons


def strip_gain(desk: Desk, number: int) -> float:
    """Gain of an input's strip. A closed fader counts as one at 1: it will be opened."""
    level = float(desk.ramps["value"][RAMP_INPUT_LEVEL + number])
    return float(desk.ramps["value"][RAMP_INPUT_GAIN + number]) * (level or 1.0)


class Capture:
    """Captures one device. `request` is control's request: desk, number, device, buffer size."""

    def __init__(self, request: dict[str, Any]) -> None:
        self._desk = Desk(int(request["fd"]))
        self._number = int(request["number"])
        self._device = str(request["device"])
        self._frames = int(request["buffer_size"])
        self._writer = InputWriter(self._desk, self._number)
        self._state: dict[str, Any] = {"event": "lost", "reason": "its device is being opened"}
        self._detector = FeedbackDetector(self._desk.sample_rate, self._desk.sample_rate)
        self._limits: deque[float] = deque([1.0], maxlen=LIMITS)
        self._seen = 0

    def run(self) -> None:
        """Capture until standard input closes."""
        music = TapReader(self._desk, TAP_MUSIC, CAPTURES + self._number)
        try:
            while True:
                stream = InputStream(
                    self._writer, self._device, self._desk.sample_rate, self._frames
                )
                try:
                    info = stream.open()
                except DeviceError as error:
                    self._set_state({"event": "lost", "reason": str(error)})
                    self._pause(SEARCH_SECONDS)
                    continue
                try:
                    self._capture(stream, info, music)
                finally:
                    stream.close()
        except Ended:
            pass
        finally:
            music.close()

    def _capture(self, stream: InputStream, info: InputInfo, music: TapReader) -> None:
        self._set_state({"event": "opened", **asdict(info)})
        self._start_detector(info)
        while stream.alive():
            self._pause(STEP_SECONDS)
            self._look_for_feedback(info, music)
        self._set_state({"event": "lost", "reason": f"{info.device} is gone"})

    def _look_for_feedback(self, info: InputInfo, music: TapReader) -> None:
        lost, frames = music.read()
        if lost:
            self._start_detector(info)
        self._detector.add_music(frames)
        head = self._writer.head
        self._seen = max(self._seen, head - INPUT_FRAMES // 2)
        ring = self._desk.input_rings[self._number]
        self._detector.add_captured(ring[np.arange(self._seen, head) % INPUT_FRAMES])
        self._seen = head
        state = self._desk.inputs[self._number]
        ratio = float(state["ratio"]) if state["locked"] else info.rate / self._desk.sample_rate
        # The limiter hides the gain of a loop that has built up.
        self._limits.append(max(MIN_LIMIT, float(self._desk.master["limit_gain"])))
        gain = strip_gain(self._desk, self._number) / float(np.mean(self._limits))
        event, tone = self._detector.howling(
            strip_gain(self._desk, self._number), float(np.mean(self._limits))
        )
        if event:
            report({"event": HOWLING_EVENTS[event], **asdict(tone)})
        match = self._detector.step(ratio, gain)
        if match is not None:
            report({"event": "feedback", **asdict(match)})

    def _start_detector(self, info: InputInfo) -> None:
        if self._detector.suspects:  # it could not be proved
            report({"event": HOWLING_EVENTS["refuted"], **asdict(NO_TONE)})
        self._detector = FeedbackDetector(self._desk.sample_rate, info.rate)
        self._seen = self._writer.head

    def _set_state(self, state: dict[str, Any]) -> None:
        if state != self._state:
            self._state = state
            report(state)

    def _pause(self, seconds: float) -> None:
        # Answer control until the time has passed. Raises `Ended`.
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if is_asked(left):  # a new control process asks what its predecessor knew
                report(self._state)


def main(arguments: list[str]) -> int:
    """Run until standard input closes. `arguments`: the request as one JSON text."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    capture = Capture(json.loads(arguments[0]))
    gc.collect()
    gc.freeze()
    capture.run()
    return 0


if __name__ == "__main__":
    status = main(sys.argv[1:])
    os._exit(status)  # a dead sound system must not delay the exit
