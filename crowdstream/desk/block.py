"""The shared block as Python sees it: created by control, attached by the engine and the loader."""

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

SPARSE = frozenset(
    {"undo", "commands", "pending", "grids", "effect_memory", "tap_rings", "page_table"}
)
"""Regions of which only a part is ever used."""


class DeskError(RuntimeError):
    """The block cannot be created, or does not match this version of the program."""


def _anonymous_file(size: int) -> int:
    """Return a file descriptor for `size` bytes of anonymous memory, freed with its last user.

    Nothing can remain in a shared-memory folder, however the processes are killed.
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

    Each region of `layout` is an attribute of the same name: a numpy array of that region's shape
    and dtype over the shared memory (`desk.voices`, `desk.ramps`, ...). A region with a single
    record (`header`, `clock`, `ledger`, `lease`, `undo_log`, `loader`, `master`, `quality`,
    `rings`) is that record itself.

    `arena` is a uint8 array of shape `(pages, PAGE_BYTES)`. Untouched pages take no memory.
    `attacks` is a uint16 array of shape `(pages, 1 + ATTACKS)`: the number of attacks that begin in
    each page of the arena, followed by their frames in that page. The owner of the desk must call
    `close()` after the other processes have ended.
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
    captures: np.ndarray
    inputs: np.ndarray
    input_clock: Any
    input_rings: np.ndarray
    input_lanes: np.ndarray
    input_out: np.ndarray
    input_eq_use: np.ndarray
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
    steering: Any
    steer_line: np.ndarray
    handover: np.ndarray
    filter_table: np.ndarray
    chains: np.ndarray
    effects: np.ndarray
    effect_registers: np.ndarray
    effect_memory: np.ndarray
    arena: np.ndarray
    attacks: np.ndarray

    def __init__(self, fd: int) -> None:
        """Attach to the block behind the descriptor `fd`, and take ownership of the descriptor.

        Raises `DeskError` if the block is not a desk or belongs to another version of the program.
        """
        self.fd = fd
        size = os.fstat(fd).st_size
        if size < ARENA_OFFSET:
            raise DeskError(f"a desk has at least {ARENA_OFFSET} bytes, this block has {size}")
        self._map = mmap.mmap(fd, size)
        whole = np.frombuffer(self._map, dtype=np.uint8)
        self.address = int(whole.ctypes.data)
        for region in REGIONS.values():
            view = np.ndarray(region.shape, region.dtype, self._map, region.offset)
            setattr(self, region.name, view[0] if region.shape == (1,) else view)
        if int(self.header["version"]) != layout.VERSION or int(self.header["size"]) != size:
            msg = f"the desk has version {self.header['version']}, not {layout.VERSION}"
            raise DeskError(f"{msg}: restart all processes of the server")
        pages = int(self.header["arena_pages"])
        self.arena = np.ndarray((pages, PAGE_BYTES), np.uint8, self._map, ARENA_OFFSET)
        records = (pages, 1 + ATTACKS)
        behind = ARENA_OFFSET + pages * PAGE_BYTES
        self.attacks = np.ndarray(records, np.uint16, self._map, behind)

    @classmethod
    def create(cls, memory_bytes: int, sample_rate: float = 44100.0) -> Desk:
        """Create a desk whose page arena holds `memory_bytes` (at least one page per deck).

        Raises `DeskError` if the system refuses the memory.
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
                f"cannot allocate {size} bytes of shared memory: {reason} (lower --cache-mb)"
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
        # No look-ahead: averages over a single frame with a gain of 1.
        one = 1 << 30
        for name in ("first_box", "second_box"):
            self.limiter[name] = 1
        self.limiter["first_sum"] = self.limiter["second_sum"] = one
        self.limiter["held"] = 1.0
        self.limiter_boxes[:] = one
        self.peak_taps[:] = dsp_tables.peak_detector()

    def set_sample_rate(self, sample_rate: float) -> None:
        """Set the sample rate that the device reported, in Hz, before anything plays."""
        self.header["sample_rate"] = sample_rate
        self.set_tempo(120.0)
        self.eq_coefficients[:] = dsp_tables.equalizer(sample_rate)
        self.meter_weights[:] = dsp_tables.k_weighting(sample_rate)
        self.metering["hop"] = max(1, round(sample_rate / 100))
        self.filter_table[:] = dsp_tables.knob_filter(sample_rate)

    def set_tempo(self, bpm: float) -> None:
        """Set the clock's tempo and the tempo at which decks play at their own rate.

        Call it before anything plays.
        """
        for name in ("tempo_rate", "tempo_end", "tempo_base"):
            self.clock[name] = bpm / 60.0 / self.sample_rate

    @property
    def tempo(self) -> float:
        """The clock's tempo, as a multiple of the tempo at which decks play at their own rate."""
        clock = self.clock
        passed = min(self.frame - int(clock["tempo_frame"]), int(clock["tempo_left"]))
        whole = passed == int(clock["tempo_left"])
        rate = clock["tempo_end"] if whole else clock["tempo_rate"] + clock["tempo_slope"] * passed
        return float(rate / clock["tempo_base"])

    @property
    def sample_rate(self) -> float:
        """The sample rate in Hz."""
        return float(self.header["sample_rate"])

    @property
    def frame(self) -> int:
        """The first frame of the next block."""
        return int(self.clock["frame"])

    def touch(self) -> None:
        """Map the memory that rendering uses into this process, so that the first block does not.

        Regions that are large and mostly unused are left out: touching would allocate them.
        """
        for name, region in REGIONS.items():
            if name not in SPARSE:
                nbytes = region.dtype.itemsize * int(np.prod(region.shape))
                pages = np.ndarray((nbytes,), np.uint8, self._map, region.offset)
                pages[:: mmap.PAGESIZE].max()

    def discard(self, part: np.ndarray) -> None:
        """Zero a contiguous view of the desk and return its memory to the system.

        The view must not be in use. Only whole system pages are returned; the system allocates new
        ones at the next write.
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
        except OSError:  # locked memory cannot be returned
            part[:] = 0
            return
        whole = np.frombuffer(self._map, np.uint8)
        whole[begin:first] = 0
        whole[last:end] = 0

    def close(self) -> None:
        """Release the memory. Its views must no longer be in use."""
        for name in (*REGIONS, "arena", "attacks"):
            if name in self.__dict__:
                delattr(self, name)
        os.close(self.fd)
        with contextlib.suppress(BufferError):  # a view that a caller still holds keeps the mapping
            self._map.close()
