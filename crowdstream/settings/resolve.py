"""Which value counts: flags beat environment beats file beats preset beats default."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crowdstream.settings import cli, files
from crowdstream.settings.errors import SettingError, wrong_value
from crowdstream.settings.machine import MODEL_FILE, machine_model, preset_for
from crowdstream.settings.schema import (
    ENVIRONMENT_PREFIX,
    NOT_IN_FILES,
    NOT_IN_PRESETS,
    OPTIONS,
    Settings,
)
from crowdstream.settings.types import Refused


@dataclass(frozen=True)
class Resolved:
    """The settings that count, and why.

    `origins` says for each setting where its value came from: "flag --port", "environment
    CROWDSTREAM_PORT", "file FILE", "preset pi4", "this machine" (a preset that was picked),
    "keyword port" (given from Python) or "default". `unknown_environment` are variables that
    begin with CROWDSTREAM_ and name no setting: perhaps misspelt, perhaps of another program.
    """

    settings: Settings
    origins: dict[str, str]
    preset_reason: str
    list_devices: bool = False
    show_config: bool = False
    unknown_environment: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Given:
    """A value that was found, and where."""

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
    """The settings from a command line (without the program's name), the environment
    (`os.environ` when None), the configuration file and the preset.

    `values` are settings given from Python; they beat all else, and None means not given.
    `home`, `model_file` and `presets` stand in for the user's folder, the file that names the
    machine's model, and the folder of presets. Every value that is found is checked, also one
    that another beats. An environment variable that is empty counts as not set.

    Raises SettingError for a wrong value; exits with 2 for a wrong flag and with 0 for --help,
    as argparse does.
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
    if config is None and (path := files.user_config_path(environ, home)).exists():
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
    """Settings from Python values, checked as those of a command line are; None means not
    given. What is not given comes from the preset and the defaults; environment and files
    are not read (`resolve(values=...)` does that).

    Raises SettingError for an unknown name or a wrong value.
    """
    home = files.home_folder(os.environ)
    layer = _keyword_layer(values, home)
    return _settle([layer], home, MODEL_FILE, files.PRESETS)[0]


def _keyword_layer(values: Mapping[str, object], home: Path) -> _Layer:
    layer: _Layer = {}
    for name, value in values.items():
        origin = f"keyword {name}"
        files.check_known(name, origin)
        if value is None:
            continue
        try:
            read = OPTIONS[name].kind.read(value)
        except Refused:
            raise wrong_value(name, value, origin, OPTIONS[name].kind.allowed) from None
        layer[name] = _Given(_placed(read, home), origin)
    return layer


def _flag_layer(given: Mapping[str, object], home: Path) -> _Layer:
    layer: _Layer = {}
    for name in OPTIONS.keys() & given.keys():
        option = OPTIONS[name]
        origin = f"flag {option.flag}"
        try:
            read = option.kind.read_flag(given[name])
        except Refused:
            raise wrong_value(name, given[name], origin, option.kind.allowed) from None
        if read is False:
            origin = f"flag --no-{option.flag.removeprefix('--')}"
        layer[name] = _Given(_placed(read, home), origin)
    return layer


def _environment_layer(environ: Mapping[str, str], home: Path) -> _Layer:
    layer: _Layer = {}
    for option in OPTIONS.values():
        # The strongest name last, so that it has the last word.
        for variable in reversed(option.variables):
            text = environ.get(variable, "")
            if not text:
                continue
            origin = f"environment {variable}"
            try:
                read = option.kind.read_text(text)
            except Refused:
                raise wrong_value(option.name, text, origin, option.kind.allowed) from None
            layer[option.name] = _Given(_placed(read, home), origin)
    return layer


def _file_layer(config: _Given, home: Path) -> _Layer:
    path = config.value
    assert isinstance(path, Path)
    data = files.read_bytes(path, config.origin)
    origin = f"file {path}"
    read = files.read_settings(data, path, origin, NOT_IN_FILES)
    return {n: _Given(_placed(v, home, path.parent), origin) for n, v in read.items()}


def _preset_layer(name: str, home: Path, folder: Path) -> _Layer:
    path = folder / f"{name}.toml"
    origin = f"preset {name}"
    read = files.read_settings(files.read_bytes(path, origin), path, origin, NOT_IN_PRESETS)
    return {n: _Given(_placed(v, home, path.parent), origin) for n, v in read.items()}


def _settle(
    layers: list[_Layer], home: Path, model_file: Path, presets: Path
) -> tuple[Settings, dict[str, str], str]:
    """Adds the preset below `layers` (the strongest first) and takes what counts."""
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
    # Each value was read by its setting's kind, which gives the field's type.
    settled: dict[str, Any] = {name: found.value for name, found in merged.items()}
    return Settings(**settled), {n: found.origin for n, found in merged.items()}, reason


def _strongest(name: str, layers: Sequence[_Layer]) -> _Given | None:
    return next((layer[name] for layer in layers if name in layer), None)


def _placed(value: object, home: Path, folder: Path | None = None) -> object:
    """Paths with ~ replaced, and those that a file names taken from that file's folder."""
    if isinstance(value, tuple):
        return tuple(_placed(item, home, folder) for item in value)
    if not isinstance(value, Path):
        return value
    if value.parts[:1] == ("~",):
        return home.joinpath(*value.parts[1:])
    return value if folder is None else folder / value
