"""The table of settings: every setting is declared here, once.

An entry of the table defines its flag, its environment variable, its key in a TOML file, its
check, its help text and its line of `--show-config`. Earlier names of a setting are its aliases:
they are accepted wherever its name is.
"""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from crowdstream.desk.constants import INPUTS
from crowdstream.settings.machine import default_cache_mb
from crowdstream.settings.types import (
    Bool,
    BroadcastUrls,
    Choice,
    Choices,
    Devices,
    File,
    Float,
    Floats,
    Folders,
    Int,
    LightTargets,
    MidiMaps,
    Names,
    Networks,
    Text,
    Urls,
    ValueType,
)

JACK_GROUPS = ("master", "cue", "music", "decks", "stems", "inputs")
"""What can be offered as ports of a JACK server."""

ENVIRONMENT_PREFIX = "CROWDSTREAM_"

# Additional environment variables of a setting; the setting's own variable takes precedence.
ENVIRONMENT_ALIASES = {"buffer_size": ("AUDIO_BUFFER_SIZE",)}

# Settings that choose a file or preset can't be set in that file or preset.
NOT_IN_FILES = frozenset({"config"})
NOT_IN_PRESETS = frozenset({"config", "preset"})


@dataclass(frozen=True)
class Option:
    """One entry of the table.

    `unset` describes the effect of the value None. `aliases` are other names of the setting.
    `live`: a reload applies a new value while the server plays; others need a restart.
    """

    name: str
    kind: ValueType
    default: object
    help: str
    metavar: str | tuple[str, ...] | None
    unset: str
    aliases: tuple[str, ...] = ()
    live: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Names of this setting: keys in files, and keywords."""
        return (self.name, *self.aliases)

    @property
    def flag(self) -> str:
        return flag_of(self.name)

    @property
    def flags(self) -> tuple[str, ...]:
        """The flag, and those of the aliases."""
        return tuple(map(flag_of, self.names))

    @property
    def named_variables(self) -> tuple[str, ...]:
        """The setting's own environment variable, and those of the aliases."""
        return tuple(ENVIRONMENT_PREFIX + name.upper() for name in self.names)

    @property
    def variables(self) -> tuple[str, ...]:
        """All environment variables of this setting, the named ones first."""
        return (*self.named_variables, *ENVIRONMENT_ALIASES.get(self.name, ()))


def flag_of(name: str) -> str:
    """The flag of a setting's name or alias."""
    return "--" + name.replace("_", "-")


def _about(
    kind: ValueType,
    metavar: str | tuple[str, ...] | None,
    help: str,
    unset: str = "none",
    aliases: tuple[str, ...] = (),
    live: bool = False,
) -> dict[str, Any]:
    """The rest of a field's entry in the table."""
    return {
        "kind": kind, "metavar": metavar, "help": help, "unset": unset, "aliases": aliases,
        "live": live,
    }  # fmt: skip


# 31 years, which a count of frames can represent.
MAX_SECONDS = 1e9
MIN_LIGHTS_LEAD, MAX_LIGHTS_LEAD = -1000.0, 2000.0  # ms

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
            live=True,
        ),
    )
    http_port: int = field(
        default=8080,
        metadata=_about(
            Int(0, 65535), "PORT", "TCP port of the web page; 0 takes any free one", live=True
        ),
    )
    http_host: str = field(
        default="127.0.0.1",
        metadata=_about(
            Text("an address or a host name", spaces=False),
            "ADDRESS",
            "address to serve the web page on; 0.0.0.0 lets other machines see it",
            live=True,
        ),
    )
    http: bool = field(
        default=True,
        metadata=_about(Bool(), None, "serve the web page and the HTTP interface", live=True),
    )
    http_token: str | None = field(
        default=None,
        metadata=_about(
            Text("at least 8 letters, digits, - and _", like="[A-Za-z0-9_-]{8,200}"),
            "TOKEN",
            "token that a page must send before it may change anything",
            unset="generated if other machines see the page",
            live=True,
        ),
    )
    http_require_token: bool = field(
        default=False,
        metadata=_about(
            Bool(),
            None,
            "require the token for viewing as well as for control",
            aliases=("http_private",),
            live=True,
        ),
    )
    http_allowed_hosts: tuple[str, ...] = field(
        default=(),
        metadata=_about(
            Names(),
            "NAME",
            "additional host names of the page, such as dj.example.org",
            unset="its addresses, its host name, localhost",
            aliases=("http_names",),
            live=True,
        ),
    )
    http_cert: Path | None = field(
        default=None,
        metadata=_about(
            File("auto, or a file that can be read", word="auto"),
            "FILE",
            "certificate (PEM) that encrypts the page, with its --http-key; auto creates one and"
            " prints its fingerprint",
            unset="not encrypted",
            live=True,
        ),
    )
    http_key: Path | None = field(
        default=None,
        metadata=_about(
            File("a file that can be read"), "FILE", "the certificate's private key", live=True
        ),
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
    input: tuple[str, ...] = field(
        default=(),
        metadata=_about(
            Devices(INPUTS),
            "DEVICE",
            "sound card whose input is a live input, as for --device (may be given twice)",
            unset="no live inputs",
        ),
    )
    jack_ports: tuple[str, ...] = field(
        default=(),
        metadata=_about(
            Choices(JACK_GROUPS),
            "NAME",
            "offer these as separate ports of a JACK or PipeWire server",
            unset="no ports",
        ),
    )
    jack_transport: bool = field(
        default=False,
        metadata=_about(Bool(), None, "start and stop decks with the JACK transport"),
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
    cache_mb: int | None = field(
        default=None,
        metadata=_about(
            Int(16, 1 << 20, "megabytes"),
            "MB",
            "memory for decoded audio",
            unset="half of this machine's memory",
            aliases=("memory",),
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
            live=True,
        ),
    )
    record_reserve: int = field(
        default=512,
        metadata=_about(
            Int(0, 1 << 24, "megabytes"),
            "MB",
            "disk space that recordings leave free; they stop when there is no more",
            live=True,
        ),
    )
    broadcast: tuple[str, ...] = field(
        default=(),
        metadata=_about(
            BroadcastUrls(),
            "URL",
            "send the master to Icecast, an HLS folder or Snapcast, such as"
            " snapcast://localhost:4953 (may be given several times); see Broadcast in the"
            " documentation",
            unset="no broadcasts",
            live=True,
        ),
    )
    broadcast_ca: Path | None = field(
        default=None,
        metadata=_about(
            File("a file that can be read"),
            "FILE",
            "certificates (PEM) of your own authority, trusted by broadcasts over TLS besides the"
            " system's",
            unset="only the system's",
            live=True,
        ),
    )
    deck_a: Path | None = field(
        default=None,
        metadata=_about(
            _TRACK, "TRACK", "a track to load on deck A", _NO_TRACK, aliases=("a",)
        ),
    )
    deck_b: Path | None = field(
        default=None,
        metadata=_about(
            _TRACK, "TRACK", "a track to load on deck B", _NO_TRACK, aliases=("b",)
        ),
    )
    deck_c: Path | None = field(
        default=None,
        metadata=_about(
            _TRACK, "TRACK", "a track to load on deck C", _NO_TRACK, aliases=("c",)
        ),
    )
    deck_d: Path | None = field(
        default=None,
        metadata=_about(
            _TRACK, "TRACK", "a track to load on deck D", _NO_TRACK, aliases=("d",)
        ),
    )
    levels: tuple[float, float, float, float] = field(
        default=(1.0, 1.0, 1.0, 1.0),
        metadata=_about(
            Floats(Float(0, 4), 4),
            ("A", "B", "C", "D"),
            "linear gains of the four decks",
            live=True,
        ),
    )
    limiter_ceiling: float = field(
        default=-0.3,
        metadata=_about(
            Float(-24, 0, "decibels"),
            "DBTP",
            "maximum true peak of the limiter's output",
            aliases=("ceiling",),
            live=True,
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
            "MODE",
            "a second engine that takes over if the first one fails: auto with a silent "
            "stream of its own if the device accepts two, warm without; off saves its memory",
        ),
    )
    device_lost: str = field(
        default="play",
        metadata=_about(
            Choice(("play", "wait")),
            "MODE",
            "while the sound card is gone: play on in time without sound, or wait for it",
        ),
    )
    device_fallback: bool = field(
        default=False,
        metadata=_about(
            Bool(), None, "when the sound card is gone, use the system's default instead"
        ),
    )
    load_shedding: str = field(
        default="auto",
        metadata=_about(
            Choice(("auto", "full")),
            "MODE",
            "auto bypasses optional effects, then keylock, then half of the interpolation when "
            "the machine is overloaded; full bypasses nothing",
            aliases=("quality",),
            live=True,
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
            Float(-40, 0, "LUFS"), "LUFS", "target loudness of automatic trim", live=True
        ),
    )
    bpm: float = field(
        default=120.0, metadata=_about(_TEMPO, "BPM", "tempo of the clock", live=True)
    )
    base_bpm: float = field(
        default=120.0, metadata=_about(_TEMPO, "BPM", "tempo at which tracks play at rate 1")
    )
    meter: int = field(
        default=4, metadata=_about(Int(1, 32, "beats"), "BEATS", "beats in a bar", live=True)
    )
    link: str = field(
        default="off",
        metadata=_about(
            Choice(("off", "follower", "leader", "peer")),
            "MODE",
            "Ableton Link: follow the tempo and phase of a session in the network, lead it, or both"
            " (peer)",
        ),
    )
    rooms: str | None = field(
        default=None,
        metadata=_about(
            Text("leader, or the address of a leader", spaces=False),
            "ROLE",
            "play in step with other rooms: leader, or the address of the leader to follow",
            unset="alone",
        ),
    )
    rooms_port: int = field(
        default=57130,
        metadata=_about(Int(1, 65535), "PORT", "UDP port of the leader of the rooms"),
    )
    rooms_key_file: Path | None = field(
        default=None,
        metadata=_about(
            File("a file that can be read"),
            "FILE",
            "file with a secret that all rooms share, at least 16 characters",
        ),
    )
    rooms_folder: Path | None = field(
        default=None,
        metadata=_about(
            File("the path of a folder"),
            "DIR",
            "this room's folder with the music of the rooms",
            unset="the same paths in all rooms",
        ),
    )
    movement_map: Path | None = field(
        default=None,
        metadata=_about(
            File("a file that can be read"),
            "FILE",
            "TOML file that maps the crowd's movement to a tempo",
            unset="movement does not change the tempo",
            live=True,
        ),
    )
    schedule: Path | None = field(
        default=None,
        metadata=_about(
            File("a file that can be read"),
            "FILE",
            "TOML file with opening hours, announcements and loudness limits",
            unset="always open, without limits",
            live=True,
        ),
    )
    lights: tuple[str, ...] = field(
        default=(),
        metadata=_about(
            LightTargets(),
            "TARGET",
            "send beats, sections, energy and levels to lights: os2l, os2l://HOST:PORT,"
            " sacn://multicast/UNIVERSE or artnet://HOST/UNIVERSE",
            unset="to none",
            live=True,
        ),
    )
    lights_lead: float = field(
        default=0.0,
        metadata=_about(
            Float(MIN_LIGHTS_LEAD, MAX_LIGHTS_LEAD, "milliseconds"),
            "MS",
            "time by which lights are ahead of the sound; negative: behind it",
            live=True,
        ),
    )
    midi_clock: str | None = field(
        default=None,
        metadata=_about(
            Text("a part of a MIDI port's name"),
            "PORT",
            "send MIDI clock to this port",
            unset="to none",
            live=True,
        ),
    )
    midi_follow: str | None = field(
        default=None,
        metadata=_about(
            Text("a part of a MIDI port's name"),
            "PORT",
            "follow the MIDI clock from this port",
            unset="no clock",
            live=True,
        ),
    )
    midi_map: tuple[str, ...] = field(
        default=(),
        metadata=_about(
            MidiMaps(16),
            "MAPPING",
            "use a MIDI controller: the name of a ready mapping, or a mapping file (may be given"
            " several times)",
            unset="no controllers",
            live=True,
        ),
    )
    midi_api: str = field(
        default="auto",
        metadata=_about(
            Choice(("auto", "alsa", "jack")),
            "API",
            "MIDI system: auto takes ALSA if there is a sequencer, otherwise JACK",
            live=True,
        ),
    )
    print_beats: bool = field(
        default=False,
        metadata=_about(
            Bool(), None, "print bar, beat and phase on every beat", aliases=("watch",), live=True
        ),
    )
    duration: float | None = field(
        default=None,
        metadata=_about(
            Float(0, MAX_SECONDS, "seconds", open_low=True),
            "SECONDS",
            "stop after this time",
            unset="until stopped",
            aliases=("seconds",),
        ),
    )
    stats_interval: float = field(
        default=10.0,
        metadata=_about(
            Float(0, 86400, "seconds"),
            "SECONDS",
            "interval between two [STATS] lines; 0: off",
            live=True,
        ),
    )
    log_level: str = field(
        default="info",
        metadata=_about(
            Choice(("debug", "info", "warning", "error")),
            "LEVEL",
            "the lowest level of messages that are printed",
            live=True,
        ),
    )
    log_format: str = field(
        default="text",
        metadata=_about(
            Choice(("text", "json")),
            "FORMAT",
            "write log lines as text, or each as a JSON object",
            live=True,
        ),
    )
    log_file: Path | None = field(
        default=None,
        metadata=_about(
            File("the path of a file"),
            "FILE",
            "also write the log to this file; it and the older ones never exceed 10 MB",
            live=True,
        ),
    )

    alert_url: tuple[str, ...] = field(
        default=(),
        metadata=_about(
            Urls(),
            "URL",
            "post events such as the loss of the sound card to this URL, for example of ntfy"
            " (may be given several times)",
            unset="no alerts",
            live=True,
        ),
    )
    alert_format: str = field(
        default="json",
        metadata=_about(
            Choice(("json", "text")),
            "FORMAT",
            "post alerts as JSON objects, or as text with the headers that ntfy reads",
            live=True,
        ),
    )
    alert_level: str = field(
        default="warning",
        metadata=_about(
            Choice(("info", "warning", "error")),
            "LEVEL",
            "the lowest level of events to post",
            live=True,
        ),
    )

    @property
    def effective_cache_mb(self) -> int:
        """Memory for decoded audio in MB: `cache_mb`, or by default a share of this machine's."""
        return default_cache_mb() if self.cache_mb is None else self.cache_mb


GROUPS: dict[str, tuple[str, ...]] = {
    "OSC": ("port", "osc_host", "osc_allow"),
    "Page and HTTP": (
        "http", "http_port", "http_host", "http_token", "http_require_token",
        "http_allowed_hosts", "http_cert", "http_key",
    ),
    "Sound": (
        "device", "driver", "input", "preset", "buffer_size", "sample_rate", "cue_channels",
        "jack_ports", "jack_transport", "limiter_ceiling", "limiter_lookahead", "load_shedding",
    ),
    "Failover": ("standby", "device_lost", "device_fallback"),
    "Files and memory": (
        "media_root", "cache_mb", "read_ahead", "max_preload", "record_folder", "record_reserve",
        "broadcast", "broadcast_ca",
    ),
    "Decks and tempo": (
        "deck_a", "deck_b", "deck_c", "deck_d", "levels", "target_lufs", "bpm", "base_bpm", "meter",
        "link", "movement_map", "schedule", "print_beats",
    ),
    "Rooms": ("rooms", "rooms_port", "rooms_key_file", "rooms_folder"),
    "Lights": ("lights", "lights_lead"),
    "MIDI": ("midi_clock", "midi_follow", "midi_map", "midi_api"),
    "Alerts": ("alert_url", "alert_format", "alert_level"),
    "Running and logs": (
        "config", "duration", "stats_interval", "log_level", "log_format", "log_file",
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
        aliases=f.metadata["aliases"],
        live=f.metadata["live"],
    )
    for f in fields(Settings)
}

BY_NAME: dict[str, Option] = {name: one for one in OPTIONS.values() for name in one.names}
"""Settings by all their names, aliases included."""
