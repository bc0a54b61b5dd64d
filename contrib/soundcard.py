"""Virtual sound cards for tests and benchmarks on machines without one.

Each is a private sound server that runs during its ``with`` block:

- `JackDummy`: a JACK server with the dummy driver. It has a real-time clock, so a late callback
  is flagged as an underflow, as on a real card. Another client of the server records it.
- `PulseNull`: a PulseAudio server with a null sink, reached through ALSA. The output is recorded
  from the sink's monitor, so a test receives what a listener would hear.
- `PulseTone`: a PulseAudio server with a source that delivers a sine: an input device beside
  another card, on a clock of its own.
- `PipeWireGraph`: a PipeWire server without devices, for the ports of JACK clients.

A program uses a card through the environment variables in ``card.env``. They must be set before
PortAudio is initialised, so pass them to a child process instead of setting ``os.environ``. Several
cards can exist at the same time, including several of one type.
"""

import contextlib
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from contrib.jack_recorder import OUTPUTS, JackRecorder

Samples = npt.NDArray[np.float32]

START_SECONDS = 60.0
"""Startup timeout of a server; under load and emulation a server may be slow."""

STOP_SECONDS = 30.0
"""Time that a server has to end after SIGTERM before it is killed."""

_PLACES = ("front-left", "front-right", "rear-left", "rear-right")
_serial = itertools.count()

# Debian 12 and 13 have JACK's own tools in different packages, but not its library.
_JACK_PROBE = """
import ctypes, sys
jack = ctypes.CDLL("libjack.so.0")
jack.jack_client_open.restype = jack.jack_port_by_name.restype = ctypes.c_void_p
no_start_server = 1
client = ctypes.c_void_p(jack.jack_client_open(b"probe", no_start_server, None))
found = client and jack.jack_port_by_name(client, b"system:playback_1")
if client:
    jack.jack_client_close(client)
sys.exit(not found)
"""


class SoundCardError(RuntimeError):
    """A virtual sound card is not available; the message gives the reason and the remedy."""


def _program(name: str, package: str) -> str:
    """Return the path of a program. Raises `SoundCardError` that names its Debian package."""
    path = shutil.which(name)
    if path is None:
        raise SoundCardError(
            f"{name} is not installed; install it with: sudo apt-get install -y {package}"
        )
    return path


class _Server:
    """A sound server as a child process."""

    def __init__(self, command: list[str], env: dict[str, str], log: Path) -> None:
        self._name = Path(command[0]).name
        self._log = log
        # The kernel ends the server if this process dies without cleaning up (a killed test run);
        # otherwise the server would occupy a core's timer and shared memory indefinitely.
        guard = [_program("setpriv", "util-linux"), "--pdeathsig", "TERM"]
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                [*guard, *command],
                env={**os.environ, **env},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches only the test run, which ends the server
            )

    def wait_until(self, ready: Callable[[], bool]) -> None:
        """Wait until ``ready()`` is true. Raises `SoundCardError` with the server's output."""
        deadline = time.monotonic() + START_SECONDS
        while not ready():
            if self.process.poll() is not None:
                raise SoundCardError(
                    f"{self._name} ended at once with status {self.process.returncode}:\n"
                    f"{self._log.read_text(errors='replace')}"
                )
            if time.monotonic() > deadline:
                raise SoundCardError(
                    f"{self._name} accepted no client within {START_SECONDS:.0f} s:\n"
                    f"{self._log.read_text(errors='replace')}"
                )
            time.sleep(0.02)

    def stop(self) -> bool:
        """End the process; returns False if it had to be killed."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return False
        return True


class _Card:
    """Common part of both cards: a temporary folder, an environment, start and stop."""

    def __init__(self, rate: int, channels: int) -> None:
        self.rate = rate
        self.channels = channels
        self.env: dict[str, str] = {}
        """Variables that make a child process use this card; empty outside of ``with``."""
        self._resources = contextlib.ExitStack()

    def _start(self, folder: Path) -> None:
        raise NotImplementedError

    def _serve(self, launch: Callable[[], "_Server"], ready: Callable[[], bool]) -> None:
        # Start the sound server, and save the functions for `plug_in`.
        self._launch, self._ready = launch, ready
        self.plug_in()

    def plug_in(self) -> None:
        """Make the card available again."""
        server = self._launch()
        self._end = self._resources.enter_context(contextlib.ExitStack())
        self._end.callback(self._stop, server)
        server.wait_until(self._ready)

    def pull_out(self) -> None:
        """Make the card disappear, as when it is unplugged or its sound server ends."""
        self._end.close()

    def _stop(self, server: "_Server") -> None:
        server.stop()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as resources:
            folder = tempfile.TemporaryDirectory(prefix="crowdstream-card-")
            self._resources = resources
            self._start(Path(resources.enter_context(folder)))
            self._resources = resources.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.env = {}
        self._resources.close()


def no_card(folder: Path) -> dict[str, str]:
    """Return variables that hide all sound cards, including the user's, from a child process.

    ``folder`` is where the ALSA configuration that they refer to is written.
    """
    alsa = folder / "no-card.conf"
    # One device that can't be opened. (PortAudio crashes with a configuration without devices.)
    alsa.write_text("pcm.none { type hw card 31 }\n")
    return {
        "ALSA_CONFIG_PATH": str(alsa),
        "JACK_DEFAULT_SERVER": "crowdstream-none",
        "JACK_NO_START_SERVER": "1",
        "PULSE_SERVER": f"unix:{folder}/no-server",
    }


class JackDummy(_Card):
    """A JACK server with the dummy driver, under a unique name.

    ``rate`` is in frames per second. ``frames`` is JACK's period: PortAudio's callback receives
    multiples of it. JACK and its clients have real-time priority only if ``realtime``, which not
    every machine grants. If ``synchronous``, JACK waits for a client that is late, which otherwise
    loses what it has sent in that period.
    """

    def __init__(
        self, rate: int = 44100, frames: int = 128, channels: int = 2, realtime: bool = False,
        synchronous: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(rate, channels)
        self.frames = frames
        self.realtime = realtime
        self.synchronous = synchronous
        self.log = Path()
        """The server's output, until the card is closed."""
        self.name = f"crowdstream-{os.getpid()}-{next(_serial)}"

    def _start(self, folder: Path) -> None:
        # Without any other card, PortAudio uses JACK as its default.
        self._folder = folder
        self.env = {**no_card(folder), "JACK_DEFAULT_SERVER": self.name}
        jackd = _program("jackd", "jackd2")
        command = [jackd, "--name", self.name, "-R" if self.realtime else "-r"]
        command += ["-S"] if self.synchronous else []
        command += ["-d", "dummy", "-r", str(self.rate), "-p", str(self.frames)]
        command += ["-P", str(self.channels)]

        def launch() -> _Server:
            self.log = folder / "jackd.log"
            return _Server(command, self.env, self.log)

        client_env = {**os.environ, **self.env}

        def ready() -> bool:
            if not self._shared_files():
                return False  # querying a missing server would cost a process each time
            probe = [sys.executable, "-c", _JACK_PROBE]
            result = subprocess.run(probe, env=client_env, capture_output=True, check=False)
            return result.returncode == 0

        self._serve(launch, ready)

    def recorder(self) -> JackRecorder:
        """Start a recording of what is played; needs the package JACK-Client, see there."""
        recorder = JackRecorder(self.env, self._folder, OUTPUTS[: self.channels])
        self._resources.callback(recorder.__exit__, None, None, None)
        return recorder

    def _shared_files(self) -> list[Path]:
        # The shared-memory files of a server with this name.
        shared = Path("/dev/shm")  # nosec B108  # where JACK has it, and only names are read
        return list(shared.glob(f"jack*_{self.name}_*"))

    def _stop(self, server: _Server) -> None:
        if server.stop() and server.process.returncode == 0:
            return
        # A killed or crashed server leaves its socket and semaphores, and occupies one of JACK's
        # eight server slots until a server of the same name has ended normally.
        for left in self._shared_files():
            left.unlink(missing_ok=True)
        again = self._launch()
        again.wait_until(lambda: bool(self._shared_files()))
        again.stop()


class PipeWireGraph(_Card):
    """A private PipeWire server without devices, for JACK clients: its dummy node drives them.

    ``rate`` is in frames per second, ``frames`` the period. It is no card for PortAudio.
    """

    def __init__(self, rate: int = 48000, frames: int = 1024) -> None:
        super().__init__(rate, 0)
        self.frames = frames

    def _start(self, folder: Path) -> None:
        pipewire = _program("pipewire", "pipewire")
        libraries = sorted(Path("/usr/lib").glob("*/pipewire-0.3/jack"))
        if not libraries:
            raise SoundCardError(
                "PipeWire's JACK library is not installed; install it with: "
                "sudo apt-get install -y pipewire-jack"
            )
        self.env = {
            **no_card(folder),
            "XDG_RUNTIME_DIR": str(folder),
            "PIPEWIRE_RUNTIME_DIR": str(folder),
            "PIPEWIRE_LATENCY": f"{self.frames}/{self.rate}",
            "LD_LIBRARY_PATH": str(libraries[0]),
        }
        self._serve(
            lambda: _Server([pipewire], self.env, folder / "pipewire.log"),
            (folder / "pipewire-0").is_socket,
        )


class Recorder:
    """A running recording of a `PulseNull`; `stop` ends it and returns the samples."""

    def __init__(self, server: _Server, file: Path, channels: int) -> None:
        self._server = server
        self.file = file
        """Interleaved float32 samples, until the card is closed."""
        self.channels = channels

    def end(self) -> None:
        """End the recording."""
        self._server.stop()

    def stop(self) -> Samples:
        """End the recording. Returns float32 of shape ``(frames, channels)``, full scale 1.0."""
        self.end()
        data = self.file.read_bytes()
        frame_bytes = 4 * self.channels
        whole = len(data) // frame_bytes * frame_bytes
        return np.frombuffer(data[:whole], dtype="<f4").reshape(-1, self.channels).copy()

    def stop_after(self, frames: int) -> Samples:
        """End the recording after ``frames`` more frames and return it."""
        end = self.frames() + frames
        self._server.wait_until(lambda: self.frames() >= end)
        return self.stop()

    def frames(self) -> int:
        """Return the number of frames recorded so far."""
        return self.file.stat().st_size // (4 * self.channels)


class PulseNull(_Card):
    """A private PulseAudio server whose only sink is a null sink, which is ALSA's default device.

    ``rate`` is in frames per second. The sink is float32, so nothing is rounded or resampled
    between a stream at that rate and the recording. The first 20 ms of a stream may be missing from
    the recording, because the sink's clock is already ahead by that amount: begin a stream with
    silence.
    """

    sink = "crowdstream"
    _more_modules: tuple[str, ...] = ()

    @property
    def _places(self) -> str:
        # The channel order of ALSA programs; PulseAudio's own order of four channels differs.
        return ",".join(_PLACES[: self.channels])

    def __init__(self, rate: int = 44100, channels: int = 2, realtime: bool = False) -> None:
        """``realtime``: the server has priority, as on a desktop, if the system grants it."""
        super().__init__(rate, channels)
        self._folder = Path()
        self._priority = "yes" if realtime else "no"

    def _start(self, folder: Path) -> None:
        self._folder = folder
        socket = folder / "native"
        address = f"unix:{socket}"
        alsa = folder / "alsa.conf"
        device = f'{{ type pulse server "{address}" }}\n'
        names = [f"{kind}.{name}" for kind in ("pcm", "ctl") for name in ("default", "pulse")]
        alsa.write_text("".join(f"{name} {device}" for name in names))
        client = folder / "client.conf"
        client.write_text("autospawn = no\n")
        self.env = {
            **no_card(folder),
            "PULSE_SERVER": address,
            "PULSE_CLIENTCONFIG": str(client),
            "PULSE_RUNTIME_PATH": str(folder),
            "PULSE_STATE_PATH": str(folder),
            "PULSE_COOKIE": str(folder / "cookie"),
            "ALSA_CONFIG_PATH": str(alsa),
        }
        pulseaudio = _program("pulseaudio", "pulseaudio")
        pactl = _program("pactl", "pulseaudio-utils")
        if not any(Path("/usr/lib").glob("*/alsa-lib/libasound_module_pcm_pulse.so")):
            raise SoundCardError(
                "ALSA's PulseAudio plugin is not installed; install it with: "
                "sudo apt-get install -y libasound2-plugins"
            )
        form = f"rate={self.rate} channels={self.channels} format=float32le"
        form += f" channel_map={self._places}"
        command = [
            pulseaudio, "-n", "--daemonize=no", "--use-pid-file=no", "--exit-idle-time=-1",
            f"--realtime={self._priority}", f"--high-priority={self._priority}",
            "--disable-shm=yes",
            "-L", f"module-null-sink sink_name={self.sink} {form}",
            "-L", f"module-native-protocol-unix auth-anonymous=1 socket={socket}",
            *self._more_modules,
        ]  # fmt: skip
        client_env = {**os.environ, **self.env}

        def launch() -> _Server:
            return _Server(command, {**self.env, "HOME": str(folder)}, folder / "pulseaudio.log")

        def ready() -> bool:
            if not socket.exists():
                return False
            info = subprocess.run(
                [pactl, "list", "short", "sinks"], env=client_env, capture_output=True, check=False
            )
            return info.returncode == 0 and self.sink.encode() in info.stdout

        self._serve(launch, ready)

    @contextlib.contextmanager
    def recorder(self) -> Iterator[Recorder]:
        """Record during the ``with`` block, including silence; it has started on entry."""
        parec = _program("parec", "pulseaudio-utils")
        file = self._folder / f"recording-{next(_serial)}.f32"
        form = [f"--rate={self.rate}", f"--channels={self.channels}", "--format=float32le"]
        form.append(f"--channel-map={self._places}")
        command = [parec, f"--device={self.sink}.monitor", *form, "--raw", "--latency-msec=20"]
        server = _Server([*command, str(file)], self.env, file.with_suffix(".log"))
        try:
            server.wait_until(lambda: file.exists() and file.stat().st_size > 0)
            yield Recorder(server, file, self.channels)
        finally:
            server.stop()

    def record(self, seconds: float) -> Samples:
        """Record for ``seconds`` and return float32 of shape ``(frames, channels)``."""
        with self.recorder() as recorder:
            while recorder.frames() < seconds * self.rate:
                time.sleep(0.01)
            return recorder.stop()[: round(seconds * self.rate)]


class PulseTone(PulseNull):
    """A private PulseAudio server whose source delivers a sine of full scale, as an input device.

    A program reaches it beside its card, as the ALSA device `NAME`: see `beside`. `pull_out` ends
    the server, so the device disappears, and `plug_in` lets it return.
    """

    NAME = "microphone"
    _SINK = "tone"

    def __init__(self, rate: int = 48000, hertz: int = 440, realtime: bool = False) -> None:
        """``realtime``: see `PulseNull`."""
        super().__init__(rate, realtime=realtime)
        # Not module-sine-source: it delivers two seconds at once, whatever a program asks for.
        self._more_modules = (
            "-L", f"module-null-sink sink_name={self._SINK} rate={rate}",
            "-L", f"module-sine sink={self._SINK} frequency={hertz} rate={rate}",
        )  # fmt: skip

    def beside(self, env: Mapping[str, str]) -> dict[str, str]:
        """Return the variables of another card (empty: none), with this device beside it."""
        shared = dict(env) or no_card(self._folder)
        alsa = self._folder / "beside.conf"
        server = self.env["PULSE_SERVER"]
        alsa.write_text(
            Path(shared["ALSA_CONFIG_PATH"]).read_text(encoding="utf-8")
            + f'pcm.{self.NAME} {{ type pulse server "{server}" device "{self._SINK}.monitor" }}\n'
        )
        return {**shared, "ALSA_CONFIG_PATH": str(alsa)}
