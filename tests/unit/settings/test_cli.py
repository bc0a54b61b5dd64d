"""The command line: accepted flags, and one-line errors."""

import pytest

from crowdstream.settings import OPTIONS, build_parser, resolve


def refused(argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line printed for a wrong command line."""
    with pytest.raises(SystemExit) as stop:
        resolve(argv, {})
    assert stop.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("crowdstream: ")
    assert err.count("\n") == 1
    assert err.endswith("\n")
    return err


def test_flags_not_given_are_missing_from_the_namespace() -> None:
    assert vars(build_parser("crowdstream").parse_args([])) == {}


def test_every_setting_has_a_flag_and_is_in_the_help() -> None:
    text = build_parser("crowdstream").format_help()
    for option in OPTIONS.values():
        assert f"{option.flag} " in text or f"{option.flag}," in text
    assert "--list-devices" in text
    assert "--show-config" in text


def test_help_exits_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        resolve(["--help"], {})
    assert stop.value.code == 0
    assert "CROWDSTREAM_BUFFER_SIZE" in capsys.readouterr().out


def test_help_uses_the_given_program_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        build_parser("other").parse_args(["--port"])
    assert capsys.readouterr().err.startswith("other: port: ")


def test_an_abbreviated_flag_is_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    assert "unknown flag --buffer" in refused(["--buffer", "128"], capsys)


def test_an_unknown_flag_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert "unknown flag --prot; the nearest one is --port" in refused(["--prot=5"], capsys)
    assert "the nearest one is --buffer-size" in refused(["--buff", "5"], capsys)


def test_an_unexpected_word_is_quoted_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert "'two words'" in refused(["two words"], capsys)
    refused(["a\nb"], capsys)
    refused(["--a\nb"], capsys)


@pytest.mark.parametrize(
    ("argv", "allowed"),
    [
        (["--port"], "a whole number from 0 to 65535"),
        (["--levels", "1", "2"], "4 numbers from 0 to 4"),
        (["--buffer-size"], "a whole number of frames from 16 to 8192"),
        (["--print-beats=3"], "true or false"),
    ],
)
def test_a_missing_value_reports_the_allowed_values(
    argv: list[str], allowed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    line = refused(argv, capsys)
    assert allowed in line
    assert argv[0].partition("=")[0] in line
