"""The command table: any commands with any arguments in any order, during rendering."""

from __future__ import annotations

import contextlib
import io
import math
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import crowdstream.control.handlers  # noqa: F401  (fills the table)
from crowdstream.commands.registry import PLACES, REQUIRED, TABLE, Arg, Command
from crowdstream.desk.constants import GRIDS, SAMPLE_PADS
from crowdstream.effects import MODULES
from crowdstream.offline.session import START, WALL
from crowdstream.osc.codec import UNIX_EPOCH
from tests.fuzz.player import Player
from tests.fuzz.registry import Fault, Target
from tests.support import osc_reference, scratch_files
from tests.support.byte_source import ByteSource
from tests.support.osc_reference import Tagged

MAX_STEPS = 120
MEMORY_MB = 6  # the long file does not fit, so it is streamed
BUFFERS = (100, 101, 1100, 1101, 2100, 3100, 99, 4099)
FILES = ("short.wav", "song", "long.wav", "mono.wav", "song", "long.wav", "text.wav", "empty.wav",
         "cut.wav", "nothing", "missing.wav", "..", "")  # fmt: skip
_PAIRS = (("song", "long.wav"), ("long.wav", "short.wav"))  # on decks A and B at the start
MAX_REST_BLOCKS = 3000  # blocks within which everything must have stopped
_COMMANDS = TABLE.commands
_BY_ADDRESS = {command.address: number for number, command in enumerate(_COMMANDS)}
_WORDS = ("mix", "on", "time", "feedback", "size", "all", "stems", "A/1", "wav16", "flac", "x.wav",
          "master", "bus1", "cue", "echo")  # fmt: skip


def _valid(arg: Arg, source: ByteSource) -> Tagged:
    """A value in the argument's range."""
    if arg.words and source.chance(60):
        return "s", source.pick(arg.words)
    if arg.choices:
        return "s", source.pick(arg.choices)
    if arg.name == "path":
        return "s", str(scratch_files.music() / source.pick(FILES))
    if arg.name == "module":
        return "s", source.pick(list(MODULES))
    if arg.name == "parameter":
        return "s", _parameter(source)
    if arg.name == "address":
        return "s", _address(source.pick(_COMMANDS), source)
    if arg.type == "s":
        return "s", source.pick(_WORDS)
    if arg.name == "id":
        return "i", source.pick(BUFFERS)
    low = arg.low if arg.low is not None else -2.0
    high = arg.high if arg.high is not None else 5000.0
    if arg.type == "i":
        return "i", source.between(int(low), int(high))
    # In a wide range, small values matter most.
    high = min(high, low + source.pick((4.0, 0.1, 100.0, high - low)))
    return "f", low + (high - low) * source.share()


def _parameter(source: ByteSource) -> str:
    names = [p.name for module in MODULES.values() for p in module.parameters]
    return source.pick(["mix", "on", *names])


def _pairs(arg: Arg, before: list[Tagged], source: ByteSource) -> list[Tagged]:
    """Parameters of the effect named before, or points of a beat grid."""
    found: list[Tagged] = []
    module = MODULES.get(str(before[-1][1])) if before else None
    second = 0.0
    for beat in range(source.between(0, 4)):
        if arg.name == "pairs":
            second += 0.2 + source.share()
            found += [("f", float(beat)), ("f", second)]
        elif module and module.parameters:
            parameter = source.pick(module.parameters)
            way = parameter.high - parameter.low
            number = parameter.low + way * source.share()
            found += [("s", parameter.name), ("f", round(number) if parameter.whole else number)]
    return found


def _edge(arg: Arg, source: ByteSource) -> Tagged:
    """A value at the limit of the range, or just outside."""
    ends = [end for end in (arg.low, arg.high, 0.0) if end is not None]
    end = source.pick(ends)
    tag = source.pick("dhi")
    value = end + source.pick((0.0, 1e-9, -1e-9, 1.0, -1.0))
    return (tag, value) if tag == "d" else (tag, int(min(max(value, -(2**31)), 2**31 - 1)))


_WILD: tuple[Tagged, ...] = (
    ("f", math.nan), ("f", math.inf), ("f", -math.inf), ("d", 1e308), ("d", -1e308), ("f", -0.0),
    ("d", 5e-324), ("h", 2**63 - 1), ("h", -(2**63)), ("N", None), ("T", True), ("F", False),
    ("I", None), ("b", b"blob"), ("s", ""), ("s", "\udcff\n"), ("s", "x" * 300), ("i", 2**31 - 1),
    ("i", -(2**31)), ("t", bytes(8)),
)  # fmt: skip


def _value(arg: Arg, source: ByteSource) -> Tagged:
    how = source.byte()
    if arg.type == "*":
        return _free(source)
    if how < 216:
        return _valid(arg, source)
    if how < 236 and arg.type != "s":
        return _edge(arg, source)
    return source.pick(_WILD) if how < 250 else osc_reference.some_argument(source)


def _free(source: ByteSource) -> Tagged:
    how = source.byte()
    if how < 60:
        return "s", _parameter(source)
    if how < 100:
        return "s", str(scratch_files.music() / source.pick(FILES))
    if how < 180:
        return "f", 2.0 * source.share()
    return ("i", source.pick(BUFFERS)) if how < 220 else osc_reference.some_argument(source)


def _address(command: Command, source: ByteSource) -> str:
    address = command.address
    for place, spellings in PLACES.items():
        if f"{{{place}}}" in address:
            # Two decks are enough, and more happens on each of them.
            few = spellings[:4] if source.chance(240) else spellings
            address = address.replace(f"{{{place}}}", source.pick(few)[0])
    return address


def message(source: ByteSource) -> bytes:
    """A random command, mostly a valid one."""
    # The table holds eight times as many commands for stems as are useful here.
    at = source.whole(2)
    command = _COMMANDS[at % len(_COMMANDS)]
    if source.chance(160):
        command = _COMMANDS[_BY_ADDRESS[FREQUENT[at % len(FREQUENT)]]]
    values: list[Tagged] = []
    for arg in command.args:
        if arg.rest and arg.name in ("values", "pairs") and source.chance(200):
            values += _pairs(arg, values, source)
            continue
        if source.chance(3) or (arg.default is not REQUIRED and source.chance(60)):
            break
        values += [_value(arg, source) for _ in range(source.between(1, 6) if arg.rest else 1)]
    if source.chance(6):
        values.append(osc_reference.some_argument(source))
    return osc_reference.message(_address(command, source), values)


FREQUENT = (
    "/deck/{deck}/load", "/deck/{deck}/play", "/deck/{deck}/stop", "/deck/{deck}/unload",
    "/deck/{deck}/seek", "/deck/{deck}/jump", "/deck/{deck}/loop", "/deck/{deck}/loop/set",
    "/deck/{deck}/loop/in", "/deck/{deck}/loop/out", "/deck/{deck}/loop/move",
    "/deck/{deck}/loop/halve", "/deck/{deck}/loop/reloop", "/deck/{deck}/loop/exit",
    "/deck/{deck}/sync", "/deck/{deck}/sync/ratio", "/deck/{deck}/grid",
    "/deck/{deck}/grid/points", "/deck/{deck}/grid/clear", "/deck/{deck}/keylock",
    "/deck/{deck}/pitch", "/deck/{deck}/rate", "/deck/{deck}/slip", "/deck/{deck}/reverse",
    "/deck/{deck}/brake", "/deck/{deck}/softstart", "/deck/{deck}/hotcue",
    "/deck/{deck}/hotcue/set",
    "/deck/{deck}/fx/insert", "/deck/{deck}/fx/swap", "/deck/{deck}/fx/remove",
    "/deck/{deck}/fx/move", "/deck/{deck}/fx/set", "/mix/fx/insert", "/bus/{bus}/fx/insert",
    "/mix/fx/remove", "/deck/{deck}/send", "/mix/route", "/clock/tempo", "/clock/at",
    "/clock/next", "/clock/quantize", "/clock/reset", "/reset", "/set_tempo", "/load_buffer",
    "/play_stem", "/play_stem_section", "/stop_stem", "/start_group", "/play", "/cue", "/fade",
    "/deck/{deck}/filter", "/deck/{deck}/eq", "/deck/{deck}/trim/auto",
)  # fmt: skip


def _tag(player: Player, source: ByteSource) -> int:
    """A time tag: immediate, past, soon, late, or any."""
    how = source.byte()
    if how < 60:
        return osc_reference.NOW
    if how > 245:
        return source.whole(8)
    seconds = source.share() * source.pick((0.05, 0.6, 3.0, -1.0))
    return round((player.time - START + WALL + seconds + UNIX_EPOCH) * 2**32)


def _step(player: Player, source: ByteSource) -> None:
    how = source.byte()
    if how < 120:
        player.handle(message(source))
    elif how < 155:
        parts = [message(source) for _ in range(source.between(1, 4))]
        player.handle(osc_reference.bundle(_tag(player, source), parts))
    elif how < 235:
        player.play(source.pick((256, 1, 32, 700, 2048)))
    elif how < 240:
        for _ in range(source.between(1, 60)):
            player.play(1024)
    elif how < 250:
        player.pages_a_block = source.pick((1000, 0, 1, 3))
    else:
        packet = bytearray(message(source))
        packet[source.between(0, len(packet) - 1)] = source.byte()
        player.handle(bytes(packet))


def _begin(player: Player, source: ByteSource) -> None:
    """Mostly start with loaded or playing tracks: commands that need none are soon exhausted."""
    how = source.byte()
    if how >= 240:
        return
    for deck, file in zip("AB", _PAIRS[how & 1], strict=True):
        player.handle(places(f"/deck/{deck}/load", [str(scratch_files.music() / file)]))
        if how & 2:
            player.handle(places(f"/deck/{deck}/play", [0.0, 1]))
    for _ in range(1 + (how & 12)):
        player.play(256)


def run(data: bytes) -> None:
    """Send commands and render, then check that everything can be stopped and released."""
    source = ByteSource(data)
    scratch_files.music()
    rig = Player(memory_mb=MEMORY_MB, record_folder=Path("/nonexistent"))
    with contextlib.redirect_stdout(io.StringIO()), rig as player:
        _begin(player, source)
        for _ in range(MAX_STEPS):
            if not source.left:
                break
            _step(player, source)
            player.check()
        _stop_everything(player)


def _stop_everything(player: Player) -> None:
    """Stop and unload everything; nothing may remain."""
    player.pages_a_block = 1000
    player.handle(osc_reference.message("/clock/quantize", [("f", 0.0)]))
    core, buffers = player.core, player.core.track_table
    # Scheduled commands would restart what has been stopped.
    core.scheduler._bundles.clear()
    core.scheduler._beats.clear()
    core.scheduler._bundled = 0
    core.deck_manager._starts.clear()
    for block in range(MAX_REST_BLOCKS):
        if block % 100 == 0:
            player.handle(osc_reference.message("/mixer_cleanup", []))
            for pad in range(SAMPLE_PADS):  # which keep their samples
                player.handle(osc_reference.message(f"/sample/{pad + 1}/unload", []))
        player.play(2048)
        silent = not core.voice_allocator.sounding() and not player.desk.voices["state"].any()
        if silent and not buffers.tracks():
            break
    else:
        left = [track.name for track in buffers.tracks()]
        raise Fault(f"{left} are still loaded after {MAX_REST_BLOCKS} blocks")
    player.check()
    for _ in range(3):  # a page becomes free two blocks later
        player.play(256)
    if buffers.grids.free != GRIDS and not core.voice_allocator._marks:
        raise Fault(f"{GRIDS - buffers.grids.free} grids are not released")
    if player.loader._arena.in_use() or player.loader._arena.reserved:
        raise Fault(f"{player.loader._arena.in_use()} pages are not released")


def seeds() -> Iterator[bytes]:
    """Each command once, after a track has started to play; and random bytes."""
    load, play = _frequent("/deck/{deck}/load"), _frequent("/deck/{deck}/play")
    for first in (0, 40, 80):
        begin = _order(load, 0, first) + _order(play, 0) + bytes([235, 5])
        yield begin + b"".join(_order(number, number) for number in range(first, first + 19))
    yield from (random.Random(seed).randbytes(1500) for seed in range(6))


def _frequent(address: str) -> int:
    return FREQUENT.index(address)


def _order(number: int, *choices: int) -> bytes:
    return bytes([0]) + number.to_bytes(2, "big") + bytes([255, *choices, *bytes(6)])


def places(address: str, values: Sequence[Any]) -> bytes:
    """A message with plain values, for tests that name what they send."""
    tags = {int: "i", float: "f", str: "s"}
    return osc_reference.message(address, [(tags[type(value)], value) for value in values])


TARGET = Target(
    "commands",
    "any commands in any order: no internal error, a failed command changes nothing, the output is "
    "finite and within full scale, the invariants of desk and control hold, and all is released",
    run,
    seeds,
    ("crowdstream.control", "crowdstream.loader.loader", "crowdstream.loader.prefetch",
     "crowdstream.desk.pages"),
    longest=3000,
)
