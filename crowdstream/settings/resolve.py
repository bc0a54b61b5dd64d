"""Precedence of values: flags, environment, file, preset, default, in this order."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crowdstream.settings import cli, files
from crowdstream.settings.errors import SettingError, wrong_value
from crowdstream.settings.machine import MODEL_FILE, machine_model, preset_for
from crowdstream.settings.names import find_option, merge_names, wrong_setting
from crowdstream.settings.schema import (
    ENVIRONMENT_PREFIX,
    NOT_IN_FILES,
    NOT_IN_PRESETS,
    OPTIONS,
    Option,
    Settings,
)
from crowdstream.settings.types import Refused


@dataclass(frozen=True)
class Resolved:
    """The effective settings and their origins.

    `origins` names the source of each setting's value: "flag --port", "environment
    CROWDSTREAM_PORT", "file FILE", "preset pi4", "this machine" (a preset that was selected
    automatically), "keyword port" (from Python) or "default". `unknown_environment` are variables
    that begin with CROWDSTREAM_ but are not settings: misspelt, or of another program.
    """

    settings: Settings
    origins: dict[str, str]
    preset_reason: str
    list_devices: bool = False
    show_config: bool = False
    unknown_environment: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Given:
    """A value and its origin."""

    value: object
    origin: str


_Layer = dict[str, _Given]


def resolve(
    argv: Sequence[str],
    environ: Mapping[str, str] | None = None,
    *,
    values: Mapping[str, object] | None = None,
    home: Path | None = None,
    model_file: Path = MODEL_FILE,
    presets: Path = files.PRESETS,
    prog: str = "crowdstream",
) -> Resolved:
    """Determine the settings from a command line, environment, configuration file and preset.

    `argv` is the command line without the program's name; `environ` defaults to `os.environ`.
    `values` are settings given from Python, which take precedence; None means not given. `home`,
    `model_file` and `presets` replace the user's folder, the file with the machine's model, and
    the folder of presets. Every value found is checked, even if another one takes precedence. An
    empty environment variable counts as not set.

    Raises `SettingError` for a wrong value; exits with 2 for a wrong flag and with 0 for --help,
    like argparse.
    """
    environ = os.environ if environ is None else environ
    home = files.home_folder(environ, home)
    given = cli.parse(argv, prog)
    layers = [
        _keyword_layer(values or {}, home),
        _flag_layer(given, home),
        _environment_layer(environ, home),
    ]
    config = _strongest("config", layers)
    if config is None and files.may_exist(path := files.user_config_path(environ, home)):
        config = _Given(path, "default")
    if config is not None:
        layers.append({"config": config, **_file_layer(config, home)})
    settings, origins, reason = _settle(layers, home, model_file, presets)
    known = {variable for option in OPTIONS.values() for variable in option.variables}
    return Resolved(
        settings,
        origins,
        reason,
        list_devices="list_devices" in given,
        show_config="show_config" in given,
        unknown_environment=tuple(
            sorted(v for v in environ if v.startswith(ENVIRONMENT_PREFIX) and v not in known)
        ),
    )


def validate(**values: object) -> Settings:
    """Create settings from Python values, checked like those of a command line.

    None means not given. Settings not given come from the preset and the defaults; environment
    and files are not read (`resolve(values=...)` does that). Raises `SettingError` for an unknown
    name or a wrong value.
    """
    home = files.home_folder(os.environ)
    layer = _keyword_layer(values, home)
    return _settle([layer], home, MODEL_FILE, files.PRESETS)[0]


def _keyword_layer(values: Mapping[str, object], home: Path) -> _Layer:
    given: list[tuple[Option, object, str]] = []
    for name, value in values.items():
        origin = f"keyword {name}"
        option = find_option(name, origin)
        if value is None:
            continue
        try:
            given.append((option, _placed(option.kind.read(value), home), origin))
        except Refused:
            raise wrong_setting(option, name, value, origin) from None
    return _layer(given)


def _layer(given: list[tuple[Option, object, str]]) -> _Layer:
    return {name: _Given(*found) for name, found in merge_names(given).items()}


def _flag_layer(given: Mapping[str, object], home: Path) -> _Layer:
    read = cli.read_flags(given)
    return {name: _Given(_placed(value, home), origin) for name, (value, origin) in read.items()}


def _environment_layer(environ: Mapping[str, str], home: Path) -> _Layer:
    named: list[tuple[Option, object, str]] = []
    others: _Layer = {}
    for option in OPTIONS.values():
        for variable in option.variables:
            text = environ.get(variable, "")
            if not text:
                continue
            origin = f"environment {variable}"
            try:
                read = _placed(option.kind.read_text(text), home)
            except Refused:
                raise wrong_setting(option, option.name, text, origin) from None
            if variable in option.named_variables:
                named.append((option, read, origin))
            else:
                others[option.name] = _Given(read, origin)
    return {**others, **_layer(named)}


def _file_layer(config: _Given, home: Path) -> _Layer:
    path = config.value
    assert isinstance(path, Path)
    data = files.read_bytes(path, config.origin)
    origin = f"file {path}"
    read = files.read_settings(data, path, origin, NOT_IN_FILES)
    return _in_folder(read, home, path.parent, origin)


def _preset_layer(name: str, home: Path, folder: Path) -> _Layer:
    path = folder / f"{name}.toml"
    origin = f"preset {name}"
    read = files.read_settings(files.read_bytes(path, origin), path, origin, NOT_IN_PRESETS)
    return _in_folder(read, home, path.parent, origin)


def _settle(
    layers: list[_Layer], home: Path, model_file: Path, presets: Path
) -> tuple[Settings, dict[str, str], str]:
    """Add the preset below `layers` (highest precedence first) and merge them."""
    names = files.preset_names(presets)
    chosen = _strongest("preset", layers)
    if chosen is None:
        name, why = preset_for(machine_model(model_file))
        chosen = _Given(name, "this machine")
    else:
        name, why = str(chosen.value).lower(), chosen.origin
        chosen = _Given(name, chosen.origin)
        if name not in names:
            if not names:
                raise SettingError(f"preset: {name!r} ({why}) is not there: no folder {presets}")
            raise wrong_value("preset", name, why, f"one of {', '.join(names)}")
    if name in names:
        layers = [{"preset": chosen}, *layers, _preset_layer(name, home, presets)]
        reason = f"preset {name} ({why})"
    else:
        reason = f"no preset ({name}.toml is not in {presets})"
    merged: _Layer = {o.name: _Given(o.default, "default") for o in OPTIONS.values()}
    for layer in reversed(layers):
        merged.update(layer)
    # Each value was read by its setting's value type, which matches the field's type.
    settled: dict[str, Any] = {name: found.value for name, found in merged.items()}
    return Settings(**settled), {n: found.origin for n, found in merged.items()}, reason


def _strongest(name: str, layers: Sequence[_Layer]) -> _Given | None:
    return next((layer[name] for layer in layers if name in layer), None)


def _in_folder(read: Mapping[str, object], home: Path, folder: Path, origin: str) -> _Layer:
    """The values of a file in `folder`, whose relative paths start there."""
    return {
        name: _Given(OPTIONS[name].kind.in_folder(_placed(value, home), folder), origin)
        for name, value in read.items()
    }


def _placed(value: object, home: Path) -> object:
    """Expand ~ in paths."""
    if isinstance(value, tuple):
        return tuple(_placed(item, home) for item in value)
    if isinstance(value, Path) and value.parts[:1] == ("~",):
        return home.joinpath(*value.parts[1:])
    return value
