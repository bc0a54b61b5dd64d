"""Invariants of the desk, of control and of the loader that hold between any two blocks."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import numpy as np

from crowdstream.control.dispatcher import Dispatcher
from crowdstream.desk.block import Desk
from crowdstream.desk.constants import (
    BANK_TAPS,
    CHAINS,
    COMMAND_RING,
    EVENT_RING,
    GRIDS,
    PENDING,
    SOURCES,
    STEMS,
)
from crowdstream.desk.effects import EFFECTS, IDLE
from crowdstream.desk.opcodes import FREE
from crowdstream.loader.loader import Loader
from tests.fuzz.registry import Fault


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Fault(otherwise)


def check_desk(desk: Desk) -> None:
    """Raise `Fault` if the desk is in a state that the engine must not leave behind."""
    _check_rings(desk)
    _check_heap(desk)
    _check_voices(desk)
    _check_chains(desk)
    ramps = desk.ramps
    for name in ("value", "target", "step"):
        _require(bool(np.isfinite(ramps[name]).all()), f"a ramp's {name} is not finite")
    _require(bool((ramps["left"] >= 0).all()), "a ramp has a negative number of frames left")
    _require(int(desk.ledger["nonfinite"]) == 0, "frames that were not finite had to be silenced")


def check_sound(desk: Desk) -> None:
    """Raise `Fault` if a filter state or a history buffer is not finite; slower than the rest."""
    for name in ("history", "stem_past", "eq", "stem_eq", "effect_registers"):
        _require(bool(np.isfinite(getattr(desk, name)).all()), f"{name} is not finite")


def _check_rings(desk: Desk) -> None:
    for name, size in (("command", COMMAND_RING), ("event", EVENT_RING)):
        head, tail = int(desk.rings[f"{name}_head"]), int(desk.rings[f"{name}_tail"])
        _require(0 <= head - tail <= size, f"the ring of {name}s holds {head - tail}")


def _check_heap(desk: Desk) -> None:
    count = int(desk.master["pending"])
    _require(0 <= count <= PENDING, f"{count} commands are pending in the engine")
    heap = desk.heap[:count]  # type: ignore[attr-defined]
    known = np.sort(np.concatenate((heap, desk.spare[count:])))
    _require(bool((known == np.arange(PENDING)).all()), "a slot of the heap is lost or duplicated")
    if count < 2:
        return
    frames = desk.pending["frame"][heap]  # type: ignore[attr-defined]
    order = desk.order[heap]  # type: ignore[attr-defined]
    child = np.arange(1, count)
    parent = (child - 1) // 2
    sooner = (frames[child] < frames[parent]) | (
        (frames[child] == frames[parent]) & (order[child] < order[parent])
    )
    _require(not sooner.any(), "the heap is not in order")


def _check_voices(desk: Desk) -> None:
    voices = desk.voices
    _require(set(np.unique(voices["state"]).tolist()) <= {0, 1, 2}, "a voice has an unknown state")
    for slot in np.flatnonzero(voices["state"] != FREE).tolist():
        voice = voices[slot]
        stems = int(voice["stems"])
        _require(1 <= stems <= STEMS, f"voice {slot} has {stems} stems")
        sources = voice["sources"][:stems]
        inside = bool(((sources >= 0) & (sources < SOURCES)).all())
        _require(inside, f"voice {slot} reads sources {sources.tolist()}")
        loaded = bool(desk.sources["used"][sources].all())
        _require(loaded, f"voice {slot} reads an unloaded source")
        _require(0.0 <= float(voice["fraction"]) < 1.0, f"voice {slot} has an invalid fraction")
        _require(int(voice["direction"]) in (-1, 1), f"voice {slot} has no direction")
        _require(-1 <= int(voice["grid"]) < GRIDS, f"voice {slot} follows grid {voice['grid']}")
        _require(0 <= int(voice["bank"]) < len(BANK_TAPS), f"voice {slot} has bank {voice['bank']}")
        if voice["loop"]:
            loop = int(voice["loop_in"]), int(voice["loop_out"]), int(voice["length"])
            _require(0 <= loop[0] < loop[1] <= loop[2], f"voice {slot} loops {loop}")
        numbers = [float(voice[name]) for name in ("sync_offset", "slip_place", "loop_exact")]
        _require(bool(np.isfinite(numbers).all()), f"voice {slot}: {numbers}")


def _check_chains(desk: Desk) -> None:
    seen: list[int] = []
    for chain in range(CHAINS):
        at = int(desk.chains[chain])
        while at >= 0:
            _require(at < EFFECTS and at not in seen, f"chain {chain} reaches effect {at} twice")
            seen.append(at)
            effect = desk.effects[at]
            _require(int(effect["state"]) != IDLE, f"chain {chain} contains free effect {at}")
            _require(int(effect["chain"]) == chain, f"chain {chain} contains an effect of another")
            at = int(effect["next"])


def check_control(core: Dispatcher, loader: Loader) -> None:
    """Raise `Fault` if control or the loader has lost an object or counts it twice."""
    buffers = core.track_table
    tracks = buffers.tracks()
    used = (track.sources for track in tracks)
    _require_partition("sources", range(SOURCES), buffers._sources._free, *used)
    slots = [track.grid_slot for track in tracks if track.grid_slot >= 0]
    # Some grids are neither free nor used: they are freed once the engine has passed them.
    _require_distinct("grids", [*buffers.grids._free, *slots])
    placed = [one.instance for chain in core.effects.chains for one in chain if one]
    _require_partition("effects", range(EFFECTS), core.effects._free, core.effects._leaving, placed)
    for number, track in enumerate(core.voice_allocator.holders()):
        _require(track is None or track.voice == number, f"voice {number} is held by another")
    for table in (buffers.current, buffers._incoming):
        for buffer, track in table.items():
            _require(track.buffer == buffer, f"buffer {buffer} holds the track of another")
    _check_pages(core.desk, loader)


def _require_partition(what: str, whole: Iterable[int], *parts: Iterable[int]) -> None:
    found = sorted(itertools.chain(*parts))
    _require(found == list(whole), f"{what} are lost or owned twice")


def _require_distinct(what: str, found: list[int]) -> None:
    _require(len(set(found)) == len(found), f"some {what} are owned twice")


def _check_pages(desk: Desk, loader: Loader) -> None:
    arena: Any = loader._arena
    entries: list[int] = []
    for track in loader._tracks.values():
        for stem in track.stems:
            table = desk.page_table[stem.source, : stem.pages]
            entries += (table[table > 0] - 1).tolist()
    retired = [page for page, _ in arena._retired]
    _require_partition("pages", range(arena.total), arena._free, retired, entries)
    reserved = sum(track.reserved + track.kept for track in loader._tracks.values())
    _require(arena.reserved == reserved, f"{arena.reserved} pages are reserved for {reserved}")
    _require(0 <= reserved <= arena.total, f"{reserved} of {arena.total} pages are reserved")
