"""The control thread's event loop."""

from __future__ import annotations

import os

from crowdstream.control.processes.event_loop import EventLoop


def test_readers_are_called_until_they_are_removed() -> None:
    reader, writer = os.pipe()
    loop = EventLoop()
    calls: list[bytes] = []
    loop.add_reader(reader, lambda: calls.append(os.read(reader, 1)))
    os.write(writer, b"ab")
    loop.wait(0.0)
    loop.remove_reader(reader)
    loop.wait(0.0)
    assert calls == [b"a"]
    loop.close()
    os.close(reader)
    os.close(writer)


def test_a_closed_loop_accepts_the_removal_of_a_reader() -> None:
    # Processes are stopped after the loop has ended.
    reader, writer = os.pipe()
    loop = EventLoop()
    loop.add_reader(reader, lambda: None)
    loop.close()
    loop.remove_reader(reader)
    os.close(reader)
    os.close(writer)
