"""The table of settings: every setting is declared here, once.

From a line of the table come its flag, its environment variable, its key in a TOML file, its
check, its text in `--help` and its line of `--show-config`.
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

# Other names by which the environment may give a setting; its own name beats them.
ENVIRONMENT_ALIASES = {"buffer_size": ("AUDIO_BUFFER_SIZE",)}

# Settings that choose what is read next cannot stand in what is read.
NOT_IN_FILES = frozenset({"config"})
NOT_IN_PRESETS = frozenset({"config", "preset"})


@dataclass(frozen=True)
class Option:
    """One line of the table. `unset` says what it means when the value is None."""

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
        """Environment variables that give this setting, the strongest first."""
        return (ENVIRONMENT_PREFIX + self.name.upper(), *ENVIRONMENT_ALIASES.get(self.name, ()))


def _about(
    kind: ValueType,
    metavar: str | tuple[str, ...] | None,
    help: str,
    unset: str = "none",
) -> dict[str, Any]:
    """The rest of a field's line of the table."""
    return {"kind": kind, "metavar": metavar, "help": help, "unset": unset}


# 31 years; a count of frames holds it with room to spare.
MAX_SECONDS = 1e9

_TEMPO = Float(20, 400, "beats per minute")
_TRACK = File()
_NO_TRACK = "an empty deck"


@dataclass(frozen=True)
class Settings:
    """Every setting, checked. The defaults are those of the table alone; `resolve` and
    `validate` also look at presets, and are how a Settings is normally made."""

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
            " others are dropped, but for this machine itself",
            unset="any, with the limits of strangers",
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
            "token that a page has to send before it may change anything",
            unset="made where other machines see the page",
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
            "other names by which pages may call this machine, such as dj.example.org",
            unset="its addresses, its host name, localhost",
        ),
    )
    http_cert: Path | None = field(
        default=None,
        metadata=_about(
            File("auto, or a file that can be read"),
            "FILE",
            "certificate (PEM) with which the page is served encrypted, and its --http-key; auto"
            " makes one and prints its fingerprint",
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
            "pyaudio plays on a sound card, null on a built-in clock, auto on what there is",
        ),
    )
    buffer_size: int = field(
        default=512,
        metadata=_about(Int(16, 8192, "frames"), "FRAMES", "frames that are rendered at a time"),
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
            "values for a kind of machine, from configs/; without it the machine's model decides",
        ),
    )
    config: Path | None = field(
        default=None,
        metadata=_about(
            File("a file that can be read"),
            "FILE",
            "settings as a TOML file; without it the user's own, in ~/.config/crowdstream/",
        ),
    )
    memory: int | None = field(
        default=None,
        metadata=_about(
            Int(16, 1 << 20, "megabytes"),
            "MB",
            "memory for decoded audio; without it half of what the machine has",
            unset="half of this machine's memory",
        ),
    )
    read_ahead: float = field(
        default=10.0,
        metadata=_about(
            Float(1, 600, "seconds"),
            "SECONDS",
            "sound of a streamed track kept ahead of its playhead: a medium may stall for so long",
        ),
    )
    max_preload: float | None = field(
        default=None,
        metadata=_about(
            Float(0, MAX_SECONDS, "seconds"),
            "SECONDS",
            "length from which a track is streamed though it fits the memory",
            unset="only what does not fit is streamed",
        ),
    )
    media_root: tuple[Path, ...] = field(
        default=(),
        metadata=_about(
            Folders(),
            "DIR",
            "play files of this folder only (may be given several times)",
            unset="any folder",
        ),
    )
    record_folder: Path | None = field(
        default=None,
        metadata=_about(
            File("the path of a folder"),
            "DIR",
            "folder for recordings; others only inside --media-root then",
            unset="any folder, or those of --media-root",
        ),
    )
    record_reserve: int = field(
        default=512,
        metadata=_about(
            Int(0, 1 << 24, "megabytes"),
            "MB",
            "space on the disk that recordings leave free; they stop where there is no more",
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
            Float(-24, 0, "decibels"), "DBTP", "true peak that the limiter lets through"
        ),
    )
    limiter_lookahead: float = field(
        default=1.5,
        metadata=_about(
            Float(0, 10, "milliseconds"),
            "MS",
            "how far the limiter looks ahead, which delays the sound; 0: not at all",
        ),
    )
    standby: str = field(
        default="auto",
        metadata=_about(
            Choice(("auto", "warm", "off")),
            "WAY",
            "a second engine, ready to continue if the first one fails: auto with a silent "
            "stream of its own where the device accepts two, warm without; off saves its memory",
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
            Bool(), None, "when the sound card is gone, take the system's default instead"
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
            "2 plays the cue bus on outputs 3 and 4, 0 nowhere, auto where a card has these",
        ),
    )
    target_lufs: float = field(
        default=-14.0,
        metadata=_about(
            Float(-40, 0, "LUFS"), "LUFS", "loudness to which automatic trim brings the tracks"
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
            unset="movement leaves the tempo alone",
        ),
    )
    watch: bool = field(
        default=False, metadata=_about(Bool(), None, "print bar, beat and phase once a beat")
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
            Float(0, 86400, "seconds"), "SECONDS", "time from one [STATS] line to the next; 0: off"
        ),
    )
    log_level: str = field(
        default="info",
        metadata=_about(
            Choice(("debug", "info", "warning", "error")),
            "LEVEL",
            "the least important message that is printed",
        ),
    )
    log_format: str = field(
        default="text",
        metadata=_about(
            Choice(("text", "json")), "FORMAT", "lines of the log as text, or each a JSON object"
        ),
    )
    log_file: Path | None = field(
        default=None,
        metadata=_about(
            File("the path of a file"),
            "FILE",
            "a file that the log also goes to; it and the older ones never exceed 10 MB",
        ),
    )

    @property
    def memory_mb(self) -> int:
        """Memory for decoded audio in MB: `memory`, or this machine's share where it is None."""
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
"""Settings by subject, for `--help` and the reference: each is in exactly one group."""

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
