"""Rendering of a set in a session: each command at its frame, and the blocks in between."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from crowdstream.audiofile.errors import AudioFileError
from crowdstream.control.engine_queue.request import discard_reply
from crowdstream.desk.opcodes import FREE
from crowdstream.offline.cues import Cue, Set
from crowdstream.offline.session import Session
from crowdstream.offline.timeline import NEVER, Timeline

BLOCK = 8192  # frames; larger blocks would not be faster
SETTLE_SECONDS = 1.0  # rendered time between two turns of the loader while nothing is pending
# Rendered and discarded, so that levels and tempo reach the values of the settings.
PREROLL = BLOCK
TAIL_SECONDS = 2.0  # silence after which no more echoes are expected
SILENCE = 2.0**-24  # -144 dB: below a step of 24 bits
MAX_LOOP_SECONDS = 600.0  # after the last command, while only loops are playing


class RenderError(RuntimeError):
    """A command of the set failed; the message gives its position and the reason."""


class PagesMissing(RenderError):
    """A playhead reached a position that was not in memory: more must be read ahead."""


@dataclass
class Summary:
    """Result of a render: the number of frames, and warnings for the author of the set."""

    frames: int = 0
    warnings: list[str] = field(default_factory=list)


class Renderer:
    """Renders one set. `write` receives blocks, float32 `(frames, 2)`, valid until it returns.

    `progress` is called after each block with the number of rendered frames and a function that
    estimates the total.
    """

    def __init__(
        self,
        session: Session,
        mix: Set,
        write: Callable[[np.ndarray], None],
        progress: Callable[[int, Callable[[], int]], None] = lambda _done, _total: None,
    ) -> None:
        self._session = session
        self._desk = session.desk
        self._mixer = session.core.deck_manager
        self._write = write
        self._progress = progress
        session.render(PREROLL)
        self._origin = self._desk.frame
        session.start_inputs(self._origin)
        session.perform("/reset", (), discard_reply, self._origin)
        self._timeline = Timeline(mix.cues, session.core.beat_clock, self._origin)
        self._end = mix.end
        self._failure: str | None = None
        self._summary = Summary()
        self._stop = NEVER
        self._settle_at = 0.0
        self._moved = True
        self._written = 0
        self._last = self._origin  # frame of the latest command, or of sound other than a loop
        self._loud = self._origin  # the frame after the latest sound
        self._held: list[np.ndarray] = []
        # The limiter's delay is removed from the output.
        self._delay = self._skip = int(self._desk.limiter["delay"])

    def run(self, seconds: float | None = None) -> Summary:
        """Render to the end of the set, but at most `seconds`. Raises `RenderError`."""
        while True:
            now = self._desk.frame
            self._perform_due(now)
            stop = self._stop = self._stop_frame(now - self._delay, seconds)
            ahead = self._timeline.next_frame(now)
            closing = stop == NEVER and ahead == NEVER
            if now >= stop or (closing and self._finished(now)):
                self._summary.frames = self._written
                return self._summary
            block = now + BLOCK - (now - self._origin) % BLOCK
            self._sound(min(block, ahead, stop) - now, closing)
            self._check()
            self._progress(self._desk.frame - self._origin, self._estimate)

    def _perform_due(self, now: int) -> None:
        performed = False
        while cue := self._timeline.take(now):
            self._perform(cue, now)
            self._last = self._loud = now
            performed = True
        # An action within the next block may move a playhead to a position with little loaded data,
        # so the loader also gets a turn after that block.
        moves = performed or int(self._desk.master["pending"]) > 0 or self._waiting()
        if moves or self._moved or now >= self._settle_at or self._session.requests:
            self._settle()
        self._moved = moves

    def _stop_frame(self, now: int, seconds: float | None) -> int:
        if self._stop != NEVER and now >= self._stop - self._delay:
            return self._stop  # the end has been reached; the limiter still holds the last frames
        stop = NEVER if self._end is None else self._timeline.frame(self._end, now)
        if seconds is not None:
            stop = min(stop, self._origin + round(seconds * self._desk.sample_rate))
        return stop if stop == NEVER else stop + self._delay

    def _perform(self, cue: Cue, frame: int) -> None:
        def reply(address: str, *arguments: object) -> None:
            if address == "/fail":
                self._failure = self._failure or f"{cue.place}: {cue.address}: {arguments[1]}"
            elif address == "/broken":
                self._failure = self._failure or f"{cue.place}: {arguments[1]}"
            elif address == "/late":
                self._summary.warnings.append(
                    f"{cue.place}: {cue.address} names a time that passed {arguments[1]:.3f} s ago"
                )

        self._session.perform(cue.address, cue.arguments, reply, frame)
        # The next command may need the file that this one loads.
        self._settle()

    def _settle(self) -> None:
        self._session.settle()
        self._settle_at = self._desk.frame + SETTLE_SECONDS * self._desk.sample_rate
        self._check()

    def _check(self) -> None:
        if self._failure:
            raise RenderError(self._failure)
        missing = int(self._desk.ledger["missing_frames"])
        if missing:
            raise PagesMissing(
                f"{missing} stem frames were not in memory when they were due: raise --cache-mb, "
                "so that whole tracks fit"
            )

    # The end ------------------------------------------------------------------------------

    def _sound(self, frames: int, closing: bool) -> None:
        # Silence at the end is held back; it is written only if more sound follows.
        try:
            out = self._session.render(frames)
        except AudioFileError as error:
            raise RenderError(str(error)) from None
        loud = frames
        if closing and not self._active():
            loud = _loud_frames(out)
        if loud:
            for held in self._held:
                self._put(held)
            self._held.clear()
            self._put(out[:loud])
            self._loud = self._desk.frame - frames + loud
        if loud < frames:
            self._held.append(out[loud:].copy())

    def _put(self, samples: np.ndarray) -> None:
        early = min(self._skip, len(samples))
        self._skip -= early
        samples = samples[early:]
        self._write(samples)
        self._written += len(samples)

    def _waiting(self) -> bool:
        # Whether files are being loaded, or commands are waiting for them or for a beat.
        return self._mixer.waiting() or len(self._session.core.scheduler) > 0

    def _active(self) -> bool:
        # Whether anything is playing or pending, apart from tails.
        return (
            bool((self._desk.voices["state"] != FREE).any())
            or int(self._desk.master["pending"]) > 0
            or self._waiting()
            or any(one.left for one in self._session.inputs)
        )

    def _finished(self, now: int) -> bool:
        rate = self._desk.sample_rate
        voices = self._desk.voices[self._desk.voices["state"] != FREE]
        if bool((voices["loop"] == 0).any()):
            self._last = now
        if now - self._last > MAX_LOOP_SECONDS * rate:
            self._summary.warnings.append(
                f"a loop kept playing and was ended {MAX_LOOP_SECONDS:g} s after the last command: "
                "add a line with a time and `end`, or --duration"
            )
            return True
        return not self._active() and now - self._loud >= TAIL_SECONDS * rate

    def _estimate(self) -> int:
        # Frames of the whole mix, as far as they are known at this point.
        now = self._desk.frame
        if self._stop != NEVER:
            return self._stop - self._origin
        end = self._timeline.last_frame(now)
        voices = self._desk.voices[(self._desk.voices["state"] != FREE)]
        left = (voices["end"] - voices["cursor"])[voices["loop"] == 0].tolist()
        left += [one.left for one in self._session.inputs]
        return max(end, now + max(left, default=0)) - self._origin


def _loud_frames(out: np.ndarray) -> int:
    # Number of frames up to and including the last one that is not silent.
    loud = np.flatnonzero((np.abs(out) > SILENCE).any(1))
    return int(loud[-1]) + 1 if len(loud) else 0
