"""The shared block as Python sees it: made by control, attached by engine and loader."""

from __future__ import annotations

import contextlib
import mmap
import os
import tempfile
from typing import Any

import numpy as np

from crowdstream.desk import constants, dsp_tables, dtypes, layout
from crowdstream.desk.constants import ATTACK_BYTES, ATTACKS, PAGE_BYTES
from crowdstream.desk.layout import ARENA_OFFSET, REGIONS
from crowdstream.desk.ramps import NEUTRAL


class DeskError(RuntimeError):
    """The block can't be made or does not fit this version of the program."""


def _anonymous_file(size: int) -> int:
    """A descriptor of `size` bytes of memory without a name: gone with its last user.

    Nothing can be left behind in a shared-memory folder, whatever kills the processes.
    """
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("crowdstream-desk", os.MFD_CLOEXEC)
    else:
        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    try:
        os.ftruncate(fd, size)
    except (OSError, OverflowError):
        os.close(fd)
        raise
    return fd


class Desk:
    """Views of every region, and the arena of stem pages.

    Each region of `layout` is an attribute of its name: a numpy array of that region's
    shape and dtype over the shared memory (`desk.voices`, `desk.ramps`, ...). Regions of one
    record (`header`, `clock`, `ledger`, `lease`, `undo_log`, `loader`, `master`, `quality`,
    `rings`) are that record itself.

    `arena` is a uint8 array of shape `(pages, PAGE_BYTES)`. Untouched pages cost nothing.
    `attacks` is a uint16 array of shape `(pages, 1 + ATTACKS)`: how many attacks begin in each
    page of the arena, and at which of its frames.
    The owner of the desk must call `close()` after the other processes have ended.
    """

    header: Any
    rings: Any
    clock: Any
    ledger: Any
    lease: Any
    undo_log: Any
    undo_pieces: np.ndarray
    undo: np.ndarray
    loader: Any
    master: Any
    gaps: np.ndarray
    commands: np.ndarray
    events: np.ndarray
    decks: np.ndarray
    ramps: np.ndarray
    voices: np.ndarray
    sources: np.ndarray
    page_table: np.ndarray
    table: np.ndarray
    history: np.ndarray
    stem_past: np.ndarray
    stem_out: np.ndarray
    cue: np.ndarray
    mix: np.ndarray
    bus: np.ndarray
    spare: np.ndarray
    eq: np.ndarray
    grids: np.ndarray
    quality: Any
    taps: np.ndarray
    tap_rings: np.ndarray
    eq_use: np.ndarray
    stem_eq_use: np.ndarray
    stem_filter: np.ndarray
    eq_coefficients: np.ndarray
    filter: Any
    limiter: Any
    limiter_boxes: np.ndarray
    peak_taps: np.ndarray
    metering: Any
    meter_ring: np.ndarray
    meter_weights: np.ndarray
    cue_out: np.ndarray
    filter_table: np.ndarray
    chains: np.ndarray
    effects: np.ndarray
    effect_registers: np.ndarray
    effect_memory: np.ndarray
    arena: np.ndarray
    attacks: np.ndarray

    def __init__(self, fd: int) -> None:
        """Attach to the block behind the descriptor `fd`, which is the desk's from now on.

        Raises `DeskError` when it is no desk, or one of another version of the program.
        """
        self.fd = fd
        size = os.fstat(fd).st_size
        if size < ARENA_OFFSET:
            raise DeskError(f"a desk has at least {ARENA_OFFSET} bytes, this block {size}")
        self._map = mmap.mmap(fd, size)
        whole = np.frombuffer(self._map, dtype=np.uint8)
        self.address = int(whole.ctypes.data)
        for region in REGIONS.values():
            view = np.ndarray(region.shape, region.dtype, self._map, region.offset)
            setattr(self, region.name, view[0] if region.shape == (1,) else view)
        if int(self.header["version"]) != layout.VERSION or int(self.header["size"]) != size:
            msg = f"desk of version {self.header['version']}, this program needs {layout.VERSION}"
            raise DeskError(f"{msg}: restart all processes of the server")
        pages = int(self.header["arena_pages"])
        self.arena = np.ndarray((pages, PAGE_BYTES), np.uint8, self._map, ARENA_OFFSET)
        records = (pages, 1 + ATTACKS)
        behind = ARENA_OFFSET + pages * PAGE_BYTES
        self.attacks = np.ndarray(records, np.uint16, self._map, behind)

    @classmethod
    def create(cls, memory_bytes: int, sample_rate: float = 44100.0) -> Desk:
        """Make a desk whose page arena holds `memory_bytes` (at least one page per deck).

        Raises `DeskError` when the system refuses the memory.
        """
        pages = max(constants.DECKS, memory_bytes // PAGE_BYTES)
        size = ARENA_OFFSET + pages * (PAGE_BYTES + ATTACK_BYTES)
        fd = -1
        try:
            fd = _anonymous_file(size)
            with mmap.mmap(fd, size) as block:
                header = np.ndarray((1,), dtypes.HEADER, block, REGIONS["header"].offset)
                header[0] = (layout.VERSION, size, ARENA_OFFSET, pages, sample_rate, 0)
                del header
        except (OSError, OverflowError) as error:
            if fd >= 0:
                os.close(fd)
            reason = getattr(error, "strerror", None) or error
            raise DeskError(
                f"no {size} bytes of shared memory: {reason} (lower --memory)"
            ) from error
        desk = cls(fd)
        desk._reset()
        return desk

    def _reset(self) -> None:
        for name in ("value", "target"):
            self.ramps[name] = 1.0
            self.ramps[name][list(NEUTRAL)] = list(NEUTRAL.values())
        self.chains[:] = -1
        self.master["limit_gain"] = self.master["cue_gain"] = 1.0
        self._reset_limiter()
        self.ledger["reset_seen"] = 0
        self.table[:] = dsp_tables.interpolator()
        self.set_sample_rate(float(self.header["sample_rate"]))
        self.spare[:] = np.arange(constants.PENDING, dtype=np.int32)[::-1]

    def _reset_limiter(self) -> None:
        # No look-ahead: averages over one frame, of a gain of 1.
        one = 1 << 30
        for name in ("first_box", "second_box"):
            self.limiter[name] = 1
        self.limiter["first_sum"] = self.limiter["second_sum"] = one
        self.limiter["held"] = 1.0
        self.limiter_boxes[:] = one
        self.peak_taps[:] = dsp_tables.peak_detector()

    def set_sample_rate(self, sample_rate: float) -> None:
        """Give the rate that the device turned out to have, before anything plays."""
        self.header["sample_rate"] = sample_rate
        self.set_tempo(120.0)
        self.eq_coefficients[:] = dsp_tables.equalizer(sample_rate)
        self.meter_weights[:] = dsp_tables.k_weighting(sample_rate)
        self.metering["hop"] = max(1, round(sample_rate / 100))
        self.filter_table[:] = dsp_tables.knob_filter(sample_rate)

    def set_tempo(self, bpm: float) -> None:
        """Set the tempo of the clock and of decks at their own rate, before anything plays."""
        for name in ("tempo_rate", "tempo_end", "tempo_base"):
            self.clock[name] = bpm / 60.0 / self.sample_rate

    @property
    def tempo(self) -> float:
        """The clock's tempo now, as a multiple of the one at which decks play at their own rate."""
        clock = self.clock
        passed = min(self.frame - int(clock["tempo_frame"]), int(clock["tempo_left"]))
        whole = passed == int(clock["tempo_left"])
        rate = clock["tempo_end"] if whole else clock["tempo_rate"] + clock["tempo_slope"] * passed
        return float(rate / clock["tempo_base"])

    @property
    def sample_rate(self) -> float:
        """Frames a second."""
        return float(self.header["sample_rate"])

    @property
    def frame(self) -> int:
        """The frame that the next block begins with."""
        return int(self.clock["frame"])

    def discard(self, part: np.ndarray) -> None:
        """Zero a contiguous view of the desk, and give the memory under it back to the system.

        Nobody may be reading it. Whole pages of the system are given back; the system gives new
        ones when they are written to again.
        """
        begin = int(part.ctypes.data) - self.address
        end = begin + part.nbytes
        size = mmap.PAGESIZE
        first, last = -(-begin // size) * size, end // size * size
        if last - first < size or not hasattr(mmap, "MADV_REMOVE"):
            part[:] = 0
            return
        try:
            self._map.madvise(mmap.MADV_REMOVE, first, last - first)
        except OSError:  # memory that is locked stays
            part[:] = 0
            return
        whole = np.frombuffer(self._map, np.uint8)
        whole[begin:first] = 0
        whole[last:end] = 0

    def close(self) -> None:
        """Let go of the memory. Every view of it must be out of use."""
        for name in (*REGIONS, "arena", "attacks"):
            if name in self.__dict__:
                delattr(self, name)
        os.close(self.fd)
        with contextlib.suppress(BufferError):  # where a caller holds a view, it goes with that
            self._map.close()
