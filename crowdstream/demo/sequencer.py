"""Plays the plan: sends each message early enough, and listens to the answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from crowdstream.demo import status
from crowdstream.demo.osc import Answer, OscClient
from crowdstream.demo.plan import TEMPO, Action, Message, mix, opening, seconds_of
from crowdstream.demo.tracks import Track

AHEAD = 0.25
"""Seconds by which stamped bundles are sent before they act: a busy machine's worst delay."""

CUE_TIMEOUT = 20.0
STATUS_EVERY = 0.25

DRIFT_HEARD = 0.06
"""Seconds that the server's beat may be off ours (a block and an answer's way) unheeded."""

DRIFT_SHARE = 0.2
"""How much of what is more than that is made up for at each status."""

DRIFT_MOST = 2.0
"""A beat that is further off is none that this mix's `/reset` began."""


class SequencerError(Exception):
    """The server can't play the demo; the text says what it answered."""


def _deck_of_buffer(arguments: Sequence[object]) -> str:
    """The deck that a buffer number belongs to: 100 to 1099 is A, and so on."""
    match arguments:
        case [int(number)] if 100 <= number < 4100:
            return "ABCD"[(number - 100) // 1000]
    return ""


class Sequencer:
    """A mix in progress. Call `prepare`, `start`, then `step` again and again.

    `status` is the server's last answer, `note` what a listener hears, `refusals` counts the
    messages that the server would not do, and `refusal` is the last one's reason.
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
        self._asked = 0.0
        self._notes: list[tuple[float, str]] = []

    def prepare(self, alive: Callable[[], None] = lambda: None) -> None:
        """Cue the first two tracks and wait until the first is ready.

        `alive` is called while waiting; it may raise. Raises SequencerError when the server
        refuses a track or does not answer within 20 s.
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
            for answer in self._hear(0.1):
                about = [str(argument) for argument in answer.arguments]
                if answer.address == "/fail" and about[:1] == ["/cue"]:
                    raise SequencerError(f"the server could not load a track: {' '.join(about)}")
                if answer.address == "/done" and about[:1] == ["/cue"]:
                    waiting -= {_deck_of_buffer(answer.arguments[1:2])}

    def start(self) -> None:
        """Beat 0 is a moment from now."""
        self.started = time.monotonic() + AHEAD + 0.05
        self._send_due()

    def elapsed(self) -> float:
        """Seconds of music so far."""
        return time.monotonic() - self.started

    def step(self, wait: float = 0.02) -> None:
        """Send what is due, ask for the status now and then, hear answers for `wait` seconds."""
        self._send_due()
        now = time.monotonic()
        if now - self._asked >= STATUS_EVERY:
            self._asked = now
            self.client.send("/status")
        self._hear(wait)
        beat = self.elapsed() * self.tempo / 60.0
        while self._notes and self._notes[0][0] <= beat:
            self.note = self._notes.pop(0)[1]
            self.on_note(self.note)

    def _follow(self) -> None:
        """Keep to the server's beat: a sound card's second is not quite the computer's.

        Starts are on the sound card's clock anyway; this keeps fades and EQ beside them,
        through hours of mixing and over any gap in which the sound card stood still.
        """
        tempo, elapsed = self.status.number("bpm"), self.elapsed()
        if not self.started or elapsed < 1.0 or tempo <= 0.0 or "beat" not in self.status.values:
            return
        ahead = elapsed - self.status.number("beat") * 60.0 / tempo
        if DRIFT_HEARD < abs(ahead) < DRIFT_MOST:
            self.started += ahead * DRIFT_SHARE

    def finish(self) -> None:
        """Silence, before the server is ended."""
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
        # Counted on the steady clock and turned into calendar time only now: a Pi without a
        # battery clock may be set right in the middle of a mix.
        self.client.send_at(time.time() + lead, messages)

    def _hear(self, wait: float) -> list[Answer]:
        answers = self.client.answers(wait)
        for answer in answers:
            if answer.address == "/status.reply":
                self.status = status.parse(answer.arguments)
                self._follow()
            elif answer.address == "/fail":
                self.refusals += 1
                self.refusal = " ".join(str(argument) for argument in answer.arguments)
        return answers
