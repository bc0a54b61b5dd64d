"""A long night rendered offline: the same actions, block by block, faster than real time."""

from __future__ import annotations

import hashlib
import math
import struct
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from crowdstream.desk.constants import SAMPLE_PADS
from crowdstream.desk.opcodes import PLAYING
from crowdstream.offline.session import Session
from crowdstream.osc.codec import UNIX_EPOCH, build
from crowdstream.settings import Settings
from tests.support.long_night.model import DECKS, Action
from tests.support.long_night.stick import Stick

BLOCK_SECONDS = 0.045  # long, but shorter than a bundle's lead: pages are loaded between blocks
SETTLE_SECONDS = 2.0  # of music between two turns of the loader, which reads 10 s ahead
SILENT_PEAK = 1e-4  # a block with a lower peak is silent
_ME = ("127.0.0.1", 50001)


class OfflineNight(Session):
    """Applies the actions of a plan to a session and measures its output.

    `origin`: the frame at which the night begins. `counts`: actions by kind and replies by address;
    `refused_words`: reasons of refusals. `silence`: seconds of the longest silence while a deck
    played; `played`: seconds in which a deck played; `peak`: the largest sample; `finite`: whether
    all samples were finite; `digest`: hash of the output. `stick`: what is pulled out in a fault of
    that kind. `inputs`: as in `Session`; a file that has ended begins again. `input_seconds`: time
    in which the first one was there.
    """

    def __init__(
        self,
        memory_bytes: int,
        sample_rate: float,
        paths: Mapping[str, Path],
        bad_files: Mapping[str, Path],
        origin: int = 0,
        settings: Settings | None = None,
        stick: Stick | None = None,
        inputs: Sequence[Path] = (),
    ) -> None:
        self._block = 2 ** round(math.log2(BLOCK_SECONDS * sample_rate))
        super().__init__(
            settings or Settings(), memory_bytes, sample_rate, self._block, inputs=inputs
        )
        self.stick = stick
        self.input_seconds = 0.0
        self._returns: list[tuple[int, Callable[[], None]]] = []  # by frame
        self.paths = paths
        self.bad_files = bad_files
        self.counts: Counter[str] = Counter()
        self.refused_words: Counter[str] = Counter()
        self.silence = 0.0
        self.peak = 0.0
        self.finite = True
        self.played = 0.0
        self.digest = hashlib.sha256()
        self._silent = 0
        self._settle_at = 0
        self._moved = True
        self.desk.clock["frame"] = origin
        self.render(self._block)
        self.send("/reset", sender=_ME)
        self.render(self._block)
        self.restart()

    def restart(self) -> None:
        """Count the seconds of the night from here on, as for the actions of another seed."""
        self.begin = self.desk.frame
        self.start_inputs(self.begin)

    def answer(self, sender: Any, address: str, *arguments: Any) -> None:
        """Count a reply."""
        self.counts[address] += 1
        if address == "/fail":
            self.refused_words[" ".join(map(str, arguments))[:120]] += 1

    @property
    def seconds(self) -> float:
        """Seconds since the beginning of the night."""
        return (self.desk.frame - self.begin) / self.desk.sample_rate

    def play(self, actions: Iterator[Action], until: float) -> None:
        """Apply all actions before `until` seconds of the night, and render up to there."""
        for action in actions:
            self.advance(min(action.at, until))
            if action.at >= until:
                return
            self.apply(action)

    def advance(self, until: float) -> None:
        """Render up to `until` seconds of the night."""
        end = self.begin + round(until * self.desk.sample_rate)
        while self.desk.frame < end:
            self._follow_faults()
            self._measure(self.render(min(self._block, end - self.desk.frame)))
            # A command within the block may move a playhead to where few pages are loaded.
            moves = int(self.desk.master["pending"]) > 0 or self._waiting()
            if moves or self._moved or self.requests or self.desk.frame >= self._settle_at:
                self._settle_at = self.desk.frame + round(SETTLE_SECONDS * self.desk.sample_rate)
                self.settle()
            self._moved = moves

    def _follow_faults(self) -> None:
        for due in [one for one in self._returns if one[0] <= self.desk.frame]:
            self._returns.remove(due)
            due[1]()
        for one in self.inputs:
            if one.plays and not one.left:
                one.start(self.desk.frame)

    def _cause(self, kind: str, seconds: float) -> None:
        # A fault that lasts so long.
        back = self.desk.frame + round(seconds * self.desk.sample_rate)
        if kind == "input" and self.inputs:
            self.inputs[0].stop()
            self._returns.append((back, lambda: self.inputs[0].start(self.desk.frame)))
        elif kind == "stick" and self.stick is not None and self.stick.there:
            self.stick.pull_out()
            self._returns.append((back, self.stick.plug_in))

    def _waiting(self) -> bool:
        return self.core.deck_manager.waiting() or len(self.core.scheduler) > 0

    def _measure(self, out: np.ndarray) -> None:
        peak = float(np.abs(out).max())
        self.finite = self.finite and np.isfinite(peak)
        self.peak = max(self.peak, peak)
        voices = self.desk.voices
        plays = ((voices["state"] == PLAYING) & (voices["deck"] < len(DECKS))).any()
        self.played += len(out) / self.desk.sample_rate if plays else 0.0
        if self.inputs and self.inputs[0].plays:
            self.input_seconds += len(out) / self.desk.sample_rate
        self.digest.update(out.tobytes())
        if plays and peak < SILENT_PEAK:
            self._silent += len(out)
            self.silence = max(self.silence, self._silent / self.desk.sample_rate)
        else:
            self._silent = 0

    def apply(self, action: Action) -> None:
        """Apply an action; recordings, visitors and kills need a server and are ignored."""
        self.counts[action.kind] += 1
        words = action.words
        if action.kind == "send":
            self.send(*words, sender=_ME)
        elif action.kind == "load":
            self.send(f"/deck/{words[0]}/load", str(self.paths[words[1]]), words[2], sender=_ME)
        elif action.kind == "cue":
            self.send("/cue", words[0], str(self.paths[words[1]]), words[2], sender=_ME)
        elif action.kind == "sample":
            self.send(f"/sample/{words[0]}/load", str(self.paths[words[1]]), sender=_ME)
        elif action.kind == "announce":
            self.send("/announce", str(self.paths[words[0]]), sender=_ME)
        elif action.kind == "bad file":
            self.send(f"/deck/{words[0]}/load", str(self.bad_files[words[1]]), sender=_ME)
        elif action.kind == "packet":
            self.packet(words[0], _ME)
        elif action.kind == "fault":
            self._cause(*words)
        elif action.kind == "together":
            self.packet(self._bundle(*words), _ME)
        self._moved = True
        self.settle()

    def _bundle(self, ahead: float, *messages: tuple[Any, ...]) -> bytes:
        tag = round((self.tag_of(self.desk.frame) + ahead + UNIX_EPOCH) * 2**32)
        parts = [build(address, tuple(values)) for address, *values in messages]
        packed = b"".join(struct.pack(">i", len(part)) + part for part in parts)
        return b"#bundle\0" + struct.pack(">Q", tag) + packed

    def clear_up(self) -> None:
        """End all faults, unload everything, and render until all tails have ended."""
        for _frame, restore in self._returns:
            restore()
        self._returns.clear()
        for one in self.inputs:
            one.stop()
        for chain in (*(f"/deck/{deck}" for deck in "ABCD"), "/bus/1", "/bus/2", "/mix"):
            for slot in range(1, 5):
                self.send(f"{chain}/fx/remove", slot, sender=_ME)
        for pad in range(1, SAMPLE_PADS + 1):
            self.send(f"/sample/{pad}/unload", sender=_ME)
        self.send("/mixer_cleanup", sender=_ME)
        self.advance(self.seconds + 40.0)
