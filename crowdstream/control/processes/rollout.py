"""Replace the processes of another version, one by one, while the mix plays.

After an upgrade, control is the first process of its version, and all others are those that the
previous control has left. Each is replaced by one of this control's installation, and the next one
only when that works: the loader as after a crash, the web process, those of optional parts such as
live inputs (which are silent meanwhile), then the engine, by a handover at a frame. The recorder
follows when its recordings have ended. On the way back to the previous version, the engine is
first: nothing else can be heard. It is complete once no process of the other version is left, whose
folder may then be deleted.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from crowdstream.commands.errors import Refused
from crowdstream.control.processes.engine_pool import EnginePool
from crowdstream.control.processes.fork_server import ForkServer
from crowdstream.control.processes.loader_client import LoaderClient
from crowdstream.control.processes.supervised import SupervisedProcess
from crowdstream.desk.block import Desk
from crowdstream.desk.constants import SEGMENT
from crowdstream.desk.effects import IDLE
from crowdstream.desk.opcodes import FREE

log = logging.getLogger(__name__)

SILENT_SECONDS = 1.0  # without anything audible, before the sound may be interrupted
RETRY_SECONDS = 1.0  # until a handover that was refused is tried again
# Peak of a live input behind its fader, above which it carries a voice or music: -50 dBFS. An open
# microphone in an empty room stays below.
INPUT_PEAK = 10.0 ** (-50.0 / 20.0)


class Page(Protocol):
    """The part of `WebProcess` that is replaced."""

    @property
    def is_foreign(self) -> bool:
        """Whether the process runs another installation than this one."""

    @property
    def serves(self) -> bool:
        """Whether the process serves pages."""

    def renew(self) -> None:
        """Replace the process by one of this installation."""


def is_audible(desk: Desk) -> bool:
    """Whether anything sounds, or is about to.

    That is a voice of the mixer, a tail, a live input, a test tone or a pending command.
    """
    effects = desk.effects
    master = desk.master
    # The latest segment of the inputs. What is beyond the block is left from larger blocks.
    inputs = desk.input_out[:, : min(SEGMENT, int(desk.header["block_frames"]))]
    return bool(
        np.any(desk.voices["state"] != FREE)
        or np.any((effects["state"] != IDLE) & (effects["asleep"] == 0))
        or np.any(np.abs(inputs) > INPUT_PEAK)
        or int(master["tone_left"])
        or int(master["pending"])
    )


class SilenceDetector:
    """Detects a moment at which the sound may be interrupted. Call `check` regularly."""

    def __init__(self, desk: Desk, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._desk = desk
        self._monotonic = monotonic
        self._since: float | None = None

    def check(self) -> bool:
        """Whether nothing has been audible for `SILENT_SECONDS`."""
        now = self._monotonic()
        if is_audible(self._desk):
            self._since = None
            return False
        if self._since is None:
            self._since = now
        return now - self._since >= SILENT_SECONDS


class Rollout:
    """Replaces the processes of another version. For the control thread.

    `note` is what the supervisor knows about the upgrade; `report` sends it the progress.
    """

    def __init__(
        self,
        note: dict[str, Any],
        desk: Desk,
        fork_server: ForkServer,
        engines: EnginePool,
        loader: LoaderClient,
        page: Page | None,
        others: Sequence[SupervisedProcess],
        report: Callable[..., None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.note = note
        self._fork_server = fork_server
        self._engines = engines
        self._loader = loader
        self._page = page
        self._others = others
        self._report = report
        self._monotonic = monotonic
        self._silence = SilenceDetector(desk, monotonic)
        self._text = ""
        back = note["stage"] == "rollback"
        engines.keeps_guard = not back
        self._steps: Iterator[None] | None = self._back() if back else self._forward()

    @property
    def busy(self) -> bool:
        """Whether something has yet to be replaced."""
        return self._steps is not None

    def tick(self) -> bool:
        """Continue; call this about every 10 ms. Returns True once, when all are replaced."""
        if self._steps is None or next(self._steps, self) is not self:
            return False
        self._steps = None
        self._report(done=True)
        return True

    def _forward(self) -> Iterator[None]:
        yield from self._await_fork_server()
        yield from self._replace_loader()
        yield from self._replace_page()
        yield from self._replace_others()
        yield from self._replace_engine()

    def _back(self) -> Iterator[None]:
        yield from self._replace_engine()
        yield from self._await_fork_server()
        yield from self._replace_loader()
        yield from self._replace_page()
        yield from self._replace_others()
        yield from self._end_engines()

    def _step(self, text: str, waits: bool = False) -> None:
        if text != self._text or waits:
            if text != self._text:
                log.info("upgrade: %s", text)
            self._text = text
            self._report(step=text, waits=waits)

    def _await_fork_server(self) -> Iterator[None]:
        self._step("the fork server is starting")
        while not self._fork_server.ready:
            yield

    def _replace_loader(self) -> Iterator[None]:
        if self._loader.child.is_foreign:
            self._step("the loader is being replaced")
            self._loader.renew()
            while self._loader.child.is_foreign or not self._loader.answers:
                yield

    def _replace_page(self) -> Iterator[None]:
        page = self._page
        if page is not None and page.is_foreign:
            self._step("the web process is being replaced")
            page.renew()
            while page.is_foreign or not page.serves:
                yield

    def _replace_others(self) -> Iterator[None]:
        for one in self._others:
            if one.is_foreign:
                self._step(f"the process {one.name} is being replaced")
                one.renew()
                while one.is_foreign or (one.enabled and not one.runs):
                    yield

    def _replace_engine(self) -> Iterator[None]:
        engines = self._engines
        while engines.plays_foreign:
            self._step("the engine is being replaced")
            yield from self._hand_over()
            if engines.plays_foreign:
                later = self._monotonic() + RETRY_SECONDS
                while self._monotonic() < later:
                    yield

    def _end_engines(self) -> Iterator[None]:
        # Those of the other version: one that stands by, or has taken over since then from one that
        # has died, and one whose last blocks still play.
        while self._engines.has_foreign:
            yield from self._replace_engine()
            self._step("the engines of the other version end")
            self._engines.remove_foreign(at_once=False)
            yield

    def _hand_over(self) -> Iterator[None]:
        # One attempt to hand over to an engine of this version.
        resizing = self._engines.resizing
        over: list[str] = []
        try:
            resizing.upgrade(lambda *_: over.append(""), over.append, self._may_interrupt)
        except Refused as refusal:
            over.append(str(refusal))
        while not over:
            if resizing.waits:
                self._step(
                    "the device accepts one stream at a time: the engine is replaced as soon as "
                    "nothing is audible", waits=True,
                )  # fmt: skip
            yield
        if over[0]:
            self._step(
                f"the engine is replaced later: {over[0]}", waits=self._engines.searching
            )

    def _may_interrupt(self) -> bool:
        return bool(self.note["at_once"]) or self._silence.check()
