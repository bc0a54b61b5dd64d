"""The table of settings: every setting is declared here, once.

An entry of the table defines its flag, its environment variable, its key in a TOML file, its
check, its help text and its line of `--show-config`.
"""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from crowdstream.settings.machine import default_memory_mb
from crowdstream.settings.types import (
    Bool,
    Choice,
    File,
    Float,
    Floats,
    Folders,
    Int,
    Names,
    Networks,
    Text,
    ValueType,
)

ENVIRONMENT_PREFIX = "CROWDSTREAM_"

# Additional environment variables of a setting; the setting's own variable takes precedence.
ENVIRONMENT_ALIASES = {"buffer_size": ("AUDIO_BUFFER_SIZE",)}

# Settings that choose a file or preset can't be set in that file or preset.
NOT_IN_FILES = frozenset({"config"})
NOT_IN_PRESETS = frozenset({"config", "preset"})


@dataclass(frozen=True)
class Option:
    """One entry of the table. `unset` describes the effect of the value None."""

    name: str
    kind: ValueType
    default: object
    help: str
    metavar: str | tuple[str, ...] | None
    unset: str

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def variables(self) -> tuple[str, ...]:
        """Environment variables of this setting, highest precedence first."""
        return (ENVIRONMENT_PREFIX + self.name.upper(), *ENVIRONMENT_ALIASES.get(self.name, ()))


def _about(
    kind: ValueType,
    metavar: str | tuple[str, ...] | None,
    help: str,
    unset: str = "none",
) -> dict[str, Any]:
    """The rest of a field's entry in the table."""
    return {"kind": kind, "metavar": metavar, "help": help, "unset": unset}


# 31 years, which a count of frames can represent.
MAX_SECONDS = 1e9

_TEMPO = Float(20, 400, "beats per minute")
_TRACK = File()
_NO_TRACK = "an empty deck"


@dataclass(frozen=True)
class Settings:
    """Every setting, checked.

    The defaults are those of the table alone. Settings are normally created by `resolve` and
    `validate`, which also use presets.
    """

    port: int = field(
        default=57120,
        metadata=_about(
            Int(0, 65535), "PORT", "UDP port that listens for OSC; 0 takes any free one"
        ),
    )
    osc_host: str = field(
        default="127.0.0.1",
        metadata=_about(
            Text("an address or a host name", spaces=False),
            "ADDRESS",
            "address to listen on; 0.0.0.0 lets other machines send",
        ),
    )
    osc_allow: tuple[str, ...] = field(
        default=(),
        metadata=_about(
            Networks(),
            "CIDR",
            "with --osc-host: addresses and networks that may send, such as 192.168.1.0/24;"
            " others are dropped, except for this machine itself",
            unset="any, with the limits of untrusted senders",
        ),
    )
    http_port: int = field(
        default=8080,
        metadata=_about(
            Int(0, 65535), "PORT", "TCP port of the web page; 0 takes any free one"
        ),
    )
    http_host: str = field(
        default="127.0.0.1",
        metadata=_about(
            Text("an address or a host name", spaces=False),
            "ADDRESS",
            "address to serve the web page on; 0.0.0.0 lets other machines see it",
        ),
    )
    http: bool = field(
        default=True, metadata=_about(Bool(), None, "serve the web page and the HTTP interface")
    )
    http_token: str | None = field(
        default=None,
        metadata=_about(
            Text("at least 8 letters, digits, - and _", like="[A-Za-z0-9_-]{8,200}"),
            "TOKEN",
            "token that a page must send before it may change anything",
            unset="generated if other machines see the page",
        ),
    )
    http_private: bool = field(
        default=False,
        metadata=_about(
            Bool(), None, "require the token for viewing as well as for control"
        ),
    )
    http_names: tuple[str, ...] = field(
        default=(),
        metadata=_about(
            Names(),
            "NAME",
            "additional host names of the page, such as dj.example.org",
            unset="its addresses, its host name, localhost",
        ),
    )
    http_cert: Path | None = field(
        default=None,
        metadata=_about(
            File("auto, or a file that can be read"),
            "FILE",
            "certificate (PEM) that encrypts the page, with its --http-key; auto creates one and"
            " prints its fingerprint",
            unset="not encrypted",
        ),
    )
    http_key: Path | None = field(
        default=None,
        metadata=_about(File("a file that can be read"), "FILE", "the certificate's private key"),
    )
    device: str | None = field(
        default=None,
        metadata=_about(
            Text("a device's number or a part of its name", numbers_too=True),
            "DEVICE",
            "sound card: a number from --list-devices, or a part of its name",
            unset="the system's default",
        ),
    )
    driver: str = field(
        default="auto",
        metadata=_about(
            Choice(("auto", "pyaudio", "null")),
            "DRIVER",
            "pyaudio plays on a sound card, null on a built-in clock, auto on what is available",
        ),
    )
    buffer_size: int = field(
        default=512,
        metadata=_about(Int(16, 8192, "frames"), "FRAMES", "frames rendered at a time"),
    )
    sample_rate: int = field(
        default=44100,
        metadata=_about(
            Int(8000, 192000, "frames per second"), "HZ", "sample rate of the output"
        ),
    )
    preset: str | None = field(
        default=None,
        metadata=_about(
            Text("the name of a preset"),
            "NAME",
            "values for a kind of machine, from configs/; by default the machine's model decides",
        ),
    )
    config: Path | None = field(
        default=None,
        metadata=_about(
            File("a file that can be read"),
            "FILE",
            "settings as a TOML file; by default the user's own, in ~/.config/crowdstream/",
        ),
    )
    memory: int | None = field(
        default=None,
        metadata=_about(
            Int(16, 1 << 20, "megabytes"),
            "MB",
            "memory for decoded audio",
            unset="half of this machine's memory",
        ),
    )
    read_ahead: float = field(
        default=10.0,
        metadata=_about(
            Float(1, 600, "seconds"),
            "SECONDS",
            "audio of a streamed track kept ahead of its playhead: the longest tolerable stall of"
            " the medium",
        ),
    )
    max_preload: float | None = field(
        default=None,
        metadata=_about(
            Float(0, MAX_SECONDS, "seconds"),
            "SECONDS",
            "length from which a track is streamed even if it fits the memory",
            unset="only tracks that do not fit are streamed",
        ),
    )
    media_root: tuple[Path, ...] = field(
        default=(),
        metadata=_about(
            Folders(),
            "DIR",
            "play files in this folder only (may be given several times)",
            unset="any folder",
        ),
    )
    record_folder: Path | None = field(
        default=None,
        metadata=_about(
            File("the path of a folder"),
            "DIR",
            "folder for recordings; other folders are then allowed only inside --media-root",
            unset="any folder, or those of --media-root",
        ),
    )
    record_reserve: int = field(
        default=512,
        metadata=_about(
            Int(0, 1 << 24, "megabytes"),
            "MB",
            "disk space that recordings leave free; they stop when there is no more",
        ),
    )
    a: Path | None = field(
        default=None, metadata=_about(_TRACK, "TRACK", "a track to load on deck A", _NO_TRACK)
    )
    b: Path | None = field(
        default=None, metadata=_about(_TRACK, "TRACK", "a track to load on deck B", _NO_TRACK)
    )
    c: Path | None = field(
        default=None, metadata=_about(_TRACK, "TRACK", "a track to load on deck C", _NO_TRACK)
    )
    d: Path | None = field(
        default=None, metadata=_about(_TRACK, "TRACK", "a track to load on deck D", _NO_TRACK)
    )
    levels: tuple[float, float, float, float] = field(
        default=(1.0, 1.0, 1.0, 1.0),
        metadata=_about(
            Floats(Float(0, 4), 4), ("A", "B", "C", "D"), "linear gains of the four decks"
        ),
    )
    ceiling: float = field(
        default=-0.3,
        metadata=_about(
            Float(-24, 0, "decibels"), "DBTP", "maximum true peak of the limiter's output"
        ),
    )
    limiter_lookahead: float = field(
        default=1.5,
        metadata=_about(
            Float(0, 10, "milliseconds"),
            "MS",
            "look-ahead of the limiter, which delays the output; 0: none",
        ),
    )
    standby: str = field(
        default="auto",
        metadata=_about(
            Choice(("auto", "warm", "off")),
            "WAY",
            "a second engine that takes over if the first one fails: auto with a silent "
            "stream of its own if the device accepts two, warm without; off saves its memory",
        ),
    )
    device_lost: str = field(
        default="play",
        metadata=_about(
            Choice(("play", "wait")),
            "WAY",
            "while the sound card is gone: play on in time without sound, or wait for it",
        ),
    )
    device_fallback: bool = field(
        default=False,
        metadata=_about(
            Bool(), None, "when the sound card is gone, use the system's default instead"
        ),
    )
    quality: str = field(
        default="auto",
        metadata=_about(
            Choice(("auto", "full")),
            "QUALITY",
            "auto bypasses optional effects, then keylock, then half of the interpolation when "
            "the machine is overloaded; full bypasses nothing",
        ),
    )
    cue_channels: str = field(
        default="auto",
        metadata=_about(
            Choice(("auto", "2", "0")),
            "CHANNELS",
            "2 plays the cue bus on outputs 3 and 4, 0 nowhere, auto if the card has them",
        ),
    )
    target_lufs: float = field(
        default=-14.0,
        metadata=_about(
            Float(-40, 0, "LUFS"), "LUFS", "target loudness of automatic trim"
        ),
    )
    bpm: float = field(default=120.0, metadata=_about(_TEMPO, "BPM", "tempo of the clock"))
    base_bpm: float = field(
        default=120.0, metadata=_about(_TEMPO, "BPM", "tempo at which tracks play at rate 1")
    )
    meter: int = field(default=4, metadata=_about(Int(1, 32, "beats"), "BEATS", "beats in a bar"))
    movement_map: Path | None = field(
        default=None,
        metadata=_about(
            File("a file that can be read"),
            "FILE",
            "TOML file that maps the crowd's movement to a tempo",
            unset="movement does not change the tempo",
        ),
    )
    watch: bool = field(
        default=False, metadata=_about(Bool(), None, "print bar, beat and phase on every beat")
    )
    seconds: float | None = field(
        default=None,
        metadata=_about(
            Float(0, MAX_SECONDS, "seconds", open_low=True),
            "N",
            "stop after this time",
            unset="until stopped",
        ),
    )
    stats_interval: float = field(
        default=10.0,
        metadata=_about(
            Float(0, 86400, "seconds"), "SECONDS", "interval between two [STATS] lines; 0: off"
        ),
    )
    log_level: str = field(
        default="info",
        metadata=_about(
            Choice(("debug", "info", "warning", "error")),
            "LEVEL",
            "the lowest level of messages that are printed",
        ),
    )
    log_format: str = field(
        default="text",
        metadata=_about(
            Choice(("text", "json")), "FORMAT", "write log lines as text, or each as a JSON object"
        ),
    )
    log_file: Path | None = field(
        default=None,
        metadata=_about(
            File("the path of a file"),
            "FILE",
            "also write the log to this file; it and the older ones never exceed 10 MB",
        ),
    )

    @property
    def memory_mb(self) -> int:
        """Memory for decoded audio in MB: `memory`, or by default a share of this machine's."""
        return default_memory_mb() if self.memory is None else self.memory


GROUPS: dict[str, tuple[str, ...]] = {
    "OSC": ("port", "osc_host", "osc_allow"),
    "Page and HTTP": (
        "http", "http_port", "http_host", "http_token", "http_private", "http_names", "http_cert",
        "http_key",
    ),
    "Sound": (
        "device", "driver", "preset", "buffer_size", "sample_rate", "cue_channels", "ceiling",
        "limiter_lookahead", "quality",
    ),
    "Failover": ("standby", "device_lost", "device_fallback"),
    "Files and memory": (
        "media_root", "memory", "read_ahead", "max_preload", "record_folder", "record_reserve",
    ),
    "Decks and tempo": (
        "a", "b", "c", "d", "levels", "target_lufs", "bpm", "base_bpm", "meter", "movement_map",
        "watch",
    ),
    "Running and logs": (
        "config", "seconds", "stats_interval", "log_level", "log_format", "log_file",
    ),
}  # fmt: skip
"""Settings by subject, for `--help` and the reference; each is in exactly one group."""

OPTIONS: dict[str, Option] = {
    f.name: Option(
        name=f.name,
        kind=f.metadata["kind"],
        default=f.default,
        help=f.metadata["help"],
        metavar=f.metadata["metavar"],
        unset=f.metadata["unset"],
    )
    for f in fields(Settings)
}
