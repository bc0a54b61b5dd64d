"""Valid values of every setting, and their forms in flags, environment and files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from crowdstream.settings.schema import JACK_GROUPS, flag_of
from crowdstream.settings.toml import write_value

_name = st.text("abc XYZé", max_size=8).map(lambda text: text.strip() or "a")
_path = _name.map(lambda s: Path("/music") / s)

# A strategy of valid values for each setting that affects no other.
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "port": st.integers(0, 65535),
    "osc_host": st.sampled_from(["127.0.0.1", "0.0.0.0", "::1", "pi.local"]),
    "osc_allow": st.lists(
        st.sampled_from(["10.0.0.0/8", "192.168.1.7/32", "fd00::/8"]), min_size=1, max_size=3
    ).map(tuple),
    "http": st.booleans(),
    "http_port": st.integers(0, 65535),
    "http_host": st.sampled_from(["127.0.0.1", "0.0.0.0", "::1", "pi.local"]),
    "http_token": st.text("abcXYZ019-_", min_size=8, max_size=40),
    "http_require_token": st.booleans(),
    "http_allowed_hosts": st.lists(
        st.sampled_from(["pi", "dj.example.org", "booth-2"]), min_size=1, max_size=3
    ).map(tuple),
    "http_cert": _path,
    "http_key": _path,
    "device": _name,
    "driver": st.sampled_from(["auto", "pyaudio", "null"]),
    "input": st.lists(_name, min_size=1, max_size=2).map(tuple),
    "jack_ports": st.lists(
        st.sampled_from(JACK_GROUPS), min_size=1, max_size=6, unique=True
    ).map(tuple),
    "jack_transport": st.booleans(),
    "standby": st.sampled_from(["auto", "warm", "off"]),
    "device_lost": st.sampled_from(["play", "wait"]),
    "device_fallback": st.booleans(),
    "buffer_size": st.integers(16, 8192),
    "sample_rate": st.integers(8000, 192000),
    "cache_mb": st.integers(16, 1 << 20),
    "read_ahead": st.floats(1, 600),
    "max_preload": st.floats(0, 1e9),
    "media_root": st.lists(_path, min_size=1, max_size=3).map(tuple),
    "record_folder": _path,
    "record_reserve": st.integers(0, 1 << 24),
    "broadcast": st.lists(
        st.sampled_from(["hls:/srv/live?format=flac", "snapcast://[::1]:4953", "pipe:/tmp/fifo"]),
        min_size=1, max_size=3,
    ).map(tuple),
    "broadcast_ca": _path,
    "deck_a": _path,
    "deck_b": _path,
    "deck_c": _path,
    "deck_d": _path,
    "levels": st.tuples(*[st.floats(0, 4)] * 4),
    "limiter_ceiling": st.floats(-24, 0),
    "limiter_lookahead": st.floats(0, 10),
    "load_shedding": st.sampled_from(["auto", "full"]),
    "cue_channels": st.sampled_from(["auto", "2", "0"]),
    "target_lufs": st.floats(-40, 0),
    "bpm": st.floats(20, 400),
    "base_bpm": st.floats(20, 400),
    "meter": st.integers(1, 32),
    "link": st.sampled_from(["off", "follower", "leader", "peer"]),
    "movement_map": _path,
    "schedule": _path,
    "lights": st.lists(
        st.sampled_from(["os2l", "os2l://10.0.0.9:9996", "sacn://multicast/1?priority=120",
                         "artnet://broadcast/0"]), min_size=1, max_size=3, unique=True,
    ).map(tuple),
    "lights_lead": st.floats(-1000, 2000),
    "rooms_port": st.integers(1, 65535),
    "rooms": st.sampled_from(["leader", "192.168.1.20", "leader.local:57131"]),
    "rooms_key_file": _path,
    "rooms_folder": _path,
    "midi_clock": _name,
    "midi_follow": _name,
    "midi_map": st.lists(
        st.one_of(st.just("korg-nanokontrol2"), _path.map(str)), min_size=1, max_size=2
    ).map(tuple),
    "midi_api": st.sampled_from(["auto", "alsa", "jack"]),
    "print_beats": st.booleans(),
    "duration": st.floats(0, 1e9, exclude_min=True),
    "stats_interval": st.floats(0, 86400),
    "log_level": st.sampled_from(["debug", "info", "warning", "error"]),
    "log_format": st.sampled_from(["text", "json"]),
    "log_file": _path,
    "alert_url": st.lists(
        st.sampled_from(["https://ntfy.sh/dj", "http://10.0.0.7:8080/a?b=c,d"]), min_size=1,
        max_size=3,
    ).map(tuple),
    "alert_format": st.sampled_from(["json", "text"]),
    "alert_level": st.sampled_from(["info", "warning", "error"]),
}


def as_flags(name: str, value: Any) -> list[str]:
    """Words of the command line that set `name`, which may be an alias."""
    flag = flag_of(name)
    if isinstance(value, bool):
        return [flag if value else f"--no-{flag[2:]}"]
    if name in ("media_root", "input", "broadcast", "midi_map"):
        return [word for path in value for word in (flag, str(path))]
    if isinstance(value, tuple):
        return [flag, *map(str, value)]
    return [f"{flag}={value}"]


def as_variable(name: str, value: Any) -> str:
    """The text of an environment variable that sets `name`."""
    if name == "media_root":
        return os.pathsep.join(map(str, value))
    if name in ("input", "midi_map"):
        return ";".join(value)
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def as_toml(values: dict[str, Any]) -> str:
    """A settings file with these values."""
    return "".join(f"{name} = {write_value(value)}\n" for name, value in values.items())
