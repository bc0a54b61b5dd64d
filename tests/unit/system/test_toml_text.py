"""TOML from outside: parsed like tomllib, but deep keys are refused beforehand."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowdstream.system.text import MAX_KEY_PARTS, TomlError, check_keys, parse_toml

DEEP = "a." * MAX_KEY_PARTS + "a"
QUOTED = ".".join(['"a b"', "'c.d'"] * MAX_KEY_PARTS)


@pytest.mark.parametrize(
    "text",
    [
        f"{DEEP} = 1", f"[{DEEP}]", f"[[ {DEEP.replace('.', ' . ')} ]]", f"x = {{{DEEP} = 1}}",
        f"{QUOTED} = 1", f'x = 1 # "\n{DEEP} = 1', f'x = """\n"""\n{DEEP} = 1',
        f'x = {{s = """a"""", {DEEP} = 1}}', f"x = {{s = '''a''''', {DEEP} = 1}}",
        f'x = "\\""\n{DEEP} = 1',
    ],
)  # fmt: skip
def test_a_deep_key_is_refused_before_it_is_parsed(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[str] = []
    monkeypatch.setattr("crowdstream.system.text.tomllib.loads", parsed.append)
    with pytest.raises(TomlError, match=f"more than {MAX_KEY_PARTS} parts") as caught:
        parse_toml(text)
    assert caught.value.line == text.count("\n") + 1
    assert not parsed


@pytest.mark.parametrize(
    "text",
    [
        "a." * (MAX_KEY_PARTS - 1) + "a = 1", f'title = "{DEEP}"', f"title = '{DEEP}'",
        f'title = """\n{DEEP} ""\n"""', f"title = '''{DEEP}'''", f"# {DEEP}\nx = 1",
        "x = [" + "0.125, " * 500 + "]", "x = 1979-05-27T07:32:00.999",
        f'x = "\\"" # {DEEP}',
    ],
)  # fmt: skip
def test_dots_outside_keys_are_ignored(text: str) -> None:
    assert parse_toml(text) == tomllib.loads(text)


@given(
    st.lists(
        st.sampled_from(
            ["a", ".", '"', "'", '"""', "'''", "\\", "\n", " ", "#", "=", "[", "]", "{", "}", ","]
        ),
        max_size=60,
    ).map("".join)
)
def test_accepted_text_is_parsed_like_tomllib(text: str) -> None:
    try:
        check_keys(text)
    except TomlError:
        assert text.count(".") >= MAX_KEY_PARTS
        return
    try:
        wanted = tomllib.loads(text)
    except ValueError:
        with pytest.raises(TomlError):
            parse_toml(text)
    else:
        assert parse_toml(text) == wanted


def test_invalid_toml_is_reported_with_its_line() -> None:
    with pytest.raises(TomlError) as caught:
        parse_toml("a = 1\nb = = 2\n")
    assert caught.value.line == 2
    with pytest.raises(TomlError, match="before the file ends") as caught:
        parse_toml("a = 1\nb = [1,\n")
    assert caught.value.line == 2
    with pytest.raises(TomlError, match="nested too deeply"):
        parse_toml("a = " + "[" * 5000)
