"""Parsing and formatting of network addresses."""

from __future__ import annotations

import ipaddress

import pytest

from crowdstream.system.network_address import (
    format_address,
    is_any_address,
    is_loopback,
    parse_address,
    parse_network,
    sender_key,
)


@pytest.mark.parametrize(
    ("host", "sender"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("::1", "::1"),
        ("::ffff:127.0.0.1", "127.0.0.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::ffff:0:0:1", "2001:db8::/64"),
        ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("a name", "a name"),
    ],
)
def test_a_sender_is_counted_by_address_or_ipv6_network(host: str, sender: str) -> None:
    assert sender_key(host) == sender


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True), ("127.3.2.1", True), ("::1", True), ("::1%lo", True),
        ("::ffff:127.0.0.1", True), ("localhost", True), ("LocalHost.", True),
        ("10.0.0.1", False), ("::ffff:10.0.0.1", False), ("::", False), ("0.0.0.0", False),
        ("localhost.evil", False), ("", False),
    ],
)  # fmt: skip
def test_loopback_addresses_are_recognized(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


@pytest.mark.parametrize(
    ("sender", "shown"),
    [
        (("10.0.0.1", 9000), "10.0.0.1:9000"), (("::1", 9000, 0, 0), "[::1]:9000"),
        (("::ffff:10.0.0.1", 9000, 0, 0), "10.0.0.1:9000"),
        (("fe80::1%eth0", 9000, 0, 2), "[fe80::1]:9000"),
    ],
)  # fmt: skip
def test_an_address_is_formatted_with_its_port(sender: tuple[str, int], shown: str) -> None:
    assert format_address(sender) == shown


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"), ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("::ffff:0:0/96", "0.0.0.0/0"), ("::/0", "::/0"), ("2001:db8::/32", "2001:db8::/32"),
    ],
)  # fmt: skip
def test_a_network_of_mapped_addresses_becomes_ipv4(text: str, network: str) -> None:
    assert parse_network(text) == ipaddress.ip_network(network)


def test_a_network_with_host_bits_is_refused() -> None:
    with pytest.raises(ValueError, match="host bits"):
        parse_network("10.0.0.1/8")


def test_a_name_is_not_an_address() -> None:
    assert parse_address("pi.local") is None
    assert str(parse_address("fe80::1%eth0")) == "fe80::1"


@pytest.mark.parametrize(
    ("host", "everywhere"),
    [("0.0.0.0", True), ("::", True), ("10.0.0.1", False), ("localhost", False), ("", False)],
)
def test_unspecified_hosts_mean_all_addresses(host: str, everywhere: bool) -> None:
    assert is_any_address(host) is everywhere
