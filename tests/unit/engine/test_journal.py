"""An engine may be killed at any moment: the next one goes on as if nothing had happened."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from crowdstream.desk.block import Desk
from crowdstream.desk.codes import WORK_IDLE, WORK_PUBLISHES, WORK_RENDERS
from crowdstream.desk.layout import REGIONS
from crowdstream.desk.ramps import RAMP_VOICE, VOICE_ROWS
from crowdstream.engine.effects import MODULES
from crowdstream.engine.kernels import kernels
from tests.support.offline_server import RATE, Rig, write
from tests.support.server import PROJECT

FRAMES = 6 * RATE
SCRIPT = PROJECT / "tests" / "support" / "killed_renders.py"


def music(seconds: float, seed: int) -> np.ndarray:
    """Beats at 120 and a chord, float of shape `(frames, 2)`: what keylock can work on."""
    generator = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    sound = sum(0.05 * np.sin(2 * np.pi * 110 * (seed + 2) * k * time) for k in (1, 1.25, 1.5))
    sound = sound + 0.3 * generator.uniform(-1, 1, len(time)) * np.exp(-((time % 0.5) * 40))
    return np.stack([sound, 0.8 * sound], 1).astype(np.float32)


def scene(rig: Rig, folder: Path) -> None:
    """Four decks with all that an engine can do, and much of it still to come."""
    for number, deck in enumerate("ABCD"):
        stems = folder / deck
        stems.mkdir()
        for stem in range(2):
            write(stems / f"{stem}.wav", music(12, 2 * number + stem))
        rig.send(f"/deck/{deck}/load", str(stems))
        rig.load()
        rig.send(f"/deck/{deck}/grid", 120.0, 0.0)
    # The roll, which lets nothing else be heard while it is on, comes first of its deck.
    for number, module in enumerate(sorted(MODULES, key=lambda name: name != "roll")):
        place = f"/deck/{'ABCD'[number // 2]}" if number < 8 else "/mix"
        rig.send(f"{place}/fx/insert", number % 2 + 1, module)
        rig.send(f"{place}/fx/on", number % 2 + 1, int(module != "roll"))
    rig.send("/deck/A/sync", 1)
    rig.send("/deck/B/sync", 1)
    rig.send("/deck/B/keylock", 1)
    rig.send("/deck/C/rate", 1.03)
    rig.send("/deck/C/keylock", 1)
    rig.send("/deck/C/stem/1/eq/low", 0.3)
    rig.send("/deck/D/stem/1/filter", 0.4)
    rig.send("/deck/A/eq/mid", 0.4)
    rig.send("/deck/B/filter", -0.5)
    rig.send("/mix/level", 0.5)
    rig.seconds(0.1)
    for deck in "ABCD":
        rig.send(f"/deck/{deck}/play")
    rig.seconds(0.5)
    rig.send("/clock/tempo", 128.0, 6.0)
    later: list[tuple[float, str, tuple[Any, ...]]] = [
        (0.31, "/deck/A/loop", (1.0,)),
        (0.62, "/deck/C/seek", (5.0,)),
        (0.70, "/deck/A/fx/on", (1, 1)),
        (0.90, "/deck/D/reverse", (1,)),
        (0.80, "/quality", (1,)),
        (1.00, "/quality", (0,)),
        (1.10, "/deck/A/fx/on", (1, 0)),
        (1.23, "/deck/A/loop/exit", ()),
        (1.40, "/deck/D/reverse", (0,)),
        (1.77, "/deck/B/jump", (4.0,)),
        (2.00, "/clock/tempo", (122.0, 2.0)),
        (2.10, "/quality", (3,)),
        (2.35, "/deck/C/stop", ()),
        (2.80, "/deck/C/play", ()),
        (3.05, "/quality", (0,)),
        (3.10, "/deck/B/slip", (1,)),
        (3.20, "/deck/B/loop", (0.25,)),
        (3.90, "/deck/B/slip", (0,)),
        (4.40, "/deck/A/brake", (0.5,)),
    ]
    now = rig.desk.frame
    failures: list[Any] = []

    def reply(said: str, *values: Any) -> None:
        if said == "/fail":
            failures.append(values)

    for moment, address, arguments in later:
        rig.perform(address, arguments, reply, now + int(moment * RATE))
    for beat in range(1, 13):
        rig.perform("/deck/D/eq/high", (0.2 + 0.1 * (beat % 7),), reply, now + beat * 16001)
    rig.core.tick()
    assert not failures and not rig.fails()


def copy_of(fd: int) -> int:
    """A descriptor of a memory file with the same contents; holes stay holes."""
    size = os.fstat(fd).st_size
    made = os.memfd_create("copy")
    os.ftruncate(made, size)
    at = 0
    while True:
        try:
            begin = os.lseek(fd, at, os.SEEK_DATA)
        except OSError:  # nothing but a hole is left
            return made
        at = os.lseek(fd, begin, os.SEEK_HOLE)
        while begin < at:
            begin += os.pwrite(made, os.pread(fd, min(at - begin, 1 << 24), begin), begin)


def rendered(fd: int, kills: int, seed: int) -> tuple[np.ndarray, list[int]]:
    """What comes out of a desk, killed so often; in which state of its journal it died."""
    out = os.memfd_create("out")
    os.ftruncate(out, 8 * FRAMES)
    done = subprocess.run(
        [sys.executable, "-P", str(SCRIPT), *map(str, (fd, out, FRAMES, kills, seed))],
        pass_fds=(fd, out), env={**os.environ, "PYTHONPATH": str(PROJECT)},
        stdout=subprocess.PIPE, check=True, timeout=100,
    )
    sound = np.frombuffer(os.pread(out, 8 * FRAMES, 0), np.float32).reshape(-1, 2)
    os.close(out)
    return sound, [int(state) for state in done.stdout.split()]


def left(fd: int) -> dict[str, bytes | str]:
    """What a desk has come to, but for what depends on how time was cut into blocks."""
    kept: dict[str, bytes | str] = {}
    for name in ("effects", "effect_registers", "chains", "eq", "filter"):
        region = REGIONS[name]
        size = region.dtype.itemsize * int(np.prod(region.shape))
        kept[name] = os.pread(fd, size, region.offset)
    with contextlib.closing(Desk(os.dup(fd))) as desk:
        kept["events"] = str(desk.events[: int(desk.rings["event_head"])])
        for slot in np.flatnonzero(desk.voices["state"]).tolist():
            rows = desk.ramps[RAMP_VOICE + VOICE_ROWS * slot :][:VOICE_ROWS]
            kept[f"voice {slot}"] = f"{desk.voices[slot]} {rows}"
        kept["tail"] = desk.rings["command_tail"].tobytes()
        kept["frame"] = desk.clock["frame"].tobytes()
        kept["waiting"] = desk.master["pending"].tobytes()
        for name in ("missing_frames", "hard_cuts", "late_commands", "commands", "limited_frames"):
            kept[name] = desk.ledger[name].tobytes()
    return kept


def test_killed_at_any_moment_it_goes_on_to_the_bit(tmp_path: Path) -> None:
    """Sound, voices, effects and events are those of an engine that lived."""
    with Rig(memory_mb=64, block=256) as rig:
        scene(rig, tmp_path)
        plain, kept = copy_of(rig.desk.fd), copy_of(rig.desk.fd)
    undisturbed, states = rendered(plain, 0, 1)
    assert states == [1, 0, 0]
    assert np.abs(undisturbed[RATE:]).max() > 0.1
    with contextlib.closing(Desk(os.dup(kept))) as desk:
        desk.journal["off"] = 0
    sound, states = rendered(kept, 250, 2)
    assert states[1] > 15, f"died while idle, rendering, publishing: {states}"
    different = np.flatnonzero((sound != undisturbed).any(axis=1))
    assert not len(different), f"from frame {different[0]} on, after {states}"
    assert left(kept) == left(plain)
    os.close(plain)
    os.close(kept)


STATE = (
    "clock", "decks", "ramps", "voices", "history", "stem_past", "stem_eq", "stem_eq_use",
    "stem_filter", "eq", "eq_use", "filter", "limiter", "chains", "effects", "effect_registers",
    "metering", "meters", "cue_line", "delay_line", "taps",
)  # fmt: skip


def test_every_turn_can_be_taken_back_and_done_again(tmp_path: Path) -> None:
    """What is put back is all that a turn changes: done again, it has the same result."""
    with Rig(memory_mb=64, block=256) as rig:
        scene(rig, tmp_path)
        desk = rig.desk
        desk.journal["off"] = 0
        made = kernels()

        def turn() -> tuple[bytes, dict[str, bytes]]:
            made.render_at(desk.address, out.ctypes.data, len(out))
            state = {
                name: os.pread(desk.fd, REGIONS[name].dtype.itemsize
                               * int(np.prod(REGIONS[name].shape)), REGIONS[name].offset)
                for name in STATE
            }  # fmt: skip
            return out.tobytes(), state

        out = np.zeros((256, 2), np.float32)
        turn()  # takes the commands, which are not published again
        for _ in range(5 * RATE // 256):
            frame, epoch = desk.frame, int(desk.clock["epoch"])
            events = int(desk.rings["event_head"])
            sound, state = turn()
            assert desk.frame == frame + 256
            desk.journal["state"] = WORK_RENDERS
            made.recover(desk.address)
            assert (desk.frame, int(desk.clock["epoch"])) == (frame, epoch)
            desk.rings["event_head"] = events
            again, after = turn()
            assert again == sound, f"frame {frame}"
            assert [name for name in STATE if after[name] != state[name]] == [], f"frame {frame}"


def test_what_was_not_told_any_more_is_told_by_the_next_engine(tmp_path: Path) -> None:
    with Rig(memory_mb=64, block=256) as rig:
        scene(rig, tmp_path)
        desk = rig.desk
        before = desk.frame, int(desk.clock["epoch"]), int(desk.rings["command_tail"])
        rig.step()
        after = desk.frame, int(desk.clock["epoch"]), int(desk.rings["command_tail"])
        assert after[0] == before[0] + 256 and after[1] == before[1] + 1 and after[2] > before[2]
        desk.clock["frame"], desk.clock["epoch"], desk.rings["command_tail"] = before
        desk.clock["stamp"] += 1  # it died while it wrote the time as well
        desk.journal["state"] = WORK_PUBLISHES
        kernels().recover(desk.address)
        assert (desk.frame, int(desk.clock["epoch"]), int(desk.rings["command_tail"])) == after
        assert int(desk.clock["stamp"]) % 2 == 0
        assert int(desk.journal["state"]) == WORK_IDLE
