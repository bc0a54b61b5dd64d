"""Dispatcher, loader and `render` in one process, on a clock that only rendering advances.

This is the server without a device, socket and child processes. Offline mixes, tests and benchmarks
use it. It renders the same samples that the server plays.
"""

from __future__ import annotations

import math
import sys
from collections import deque
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from crowdstream.control.dispatcher import Dispatcher
from crowdstream.control.engine_queue.request import Reply
from crowdstream.desk.block import Desk
from crowdstream.desk.inputs import InputWriter
from crowdstream.desk.stream_info import StreamInfo
from crowdstream.engine.precompiled import kernels
from crowdstream.library import default_path
from crowdstream.loader.loader import Loader
from crowdstream.loader.metadata import describe_now
from crowdstream.monitor.health import Processes
from crowdstream.offline.input_files import InputFile
from crowdstream.osc.codec import build, parse
from crowdstream.settings import Settings

if TYPE_CHECKING:
    from crowdstream.audiofile.beatgrid import FoundGrid
    from crowdstream.library.deck_grids import LibraryGrids

START = 1000.0  # monotonic clock at frame 0, seconds
WALL = 1.7e9  # wall clock at frame 0, Unix seconds
RENDER_NS = 1000  # recorded for each block; the actual time is irrelevant without a deadline
ALL_PAGES = sys.maxsize


class Session:
    """A mixer of `memory_bytes` for a virtual device with blocks of `block_frames`.

    Nothing happens by itself: `render` makes a block and advances the clock, `load` gives the
    loader a turn. `time` is the monotonic clock in seconds; increase it to let time pass between
    two blocks. `requests` are the pending requests to the loader. `whole`: see `Loader`. `inputs`:
    files that play on the live inputs, from `start_inputs` on. Use it in one thread, and `close`
    it. Raises `AudioFileError` for an input that is not an audio file.
    """

    def __init__(
        self,
        settings: Settings,
        memory_bytes: int,
        sample_rate: float = 44100.0,
        block_frames: int = 256,
        whole: bool = True,
        inputs: Sequence[Path] = (),
    ) -> None:
        self.settings = settings
        self.refused = self.limited = self.barred = self.dropped = 0
        self.time = START
        self._kernels = kernels()
        self._settled = -1  # frame at which the loader last completed all its work
        self.requests: deque[dict[str, Any]] = deque()
        self._reports: deque[dict[str, Any]] = deque()
        self.desk = Desk.create(memory_bytes, sample_rate)
        self.desk.header["block_frames"] = block_frames
        self.desk.undo_log["off"] = 1  # no other engine will take over
        most = math.inf if settings.max_preload is None else settings.max_preload
        roots = [root.expanduser().absolute() for root in settings.media_root]
        self._grids: LibraryGrids | None = None
        self.loader = Loader(
            self.desk, self._reports.append, whole, settings.read_ahead, most, roots,
            partial(describe_now, analysed=self._look_up_grid),
        )  # fmt: skip
        InputWriter.configure(self.desk, len(inputs))
        self.inputs: list[InputFile] = []
        info = StreamInfo("null", "rendering", sample_rate, block_frames, 0.0)
        try:
            for number, path in enumerate(inputs):
                self.inputs.append(InputFile(self.desk, number, path))
            self.core = Dispatcher(
                settings, self.desk, self, self.requests.append, info, Processes({}),
                lambda: self.time, lambda: self.time - START + WALL,
            )  # fmt: skip
            self.core.apply_settings()
        except BaseException:
            self.close()
            raise
        self._out = np.zeros((block_frames, 2), np.float32)

    def close(self) -> None:
        """End a running recorder, close the files and release the memory."""
        if hasattr(self, "core"):  # missing if the constructor failed
            self.core.recordings.close()
        for one in self.inputs:
            one.close()
        self.inputs.clear()
        self.loader.close()
        if self._grids is not None:
            self._grids.close()
        self.desk.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    # Commands ----------------------------------------------------------------------------

    def answer(self, sender: Any, address: str, *arguments: Any) -> None:
        """Receive a reply to a sender of `packet`; a subclass may store it."""

    def answer_packet(self, sender: Any, packet: bytes) -> None:
        """Receive a reply packet, as `answer` receives a message."""
        for _moment, message in parse(packet):
            self.answer(sender, message.address, *message.params)

    def send(self, address: str, *arguments: Any, sender: Any = None) -> None:
        """Receive one message now, as by OSC: floats have 32 bits."""
        self.core.handle_packet(build(address, arguments), sender)

    def packet(self, packet: bytes, sender: Any = None) -> None:
        """Receive an OSC packet now."""
        self.core.handle_packet(packet, sender)

    def perform(self, address: str, arguments: tuple[Any, ...], reply: Reply, frame: int) -> None:
        """Execute one command that takes effect at `frame` (0: with the next block)."""
        self.core.perform([(address, arguments, reply, None)], frame)

    def tag_of(self, frame: int) -> float:
        """Return the time tag, in Unix seconds, that corresponds to a frame.

        A tag corresponds to the frame one block after the block that is requested at that instant.
        """
        ahead = frame - int(self.desk.header["block_frames"])
        return WALL + ahead / self.desk.sample_rate

    # Time --------------------------------------------------------------------------------

    def start_inputs(self, origin: int) -> None:
        """Begin the files of the inputs at frame `origin`."""
        for one in self.inputs:
            one.start(origin)

    def render(self, frames: int) -> np.ndarray:
        """Render the next block: float32 of shape `(frames, 2)`, valid until the next one.

        Raises `AudioFileError` if the file of an input can't be read any further.
        """
        for one in self.inputs:
            one.fill(self.desk.frame + frames)
        if frames > len(self._out):
            self._out = np.zeros((frames, 2), np.float32)
        out = self._out[:frames]
        rate = self.desk.sample_rate
        begin = START + self.desk.frame / rate
        address = self.desk.address
        self._kernels.begin_block(address, frames, round(begin * 1e9), False)
        self._kernels.render_at(address, out.ctypes.data, frames)
        self._kernels.end_block(address, frames, RENDER_NS)
        self.time = START + self.desk.frame / rate
        self.core.tick()
        return out

    # Files -------------------------------------------------------------------------------

    def _look_up_grid(self, stems: Sequence[Path]) -> tuple[bool, FoundGrid | None]:
        # See `LibraryGrids`. Without a library, the code that reads it is not imported.
        if self._grids is None:
            if not default_path().exists():
                return False, None
            from crowdstream.library.deck_grids import LibraryGrids

            self._grids = LibraryGrids()
        return self._grids(stems)

    def load(self, pages: int = ALL_PAGES) -> None:
        """Let the loader handle its requests and load up to `pages` of the pages that it needs."""
        left = pages
        while True:
            while self.requests:
                self.loader.handle(self.requests.popleft())
            if left > 0:
                left = left - 1 if self.loader.work() else 0
            while self._reports:
                self.core.loader_event(self._reports.popleft())
            if left <= 0 and not self.requests:
                return

    def settle(self) -> None:
        """Load everything that the loader needs, and let control process the reports.

        A freed page may be reused after two more blocks, because a render could still be reading
        it. Here no render is in progress, so the block count is advanced. Without new requests and
        at an unchanged frame, there is nothing to do.
        """
        if not self.requests and self._settled == self.desk.frame:
            return
        self.desk.clock["epoch"] += 2
        while True:
            while self.requests:
                self.loader.handle(self.requests.popleft())
            self.loader.work_all()
            while self._reports:
                self.core.loader_event(self._reports.popleft())
            if not self.requests:
                self._settled = self.desk.frame
                return
