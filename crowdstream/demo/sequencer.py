"""Playing the plan: sends each message early enough, and receives the replies."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from crowdstream.demo import status
from crowdstream.demo.osc import Answer, OscClient
from crowdstream.demo.plan import TEMPO, Action, Message, mix, opening, seconds_of
from crowdstream.demo.tracks import Track

AHEAD = 0.25
"""Seconds by which stamped bundles are sent in advance: the worst delay of a busy machine."""

CUE_TIMEOUT = 20.0
STATUS_EVERY = 0.25

MIN_DRIFT = 0.06
"""Tolerated difference in seconds from the server's beat: one block and a reply's travel time."""

DRIFT_SHARE = 0.2
"""Share of a larger difference that is corrected at each status."""

MAX_DRIFT = 2.0
"""A larger difference, in seconds, means that the beat does not stem from this mix's `/reset`."""


class SequencerError(Exception):
    """The server can't play the demo; the message contains the server's reply."""


def _deck_of_buffer(arguments: Sequence[object]) -> str:
    """Return the deck of a buffer number: 100 to 1099 is A, and so on."""
    match arguments:
        case [int(number)] if 100 <= number < 4100:
            return "ABCD"[(number - 100) // 1000]
    return ""


class Sequencer:
    """A mix in progress. Call `prepare`, `start`, then `step` repeatedly.

    `status` is the server's latest status, `note` describes the current state of the mix,
    `refusals` counts the messages that the server has refused, and `refusal` is the reason for the
    latest one.
    """

    def __init__(
        self,
        client: OscClient,
        tracks: Sequence[Track],
        tempo: float = TEMPO,
        on_note: Callable[[str], None] = lambda note: None,
    ) -> None:
        self.client = client
        self.tracks = tracks
        self.tempo = tempo
        self.on_note = on_note
        self.status = status.Status()
        self.note = ""
        self.refusal = ""
        self.refusals = 0
        self.started = 0.0
        self._plan: Iterator[Action] = mix(tracks, tempo)
        self._next = next(self._plan)
        self._polled_at = 0.0
        self._notes: list[tuple[float, str]] = []

    def prepare(self, alive: Callable[[], None] = lambda: None) -> None:
        """Cue the first two tracks and wait until both are ready.

        `alive` is called while waiting; it may raise. Raises `SequencerError` if the server refuses
        a track or does not answer within 20 s.
        """
        for message in opening(self.tracks, self.tempo):
            self.client.send(message.address, *message.arguments)
        waiting = {"A", "B"}
        deadline = time.monotonic() + CUE_TIMEOUT
        while waiting:
            alive()
            if time.monotonic() > deadline:
                raise SequencerError(
                    f"the server did not load deck {min(waiting)} within {CUE_TIMEOUT:.0f} s; "
                    "see its log"
                )
            for answer in self._receive(0.1):
                about = [str(argument) for argument in answer.arguments]
                if answer.address == "/fail" and about[:1] == ["/cue"]:
                    raise SequencerError(f"the server could not load a track: {' '.join(about)}")
                if answer.address == "/done" and about[:1] == ["/cue"]:
                    waiting -= {_deck_of_buffer(answer.arguments[1:2])}

    def start(self) -> None:
        """Start the mix: beat 0 is 0.3 s from now."""
        self.started = time.monotonic() + AHEAD + 0.05
        self._send_due()

    def elapsed(self) -> float:
        """Return the seconds of music so far."""
        return time.monotonic() - self.started

    def step(self, wait: float = 0.02) -> None:
        """Send due messages, poll the status, and receive replies for `wait` seconds."""
        self._send_due()
        now = time.monotonic()
        if now - self._polled_at >= STATUS_EVERY:
            self._polled_at = now
            self.client.send("/status")
        self._receive(wait)
        beat = self.elapsed() * self.tempo / 60.0
        while self._notes and self._notes[0][0] <= beat:
            self.note = self._notes.pop(0)[1]
            self.on_note(self.note)

    def _follow(self) -> None:
        """Follow the server's beat, because the clocks of sound card and computer differ.

        The sound card's clock determines the starts. This keeps fades and EQ changes aligned with
        them through hours of mixing, and after a gap in which the sound card stopped.
        """
        tempo, elapsed = self.status.number("bpm"), self.elapsed()
        if not self.started or elapsed < 1.0 or tempo <= 0.0 or "beat" not in self.status.values:
            return
        ahead = elapsed - self.status.number("beat") * 60.0 / tempo
        if MIN_DRIFT < abs(ahead) < MAX_DRIFT:
            self.started += ahead * DRIFT_SHARE

    def finish(self) -> None:
        """Fade to silence before the server is ended."""
        self.client.send("/deck_levels", 0.0, 0.0, 0.0, 0.0)

    def _send_due(self) -> None:
        while True:
            action = self._next
            due = self.started + seconds_of(action.beat, self.tempo)
            lead = due - time.monotonic()
            if lead > (AHEAD if action.stamped else 0.0):
                return
            self._send(action.messages, lead if action.stamped else None)
            if action.note:
                self._notes.append((action.beat, action.note))
            self._next = next(self._plan)

    def _send(self, messages: Iterable[Message], lead: float | None) -> None:
        if lead is None:
            for message in messages:
                self.client.send(message.address, *message.arguments)
            return
        # Computed on the monotonic clock and converted to wall-clock time only now: a Pi without a
        # battery-backed clock may set its time in the middle of a mix.
        self.client.send_at(time.time() + lead, messages)

    def _receive(self, wait: float) -> list[Answer]:
        answers = self.client.receive(wait)
        for answer in answers:
            if answer.address == "/status.reply":
                self.status = status.parse(answer.arguments)
                self._follow()
            elif answer.address == "/fail":
                self.refusals += 1
                self.refusal = " ".join(str(argument) for argument in answer.arguments)
        return answers
