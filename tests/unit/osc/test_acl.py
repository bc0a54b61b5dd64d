"""Access control: this machine and the allow list are trusted, however an address is written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowdstream.osc.acl import REMEMBERED, AllowList, TrustLevel, exposure
from crowdstream.settings import validate
from crowdstream.system.network_address import parse_address

T, S, B = TrustLevel.TRUSTED, TrustLevel.STRANGER, TrustLevel.BARRED


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.8.7", "::1", "::ffff:127.0.0.1", "::1%lo"])
def test_this_machine_is_always_trusted(host: str) -> None:
    assert AllowList().trust_level((host, 1)) is T
    assert AllowList(["10.0.0.0/8"]).trust_level((host, 1)) is T


@pytest.mark.parametrize(
    ("host", "sender", "trusted"),
    [
        ("192.168.1.5", "192.168.1.5", True),
        ("192.168.1.5", "::ffff:192.168.1.5", True),
        ("192.168.1.5", "192.168.1.6", False),
        ("0.0.0.0", "0.0.0.0", False),
        ("venue", "192.168.1.5", False),
        ("fd00::5", "fd00::5", False),  # other machines could send from it
    ],
)
def test_programs_of_this_machine_send_from_the_address_it_listens_on(
    host: str, sender: str, trusted: bool
) -> None:
    for networks in ((), ("10.0.0.0/8",)):
        assert AllowList(networks, host).trusts((sender, 9)) == trusted


@pytest.mark.parametrize(
    ("networks", "host", "trust_level"),
    [
        ([], "10.0.0.1", S),
        ([], "fe80::1%eth0", S),
        (["10.0.0.0/8"], "10.255.0.1", T),
        (["10.0.0.0/8"], "::ffff:10.255.0.1", T),
        (["10.0.0.0/8"], "11.0.0.1", B),
        (["10.0.0.0/8"], "::ffff:11.0.0.1", B),
        (["10.0.0.0/8"], "::10.0.0.1", B),
        (["10.0.0.0/8", "192.168.1.7/32"], "192.168.1.7", T),
        (["192.168.1.7/32"], "192.168.1.8", B),
        (["fe80::/10"], "fe80::1%eth0", T),
        (["fe80::/10"], "10.0.0.1", B),
        (["::/0"], "10.0.0.1", B),
        (["::/0"], "2001:db8::1", T),
        (["0.0.0.0/0"], "2001:db8::1", B),
        (["::ffff:10.0.0.0/104"], "10.1.1.1", T),
        (["::ffff:10.0.0.0/104"], "::ffff:11.1.1.1", B),
        (["::ffff:10.0.0.0/104"], "10.200.1.1", T),
        (["::ffff:0:0/96"], "10.1.1.1", T),
        (["::ffff:0:0/96"], "::1:0:0", B),
        (["::fffe:0:0/95"], "10.1.1.1", B),
        (["10.0.0.0/8"], "no address", B),
        ([], "no address", S),
    ],
)
def test_other_senders_get_the_trust_level_of_the_allow_list(
    networks: list[str], host: str, trust_level: TrustLevel
) -> None:
    for sender in ((host, 1), (host, 2, 0, 3)):
        assert AllowList(networks).trust_level(sender) is trust_level


def test_the_three_trust_levels_differ() -> None:
    assert len({T, S, B}) == 3 == len({int(one) for one in (T, S, B)})


def test_only_this_machine_and_the_allow_list_are_trusted() -> None:
    assert AllowList().trusts(None) and AllowList().trusts(("127.0.0.1", 1))
    assert not AllowList().trusts(("10.0.0.1", 1))
    barring = AllowList(["10.0.0.0/8"])
    assert barring.trusts(None) and barring.trusts(("10.0.0.1", 1))
    assert not barring.trusts(("11.0.0.1", 1))


@given(st.ip_addresses(), st.ip_addresses(v=4), st.integers(0, 32))
def test_a_network_trusts_exactly_its_own_addresses(
    address: object, base: object, bits: int
) -> None:
    import ipaddress

    network = ipaddress.ip_network(f"{base}/{bits}", strict=False)
    plain = parse_address(str(address))
    inside = plain is not None and (plain in network or plain.is_loopback)
    found = AllowList([str(network)]).trust_level((str(address), 9))
    assert found is (T if inside else B)


def test_forged_addresses_do_not_fill_the_cache() -> None:
    allow = AllowList()
    for number in range(3 * REMEMBERED):
        allow.trust_level((f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 1))
    assert allow._classified.cache_info().currsize == REMEMBERED


def test_a_server_open_to_the_network_logs_a_warning() -> None:
    for host in ("127.0.0.1", "::1", "localhost"):
        assert not exposure(host, (), ())
    assert not exposure("0.0.0.0", ("10.0.0.0/8",), ())
    for host in ("0.0.0.0", "::", "192.168.1.4", "pi.local"):
        assert f"listening on {host} without --osc-allow" in exposure(host, (), ())
    assert "--media-root" in exposure("0.0.0.0", (), ())
    assert "--media-root" not in exposure("0.0.0.0", (), ("/music",))


def test_a_server_listens_only_on_loopback_by_default() -> None:
    assert validate().osc_host == "127.0.0.1"
    assert validate().osc_allow == ()
