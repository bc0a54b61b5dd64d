"""Settings files: read, refused with a line that gives the reason, or changed in only one key."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from crowdstream.settings import OPTIONS, SettingError, resolve, toml
from crowdstream.settings.files import PRESETS, read_settings
from crowdstream.settings.schema import NOT_IN_FILES
from tests.fuzz.registry import Fault, Target
from tests.support import scratch_files
from tests.support.byte_source import ByteSource

_NAMES = sorted(OPTIONS)


def _line(error: SettingError) -> None:
    text = str(error)
    if not text or "\n" in text:
        raise Fault(f"a refusal is not one line: {text!r}") from error


def run(data: bytes) -> None:
    """Read a file as settings; save one setting into it."""
    place = scratch_files.folder() / "config.toml"
    try:
        read = read_settings(data, place, f"file {place}", NOT_IN_FILES)
    except SettingError as error:
        _line(error)
        read = None
    place.write_bytes(data)
    try:
        found = resolve(
            ["--config", str(place)],
            environ={},
            home=scratch_files.folder(),
            model_file=Path("/no"),
        )
    except SettingError as error:
        _line(error)
    else:
        if read is None:
            raise Fault("refused settings are in effect")
        for name, value in read.items():
            kind = OPTIONS[name].kind
            if found.origins[name] != f"file {place}":
                raise Fault(f"{name} = {value!r} is overridden by {found.origins[name]}")
            again = kind.read(value)
            if again != value:
                raise Fault(f"{name} = {value!r} is read back as {again!r}")
    _save(data)


def _save(data: bytes) -> None:
    try:
        text = toml.decode(data)
        before: dict[str, Any] = tomllib.loads(text)
    except (ValueError, RecursionError):
        return
    source = ByteSource(data[-12:])
    name = source.pick(_NAMES)
    value = source.pick((source.byte(), source.share(), "a\x7fb\n\"'#", True, ["x", "y"]))
    try:
        after = toml.set_key(text, name, value)
    except ValueError:
        return
    if tomllib.loads(after) != {**before, name: value}:
        raise Fault(f"setting {name} changed something else")


def seeds() -> Iterator[bytes]:
    """The presets, example files, and text that is almost TOML."""
    for path in sorted(PRESETS.glob("*.toml")):
        yield path.read_bytes()
    yield b'port = 57120\nbuffer_size = 128\nmedia_root = ["/a", "~/b"]\n[extra]\nx = 1\n'
    yield b"\xef\xbb\xbfport = 1e3\r\n# port = 5\r\n"
    yield b'a = "' + b"[" * 50
    yield b"memory = 64\ncache_mb = 64\nquality = 'full'\na = 'x'\n"
    yield b"port = 0x10\nlevels = [1, 0.5, inf, nan]\n"


TARGET = Target(
    "settings",
    "a settings file is read or refused in one line; its settings are in range and take effect; "
    "saving one key changes no other",
    run,
    seeds,
    ("crowdstream.settings",),
)
