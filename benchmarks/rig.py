"""The server without a device, a socket or a process: packets in, blocks out, frame by frame.

Control's core, the loader and `render` are the server's own. What stands in for the rest is a
virtual clock that advances with the rendered frames, and a loader that is given its turns.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np

from crowdstream.control.context import nobody
from crowdstream.control.core import Core
from crowdstream.desk.block import Desk
from crowdstream.desk.layout import EVENT
from crowdstream.desk.stream import StreamInfo
from crowdstream.engine.ledger import begin_block
from crowdstream.engine.render import render
from crowdstream.library.loader import Loader
from crowdstream.monitor.health import Processes
from crowdstream.settings import Settings

EPOCH = 1_700_000_000.0  # what the wall clock shows when the monotonic one shows 0
BEGIN = 1.0  # monotonic seconds at frame 0
MOST_FRAMES = 8192

Message = tuple[str, tuple[Any, ...]]


class Rig:
    """A whole mixer of `memory_bytes`, whose device has blocks of `block_frames`; `close` it.

    `events` holds every event of the engine since it was last cleared, as records of dtype
    `EVENT`; `answers` what senders were told, as `(address, *arguments)`.
    """

    def __init__(
        self, memory_bytes: int = 64 << 20, sample_rate: float = 44100.0, block_frames: int = 512
    ) -> None:
        self.desk = Desk.create(memory_bytes, sample_rate)
        self.desk.header["block_frames"] = block_frames
        self.time = BEGIN
        self.refused = 0
        self.dropped = 0
        self.answers: list[tuple[Any, ...]] = []
        self.events: list[np.ndarray] = []
        self._requests: deque[dict[str, Any]] = deque()
        self._heard: deque[dict[str, Any]] = deque()
        self._loader = Loader(self.desk, self._heard.append)
        self.core = Core(
            Settings(), self.desk, self, self._requests.append,
            StreamInfo("null", "rig", sample_rate, block_frames, 0.0), Processes({}),
            monotonic=lambda: self.time, wall=lambda: EPOCH + self.time,
        )  # fmt: skip
        self._take_in = self.core.mixer.engine_events
        self.core.mixer.engine_events = self._note  # type: ignore[method-assign]
        self._out = np.zeros((MOST_FRAMES, 2), np.float32)
        self.core.first_orders()

    def close(self) -> None:
        """Close the files and let go of the memory."""
        self._loader.close()
        self.desk.close()

    def answer(self, _sender: Any, address: str, *arguments: Any) -> None:
        """Take what the core answers, as the socket would."""
        self.answers.append((address, *arguments))

    def _note(self, events: np.ndarray) -> None:
        assert events.dtype == EVENT
        self.events.extend(events.copy())
        self._take_in(events)

    # Commands ----------------------------------------------------------------------------

    def say(self, *messages: Message) -> None:
        """Carry out messages as they come by OSC, each for itself."""
        for address, arguments in messages:
            self.core.perform([(address, arguments, self._reply, None)])

    def _reply(self, address: str, *arguments: Any) -> None:
        self.answer(None, address, *arguments)

    def say_quietly(self, *messages: Message) -> None:
        """The same, when nobody wants to know how it went."""
        for address, arguments in messages:
            self.core.perform([(address, arguments, nobody, None)])

    def packet(self, packet: bytes) -> None:
        """Carry out one OSC packet."""
        self.core.packet(packet, "rig")

    def failures(self) -> list[str]:
        """The answers that said that something could not be done."""
        return [" ".join(map(str, said)) for said in self.answers if said[0] == "/fail"]

    # Time --------------------------------------------------------------------------------

    def frame_of(self, unix_seconds: float) -> int:
        """The frame that a time tag names: one block after what is asked for at that instant."""
        ahead = (unix_seconds - EPOCH - BEGIN) * self.desk.sample_rate
        return round(ahead) + int(self.desk.header["block_frames"])

    def tag_of(self, frame: int) -> float:
        """The time tag, in Unix seconds, that names a frame."""
        ahead = frame - int(self.desk.header["block_frames"])
        return EPOCH + BEGIN + ahead / self.desk.sample_rate

    def wait(self, frames: float) -> None:
        """Let the time of so many frames pass before the next block is asked for."""
        self.time += frames / self.desk.sample_rate

    def work(self, pages: int = 1) -> bool:
        """Let the loader hear its requests and bring in some pages; False: nothing to do."""
        while self._requests:
            request = self._requests.popleft()
            track = int(request["track"])
            if request["do"] == "load":
                stems = [(int(source), str(path)) for source, path in request["stems"]]
                self._loader.load(track, stems, float(request["cue"]))
            elif request["do"] == "cue":
                self._loader.cue(track, int(request["frame"]))
            else:
                self._loader.unload(track)
        busy = all(self._loader.work() for _ in range(pages))
        while self._heard:
            self.core.loader_event(self._heard.popleft())
        return busy

    def load_all(self) -> None:
        """Let the loader finish."""
        while self.work():
            pass

    def block(self, frames: int) -> np.ndarray:
        """Render the next block: float32 of shape `(frames, 2)`, valid until the next one."""
        self.time = BEGIN + self.desk.frame / self.desk.sample_rate
        out = self._out[:frames]
        begin_block(self.desk.address, frames, round(self.time * 1e9), False)
        render(self.desk, out)
        self.core.tick()
        return out

    def blocks(self, sizes: Sequence[int]) -> np.ndarray:
        """Render blocks of these sizes: all of it, shape `(sum of the sizes, 2)`."""
        return np.concatenate([self.block(size).copy() for size in sizes])
