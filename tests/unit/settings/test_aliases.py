"""Aliases: a setting's earlier names work wherever its name does."""

from __future__ import annotations

import tomllib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowdstream.control.python_api import PythonAudioServer
from crowdstream.demo.runner import build_parser as demo_parser
from crowdstream.dj.autopilot.simulate_crowd import build_parser as simulate_parser
from crowdstream.offline.cli import MIX_SETTINGS, render
from crowdstream.offline.cli import build_parser as render_parser
from crowdstream.settings import (
    OPTIONS,
    Resolved,
    SettingError,
    build_parser,
    format_settings,
    resolve,
    save_user_setting,
    user_config_path,
    validate,
)
from crowdstream.settings.cli import duration_of, read_flags
from crowdstream.settings.schema import BY_NAME
from tests.support.setting_values import VALUES, as_flags, as_toml, as_variable

ALIASED = sorted(name for name, option in OPTIONS.items() if option.aliases)
PLACES = ("flag", "environment", "file", "preset", "keyword")

# Names before the first release, and their present names.
EARLIER = {
    "a": "deck_a", "b": "deck_b", "c": "deck_c", "d": "deck_d", "seconds": "duration",
    "memory": "cache_mb", "ceiling": "limiter_ceiling", "watch": "print_beats",
    "http_names": "http_allowed_hosts", "http_private": "http_require_token",
    "quality": "load_shedding",
}  # fmt: skip


def resolve_in(folder: Path, place: str, given: dict[str, Any]) -> Resolved:
    """Resolve settings that are all given in one place, by any of their names."""
    presets = folder / "configs"
    config = folder / ".config" / "crowdstream" / "config.toml"
    for path, name in ((presets / "desktop.toml", "preset"), (config, "file")):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(as_toml(given if place == name else {}), encoding="utf-8")
    argv = [word for name, value in given.items() for word in as_flags(name, value)]
    environ = {
        f"CROWDSTREAM_{name.upper()}": as_variable(name, value) for name, value in given.items()
    }
    return resolve(
        argv if place == "flag" else [],
        environ if place == "environment" else {},
        values=given if place == "keyword" else {},
        home=folder,
        model_file=folder / "no-model",
        presets=presets,
    )


def label(place: str, name: str, value: object) -> str:
    """The origin of a value, as an error names it; without the name of a file."""
    no = "no-" if value is False else ""
    return {
        "flag": f"flag --{no}{name.replace('_', '-')}",
        "environment": f"environment CROWDSTREAM_{name.upper()}",
        "file": f"{name} in file ",
        "preset": f"{name} in preset desktop",
        "keyword": f"keyword {name}",
    }[place]


def test_every_earlier_name_is_an_alias() -> None:
    assert {alias: BY_NAME[alias].name for alias in EARLIER} == EARLIER
    assert sum(len(option.names) for option in OPTIONS.values()) == len(BY_NAME)
    flags = [flag for option in OPTIONS.values() for flag in option.flags]
    assert len(set(flags)) == len(flags), "no alias is the name of another setting"


@given(st.data(), st.sampled_from(ALIASED), st.sampled_from(PLACES))
def test_an_alias_sets_the_setting_in_every_place(
    data: st.DataObject, name: str, place: str
) -> None:
    value = data.draw(VALUES[name])
    alias = data.draw(st.sampled_from(OPTIONS[name].aliases))
    with TemporaryDirectory() as folder:
        by_alias = resolve_in(Path(folder), place, {alias: value})
        by_name = resolve_in(Path(folder), place, {name: value})
        both = resolve_in(Path(folder), place, {alias: value, name: value})
    assert by_alias.settings == by_name.settings == both.settings
    assert getattr(by_alias.settings, name) == value
    assert by_alias.unknown_environment == ()
    assert by_alias.origins.keys() == OPTIONS.keys()
    if place in ("file", "preset"):
        assert by_alias.origins == by_name.origins
    else:
        assert by_alias.origins[name] == label(place, alias, value)
    # The output of --show-config has the present names.
    shown = tomllib.loads(format_settings(by_alias))
    assert name in shown and alias not in shown


@given(st.data(), st.sampled_from(ALIASED), st.sampled_from(PLACES))
def test_two_names_with_different_values_are_refused(
    data: st.DataObject, name: str, place: str
) -> None:
    first = data.draw(VALUES[name])
    second = data.draw(VALUES[name].filter(lambda value: value != first))
    names = data.draw(st.permutations(OPTIONS[name].names))
    given_values = dict(zip(names, (first, second), strict=False))
    with TemporaryDirectory() as folder, pytest.raises(SettingError) as error:
        resolve_in(Path(folder), place, given_values)
    message = str(error.value)
    assert message.startswith(f"{name}: ") and "\n" not in message
    for one, value in given_values.items():
        assert label(place, one, value) in message


@given(st.data(), st.sampled_from(ALIASED))
def test_an_alias_has_the_precedence_of_its_place(data: st.DataObject, name: str) -> None:
    alias = data.draw(st.sampled_from(OPTIONS[name].aliases))
    stronger, weaker = data.draw(VALUES[name]), data.draw(VALUES[name])
    flags, variables = (alias, name) if data.draw(st.booleans()) else (name, alias)
    with TemporaryDirectory() as folder:
        resolved = resolve(
            as_flags(flags, stronger),
            {f"CROWDSTREAM_{variables.upper()}": as_variable(variables, weaker)},
            home=Path(folder),
            model_file=Path(folder) / "no-model",
        )
    assert getattr(resolved.settings, name) == stronger


@pytest.mark.parametrize("name", ALIASED)
def test_python_accepts_aliases(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    value: Any = {"duration": 5.0, "cache_mb": 64, "limiter_ceiling": -1.0, "load_shedding": "full",
             "http_allowed_hosts": ("pi",)}.get(name)  # fmt: skip
    if value is None:
        value = True if isinstance(OPTIONS[name].default, bool) else Path("/music/x.wav")
    for alias in OPTIONS[name].aliases:
        by_name: dict[str, Any] = {name: value}
        by_alias: dict[str, Any] = {alias: value}
        wanted = PythonAudioServer(driver="null", **by_name)._settings
        assert getattr(wanted, name) == value
        assert PythonAudioServer(driver="null", **by_alias)._settings == wanted
        assert getattr(validate(**by_alias), name) == value


@pytest.mark.parametrize("name", ALIASED)
def test_a_wrong_value_of_an_alias_is_reported_with_the_name_that_was_used(name: str) -> None:
    for alias in OPTIONS[name].aliases:
        with pytest.raises(SettingError) as error:
            validate(**{alias: object()})
        assert f"(keyword {alias})" in str(error.value)
        with pytest.raises(SettingError) as error:
            resolve([], {f"CROWDSTREAM_{alias.upper()}": "\0"})
        assert str(error.value).startswith(f"{name}: ")
        assert f"(environment CROWDSTREAM_{alias.upper()})" in str(error.value)


def test_a_missing_value_of_an_alias_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ALIASED:
        if isinstance(OPTIONS[name].default, bool):
            continue
        for flag in OPTIONS[name].flags:
            with pytest.raises(SystemExit):
                resolve([flag], {})
            line = capsys.readouterr().err
            assert f": {name}: " in line and f"(flag {flag})" in line
            assert OPTIONS[name].kind.allowed in line


SUBCOMMANDS = {
    "demo": (demo_parser, []), "render": (render_parser, ["set.txt", "out.wav"]),
    "simulate-crowd": (simulate_parser, []),
}  # fmt: skip


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_the_duration_of_a_subcommand_has_an_alias(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    build, words = SUBCOMMANDS[name]
    parser = build()

    def duration(*flags: str) -> float | None:
        return duration_of(parser, parser.parse_args([*words, *flags]))

    assert duration() is None
    assert duration("--seconds", "5") == duration("--duration=5") == 5.0
    assert duration("--seconds", "5", "--duration", "5.0") == 5.0
    with pytest.raises(SystemExit) as stop:
        duration("--seconds", "5", "--duration", "6")
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert "flag --seconds" in error and "flag --duration" in error


def test_a_mix_is_rendered_with_the_settings_of_either_name(
    capsys: pytest.CaptureFixture[str]
) -> None:
    for flag in OPTIONS["cache_mb"].flags:
        options = render_parser().parse_args(["set.txt", "out.wav", flag, "64"])
        assert read_flags(vars(options), MIX_SETTINGS) == {"cache_mb": (64, f"flag {flag}")}
    wrong = ["--memory", "64", "--cache-mb", "65"]
    assert render(["set.txt", "out.wav", *wrong]) == 2
    error = capsys.readouterr().err
    assert "flag --memory" in error and "flag --cache-mb" in error


def test_the_help_lists_present_names_only() -> None:
    words = build_parser().format_help().replace("[", " ").replace("]", " ").split()
    for option in OPTIONS.values():
        assert option.flag in words or f"{option.flag}," in words
        assert not {word.rstrip(",") for word in words} & set(option.flags[1:])


def test_suggestions_are_present_names(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        resolve(["--qualiti", "full"], {})
    assert "the nearest one is --load-shedding" in capsys.readouterr().err
    with pytest.raises(SettingError, match="the nearest one is load_shedding"):
        validate(qualiti="full")
    text = format_settings(resolve([], {"CROWDSTREAM_QUALITI": "full"}))
    assert "the nearest one is CROWDSTREAM_LOAD_SHEDDING" in text


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("memory = 1 # MB\n", "memory = 64 # MB\n"),
        ("cache_mb = 32\n", "cache_mb = 64\n"),
        ("memory = 32\ncache_mb = 32\n", "memory = 64\ncache_mb = 64\n"),
        ("port = 1\n", "port = 1\ncache_mb = 64\n"),
    ],
)
@pytest.mark.parametrize("name", OPTIONS["cache_mb"].names)
def test_a_saved_setting_keeps_the_name_in_the_file(
    name: str, before: str, after: str, tmp_path: Path
) -> None:
    path = user_config_path({}, tmp_path)
    path.parent.mkdir(parents=True)
    path.write_text(before)
    save_user_setting(name, 64, {}, home=tmp_path)
    assert path.read_text() == after
    assert resolve([], {}, home=tmp_path).settings.cache_mb == 64


