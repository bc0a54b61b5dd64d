"""A long night: a random set on a real server, with many failures; then a report.

    python benchmarks/soak.py --hours 1
    python benchmarks/soak.py --hours 0.1 --kills none --driver null
    python benchmarks/soak.py --report soak-42
    python benchmarks/soak.py --hours 72 --compressed

The seed determines all actions and their times: loads, starts, seeks, loops, effects, tempo
changes, recordings, announcements, a live input, clients that connect and leave, and bad input.
The server's processes are killed every few minutes. Other faults happen between these: music and
devices disappear and return, and the server is upgraded to good and to broken versions. Readings of
the server are written to the folder immediately, so nothing is lost if this program ends;
`--report` creates the report from them again. Ctrl-C ends the night early, with a report.
`--compressed` renders the sets offline instead, without kills and upgrades, faster than real time.
See docs/development/soak.md.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import selectors
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Self

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import psutil

from benchmarks import common
from benchmarks.cards import Card, open_card
from benchmarks.empty_callback import EmptyCallback
from benchmarks.live import ERRORS, free_tcp_port, live_server
from benchmarks.long_night import compressed, heard
from benchmarks.long_night.faults import KINDS as FAULTS
from benchmarks.long_night.faults import Faults
from benchmarks.long_night.kills import KINDS, Killer
from benchmarks.long_night.log import NAME, Log
from benchmarks.long_night.player import Player
from benchmarks.long_night.processes import Family
from benchmarks.long_night.readings import Reader, card_processes, shared_memory
from benchmarks.long_night.report import write_report
from benchmarks.material import cache_folder
from contrib.soundcard import PulseNull, PulseTone, Recorder
from tests.support.long_night import files
from tests.support.long_night.model import Piece
from tests.support.long_night.plan import NightPlan
from tests.support.long_night.stick import Stick
from tests.support.server import Running

MEMORY_MB = 256
# Always open, so that the night is never faded out. The ceiling is below the loudest minutes.
SCHEDULE = """\
[[loudness]]
from = "00:00"
to = "00:00"
short_term = -12
average = -14
"""
ANNOUNCEMENT = """
[[announcement]]
at = "{hour:02}:{minute:02}"
file = "{file}"
"""
ANNOUNCEMENT_MINUTES = 10
STICK_SECONDS = 300.0  # the longest piece on the removable folder
LONG_SECONDS = 1800.0  # 302 MB of 16-bit stereo: more than the budget
CALM_SECONDS = 10.0  # before and after the set, to compare the usage of the idle server
MAX_WAIT = 0.05  # seconds between two rounds
CLOSE_WAIT = 0.001  # the same after a kill
ASK_SECONDS = 0.5  # time for the last reply
SHUTDOWN_SECONDS = 15.0


class Interrupted:
    """Set by SIGINT and SIGTERM during its `with` block."""

    def __init__(self) -> None:
        self.is_set = False

    def __enter__(self) -> Self:
        numbers = (signal.SIGINT, signal.SIGTERM)
        self._before = {number: signal.signal(number, self._set) for number in numbers}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _set(self, _number: int, _frame: FrameType | None) -> None:
        self.is_set = True


class Soak:
    """One night on one server."""

    def __init__(
        self, server: Running, card: Card, log: Log, options: argparse.Namespace,
        stop: Interrupted, microphone: PulseTone | None,
    ) -> None:
        self._server = server
        self._log = log
        self._stop = stop
        self._family = Family(psutil.Process(server.pid))
        self._reader = Reader(self._family, log, card_processes(card.env))
        self._killer = Killer(self._family, log)
        music = cache_folder() / "nights"
        pieces = files.pieces(options.long_seconds)
        paths = files.write_pieces(music / f"{options.long_seconds:g}", pieces)
        removable = files.stick_pieces(STICK_SECONDS) if "stick" in options.faults else []
        self._stick = Stick(
            options.out / "stick", files.write_pieces(music / "stick", removable)
        )
        self._faults = Faults(
            server, log, self._stick, microphone, options.out / "versions", options.faults
        )
        self._player = Player(
            server.port, server.http_port, log, paths | self._stick.paths,
            files.write_bad_files(music / "bad"), options.out, self._killer, self._faults,
        )
        self._plan = NightPlan(
            options.seed, [*pieces, *removable], files.BAD_FILES, options.pace, options.kills,
            options.kill_every, faults=options.faults, fault_seconds=options.fault_every,
            inputs=microphone is not None,
        )

    def run(self, seconds: float, progress: common.Progress) -> None:
        """Run the night: some seconds of calm, the set, and calm again."""
        self._calm(CALM_SECONDS)
        self._reader.family(whole=True)
        self._log.write("set begins")
        begin = time.monotonic()
        actions = self._plan.actions()
        action = next(actions)
        shown = 0.0
        while not self._stop.is_set:
            now = time.monotonic() - begin
            if now >= seconds:
                break
            if action.at <= now:
                self._player.carry_out(action, self._reader.desk)
                action = next(actions)
            self._turn(begin + action.at)
            if now - shown > 1.0:
                progress.add(now - shown, "")
                shown = now
        self._log.write("set ends", sent=self._player.dj.sent)
        if self._stop.is_set:
            self._log.write("interrupted")
        self._stop.is_set = False
        while (self._killer.busy or self._faults.busy) and not self._stop.is_set:
            self._turn(time.monotonic() + MAX_WAIT)
        self._player.clear_up()
        self._calm(CALM_SECONDS)
        self._player.ask_status()
        self._calm(ASK_SECONDS)
        self._reader.family(whole=True)
        self._log.write("calm", failures=self._player.failures.most_common(40))

    def _calm(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self._stop.is_set:
            self._turn(until)

    def _turn(self, until: float) -> None:
        # Wait for input or the next due time, and serve everything.
        self._server.check_alive()
        longest = CLOSE_WAIT if self._killer.close else MAX_WAIT
        wait = min(longest, max(0.0, min(until, self._reader.due()) - time.monotonic()))
        with selectors.DefaultSelector() as selector:
            for reader in self._player.readers():
                selector.register(reader, selectors.EVENT_READ)
            for key, _ in selector.select(wait):
                key.fileobj.read()  # type: ignore[union-attr]
        self._reader.tick()
        desk = self._reader.desk
        self._killer.tick(desk)
        self._player.tick(desk.sample_rate if desk is not None else float(files.RATE))

    def close(self) -> None:
        """Release all resources."""
        self._faults.close()
        self._player.close()
        self._reader.close()


@contextlib.contextmanager
def open_sound(options: argparse.Namespace) -> Iterator[tuple[Card, Recorder | None]]:
    """Open the card of the night for a `with` block, and record it if it can be recorded."""
    if options.driver == "pulse":
        with PulseNull() as pulse, pulse.recorder() as recorder:
            yield Card("PulseAudio null sink", "pyaudio", None, dict(pulse.env)), recorder
        return
    null = options.driver == "null"
    wanted = argparse.Namespace(
        jack=not null, driver="null" if null else "pyaudio", device=None
    )
    with open_card(wanted, options.buffer_size) as card:
        yield card, None


@contextlib.contextmanager
def open_microphone(
    options: argparse.Namespace, card: Card
) -> Iterator[tuple[Card, PulseTone | None]]:
    """Open the device of the live input beside the card; without an input, None."""
    if not options.input:
        yield card, None
        return
    with PulseTone(realtime=True) as microphone:
        yield replace(card, env=microphone.beside(card.env)), microphone


def write_breaks(recorder: Recorder, log: Log, begun: float) -> None:
    """Log the breaks in the recording of the card, which has begun at `begun` (monotonic)."""
    recorder.end()
    samples = heard.open_recording(recorder.file, recorder.channels)
    log.write("heard", seconds=len(samples) / files.RATE)
    for one in heard.breaks(samples, files.RATE):
        at = begun - log.begin + one.begin / files.RATE
        log.write("break", at=round(at, 3), ms=round(1e3 * one.frames / files.RATE, 2))


def write_schedule(folder: Path) -> Path:
    """Write a schedule with a loudness ceiling and regular announcements; return its path."""
    music = cache_folder() / "nights" / "schedule"
    file = files.write_pieces(music, [Piece("spoken", 6.0, 1, 100.0, "16 mono")])["spoken"]
    path = folder / "schedule.toml"
    text = SCHEDULE + "".join(
        ANNOUNCEMENT.format(hour=minute // 60, minute=minute % 60, file=file)
        for minute in range(0, 24 * 60, ANNOUNCEMENT_MINUTES)
    )
    path.write_text(text, encoding="utf-8")
    return path


def play(options: argparse.Namespace) -> None:
    """Run the whole night, logged into its folder. Raise `BenchmarkError`."""
    seconds = options.hours * 3600.0
    log = Log(options.out, time.monotonic())
    progress = common.Progress(max(seconds, 1.0))
    try:
        with (
            Interrupted() as stop, open_sound(options) as (card, recorder),
            open_microphone(options, card) as (card, microphone),
        ):
            begun = time.monotonic() - (recorder.frames() / files.RATE if recorder else 0.0)
            log.write(
                "night", seed=options.seed, hours=options.hours, card=card.name,
                kills=options.kills, kill_every=options.kill_every,
                faults=options.faults, fault_every=options.fault_every, memory_mb=options.cache_mb,
                buffer=options.buffer_size, machine=common.machine(), began=time.time(),
                command=" ".join(sys.argv[1:]),
            )
            flags = [
                *card.flags(options.buffer_size), "--http", "--http-port", str(free_tcp_port()),
                "--cache-mb", str(options.cache_mb),
                "--schedule", str(write_schedule(options.out)),
                *(["--input", microphone.NAME] if microphone else []), *options.server,
            ]  # fmt: skip
            with live_server(*flags, env=card.env, folder=options.out) as server:
                server.page()  # starts the last process, whose usage is compared with the end
                _play_on(server, card, log, options, stop, seconds, progress, microphone)
            if recorder is not None:
                write_breaks(recorder, log, begun)
    except ERRORS as error:
        log.write("ended", reason=str(error)[-2000:])
        print(f"\nsoak: {error}", file=sys.stderr)
    finally:
        progress.close()
        log.close()


@contextlib.contextmanager
def beside(
    card: Card, server: Running, options: argparse.Namespace
) -> Iterator[EmptyCallback | None]:
    """Run an empty callback on the same card: what it misses is the machine's own. None: no card.

    In a process of its own, without real-time requirements for anything but its callback.
    """
    if card.driver == "null":
        yield None
        return
    with server.desk() as desk:
        rate = desk.sample_rate
    with EmptyCallback("pyaudio", card.device, options.buffer_size, rate, card.env) as empty:
        empty.begin()
        yield empty


def play_compressed(options: argparse.Namespace) -> bool:
    """Render the nights offline; return whether they have passed."""
    music = cache_folder() / "nights" / f"{compressed.RATE} Hz"
    music.mkdir(parents=True, exist_ok=True)
    schedule = write_schedule(music)
    hours = max(1, round(options.hours))
    return compressed.report(
        compressed.play(hours, options.seed, options.pace, music, schedule)
    )


def _play_on(
    server: Running, card: Card, log: Log, options: argparse.Namespace, stop: Interrupted,
    seconds: float, progress: common.Progress, microphone: PulseTone | None,
) -> None:
    soak = Soak(server, card, log, options, stop, microphone)
    family = Family(psutil.Process(server.pid))
    try:
        with beside(card, server, options) as empty:
            soak.run(seconds, progress)
            if empty is not None:
                log.write("empty callback", **empty.end())
    finally:
        pids = [member.pid for member in family.members()]
        soak.close()
        with contextlib.suppress(ProcessLookupError):
            os.kill(server.pid, signal.SIGTERM)
        began = time.monotonic()
        while (left := _alive(pids)) and time.monotonic() < began + SHUTDOWN_SECONDS:
            server.process.poll()
            time.sleep(0.1)
        took = round(time.monotonic() - began, 1)
        log.write("shut down", left=left, shared_memory=shared_memory(pids), seconds=took)


def _alive(pids: Sequence[int]) -> list[int]:
    left = []
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                left.append(pid)
    return left


def _kinds(text: str, known: Sequence[str] = KINDS) -> list[str]:
    chosen = [] if text == "none" else text.split(",")
    for kind in chosen:
        if kind not in known:
            raise argparse.ArgumentTypeError(f"{kind!r} must be one of {', '.join(known)}, none")
    return chosen


def parser() -> argparse.ArgumentParser:
    """Return the argument parser."""
    made = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    made.add_argument("--hours", type=float, default=1.0, help="length of the set")
    made.add_argument("--seed", type=int, default=1)
    made.add_argument("--driver", choices=("jack", "pulse", "null"), default="jack")
    made.add_argument(
        "--compressed", action="store_true", help="render offline, faster than real time"
    )
    made.add_argument("--out", type=Path, help="folder for the log and the report (soak-SEED)")
    made.add_argument("--report", type=Path, metavar="FOLDER", help="only repeat a night's report")
    made.add_argument(
        "--kills", type=_kinds, default=list(KINDS), metavar="KINDS",
        help=f"processes to kill in turn: {','.join(KINDS)} (default: all), or none",
    )  # fmt: skip
    made.add_argument("--kill-every", type=float, default=150.0, help="mean seconds between kills")
    made.add_argument(
        "--faults", type=partial(_kinds, known=FAULTS), default=list(FAULTS), metavar="KINDS",
        help=f"other faults, in turn: {','.join(FAULTS)} (default: all), or none",
    )  # fmt: skip
    made.add_argument("--fault-every", type=float, default=240.0, help="mean seconds between them")
    made.add_argument(
        "--input", action=argparse.BooleanOptionalAction, default=True,
        help="a live input, from a PulseAudio source on a clock of its own",
    )  # fmt: skip
    made.add_argument("--pace", type=float, default=1.0, help="mean seconds between moves")
    made.add_argument("--buffer-size", type=int, default=256)
    made.add_argument(
        "--cache-mb", "--memory", type=int, default=MEMORY_MB, help="memory budget in MB"
    )
    made.add_argument("--long-seconds", type=float, default=LONG_SECONDS, help="longest piece")
    made.add_argument(
        "--gaps-per-hour", type=float, default=20.0, help="explained gaps that are tolerated"
    )
    made.add_argument(
        "--server", nargs=argparse.REMAINDER, default=[], help="additional options of the server"
    )
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run the night; return 1 if it failed."""
    options = parser().parse_args(argv)
    try:
        if options.report is None:
            options.out = options.out or Path(f"soak-{options.seed}")
            common.print_heading(f"Long night: {options.hours:g} h, seed {options.seed}")
            if options.compressed:
                return 0 if play_compressed(options) else 1
            play(options)
        folder = options.report or options.out
        if not (folder / NAME).exists():
            raise common.BenchmarkError(f"{folder} has no {NAME}: is it the folder of a night?")
        return 0 if write_report(folder, options.gaps_per_hour) else 1
    except ERRORS as error:
        print(f"soak: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
