"""The undo log, kernel by kernel: it restores exactly what a turn may change, and no more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from crowdstream.desk.block import Desk
from crowdstream.desk.constants import (
    DELAY_FRAMES,
    PEAK_TAPS,
    PENDING,
    SLOTS,
    TAPE_PAIRS,
    TAPS,
    UNDO_ENTRIES,
    UNDO_WORDS,
)
from crowdstream.desk.dtypes import COMMAND
from crowdstream.desk.effects import ACTIVE, EFFECTS, IDLE, LEAVING, ROWS
from crowdstream.desk.layout import REGIONS
from crowdstream.desk.opcodes import ENDING, FREE, PLAYING, WORK_IDLE, WORK_PUBLISHES, WORK_RENDERS
from crowdstream.desk.ramps import RAMP_EFFECT, RAMP_VOICE, VOICE_ROWS
from crowdstream.desk.rings import push_commands
from tests.support.interpreted import address_of, interpreted

# Regions that no turn changes, or that are rebuilt: not compared byte by byte.
APART = {
    "header", "rings", "lease", "undo_log", "undo_pieces", "undo", "waits", "loader", "gaps",
    "sources", "commands", "events", "pending", "spare", "order", "grids", "tap_rings", "taps",
    "page_table", "effect_memory", "metering", "table", "filter_table", "heap",
}  # fmt: skip
MEMORY_SHOWN = 200  # float32 values of each effect's memory that are compared
SOUNDING = {3: 2, SLOTS - 1: 8}  # slot: stems
EQUALIZED = 3
AWAKE, ASLEEP, GOING = 2, 7, EFFECTS - 1


class Killed(Exception):
    """Raised where the engine's process is killed."""


@pytest.fixture
def undo_log() -> Any:
    return interpreted("undo_log")


@pytest.fixture
def desk() -> Iterator[Desk]:
    made = Desk.create(0)
    made.clock["frame"], made.clock["epoch"], made.clock["stamp"] = 512, 9, 4
    yield made
    made.close()


def region(desk: Desk, name: str) -> np.ndarray:
    """Return a region as bytes: its shape, plus a last axis for the bytes of each element."""
    found = REGIONS[name]
    return np.ndarray((*found.shape, found.dtype.itemsize), np.uint8, desk._map, found.offset)


def compared(desk: Desk) -> dict[str, np.ndarray]:
    shown = {name: region(desk, name) for name in REGIONS if name not in APART}
    shown["effect_memory"] = region(desk, "effect_memory")[:, :MEMORY_SHOWN]
    return shown


def scramble(desk: Desk, seed: int) -> None:
    random = np.random.default_rng(seed)
    for view in compared(desk).values():
        view[...] = random.integers(0, 256, view.shape, np.uint8)


def make_scene(desk: Desk) -> None:
    """Fill every region with random bytes, except for the fields that mark parts as in use."""
    scramble(desk, 1)
    desk.clock["frame"], desk.clock["epoch"], desk.clock["stamp"] = 512, 9, 4
    desk.master["pending"] = 0
    desk.voices["state"] = FREE
    desk.stem_eq_use["eq_state"] = 0
    desk.effects["state"] = IDLE
    for slot, stems in SOUNDING.items():
        desk.voices["state"][slot] = PLAYING if slot == 3 else ENDING
        desk.voices["stems"][slot] = stems
        desk.voices["fed"][slot] = 1000
        desk.voices["locked"][slot] = 0
        desk.voices["pair_until"][slot] = 0
        desk.voices["pair_until"][slot, [0, 5]] = 5000
    desk.stem_eq_use["eq_state"][EQUALIZED, 6] = 1
    for number, state in ((AWAKE, ACTIVE), (ASLEEP, ACTIVE), (GOING, LEAVING)):
        desk.effects["state"][number] = state
        desk.effects["asleep"][number] = int(number == ASLEEP)
        desk.effects["rewrites_at"][number] = 50
        desk.effects["rewritten"][number] = 30 if number != GOING else 0
    desk.limiter["oldest"], desk.limiter["newest"] = 3 * DELAY_FRAMES - 3, 3 * DELAY_FRAMES + 4


def kept_parts(desk: Desk) -> dict[str, np.ndarray]:
    """Return masks of the bytes to be restored, by the rules of the module."""
    mask = {name: np.zeros(view.shape, bool) for name, view in compared(desk).items()}
    for name in (
        "clock", "ledger", "master", "decks", "eq", "eq_use", "filter", "limiter", "meters",
        "chains", "quality", "inputs", "input_clock", "input_eq", "input_eq_use",
        "input_filter",
    ):  # fmt: skip
        mask[name][:] = True
    mask["ramps"][:RAMP_EFFECT] = True
    mask["peak_line"][:, : PEAK_TAPS - 1] = True
    for name in ("limiter_lows", "limiter_places"):
        mask[name][-3:] = mask[name][:4] = True
    for slot, stems in SOUNDING.items():
        mask["voices"][slot] = True
        rows = RAMP_VOICE + VOICE_ROWS * slot
        mask["ramps"][rows : rows + VOICE_ROWS] = True
        mask["history"][slot, [0, 5]] = True
        mask["stem_past"][slot, :stems] = True
        mask["stem_eq_use"][slot] = mask["stem_filter"][slot] = True
        mask["stem_eq"][slot] = slot == EQUALIZED
    for number in (AWAKE, ASLEEP, GOING):
        rows = RAMP_EFFECT + ROWS * number
        mask["ramps"][rows : rows + ROWS] = True
        mask["effects"][number] = mask["effect_registers"][number] = True
    mask["effect_memory"][AWAKE, 50:80] = True
    return mask


def test_all_changes_of_a_turn_are_restored_and_nothing_else(desk: Desk, undo_log: Any) -> None:
    make_scene(desk)
    for slot in SOUNDING:
        pairs = interpreted("voice.stem_routing")
        voice = np.asarray(desk.voices).view(np.recarray)[slot]
        in_use = [pair for pair in range(TAPE_PAIRS) if pairs.in_use(voice, pair)]
        assert in_use == [0, 5]
    before = {name: view.copy() for name, view in compared(desk).items()}
    mask = kept_parts(desk)
    undo_log.begin_turn(address_of(desk))
    assert int(desk.undo_log["state"]) == WORK_RENDERS
    scramble(desk, 2)
    desk.clock["callback_ns"] = 123_456
    changed = {name: view.copy() for name, view in compared(desk).items()}
    undo_log.recover(address_of(desk))
    assert int(desk.undo_log["state"]) == WORK_IDLE
    # The device has requested a block since then. A free voice is free whatever else it holds.
    assert int(desk.clock["callback_ns"]) == 123_456
    fields = REGIONS["clock"].dtype.fields
    assert fields is not None
    at = fields["callback_ns"][1]
    mask["clock"][0, at : at + 8] = False
    states = np.asarray(desk.voices["state"]).copy()
    assert states[3] == PLAYING and states[SLOTS - 1] == ENDING
    assert (np.delete(states, list(SOUNDING)) == FREE).all()
    fields = REGIONS["voices"].dtype.fields
    assert fields is not None and fields["state"][1] == 0
    changed["voices"][:, :4] = 0
    for name, view in compared(desk).items():
        expected = np.where(mask[name], before[name], changed[name])
        wrong = np.argwhere(view != expected)
        assert len(wrong) == 0, f"{name}: {wrong[:3].tolist()}"


def test_an_effect_that_control_prepares_meanwhile_is_kept(desk: Desk, undo_log: Any) -> None:
    make_scene(desk)
    idle = next(n for n in range(EFFECTS) if n not in (AWAKE, ASLEEP, GOING))
    desk.effects["kind"][idle] = 1
    undo_log.begin_turn(address_of(desk))
    desk.effects["kind"][idle] = 4
    undo_log.recover(address_of(desk))
    assert int(desk.effects["kind"][idle]) == 4


def test_a_turn_does_not_restore_the_previous_turn(desk: Desk, undo_log: Any) -> None:
    make_scene(desk)
    for turn in (1, 2):
        undo_log.begin_turn(address_of(desk))
        words, entries = int(desk.undo_log["words"]), int(desk.undo_log["entries"])
        assert words == int(desk.undo_pieces[:entries, 1].sum())
        desk.decks["peak"] = turn
        undo_log.end_turn(address_of(desk), 512 * turn)
    undo_log.begin_turn(address_of(desk))
    desk.decks["peak"] = 99.0
    undo_log.recover(address_of(desk))
    assert (desk.decks["peak"] == 2.0).all()


def test_scheduled_commands_and_free_slots_are_restored(desk: Desk, undo_log: Any) -> None:
    queue = interpreted("schedule.command_heap")
    batch = np.zeros(20, COMMAND)
    batch["frame"], batch["serial"] = [*range(2000, 1990, -1), *range(1500, 1510)], np.arange(20)
    assert push_commands(desk, batch)
    queue.receive_commands(address_of(desk), 0)
    heap: Any = desk.heap  # type: ignore[attr-defined]
    before = sorted(heap[:20].tolist())
    desk.rings["command_tail"] = 20
    undo_log.begin_turn(address_of(desk))
    for _ in range(5):
        queue.pop_next(address_of(desk))
    heap[:20] = heap[:20][::-1].copy()
    waits: Any = desk.waits  # type: ignore[attr-defined]
    waits[:] = 1
    undo_log.recover(address_of(desk))
    assert int(desk.master["pending"]) == 20 and sorted(heap[:20].tolist()) == before
    free = desk.spare[20:].tolist()
    assert free == sorted(set(range(PENDING)) - set(before))
    taken = []
    while int(desk.master["pending"]):
        slot = int(queue.pop_next(address_of(desk)))
        taken.append(int(desk.pending["frame"][slot]))  # type: ignore[attr-defined]
    assert taken == sorted(batch["frame"].tolist())


def test_taps_resume_at_the_published_frame(desk: Desk, undo_log: Any) -> None:
    undo_log.begin_turn(address_of(desk))
    desk.taps["head"] = np.arange(TAPS) + 7
    desk.taps["next"] = 9999
    undo_log.recover(address_of(desk))
    assert desk.taps["next"].tolist() == desk.taps["head"].tolist() == list(range(7, TAPS + 7))


def test_a_disabled_log_saves_nothing(desk: Desk, undo_log: Any) -> None:
    desk.rings["command_tail"], desk.rings["event_head"] = 31, 17
    desk.undo_log["off"] = 1
    desk.undo_log["entries"], desk.undo_log["words"] = 5, 6
    undo_log.begin_turn(address_of(desk))
    assert int(desk.undo_log["command_tail"]) == 31 and int(desk.undo_log["event_head"]) == 17
    assert int(desk.undo_log["state"]) == WORK_IDLE
    assert (int(desk.undo_log["entries"]), int(desk.undo_log["words"])) == (5, 6)


@pytest.mark.parametrize(
    ("entries", "words", "kept"),
    [
        (0, 0, True),
        (UNDO_ENTRIES - 1, 0, True),
        (UNDO_ENTRIES, 0, False),
        (0, UNDO_WORDS - 4, True),
        (0, UNDO_WORDS - 3, False),
    ],
)
def test_a_full_log_is_not_overrun(
    desk: Desk, undo_log: Any, entries: int, words: int, kept: bool
) -> None:
    desk.undo_log["entries"], desk.undo_log["words"] = entries, words
    desk.undo[:] = 0
    desk.undo_pieces[:] = -1
    desk.decks["peak"] = 1.5
    undo_log._save(address_of(desk), REGIONS["decks"].offset, 4)
    assert int(desk.undo_log["entries"]) == entries + kept
    assert int(desk.undo_log["words"]) == words + 4 * kept
    assert bool(desk.undo.any()) is kept
    if kept:
        assert desk.undo_pieces[entries].tolist() == [REGIONS["decks"].offset, 4]
        assert desk.undo[words : words + 4].tobytes() == desk.decks["peak"][:2].tobytes()
        assert np.count_nonzero(desk.undo) == np.count_nonzero(desk.undo[words : words + 4])


# --- the end of a turn ------------------------------------------------------------------------


def end_of_turn(desk: Desk, undo_log: Any) -> None:
    """Start a turn from frame 512 to 768, with unpublished commands, events and taps."""
    undo_log.begin_turn(address_of(desk))
    desk.undo_log["command_tail"], desk.undo_log["event_head"] = 41, 23
    desk.taps["head"] = 512
    desk.taps["next"] = 512
    desk.taps["next"][[0, 5, TAPS - 1]] = 768


def published(desk: Desk) -> dict[str, Any]:
    return {
        "frame": desk.frame, "epoch": int(desk.clock["epoch"]),
        "command_tail": int(desk.rings["command_tail"]),
        "event_head": int(desk.rings["event_head"]), "taps": desk.taps["head"].tolist(),
    }  # fmt: skip


def test_the_end_of_a_turn_publishes_everything(desk: Desk, undo_log: Any) -> None:
    end_of_turn(desk, undo_log)
    undo_log.end_turn(address_of(desk), 768)
    heads = [768 if tap in (0, 5, TAPS - 1) else 512 for tap in range(TAPS)]
    assert published(desk) == {
        "frame": 768, "epoch": 10, "command_tail": 41, "event_head": 23, "taps": heads,
    }  # fmt: skip
    assert int(desk.undo_log["state"]) == WORK_IDLE


def killed_at(undo_log: Any, monkeypatch: pytest.MonkeyPatch, step: int) -> Callable[[], int]:
    """Raise `Killed` at store or fence number `step`; return a function that counts those made."""
    count = 0

    def counted(name: str) -> Callable[..., Any]:
        made = getattr(interpreted("taps" if name == "taps" else "undo_log"), name)

        def step_of_it(*arguments: Any) -> Any:
            nonlocal count
            if count == step:
                raise Killed
            count += 1
            return made(*arguments)

        return step_of_it

    for name in ("store_release", "fence"):
        monkeypatch.setattr(undo_log, name, counted(name))
    return lambda: count


def test_a_turn_killed_while_publishing_is_published_by_the_successor(
    undo_log: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, ended = 0, False
    while not ended:
        desk = Desk.create(0)
        desk.clock["frame"], desk.clock["epoch"] = 512, 9
        end_of_turn(desk, undo_log)
        with monkeypatch.context() as patched:
            killed_at(undo_log, patched, step)
            try:
                undo_log.end_turn(address_of(desk), 768)
                ended = True
            except Killed:
                state = int(desk.undo_log["state"])
                assert state == (WORK_RENDERS if step == 0 else WORK_PUBLISHES)
        undo_log.recover(address_of(desk))
        assert int(desk.undo_log["state"]) == WORK_IDLE
        done = step > 0
        assert desk.frame == (768 if done else 512)
        assert int(desk.clock["epoch"]) == (10 if done else 9)
        assert int(desk.rings["command_tail"]) == (41 if done else 0)
        assert int(desk.rings["event_head"]) == (23 if done else 0)
        assert desk.taps["head"][5] == (768 if done else 512)
        desk.close()
        step += 1
    assert step == 8, "seven steps: rendering, publishing, four numbers, idle"


def test_state_is_stored_before_the_changes_it_announces(
    desk: Desk, undo_log: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[Any] = []
    store = undo_log.store_release

    def noted_store(address: int, value: int) -> None:
        steps.append((address - desk.address, value))
        store(address, value)

    monkeypatch.setattr(undo_log, "store_release", noted_store)
    monkeypatch.setattr(undo_log, "fence", lambda: steps.append("fence"))
    monkeypatch.setattr(undo_log, "publish_taps", lambda _address: steps.append("taps"))
    end_of_turn(desk, undo_log)
    fields = REGIONS["undo_log"].dtype.fields
    assert fields is not None
    state = REGIONS["undo_log"].offset + fields["state"][1]
    assert steps == [(state, WORK_RENDERS), "fence"]
    steps.clear()
    undo_log.end_turn(address_of(desk), 768)
    assert steps[0] == (state, WORK_PUBLISHES) and steps[1] == "fence"
    assert "taps" in steps and steps[-1] == (state, WORK_IDLE)
    # Ring slots may be reused once the tail is visible. The epoch, which ends the block, comes
    # last.
    epoch = REGIONS["clock"].dtype.fields
    assert epoch is not None
    assert steps[-2] == (REGIONS["clock"].offset + epoch["epoch"][1], 10)


# --- recovery ---------------------------------------------------------------------------------


def test_recovery_between_two_turns_changes_nothing(desk: Desk, undo_log: Any) -> None:
    make_scene(desk)
    undo_log.begin_turn(address_of(desk))
    undo_log.end_turn(address_of(desk), 768)
    scramble(desk, 3)
    desk.clock["stamp"] = 6
    before = {name: view.copy() for name, view in compared(desk).items()}
    undo_log.recover(address_of(desk))
    assert all(np.array_equal(view, before[name]) for name, view in compared(desk).items())


@pytest.mark.parametrize(("stamp", "after"), [(0, 0), (7, 8), (8, 8), (9, 10)])
def test_recovery_completes_an_interrupted_clock_write(
    desk: Desk, undo_log: Any, stamp: int, after: int
) -> None:
    desk.clock["stamp"] = stamp
    undo_log.recover(address_of(desk))
    assert int(desk.clock["stamp"]) == after
