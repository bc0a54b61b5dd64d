"""Raw audio for Snapcast: over TCP, or through a named pipe.

snapserver reads 16-bit little-endian frames at its own sample format (`sampleformat`, by default
48000:16:2) from a source such as `tcp://127.0.0.1:4953?name=Dance` or
`pipe:///tmp/snapfifo?name=Dance`, and distributes them in time.
"""

from __future__ import annotations

import fcntl
import os
import select
import socket
import stat
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soxr

from crowdstream.broadcast.outputs import GET_SECONDS, STALL_SECONDS, Output, OutputError
from crowdstream.broadcast.target import PIPE, Target
from crowdstream.system.safe_open import open_inside

RATE = 48000  # Hz, snapserver's default
CONNECT_SECONDS = 5.0
SEND_BUFFER = 1 << 16  # bytes in the kernel: 0.34 s
# Silence before the first frames. snapserver reads at its own pace, and interrupts all clients when
# there is nothing to read: this is the longest delay of a block that does not.
CUSHION_SECONDS = 0.3


class PcmOutput(Output):
    """Sends 16-bit frames as they are played. What the receiver is too slow for is dropped."""

    def __init__(
        self,
        number: int,
        target: Target,
        rate: float,
        report: Callable[[dict[str, Any]], None],
        roots: Sequence[Path] = (),
    ) -> None:
        """A pipe must lie inside `roots`."""
        super().__init__(number, target, rate, report)
        self._roots = roots

    def session(self) -> None:
        """Connect, and send until the connection ends."""
        rate = self.target.number("rate", RATE)
        resampler = None
        if rate != self.rate:
            resampler = soxr.ResampleStream(self.rate, rate, 2, dtype="float32")
        fd, capacity, close = self._open()
        begun, before = False, self.sent
        try:
            os.set_blocking(fd, False)
            self.take_frames()
            self._write(fd, bytes(4 * round(CUSHION_SECONDS * rate)))
            while not self.stopped:
                if not begun and self.sent - before > capacity:
                    begun = True
                    self.begin_sending()
                block = self.take()
                if block is not None:
                    frames = resampler.resample_chunk(block) if resampler else block
                    self._write(fd, to_pcm(frames))
        finally:
            close()

    def _open(self) -> tuple[int, int, Callable[[], Any]]:
        # The descriptor, the bytes that it takes without a receiver, and what closes it.
        if self.target.protocol == PIPE:
            fd = open_pipe(self.target.path, self._roots)
            return fd, fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ), lambda: os.close(fd)
        target = self.target
        try:
            connection = socket.create_connection((target.host, target.port), CONNECT_SECONDS)
        except socket.gaierror as error:
            raise OutputError(f"{target.host} is not known: {error.strerror}") from None
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        connection.setsockopt(
            socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(1000 * STALL_SECONDS)
        )
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection.fileno(), 0, connection.close

    def _write(self, fd: int, data: bytes) -> None:
        # All of it: half a frame would swap the channels from then on.
        view = memoryview(data)
        poll = select.poll()
        poll.register(fd, select.POLLOUT)
        deadline = time.monotonic() + STALL_SECONDS
        while view:
            try:
                done = os.write(fd, view)
            except BlockingIOError:
                done = 0
            view = view[done:]
            self.sent += done
            if done:
                deadline = time.monotonic() + STALL_SECONDS
            elif self.stopped:
                return
            elif time.monotonic() > deadline:
                if self.target.protocol == PIPE:
                    raise OutputError("no program reads the pipe")
                raise TimeoutError
            else:
                poll.poll(GET_SECONDS * 1000)


def open_pipe(path: str, roots: Sequence[Path] = ()) -> int:
    """Open a named pipe inside `roots`.

    Nothing is created, and no other kind of file is ever written to. Raises `OutputError`.
    """
    try:
        # For reading, too: without a writer, snapserver keeps it open for moments only, and opening
        # it for writing would fail in between.
        fd = open_inside(Path(path), roots, os.O_RDWR | os.O_NONBLOCK)
    except FileNotFoundError:
        raise OutputError("there is no such pipe: its reader makes it") from None
    except OSError as error:
        raise OutputError(os.strerror(error.errno or 0)) from None
    if not stat.S_ISFIFO(os.fstat(fd).st_mode):
        os.close(fd)
        raise OutputError("this is no named pipe")
    return fd


def to_pcm(frames: np.ndarray) -> bytes:
    """Convert float32 frames to 16-bit little-endian ones."""
    scaled: np.ndarray = np.clip(np.rint(frames * 32768.0), -32768, 32767)
    return scaled.astype("<i2").tobytes()
