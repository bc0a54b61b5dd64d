"""Settings in TOML files: locations, errors, and saving."""

import errno
import os
import tomllib
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowdstream.settings import (
    OPTIONS,
    SettingError,
    resolve,
    save_user_setting,
    state_folder,
    user_config_path,
)
from crowdstream.settings.files import PRESETS
from crowdstream.settings.schema import NOT_IN_FILES
from crowdstream.settings.toml import set_key, write_value


def wrong(path: Path, data: bytes) -> str:
    """The error message for a configuration file with these bytes."""
    path.write_bytes(data)
    with pytest.raises(SettingError) as error:
        resolve(["--config", str(path)], {}, home=path.parent)
    message = str(error.value)
    assert message.isprintable()
    assert str(path) in message
    return message


def test_the_configuration_file_is_found_by_precedence(tmp_path: Path) -> None:
    home, xdg = tmp_path / "home", tmp_path / "xdg"
    named, in_environment = tmp_path / "named.toml", tmp_path / "environment.toml"
    files = {
        named: 1,
        in_environment: 2,
        xdg / "crowdstream/config.toml": 3,
        home / ".config/crowdstream/config.toml": 4,
    }
    for path, port in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"port = {port}\n")
    variables = {"CROWDSTREAM_CONFIG": str(in_environment), "XDG_CONFIG_HOME": str(xdg)}
    found = [
        resolve(["--config", str(named)], variables, home=home),
        resolve([], variables, home=home),
        resolve([], {"XDG_CONFIG_HOME": str(xdg)}, home=home),
        resolve([], {"HOME": str(home)}),
    ]
    assert [r.settings.port for r in found] == [1, 2, 3, 4]
    assert [r.settings.config for r in found] == list(files)
    assert [r.origins["port"] for r in found] == [f"file {path}" for path in files]
    assert [r.origins["config"] for r in found] == [
        "flag --config",
        "environment CROWDSTREAM_CONFIG",
        "default",
        "default",
    ]


def test_a_missing_user_file_is_not_an_error(tmp_path: Path) -> None:
    assert resolve([], {}, home=tmp_path).settings.config is None


def test_the_users_file_follows_the_xdg_specification() -> None:
    home = Path("/home/dj")
    expected = home / ".config/crowdstream/config.toml"
    assert user_config_path({"HOME": "/home/dj"}) == expected
    assert user_config_path({"XDG_CONFIG_HOME": "relative"}, home) == expected
    assert user_config_path({"XDG_CONFIG_HOME": "/x"}, home) == Path("/x/crowdstream/config.toml")


def test_paths_in_a_file_are_relative_to_its_folder(tmp_path: Path) -> None:
    file = tmp_path / "set" / "my.toml"
    file.parent.mkdir()
    file.write_text(
        "deck_a = 'x.wav'\ndeck_b = '~/y.wav'\ndeck_c = '/z.wav'\n"
        "media_root = ['music', '/usb']\n"
    )
    settings = resolve(["--config", str(file)], {}, home=tmp_path).settings
    assert settings.deck_a == tmp_path / "set/x.wav"
    assert settings.deck_b == tmp_path / "y.wav"
    assert settings.deck_c == Path("/z.wav")
    assert settings.media_root == (tmp_path / "set/music", Path("/usb"))


def test_a_file_can_request_a_certificate_of_the_servers_own(tmp_path: Path) -> None:
    file = tmp_path / "my.toml"
    file.write_text("http_cert = 'auto'\nhttp_key = 'auto'\n")
    settings = resolve(["--config", str(file)], {}, home=tmp_path).settings
    assert settings.http_cert == Path("auto"), "not the file of that name beside it"
    assert settings.http_key == tmp_path / "auto", "only the certificate has this word"


def test_midi_mappings_in_a_file_are_names_or_relative_to_its_folder(tmp_path: Path) -> None:
    file = tmp_path / "my.toml"
    maps = ["korg-nanokontrol2", "booth.toml", "maps/pads.toml", "~/x.toml", "/etc/y.toml"]
    file.write_text(f"midi_map = {maps}\n")
    assert resolve(["--config", str(file)], {}, home=tmp_path).settings.midi_map == (
        "korg-nanokontrol2", f"{tmp_path}/booth.toml", f"{tmp_path}/maps/pads.toml",
        "~/x.toml", "/etc/y.toml",
    )  # fmt: skip
    given = resolve(["--midi-map", "booth.toml"], {}, home=tmp_path).settings
    assert given.midi_map == ("booth.toml",), "from the working folder, like other paths"


def test_a_file_can_select_a_preset(tmp_path: Path) -> None:
    file = tmp_path / "my.toml"
    file.write_text("preset = 'live'\n")
    resolved = resolve(["--config", str(file)], {}, home=tmp_path)
    assert resolved.settings.buffer_size == 128
    assert resolved.preset_reason == f"preset live (file {file})"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("port = 1\nmeter =\n", "line 2: "),
        ("port = 1\n\nport = 2\n", "line 3: "),
        ("port = 1\nosc_host = 'x", "line 2: "),
        ("port = 1\nlevels = [1,\n\n", "line 2: "),
        ("# \N{PILCROW SIGN}\n\n[a\n", "line 3: "),
        ("bufer_size = 3", "bufer_size (file "),
        ("bufer_size = 3", "the nearest one is buffer_size"),
        ("buffer-size = 3", "the nearest one is buffer_size"),
        ("zzz = 3", "the nearest one is "),
        ('"" = 3', "the nearest one is "),
        ("[audio]\nport = 3", "audio (file "),
        ("config = 'x.toml'", "config (file "),
        ("port = '57120'", "port: '57120' (file "),
        ("port = 1979-05-27", "is not a whole number from 0 to 65535"),
        ("bpm = nan", "bpm: nan (file "),
        ("bpm = -inf", "is not a number of beats per minute from 20 to 400"),
        ("levels = [1, 1]", "levels: [1, 1] (file "),
        ("port = " + "[" * 5000, "my.toml"),
        ("port = " + "1" * 5000, "my.toml"),
    ],
)
def test_a_wrong_file_is_reported_in_one_line(text: str, words: str, tmp_path: Path) -> None:
    assert words in wrong(tmp_path / "my.toml", text.encode())


def test_invalid_utf8_is_reported_with_its_line(tmp_path: Path) -> None:
    assert "line 2: " in wrong(tmp_path / "my.toml", b"port = 1\n# \xff\n")


def test_a_byte_order_mark_is_accepted(tmp_path: Path) -> None:
    file = tmp_path / "my.toml"
    file.write_bytes(b"\xef\xbb\xbfport = 5\r\n")
    assert resolve(["--config", str(file)], {}, home=tmp_path).settings.port == 5


def test_an_unreadable_file_is_reported(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "none", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(SettingError, match=rf"^config: .*\(flag --config\).*{reason}"):
            resolve(["--config", str(path)], {}, home=tmp_path)
    users = user_config_path({}, tmp_path)
    users.mkdir(parents=True)
    with pytest.raises(SettingError, match=r"^config: .*\(default\).*Is a directory"):
        resolve([], {}, home=tmp_path)


def test_a_home_folder_of_another_user_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(path: Path, *_args: Any, **_named: Any) -> NoReturn:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(Path, "stat", denied)  # root, who runs some tests, may see every folder
    monkeypatch.setattr(Path, "open", denied)
    home = Path("/another/home")
    with pytest.raises(SettingError, match=r"^config: .*\(default\).*Permission denied"):
        resolve([], {}, home=home)
    with pytest.raises(SettingError, match=r"config\.toml.*Permission denied"):
        save_user_setting("port", 5, {}, home)


def test_the_example_shows_every_setting_and_its_default(tmp_path: Path) -> None:
    text = (PRESETS / "example.toml").read_text(encoding="utf-8")
    assert tomllib.loads(text) == {}
    lines = text.splitlines()
    active = [line[2:] for line in lines if " = " in line and line.startswith("# ")]
    values = tomllib.loads("\n".join(active))
    assert set(values) == set(OPTIONS) - NOT_IN_FILES
    file = tmp_path / "my.toml"
    file.write_text("\n".join(active))
    settings = resolve(["--config", str(file)], {}, home=tmp_path).settings
    for option in OPTIONS.values():
        if option.default is not None and option.default != ():
            assert getattr(settings, option.name) == option.default


SAVED = [
    ("", "buffer_size = 256\n"),
    ("port = 5", "port = 5\nbuffer_size = 256\n"),
    ("# mine\nport = 5\n", "# mine\nport = 5\nbuffer_size = 256\n"),
    ("a = 'x'\nbuffer_size=64\nb = 'y'\n", "a = 'x'\nbuffer_size = 256\nb = 'y'\n"),
    ("buffer_size = 64  # slow\n", "buffer_size = 256  # slow\n"),
    ("'buffer_size' = 64\r\nport = 5\r\n", "buffer_size = 256\r\nport = 5\r\n"),
    ("# buffer_size = 1\nbuffer_size = 64\n", "# buffer_size = 1\nbuffer_size = 256\n"),
    ("a = '''\nbuffer_size = 1\n'''\n", "a = '''\nbuffer_size = 1\n'''\nbuffer_size = 256\n"),
    ("buffer_size = [\n 1, # x\n 2]\nport = 5\n", "buffer_size = 256\nport = 5\n"),
    ("buffer_size = 'a # b' # c\n", "buffer_size = 256 # c\n"),
    ("[x]\nbuffer_size = 1\n", "buffer_size = 256\n[x]\nbuffer_size = 1\n"),
]


@pytest.mark.parametrize(("before", "after"), SAVED)
def test_saving_changes_one_key(before: str, after: str, tmp_path: Path) -> None:
    environ = {"XDG_CONFIG_HOME": str(tmp_path)}
    path = user_config_path(environ)
    path.parent.mkdir()
    path.write_bytes(before.encode())
    assert save_user_setting("buffer_size", 256, environ) == path
    assert path.read_bytes() == after.encode()
    assert list(path.parent.iterdir()) == [path]


def test_a_saved_setting_is_read_back(tmp_path: Path) -> None:
    values: dict[str, Any] = {
        "buffer_size": 128,
        "bpm": 126,
        "print_beats": True,
        "levels": (1, 0.5, 0, 4),
        "device": 'a "quoted" \\ name',
        "deck_a": tmp_path / "ü.wav",
        "media_root": ["/music", "/usb"],
    }
    for name, value in values.items():
        save_user_setting(name, value, {}, home=tmp_path)
    settings = resolve([], {}, home=tmp_path).settings
    for name, value in values.items():
        assert getattr(settings, name) == OPTIONS[name].kind.read(value)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("buffer_size", 15, "buffer_size: 15 (file "),
        ("buffer_size", None, "buffer_size: None (file "),
        ("bufer_size", 64, "the nearest one is buffer_size"),
        ("config", "x.toml", "config (file "),
        ("deck_a", "\udc80.wav", "text that UTF-8 can hold"),
    ],
)
def test_a_wrong_value_is_not_saved(name: str, value: object, words: str, tmp_path: Path) -> None:
    with pytest.raises(SettingError) as error:
        save_user_setting(name, value, {}, home=tmp_path)
    assert words in str(error.value)
    assert not user_config_path({}, tmp_path).exists()


@pytest.mark.parametrize("text", ["port = \n", "buffer_size.x = 1\n"])
def test_a_file_that_cannot_be_edited_stays_unchanged(text: str, tmp_path: Path) -> None:
    path = user_config_path({}, tmp_path)
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(SettingError, match="config"):
        save_user_setting("buffer_size", 64, {}, home=tmp_path)
    assert path.read_text() == text


def test_a_folder_that_cannot_be_created_is_reported(tmp_path: Path) -> None:
    (tmp_path / ".config").write_text("a file")
    with pytest.raises(SettingError, match=r"^buffer_size: file .* cannot be written: "):
        save_user_setting("buffer_size", 64, {}, home=tmp_path)


def test_saving_keeps_a_link_and_the_mode_of_its_target(tmp_path: Path) -> None:
    path, real = user_config_path({}, tmp_path), tmp_path / "real.toml"
    real.write_text("port = 5\n")
    real.chmod(0o640)
    path.parent.mkdir(parents=True)
    path.symlink_to(real)
    save_user_setting("buffer_size", 64, {}, home=tmp_path)
    assert path.is_symlink()
    assert real.read_text() == "port = 5\nbuffer_size = 64\n"
    assert os.stat(real).st_mode & 0o777 == 0o640


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_survives_writing_and_reading(text: str) -> None:
    assert tomllib.loads(f"x = {write_value(text)}") == {"x": text}


@given(
    st.dictionaries(
        st.sampled_from(sorted(OPTIONS)),
        st.one_of(st.integers(), st.booleans(), st.text("ab#'\"= \n"), st.lists(st.text("a#"))),
    ),
    st.sampled_from(sorted(OPTIONS)),
    st.one_of(st.integers(), st.text("ab#'\"= \n")),
)
def test_setting_a_key_changes_only_that_key(values: dict[str, Any], key: str, value: Any) -> None:
    text = "".join(f"{k} = {write_value(v)} # {k}\n" for k, v in values.items())
    edited = set_key(text, key, value)
    assert tomllib.loads(edited) == {**values, key: value}
    kept = [line for line in text.split("\n") if not line.startswith(f"{key} =")]
    assert [line for line in edited.split("\n") if not line.startswith(f"{key} =")] == kept


def test_the_state_folder_is_the_users_or_the_services(tmp_path: Path) -> None:
    expected = tmp_path / ".local" / "state" / "crowdstream"
    assert state_folder({}, tmp_path) == expected
    assert state_folder({"XDG_STATE_HOME": "relative"}, tmp_path) == expected
    assert state_folder({"XDG_STATE_HOME": "/x"}, tmp_path) == Path("/x/crowdstream")
    service = {"XDG_STATE_HOME": "/x", "STATE_DIRECTORY": "/var/lib/crowdstream:/var/lib/other"}
    assert state_folder(service, tmp_path) == Path("/var/lib/crowdstream")


def test_a_broadcast_with_a_password_is_refused_on_the_command_line_only(tmp_path: Path) -> None:
    url = "icecast://dj:tr0ub4dor@example.org/live"
    file = tmp_path / "a.toml"
    file.write_text(f'broadcast = "{url}"\n')
    with pytest.raises(SettingError) as caught:
        resolve(["--broadcast", url], {}, home=tmp_path)
    assert "tr0ub4dor" not in str(caught.value)
    assert "every user sees the command line" in str(caught.value)
    for words, environ in ((["--config", str(file)], {}), ([], {"CROWDSTREAM_BROADCAST": url})):
        assert resolve(words, environ, home=tmp_path).settings.broadcast == (url,)


def test_the_error_for_a_wrong_alert_url_does_not_show_it(tmp_path: Path) -> None:
    url = "ftp://dj:tr0ub4dor@example.org"
    file = tmp_path / "a.toml"
    file.write_text(f'alert_url = "{url}"\n')
    for words, environ, values in (
        (["--alert-url", url], {}, {}),
        ([], {"CROWDSTREAM_ALERT_URL": url}, {}),
        (["--config", str(file)], {}, {}),
        ([], {}, {"alert_url": [url]}),
    ):
        with pytest.raises(SettingError) as caught:
            resolve(words, environ, values=values, home=tmp_path)
        assert "tr0ub4dor" not in str(caught.value)
        assert "alert_url: the value (" in str(caught.value)
        assert "begins with http:// or https://" in str(caught.value)
