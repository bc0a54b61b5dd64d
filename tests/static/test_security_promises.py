"""Every promise of docs/how-to/secure-network.md names tests, and these tests exist."""

from __future__ import annotations

import ast
import re

import pytest

from tests.support.environment import PROJECT

TEXT = (PROJECT / "docs" / "how-to" / "secure-network.md").read_text(encoding="utf-8")
NAMED = re.findall(r"`(tests/\S+\.py)::(\w+)`", TEXT)
WITHOUT = {"On a network", "What else is not protected"}  # sections without promises


@pytest.mark.parametrize(("path", "name"), sorted(set(NAMED)))
def test_each_named_test_exists(path: str, name: str) -> None:
    tree = ast.parse((PROJECT / path).read_text(encoding="utf-8"))
    assert name in {one.name for one in ast.walk(tree) if isinstance(one, ast.FunctionDef)}


def test_every_section_and_every_promise_of_the_page_names_tests() -> None:
    assert len(set(NAMED)) > 50
    for part in TEXT.split("\n## ")[1:]:
        title = part.partition("\n")[0]
        assert title in WITHOUT or "Tests: " in part, title
    for bold in (
        "The token", "Guesses", "Other sites", "What a page may do", "Limits", "Encryption",
        "Behind a proxy",
    ):  # fmt: skip
        rest = TEXT.partition(f"**{bold}")[2].partition("\n**")[0]
        assert "Tests: " in rest, bold


@pytest.mark.parametrize(("unit", "memory"), [("server", "80%"), ("dj", "40%")])
def test_both_services_have_limits(unit: str, memory: str) -> None:
    template = (PROJECT / "contrib" / "crowdstream.service").read_text(encoding="utf-8")
    found = {}
    other = {"server": "dj", "dj": "server"}[unit]
    for line in template.splitlines():
        tags, setting = re.findall(r"^((?:@\w+ )*)(\w+=.*)?", line)[0]
        if setting and f"@{other} " not in tags:
            name, _, value = setting.partition("=")
            found[name] = value
    assert found["UMask"] == "0027"
    assert found["MemoryMax"] == memory and 64 <= int(found["TasksMax"]) <= 1024
