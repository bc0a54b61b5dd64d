"""Values of each setting: accepted and refused text and typed values."""

import math
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowdstream.settings import OPTIONS, SettingError, resolve, validate
from crowdstream.settings.types import Floats, Refused


def flag(name: str, *words: str) -> object:
    """The value of a setting given on the command line."""
    option = OPTIONS[name]
    return option.kind.read_flag(list(words) if option.kind.flag else words[0])


TAKEN = [
    ("port", "0", 0),
    ("port", " 65535 ", 65535),
    ("buffer_size", "16", 16),
    ("buffer_size", "8192", 8192),
    ("sample_rate", "8000", 8000),
    ("sample_rate", "192000", 192000),
    ("meter", "1", 1),
    ("meter", "32", 32),
    ("bpm", "20", 20.0),
    ("bpm", "1.28e2", 128.0),
    ("base_bpm", "400", 400.0),
    ("duration", ".5", 0.5),
    ("stats_interval", "0", 0.0),
    ("driver", "NULL", "null"),
    ("log_level", "Warning", "warning"),
    ("device", "3", "3"),
    ("device", "USB Audio", "USB Audio"),
    ("osc_host", "::1", "::1"),
    ("osc_allow", "10.1.2.3", ("10.1.2.3/32",)),
    ("osc_allow", "192.168.1.5/24, fe80::/10 ::1", ("192.168.1.0/24", "fe80::/10", "::1/128")),
    ("deck_a", "a track.wav", Path("a track.wav")),
    ("alert_url", "https://dj:pw@ntfy.sh/x?a=b,c", ("https://dj:pw@ntfy.sh/x?a=b,c",)),
    ("broadcast", "snapcast://room hls:/srv/live", ("snapcast://room", "hls:/srv/live")),
    ("alert_url", "http://[::1]:8080 HTTP://a", ("http://[::1]:8080", "HTTP://a")),
]

REFUSED = [
    ("broadcast", ["", "http://radio/x", "radio/x", "hls:live", "snapcast:room", "pipe:fifo"]),
    ("alert_url", ["", "ntfy.sh/x", "file:///etc/passwd", "ftp://a/b", "http://", "http:///x",
                   "http://a:port/", "http://a:0/", "http://[a/", "http://a/#x", "https://é.de/",
                   "http://a b/ ", "http://a/\x00", "http://a/\x7f", "javascript:1", "//a/b", "http://-a/"]),
    ("port", ["-1", "65536", "1.0", "1_000", "", "0x10", "٣", "nan", "9" * 5000]),
    ("buffer_size", ["15", "8193", "abc", "256.0", "1e3", "inf"]),
    ("sample_rate", ["7999", "192001", "44.1k"]),
    ("meter", ["0", "33", "3/4"]),
    ("cache_mb", ["15", "1048577", "2G"]),
    ("read_ahead", ["0.9", "601", "nan"]),
    ("max_preload", ["-1", "inf"]),
    ("bpm", ["19.9", "400.1", "nan", "NaN", "inf", "-inf", "1_20", "1e999", "fast"]),
    ("duration", ["0", "0.0", "-1", "nan", "infinity", "1e10"]),
    ("stats_interval", ["-0.1", "nan", "86401"]),
    ("driver", ["jack", ""]),
    ("log_level", ["loud", "warn"]),
    ("osc_host", ["", " ", "two words", "a\nb"]),
    ("osc_allow", ["", " , ", "10.0.0.0/33", "10.0.0", "pi.local", "1.2.3.4 /24", "::/129"]),
    ("device", ["", "\t", "a\x1b[2J"]),
    ("deck_a", ["", "a\0b"]),
]


@pytest.mark.parametrize(("name", "text", "value"), TAKEN)
def test_valid_text_is_accepted(name: str, text: str, value: object) -> None:
    read = flag(name, text)
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(("name", "text"), [(n, t) for n, texts in REFUSED for t in texts])
def test_invalid_text_is_refused(name: str, text: str) -> None:
    with pytest.raises(Refused):
        flag(name, text)


@pytest.mark.parametrize(
    "values",
    [
        {"port": "57120"},
        {"port": 57120.0},
        {"port": True},
        {"port": [1]},
        {"buffer_size": 1 << 70},
        {"buffer_size": 10**5000},
        {"bpm": "120"},
        {"bpm": math.nan},
        {"bpm": math.inf},
        {"bpm": 10**400},
        {"bpm": True},
        {"print_beats": 1},
        {"print_beats": "true"},
        {"levels": [1, 1, 1]},
        {"levels": [1, 1, 1, 4.1]},
        {"levels": [1, 1, 1, math.nan]},
        {"levels": "1111"},
        {"levels": 1.0},
        {"device": True},
        {"device": -1},
        {"device": 1.5},
        {"osc_allow": [1]},
        {"osc_allow": 167772160},
        {"osc_allow": ["10.0.0.0/8", "everybody"]},
        {"media_root": [1]},
        {"media_root": [""]},
        {"deck_a": b"bytes"},
        {"driver": 1},
        {"preset": "none of them"},
        {"preset": "../pyproject"},
        {"preset": "example"},
    ],
)
def test_invalid_typed_values_are_refused(values: dict[str, object]) -> None:
    name = next(iter(values))
    with pytest.raises(SettingError) as error:
        validate(**values)
    message = str(error.value)
    assert message.startswith(f"{name}: ")
    assert f"(keyword {name})" in message
    assert "\n" not in message
    assert len(message) < 200


def test_valid_typed_values_are_accepted() -> None:
    settings = validate(
        port=np.int64(0),
        device=2,
        buffer_size=np.int32(128),
        bpm=np.float32(128),
        levels=(0, 1, 2, 4),
        media_root=["one", Path("two")],
        deck_a="~/track.wav",
        print_beats=True,
        preset="LIVE",
        cache_mb=None,
    )
    assert (settings.port, type(settings.port)) == (0, int)
    assert settings.device == "2"
    assert (settings.buffer_size, type(settings.buffer_size)) == (128, int)
    assert (settings.bpm, type(settings.bpm)) == (128.0, float)
    assert settings.levels == (0.0, 1.0, 2.0, 4.0)
    assert settings.media_root == (Path("one"), Path("two"))
    assert settings.deck_a == Path.home() / "track.wav"
    assert settings.print_beats is True
    assert settings.preset == "live"
    assert settings.cache_mb is None


def test_none_means_not_given_and_python_does_not_read_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CROWDSTREAM_PORT", "1")
    assert validate(port=None, device=None) == validate()
    assert validate().port == 57120


def test_an_unknown_keyword_names_the_nearest() -> None:
    with pytest.raises(SettingError, match=r"bufer_size .* nearest one is buffer_size"):
        validate(bufer_size=3)


def test_levels_accept_commas_and_blanks_in_the_environment() -> None:
    kind = OPTIONS["levels"].kind
    assert kind.read_text("1, 0.5 0,2") == (1.0, 0.5, 0.0, 2.0)
    for text in ("1 1 1", "1 1 1 1 1", "1 1 1 nan", "1,,"):
        with pytest.raises(Refused):
            kind.read_text(text)


def test_media_roots_are_separated_as_path_is() -> None:
    kind = OPTIONS["media_root"].kind
    assert kind.read_text(f"/one{os.pathsep}{os.pathsep}/two") == (Path("/one"), Path("/two"))
    with pytest.raises(Refused):
        kind.read_text(os.pathsep)


@pytest.mark.parametrize(
    ("text", "value"), [("1", True), ("YES", True), ("on", True), ("0", False), ("off", False)]
)
def test_boolean_words_are_accepted_in_the_environment(text: str, value: bool) -> None:
    assert OPTIONS["print_beats"].kind.read_text(text) is value
    with pytest.raises(Refused):
        OPTIONS["print_beats"].kind.read_text("maybe")


@given(st.sampled_from(sorted(OPTIONS)), st.text())
def test_any_text_is_a_value_or_refused(name: str, text: str) -> None:
    kind = OPTIONS[name].kind
    try:
        value = kind.read_text(text)
    except Refused:
        return
    # Values accepted as text are also accepted as typed values, and are the same.
    assert kind.read(value) == value


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_numbers_are_accepted_exactly_within_their_range(number: float) -> None:
    kind = OPTIONS["levels"].kind
    assert isinstance(kind, Floats)
    allowed = math.isfinite(number) and 0 <= number <= 4
    try:
        read = kind.read((number, 0, 0, 0))
    except Refused:
        assert not allowed
    else:
        assert allowed
        assert read[0] == number
    try:
        assert kind.each.read_text(repr(number)) == number
    except Refused:
        assert not allowed


def test_the_message_names_setting_value_origin_and_range() -> None:
    with pytest.raises(SettingError) as error:
        resolve(["--buffer-size", "abc"], {})
    assert str(error.value) == (
        "buffer_size: 'abc' (flag --buffer-size) is not a whole number of frames from 16 to 8192"
    )


def test_an_extreme_value_is_quoted_in_one_short_line() -> None:
    with pytest.raises(SettingError) as error:
        resolve(["--port", "\x1b[31m\n" + "x" * 10_000], {})
    message = str(error.value)
    assert message.isprintable()
    assert len(message) < 200
