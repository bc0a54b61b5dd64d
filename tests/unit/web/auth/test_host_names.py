"""Checks of the `Host` and `Origin` headers."""

from __future__ import annotations

import pytest

from crowdstream.web.auth.headers import known_host, own_names, same_origin, split_host

NAMES = frozenset({"localhost", "stage.lan"})


def test_own_names_come_from_the_machine_and_the_settings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "Stage.lan.")
    assert own_names() == {"localhost", "stage.lan", "stage", "stage.local"}
    assert own_names(["DJ.example."]) == own_names() | {"dj.example"}
    monkeypatch.setattr("socket.gethostname", lambda: "")
    assert own_names() == {"localhost"}, "an empty name is no name, with .local or without"


@pytest.mark.parametrize(
    ("text", "split"),
    [
        ("Stage.Lan.", ("stage.lan", 80)),
        ("stage:8080", ("stage", 8080)),
        ("stage:0", ("stage", 0)),
        ("stage:65535", ("stage", 65535)),
        ("stage:65536", None),
        ("stage:123456", None),
        ("stage:", None),
        ("stage:-1", None),
        ("-stage", None),
        ("[::1]", ("[::1]", 80)),
        ("[::1]:81", ("[::1]", 81)),
        ("[:]", None),
        ("x" * 253, ("x" * 253, 80)),
        ("x" * 254, None),
        ("stage lan", None),
        ("stage\n", None),
    ],
)
def test_a_host_header_is_split_into_name_and_port(
    text: str, split: tuple[str, int] | None
) -> None:
    assert split_host(text, 80) == split


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ("localhost", True), ("LOCALHOST:1", True), ("stage.lan.", True), ("10.1.2.3:80", True),
        ("[2001:db8::1]", True), ("stage", False), ("stage.lan.evil", False), ("[::zz]", False),
        ("", False), ("10.1.2", False), ("10.1.2.3.4", False),
    ],
)  # fmt: skip
def test_only_own_names_and_numeric_addresses_are_accepted(text: str, known: bool) -> None:
    assert known_host(text, NAMES) is known


@pytest.mark.parametrize(
    ("origin", "host", "same"),
    [
        ("http://stage", "stage", True), ("http://stage:80", "stage", True),
        ("http://stage", "stage:80", True), ("https://stage", "stage:443", True),
        ("https://stage:443", "stage", True), ("https://stage", "stage:80", False),
        ("http://stage", "stage:443", False), ("http://stage:8080", "stage:8080", True),
        ("http://stage:8080", "stage", False), ("http://other", "stage", False),
        ("http://", "stage", False), ("null", "stage", False), ("ftp://stage", "stage", False),
        ("http://a b", "a b", False), ("http://?", "?", False),
    ],
)  # fmt: skip
def test_same_origin_compares_host_and_port(origin: str, host: str, same: bool) -> None:
    assert same_origin(origin, host) is same
