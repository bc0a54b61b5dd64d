"""Precedence: flags, environment, file, preset, default."""

import os
import pwd
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
    default_cache_mb,
    format_settings,
    resolve,
    validate,
)
from tests.support.setting_values import VALUES, as_flags, as_toml, as_variable

LAYERS = ("keyword", "flag", "environment", "file", "preset")


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
    assert (settings.device, settings.cache_mb, settings.duration) == (None, None, None)
    assert settings.effective_cache_mb == default_cache_mb()
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
    environ = {"CROWDSTREAM_DECK_A": "~/a.wav", "CROWDSTREAM_MEDIA_ROOT": "~:/b/~"}
    settings = resolve(["--deck-b=~", "--deck-c=b~/c"], environ, **alone).settings
    assert settings.deck_a == tmp_path / "a.wav"
    assert settings.deck_b == tmp_path
    assert settings.deck_c == Path("b~/c")
    assert settings.media_root == (tmp_path, Path("/b/~"))


def test_the_folder_of_another_user_is_expanded_or_refused(
    alone: dict[str, Any], tmp_path: Path
) -> None:
    user = pwd.getpwuid(os.getuid())
    text = f"media_root = ['~{user.pw_name}/music']"
    (tmp_path / "my.toml").write_text(text)
    settings = resolve(["--config", str(tmp_path / "my.toml")], **alone).settings
    assert settings.media_root == (Path(user.pw_dir) / "music",)
    for name in ("media_root", "record_folder", "log_file"):
        flag = f"--{name.replace('_', '-')}"
        with pytest.raises(SettingError, match=rf"^{name}: .*~no-such-user/x.*\(flag {flag}\)"):
            resolve([flag, "~no-such-user/x"], **alone)


def test_show_config_is_aligned_and_names_origins(alone: dict[str, Any]) -> None:
    environ = {"CROWDSTREAM_PROT": "1", "CROWDSTREAM_DEVICE": "a" * 100}
    lines = format_settings(resolve(["--no-print-beats"], environ, **alone)).splitlines()
    assert lines[0] == "# preset desktop (no Raspberry Pi found)"
    assert lines[-1] == "# CROWDSTREAM_PROT is not a setting; the nearest one is CROWDSTREAM_PORT"
    rows = lines[1:-1]
    assert len(rows) == len(OPTIONS)
    assert len({row.index(" = ") for row in rows}) == 1
    assert len({row.rindex("  # ") for row in rows if "aaaa" not in row}) == 1
    by_name = {row.split(" =")[0].strip("# "): row for row in rows}
    assert list(by_name) == list(OPTIONS)
    assert by_name["print_beats"].endswith("# flag --no-print-beats")
    assert by_name["buffer_size"].endswith("# preset desktop")
    assert by_name["port"].split() == ["port", "=", "57120", "#", "default"]
    assert f"{default_cache_mb()} MB" in by_name["cache_mb"]


def test_validate_uses_the_machines_preset() -> None:
    assert validate().preset in ("desktop", "pi4", "pi5")
    assert validate(preset="live").buffer_size == 128
    assert validate(preset="live", buffer_size=99).buffer_size == 99
