"""The page's URLs and QR code in the terminal."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import NoReturn

import pytest

from crowdstream.web.auth.invitation import (
    SIOCGIFADDR,
    _first_addresses,
    invitation,
    own_addresses,
    page_url,
    qr_code,
)
from tests.support.web_client import settings

ADDRESSES = {
    "lo": [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")],
    "eth0": [
        (socket.AF_PACKET, "00:11:22:33:44:55"), (socket.AF_INET, "192.168.1.20"),
        (socket.AF_INET6, "2001:db8::5"), (socket.AF_INET6, "fe80::1%eth0"),
    ],
    "wlan0": [(socket.AF_INET, "10.3.0.7")],
    "down0": [(socket.AF_INET, "10.9.9.9")],
}  # fmt: skip


@pytest.fixture(autouse=True)
def _interfaces(monkeypatch: pytest.MonkeyPatch) -> None:
    addresses = {
        name: [SimpleNamespace(family=family, address=text) for family, text in found]
        for name, found in ADDRESSES.items()
    }
    states = {name: SimpleNamespace(isup=name != "down0") for name in ADDRESSES}
    monkeypatch.setattr("psutil.net_if_addrs", lambda: addresses)
    monkeypatch.setattr("psutil.net_if_stats", lambda: states)


def test_own_addresses_are_those_that_others_can_reach() -> None:
    assert own_addresses("0.0.0.0") == ["192.168.1.20", "10.3.0.7"]
    assert set(own_addresses("::")) == {"192.168.1.20", "10.3.0.7", "2001:db8::5"}
    assert own_addresses("192.168.1.20") == ["192.168.1.20"]
    assert own_addresses("127.0.0.1") == own_addresses("::1") == own_addresses("localhost") == []


def test_a_service_that_may_not_use_netlink_finds_its_addresses(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refused() -> NoReturn:
        raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))

    def ioctl(_socket: object, request: int, data: bytes) -> bytes:
        name = data.rstrip(b"\0").decode()
        texts = [text for family, text in ADDRESSES[name] if family == socket.AF_INET]
        assert request == SIOCGIFADDR
        return data[:16].ljust(20, b"\0") + socket.inet_aton(texts[0]) + bytes(232)

    table = tmp_path / "if_inet6"
    table.write_text(
        "00000000000000000000000000000001 01 80 10 80       lo\n"
        "20010db8000000000000000000000005 02 40 00 80     eth0\n"
        "fe800000000000000000000000000001 02 40 20 80     eth0\n"
        "20010db8000000000000000000000009 03 40 00 80    down0\n"
    )
    monkeypatch.setattr("psutil.net_if_addrs", refused)
    monkeypatch.setattr(fcntl, "ioctl", ioctl)
    monkeypatch.setattr("crowdstream.web.auth.invitation.IPV6_TABLE", table)
    assert set(own_addresses("0.0.0.0")) == {"192.168.1.20", "10.3.0.7"}
    assert set(own_addresses("::")) == {"192.168.1.20", "10.3.0.7", "2001:db8::5"}
    assert "http://192.168.1.20:8080/" in invitation(settings(http_host="0.0.0.0"), "", 8080)


def test_the_request_for_an_interfaces_address_is_the_kernels() -> None:
    assert list(_first_addresses(["lo", "no-such-interface"])) == ["127.0.0.1"]


def test_the_most_likely_address_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["2a00::5", "93.184.216.34", "fd00::1", "192.168.1.20"]
    families = {True: socket.AF_INET6, False: socket.AF_INET}
    found = [SimpleNamespace(family=families[":" in text], address=text) for text in texts]
    monkeypatch.setattr("psutil.net_if_addrs", lambda: {"eth0": found})
    assert own_addresses("::") == ["192.168.1.20", "93.184.216.34", "fd00::1", "2a00::5"]
    assert own_addresses("0.0.0.0") == ["192.168.1.20", "93.184.216.34"]


def test_urls_omit_the_default_port() -> None:
    tls = settings(http_cert="cert.pem")
    assert page_url(tls, "10.0.0.1", 443) == "https://10.0.0.1/"
    assert page_url(tls, "10.0.0.1", 80) == "https://10.0.0.1:80/"
    assert page_url(settings(), "10.0.0.1", 80) == "http://10.0.0.1/"
    assert page_url(settings(), "10.0.0.1", 443) == "http://10.0.0.1:443/"
    assert page_url(settings(), "10.0.0.1", 81, "a b&c") == "http://10.0.0.1:81/?token=a%20b%26c"


def test_urls() -> None:
    assert page_url(settings(), port=8080) == "http://127.0.0.1:8080/"
    assert page_url(settings(http_host="0.0.0.0"), port=80) == "http://localhost/"
    tls = settings(http_host="::", http_cert="cert.pem")
    assert page_url(tls, "2001:db8::5", 8443, "a-b") == "https://[2001:db8::5]:8443/?token=a-b"


def test_the_invitation_lists_each_url_with_the_token() -> None:
    text = invitation(settings(http_host="0.0.0.0"), "secret-token", 8080)
    assert "  http://192.168.1.20:8080/?token=secret-token" in text.splitlines()
    assert "  http://10.3.0.7:8080/?token=secret-token" in text.splitlines()
    assert invitation(settings(), "", 8080) == ""
    assert "http://127.0.0.1:8080/?token=t" in invitation(settings(http_token="t"), "t", 8080)


def test_the_qr_code_contains_the_first_url() -> None:
    text = qr_code(settings(http_host="0.0.0.0"), "abcdefgh-ijklmnop_qrstuv", 8080)
    lines = text.splitlines()
    assert 15 <= len(lines) <= 24, "it fits a terminal of 24 lines"
    assert set("▀▄█") & set(text)
    assert qr_code(settings(), "", 8080) == ""
    first, second = (
        qr_code(settings(http_host=host), "abcdefgh-ijklmnop_qrstuv", 8080)
        for host in ("192.168.1.20", "10.3.0.7")
    )
    assert text == first != second
