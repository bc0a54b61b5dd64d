"""Precedence: flags, environment, file, preset, default."""

import os
import tomllib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowdstream.settings import (
    OPTIONS,
    Resolved,
    SettingError,
    default_memory_mb,
    format_settings,
    resolve,
    validate,
)
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
    "http_private": st.booleans(),
    "http_names": st.lists(
        st.sampled_from(["pi", "dj.example.org", "booth-2"]), min_size=1, max_size=3
    ).map(tuple),
    "http_cert": _path,
    "http_key": _path,
    "device": _name,
    "driver": st.sampled_from(["auto", "pyaudio", "null"]),
    "standby": st.sampled_from(["auto", "warm", "off"]),
    "device_lost": st.sampled_from(["play", "wait"]),
    "device_fallback": st.booleans(),
    "buffer_size": st.integers(16, 8192),
    "sample_rate": st.integers(8000, 192000),
    "memory": st.integers(16, 1 << 20),
    "read_ahead": st.floats(1, 600),
    "max_preload": st.floats(0, 1e9),
    "media_root": st.lists(_path, min_size=1, max_size=3).map(tuple),
    "record_folder": _path,
    "record_reserve": st.integers(0, 1 << 24),
    "a": _path,
    "b": _path,
    "c": _path,
    "d": _path,
    "levels": st.tuples(*[st.floats(0, 4)] * 4),
    "ceiling": st.floats(-24, 0),
    "limiter_lookahead": st.floats(0, 10),
    "quality": st.sampled_from(["auto", "full"]),
    "cue_channels": st.sampled_from(["auto", "2", "0"]),
    "target_lufs": st.floats(-40, 0),
    "bpm": st.floats(20, 400),
    "base_bpm": st.floats(20, 400),
    "meter": st.integers(1, 32),
    "movement_map": _path,
    "watch": st.booleans(),
    "seconds": st.floats(0, 1e9, exclude_min=True),
    "stats_interval": st.floats(0, 86400),
    "log_level": st.sampled_from(["debug", "info", "warning", "error"]),
    "log_format": st.sampled_from(["text", "json"]),
    "log_file": _path,
}
LAYERS = ("keyword", "flag", "environment", "file", "preset")


def as_flags(name: str, value: Any) -> list[str]:
    flag = OPTIONS[name].flag
    if isinstance(value, bool):
        return [flag if value else f"--no-{flag[2:]}"]
    if name == "media_root":
        return [word for path in value for word in (flag, str(path))]
    if isinstance(value, tuple):
        return [flag, *map(str, value)]
    return [f"{flag}={value}"]


def as_variable(name: str, value: Any) -> str:
    if name == "media_root":
        return os.pathsep.join(map(str, value))
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def as_toml(values: dict[str, Any]) -> str:
    return "".join(f"{name} = {write_value(value)}\n" for name, value in values.items())


@st.composite
def layers_of_values(draw: st.DrawFn) -> dict[str, dict[str, Any]]:
    """For each layer, values of some of the settings."""
    some = st.lists(st.sampled_from(sorted(VALUES)), unique=True, max_size=8)
    return {layer: {n: draw(VALUES[n]) for n in draw(some)} for layer in LAYERS}


def resolve_layers(layers: dict[str, dict[str, Any]], folder: Path) -> Resolved:
    """Write each layer where `resolve` reads it."""
    presets = folder / "configs"
    config = folder / ".config" / "crowdstream" / "config.toml"
    for path, layer in ((presets / "desktop.toml", "preset"), (config, "file")):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(as_toml(layers[layer]), encoding="utf-8")
    environ = {OPTIONS[n].variables[0]: as_variable(n, v) for n, v in layers["environment"].items()}
    argv = [word for n, v in layers["flag"].items() for word in as_flags(n, v)]
    return resolve(
        argv,
        environ,
        values=layers["keyword"],
        home=folder,
        model_file=folder / "no-model",
        presets=presets,
    )


def test_every_setting_has_a_strategy() -> None:
    assert VALUES.keys() | {"preset", "config"} == OPTIONS.keys()


@given(layers_of_values())
def test_the_layer_with_the_highest_precedence_applies(layers: dict[str, dict[str, Any]]) -> None:
    with TemporaryDirectory() as folder:
        resolved = resolve_layers(layers, Path(folder))
        again = tomllib.loads(format_settings(resolved))
    for name in VALUES:
        value = getattr(resolved.settings, name)
        layer = next((one for one in LAYERS if name in layers[one]), None)
        if layer is None:
            assert value == OPTIONS[name].default
            assert resolved.origins[name] == "default"
        else:
            assert value == layers[layer][name]
            assert type(value) is type(layers[layer][name])
            assert resolved.origins[name].startswith(f"{layer} ")
        # The output of --show-config is a file with the same settings.
        assert (name in again) is (value is not None)
        if value is not None:
            assert OPTIONS[name].kind.read(again[name]) == value
    assert resolved.origins.keys() == OPTIONS.keys()


@given(st.sampled_from(sorted(VALUES)), st.data())
def test_errors_name_the_origin_of_a_wrong_value(name: str, data: st.DataObject) -> None:
    option = OPTIONS[name]
    for layer in LAYERS:
        layers: dict[str, dict[str, Any]] = {one: {} for one in LAYERS}
        layers[layer][name] = value = data.draw(VALUES[name])
        with TemporaryDirectory() as folder:
            origin = resolve_layers(layers, Path(folder)).origins[name]
            no = "no-" if value is False else ""
            assert (
                origin
                == {
                    "keyword": f"keyword {name}",
                    "flag": f"flag --{no}{option.flag[2:]}",
                    "environment": f"environment CROWDSTREAM_{name.upper()}",
                    "file": f"file {folder}/.config/crowdstream/config.toml",
                    "preset": "preset desktop",
                }[layer]
            )


@pytest.fixture
def alone(tmp_path: Path) -> dict[str, Any]:
    """Arguments of `resolve` that exclude this machine's own files."""
    return {"home": tmp_path, "model_file": tmp_path / "no-model"}


def test_defaults(alone: dict[str, Any]) -> None:
    resolved = resolve([], {}, **alone)
    settings = resolved.settings
    assert (settings.port, settings.osc_host, settings.sample_rate) == (57120, "127.0.0.1", 44100)
    assert (settings.bpm, settings.base_bpm, settings.meter) == (120.0, 120.0, 4)
    assert settings.levels == (1.0, 1.0, 1.0, 1.0)
    assert (settings.device, settings.memory, settings.seconds) == (None, None, None)
    assert settings.memory_mb == default_memory_mb()
    assert settings.stats_interval == 10.0
    assert (settings.buffer_size, resolved.origins["buffer_size"]) == (512, "preset desktop")
    assert not resolved.list_devices
    assert not resolved.show_config


def test_the_alias_variable_of_the_buffer_size_has_lower_precedence(alone: dict[str, Any]) -> None:
    environ = {"AUDIO_BUFFER_SIZE": "64"}
    resolved = resolve([], environ, **alone)
    assert resolved.settings.buffer_size == 64
    assert resolved.origins["buffer_size"] == "environment AUDIO_BUFFER_SIZE"
    environ["CROWDSTREAM_BUFFER_SIZE"] = "32"
    resolved = resolve([], environ, **alone)
    assert resolved.settings.buffer_size == 32
    assert resolved.origins["buffer_size"] == "environment CROWDSTREAM_BUFFER_SIZE"
    with pytest.raises(SettingError, match=r"^buffer_size: 'x' \(environment AUDIO_BUFFER_SIZE\)"):
        resolve([], {"AUDIO_BUFFER_SIZE": "x"}, **alone)


def test_an_empty_variable_is_not_set(alone: dict[str, Any]) -> None:
    environ = {"CROWDSTREAM_PORT": "", "CROWDSTREAM_BUFFER_SIZE": "", "AUDIO_BUFFER_SIZE": "64"}
    resolved = resolve([], environ, **alone)
    assert resolved.origins["port"] == "default"
    assert resolved.settings.buffer_size == 64


def test_an_overridden_value_is_still_checked(alone: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match=r"^port: '-1' \(environment CROWDSTREAM_PORT\)"):
        resolve(["--port", "5"], {"CROWDSTREAM_PORT": "-1"}, **alone)


def test_the_real_environment_is_the_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("CROWDSTREAM_METER", "7")
    assert resolve([]).settings.meter == 7


def test_actions_are_not_settings(alone: dict[str, Any]) -> None:
    resolved = resolve(["--list-devices", "--show-config"], {}, **alone)
    assert resolved.list_devices
    assert resolved.show_config


def test_a_tilde_is_replaced_by_the_home_folder(alone: dict[str, Any], tmp_path: Path) -> None:
    environ = {"CROWDSTREAM_A": "~/a.wav", "CROWDSTREAM_MEDIA_ROOT": "~:/b/~"}
    settings = resolve(["--b=~", "--c=b~/c"], environ, **alone).settings
    assert settings.a == tmp_path / "a.wav"
    assert settings.b == tmp_path
    assert settings.c == Path("b~/c")
    assert settings.media_root == (tmp_path, Path("/b/~"))


def test_show_config_is_aligned_and_names_origins(alone: dict[str, Any]) -> None:
    environ = {"CROWDSTREAM_PROT": "1", "CROWDSTREAM_DEVICE": "a" * 100}
    lines = format_settings(resolve(["--no-watch"], environ, **alone)).splitlines()
    assert lines[0] == "# preset desktop (no Raspberry Pi found)"
    assert lines[-1] == "# CROWDSTREAM_PROT is not a setting; the nearest one is CROWDSTREAM_PORT"
    rows = lines[1:-1]
    assert len(rows) == len(OPTIONS)
    assert len({row.index(" = ") for row in rows}) == 1
    assert len({row.rindex("  # ") for row in rows if "aaaa" not in row}) == 1
    by_name = {row.split(" =")[0].strip("# "): row for row in rows}
    assert list(by_name) == list(OPTIONS)
    assert by_name["watch"].endswith("# flag --no-watch")
    assert by_name["buffer_size"].endswith("# preset desktop")
    assert by_name["port"].split() == ["port", "=", "57120", "#", "default"]
    assert f"{default_memory_mb()} MB" in by_name["memory"]


def test_validate_uses_the_machines_preset() -> None:
    assert validate().preset in ("desktop", "pi4", "pi5")
    assert validate(preset="live").buffer_size == 128
    assert validate(preset="live", buffer_size=99).buffer_size == 99
