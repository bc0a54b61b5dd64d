"""Broadcast: sends every frame of the tap once, in chunks, to all listeners."""

from __future__ import annotations

import asyncio
import time

import numpy as np

from crowdstream.desk.constants import TAP_CUE, TAP_FRAMES, TAP_MASTER
from crowdstream.desk.taps import LISTENERS, TapReader
from crowdstream.web.streaming.broadcast import Broadcast, Listener
from crowdstream.web.streaming.encoding import HEAD
from tests.support.tone_desk import ToneDesk


class Room:
    """A bus and its listeners; `heard()`: headers and samples that a listener received."""

    def __init__(self, source: ToneDesk, listeners: int = 1) -> None:
        self.source = source
        self.bus = Broadcast(source.desk, TAP_MASTER)
        self.listeners = [Listener(("pcm16",)) for _ in range(listeners)]
        for listener in self.listeners:
            self.bus._listeners.append(listener)  # without the task: the test calls `work`
        self.reader = TapReader(source.desk, TAP_MASTER, LISTENERS)

    def play(self, frames: int, block: int = 256) -> None:
        while frames > 0:
            part = min(frames, block)
            self.source.write(part)
            self.bus.work(self.reader)
            frames -= part

    def heard(self, listener: int = 0) -> list[tuple[int, int, np.ndarray]]:
        found = []
        outbox = self.listeners[listener].outbox
        while not outbox.empty():
            item = outbox.get_nowait()
            assert isinstance(item, tuple)
            _, _, count, rate, _, frame, _ = HEAD.unpack_from(item[0])
            samples = np.frombuffer(item[0][HEAD.size :], "<i2").reshape(-1, 2)
            assert len(samples) == count and item[1] == frame + count
            found.append((frame, rate, samples))
            for one in self.listeners:
                one.handed_over = item[1]
                one.have(item[1])
        return found


def test_all_listeners_receive_the_same_bytes() -> None:
    source = ToneDesk()
    room = Room(source, listeners=3)
    room.play(44100)
    first, second = (list(one.outbox._queue) for one in room.listeners[:2])  # type: ignore[attr-defined]
    assert [item[0] for item in first] == [item[0] for item in second]
    assert all(a[0] is b[0] for a, b in zip(first, second, strict=True))
    chunks = room.heard()
    assert len(chunks) == 50 and {len(samples) for _, _, samples in chunks} == {882}
    assert [frame for frame, _, _ in chunks] == list(range(0, 44100, 882))
    sound = np.concatenate([samples for _, _, samples in chunks]) / 32768
    assert np.abs(sound - source.tone(TAP_MASTER, 0, 44100)).max() < 2 / 32768
    room.reader.close()
    source.desk.close()


def test_lost_frames_are_a_jump_in_the_frame_number() -> None:
    source = ToneDesk()
    room = Room(source)
    room.play(2000)
    source.skip(500)
    room.play(2000)
    # Read too late: overwritten frames of the ring are lost as well.
    for _ in range(10):
        source.write(TAP_FRAMES // 8)
    room.bus.work(room.reader)
    heard = room.heard()
    held = np.zeros(source.desk.frame, bool)
    for frame, _, samples in heard:
        expected = source.tone(TAP_MASTER, frame, len(samples))
        assert np.abs(samples / 32768 - expected).max() < 2 / 32768
        held[frame : frame + len(samples)] = True
    assert held[:2000].all() and not held[2000:2500].any() and held[2500:4500].all()
    assert not held[4500:30000].any() and held[60000:120000].any()
    room.reader.close()
    source.desk.close()


def test_chunks_carry_their_sample_rate() -> None:
    source = ToneDesk()
    room = Room(source)
    room.play(1000)
    source.set_rate(48000.0)
    room.play(9600)
    heard = room.heard()
    assert [(rate, len(samples)) for _, rate, samples in heard][:4] == [
        (44100, 882), (44100, 118), (48000, 960), (48000, 960),
    ]  # fmt: skip
    room.reader.close()
    source.desk.close()


def test_the_tap_is_open_only_while_there_are_listeners() -> None:
    source = ToneDesk()
    on = source.desk.taps["on"]

    async def listen() -> None:
        bus = Broadcast(source.desk, TAP_CUE)
        first, second = Listener(("pcm16",)), Listener(("pcm16",))
        assert not on.any()
        bus.join(first)
        bus.join(second)
        await _until(lambda: on[TAP_CUE] != 0)
        bus.leave(first)
        source.write(1024)
        await _until(lambda: not second.outbox.empty())
        assert on[TAP_CUE] != 0 and first.outbox.empty()
        bus.leave(second)
        await _until(lambda: not on.any())
        # Again: the rest of the previous run must not be sent.
        bus.join(first)
        await _until(lambda: on[TAP_CUE] != 0)
        begin = source.desk.frame
        source.write(1024)
        await _until(lambda: not first.outbox.empty())
        item = first.outbox.get_nowait()
        assert isinstance(item, tuple) and HEAD.unpack_from(item[0])[5] == begin
        bus.leave(first)
        await _until(lambda: not on.any())

    asyncio.run(listen())
    source.desk.close()


async def _until(condition: object) -> None:
    end = time.monotonic() + 60
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end
        await asyncio.sleep(0.005)
