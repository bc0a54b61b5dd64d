"""Mix with Mixxx: Auto DJ on a virtual screen, with JACK's dummy card, recorded by Mixxx itself.

Mixxx plays in real time. It gets a settings folder of its own: the first start creates the
database, the second one scans the tracks, the third one analyses all of them, and the fourth one
plays the Auto DJ playlist, which is written to the database before. The settings are the defaults,
except that both decks have sync and quantize switched on (by keys, as a user would), waveforms are
off, and it records in WAV. The recording begins some seconds after the first track.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import soundfile

from benchmarks.common import BenchmarkError

PROGRAMS = ("mixxx", "jackd", "Xvfb", "xdotool")
RATE = 44100
PERIOD = 1024  # frames: reliable on a busy machine, and shorter than any musical error
WAIT_SECONDS = 180.0  # for a start or a scan
SETTLE_SECONDS = 15.0  # after a change of the database, until Mixxx is idle
ANALYSE_SECONDS = 40.0  # for the last two tracks, on a busy machine
FADE_SECONDS = 13.0  # Auto DJ's fade takes 10 s
END_SECONDS = 30.0
TITLE_SECONDS = 12.0
HOLD_SECONDS = 1.5  # sync stays on if the key is held; a short press syncs once
TAIL_SECONDS = 20.0
SOUND = """<!DOCTYPE SoundManagerConfig>
<SoundManagerConfig api="JACK Audio Connection Kit" samplerate="{rate}" latency="5"
 sync_buffers="2" force_network_clock="0" deck_count="2">
 <SoundDevice name="system" portAudioIndex="0">
  <output type="Master" channel="0" channel_count="2" index="0"/>
 </SoundDevice>
</SoundManagerConfig>
"""
SETTINGS = """[Config]
Version 2.3.3
did_run_with_unstable 1
[Waveform]
WaveformType 0
[Library]
RescanOnStartup 1
Directory {tracks}
[Recording]
Directory {recordings}
Encoding WAV
FileSize 4 GB
[Keyboard]
Enabled 1
"""
KEYS = """[Channel1]
stop F2
sync_enabled F5
quantize F6
[Channel2]
stop F3
sync_enabled F7
quantize F8
[AutoDJ]
enabled F9
fade_now F4
[Recording]
toggle_recording F10
"""


class Screen:
    """The processes that Mixxx needs, its settings, and Mixxx. All end with the context."""

    def __init__(self, folder: Path, display: int, nice: int) -> None:
        self.home = folder / "home"
        self.settings = self.home / ".mixxx"
        self.database = self.settings / "mixxxdb.sqlite"
        self._folder, self._nice = folder, nice
        runtime = folder / "run"
        for needed in (self.settings, runtime):
            needed.mkdir(parents=True, exist_ok=True)
        runtime.chmod(0o700)
        self._environment = {
            **os.environ, "HOME": str(self.home), "XDG_RUNTIME_DIR": str(runtime),
            "DISPLAY": f":{display}", "JACK_DEFAULT_SERVER": f"autodj{display}",
            "JACK_NO_AUDIO_RESERVATION": "1", "LIBGL_ALWAYS_SOFTWARE": "1",
        }  # fmt: skip
        self._stack = ExitStack()
        self._display = display
        self._mixxx: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Screen:
        with self._stack:
            self._start("xvfb", ["Xvfb", f":{self._display}", "-screen", "0", "1280x800x24",
                                 "-nolisten", "tcp", "-fbdir", str(self._folder)])  # fmt: skip
            # Synchronous: a busy machine delays the recording instead of cutting holes into it.
            self._start("jackd", ["jackd", "-S", "-r", "-n", f"autodj{self._display}", "-d",
                                  "dummy", "-r", str(RATE), "-p", str(PERIOD)])  # fmt: skip
            time.sleep(3.0)
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *_args: object) -> None:
        self._stack.close()

    def _start(self, name: str, command: list[str]) -> subprocess.Popen[bytes]:
        log = self._stack.enter_context((self._folder / f"{name}.log").open("wb"))
        process = subprocess.Popen(
            ["nice", "-n", str(self._nice), *command], stdout=log, stderr=log,
            stdin=subprocess.DEVNULL, env=self._environment,
        )  # fmt: skip
        self._stack.callback(_stop, process)
        return process

    def start_mixxx(self) -> None:
        """Start Mixxx, and wait until its window and its database are there."""
        self._mixxx = self._start("mixxx", ["mixxx", "--settingsPath", f"{self.settings}/"])
        # A dialog that asks for the music folder has another name than the main window.
        wait("Mixxx's window", lambda: bool(self._windows()) or self._asks())
        wait("Mixxx's database", self.database.exists)
        time.sleep(SETTLE_SECONDS)

    def stop_mixxx(self) -> None:
        """End Mixxx, as a user does once its main window is there: it then writes its results."""
        assert self._mixxx is not None
        mixxx = self._mixxx
        if self._windows():
            for key in ("F2", "F3", "ctrl+q"):  # it asks before it ends while a deck plays
                self.press(key)
            with suppress(BenchmarkError):
                wait("the end of Mixxx", lambda: mixxx.poll() is not None, END_SECONDS)
        _stop(mixxx)

    def press(self, key: str, seconds: float = 0.1) -> None:
        """Press a key in Mixxx's main window for this long."""
        for window in self._windows()[:1]:
            self._xdotool("windowfocus", "--sync", window)
            self._xdotool("keydown", key)
            time.sleep(seconds)
            self._xdotool("keyup", key)
        time.sleep(1.0)

    def _windows(self) -> list[str]:
        return self._xdotool("search", "--onlyvisible", "--name", "Mixxx").split()

    def _asks(self) -> bool:
        return bool(self._xdotool("search", "--onlyvisible", "--name", "^Choose music"))

    def start_auto_dj(self, first: Path) -> None:
        """Enable Auto DJ, and wait until the title of the window names the first track."""
        for _attempt in range(4):  # a key is lost while the window is still being built
            self.press("F9")
            with suppress(BenchmarkError):
                wait("the first track", lambda: bool(self._xdotool("search", "--name", first.stem)),
                     TITLE_SECONDS)  # fmt: skip
                return
        raise BenchmarkError("Mixxx's Auto DJ does not start")

    def query(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        """Run a statement on Mixxx's database; return its rows."""
        with closing(sqlite3.connect(self.database, timeout=30.0)) as database:
            rows = database.execute(statement, values).fetchall()
            database.commit()
        return rows

    def _xdotool(self, *words: str) -> str:
        try:
            done = subprocess.run(
                ["xdotool", *words], env=self._environment, capture_output=True, text=True,
                timeout=20.0, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return ""
        return done.stdout.strip()


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(10.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait(what: str, ready: Callable[[], bool], seconds: float = WAIT_SECONDS) -> None:
    """Wait until `ready()`. Raises `BenchmarkError` after `seconds`."""
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            raise BenchmarkError(f"{what} did not appear within {seconds:g} s")
        time.sleep(0.5)


def mix(tracks: Sequence[Path], folder: Path, out: Path, display: int, nice: int = 0) -> None:
    """Mix tracks of one folder in this order; `folder` keeps the logs. Raises `BenchmarkError`.

    The recording ends when the sum of the tracks' lengths has passed, or Mixxx stops earlier.
    """
    if missing := [name for name in PROGRAMS if shutil.which(name) is None]:
        raise BenchmarkError(f"not installed: {', '.join(missing)}")
    shutil.rmtree(folder, ignore_errors=True)
    recordings = folder / "recordings"
    recordings.mkdir(parents=True)
    with Screen(folder, display, nice) as screen:
        (screen.settings / "soundconfig.xml").write_text(SOUND.format(rate=RATE))
        place = tracks[0].parent.resolve()
        (screen.settings / "mixxx.cfg").write_text(
            SETTINGS.format(tracks=place, recordings=recordings)
        )
        (screen.settings / "Custom.kbd.cfg").write_text(KEYS)
        screen.start_mixxx()
        screen.stop_mixxx()
        screen.query("INSERT OR IGNORE INTO directories VALUES (?)", str(place))
        screen.start_mixxx()
        wait("the scanned tracks", lambda: _count(screen) >= len(tracks))
        time.sleep(SETTLE_SECONDS)
        screen.stop_mixxx()
        _analyse(screen, tracks)
        _write_playlist(screen, tracks)
        screen.start_mixxx()
        screen.start_auto_dj(tracks[0])
        for key in ("F10", "F6", "F8"):
            screen.press(key)
        for key in ("F5", "F7"):  # now that both decks are loaded: an empty one cannot be synced
            screen.press(key, HOLD_SECONDS)
        wait("the recording", lambda: any(recordings.glob("*.wav")), 30.0)
        _record(recordings, sum(soundfile.info(track).duration for track in tracks))
        screen.press("F10")
        time.sleep(2.0)
        screen.stop_mixxx()
    shutil.copyfile(max(recordings.glob("*.wav")), out)


def _analyse(screen: Screen, tracks: Sequence[Path]) -> None:
    # A track is analysed as Auto DJ loads it. Only the tempo and the loudness that are known
    # before that are used: sync switches itself off for a track without a tempo.
    for _attempt in range(3):
        _write_playlist(screen, tracks)
        screen.start_mixxx()
        screen.start_auto_dj(tracks[0])
        for _track in tracks[1:]:
            screen.press("F4")
            time.sleep(FADE_SECONDS)
        time.sleep(ANALYSE_SECONDS)
        screen.press("F9")
        screen.stop_mixxx()
        [[done]] = screen.query("SELECT COUNT(*) FROM library WHERE bpm > 0 AND replaygain <> 0")
        if done == len(tracks):
            return
    raise BenchmarkError(f"Mixxx has analysed {done} of {len(tracks)} tracks")


def _count(screen: Screen) -> int:
    [[count]] = screen.query("SELECT COUNT(*) FROM track_locations WHERE fs_deleted = 0")
    assert isinstance(count, int)
    return count


def _write_playlist(screen: Screen, tracks: Sequence[Path]) -> None:
    [[playlist]] = screen.query("SELECT id FROM Playlists WHERE hidden = 1")
    screen.query("DELETE FROM PlaylistTracks WHERE playlist_id = ?", playlist)
    for position, track in enumerate(tracks, 1):
        [[number]] = screen.query(
            "SELECT library.id FROM library JOIN track_locations ON library.location = "
            "track_locations.id WHERE track_locations.filename = ?", track.name,
        )  # fmt: skip
        screen.query(
            "INSERT INTO PlaylistTracks (playlist_id, track_id, position, pl_datetime_added) "
            "VALUES (?, ?, ?, datetime())", playlist, number, position,
        )  # fmt: skip


def _record(recordings: Path, seconds: float) -> None:
    # Until the tracks must have ended, or the file is silent for TAIL_SECONDS.
    end = time.monotonic() + seconds + TAIL_SECONDS
    frame_bytes = 4
    while time.monotonic() < end:
        time.sleep(5.0)
        path = max(recordings.glob("*.wav"))
        size = int(TAIL_SECONDS * RATE) * frame_bytes
        with path.open("rb") as file:
            if path.stat().st_size < 4 * size:
                continue
            file.seek(-size // 4 * 4, os.SEEK_END)
            if not any(file.read()):
                return
