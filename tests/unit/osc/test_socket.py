"""The OSC socket: lost packets and replies are counted, and ports in use are reported."""

from __future__ import annotations

import dataclasses
import os
import re
import socket

import pytest

from crowdstream.osc import socket as osc_module
from crowdstream.osc.fair_queue import TRUSTED_LIMIT
from crowdstream.osc.socket import OscSocket, PortTaken
from crowdstream.system import port_holders
from tests.support.environment import PROJECT
from tests.support.server import until


def drained(osc: OscSocket) -> int:
    """Drain the socket, and return the number of packets received so far."""
    osc.drain()
    return osc.received


def test_packets_without_room_in_the_queue_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    limit = dataclasses.replace(TRUSTED_LIMIT, room=200, room_bytes=200_000)
    monkeypatch.setattr("crowdstream.osc.fair_queue.TRUSTED_LIMIT", limit)
    osc = OscSocket("127.0.0.1", 0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        for _ in range(150):
            client.sendto(b"/a\0\0", ("127.0.0.1", osc.port))
        until(lambda: drained(osc) == 150)
        assert (osc.waiting, osc.refused) == (100, 50)
        assert len(list(osc.take(64))) == 64
        assert len(list(osc.take(64))) == 36
        for _ in range(20):
            client.sendto(bytes(10_000), ("127.0.0.1", osc.port))
        until(lambda: drained(osc) == 170)
        assert (osc.waiting, osc.refused, osc.limited) == (10, 60, 0)
    osc.close()


def test_packets_that_the_kernel_drops_are_counted() -> None:
    osc = OscSocket("127.0.0.1", 0)
    osc._sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        for _ in range(1000):
            client.sendto(bytes(1000), ("127.0.0.1", osc.port))
    osc.drain()
    assert osc.dropped > 0
    assert osc.received + osc.dropped == 1000
    assert osc._dropped_by_table(osc._sockets[0]) == osc.dropped
    osc.close()


def test_a_reply_that_can_not_be_sent_is_counted() -> None:
    osc = OscSocket("127.0.0.1", 0)
    osc.answer(("127.0.0.1", 9), "/big", "x" * 70000)
    assert osc.answers_lost == 1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = closed.getsockname()
    for _ in range(5):
        osc.answer(nobody, "/done")
        osc.drain()
    osc.close()


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_a_client_gets_replies_from_the_address_to_which_it_sends(host: str) -> None:
    """A connected socket drops replies from another address of the same machine."""
    osc = OscSocket(host, 0)
    again = OscSocket(host, 0, (), [os.dup(fd) for fd in osc.filenos()])  # a later control's
    for one in (osc, again):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.connect(("127.0.0.2", osc.port))
            client.send(b"/a\0\0")
            until(lambda one=one: drained(one) == 1)
            ((_packet, sender),) = one.take(8)
            one.answer(sender, "/b")
            client.settimeout(5)
            assert client.recv(100) == b"/b\0\0,\0\0\0"
        assert one.answers_lost == 0
    again.close()
    osc.close()


def test_replies_do_not_need_an_address_that_the_machine_has_lost() -> None:
    osc = OscSocket("0.0.0.0", 0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(b"/a\0\0", ("127.0.0.1", osc.port))
        until(lambda: drained(osc) == 1)
        ((_packet, sender),) = osc.take(8)
        lost = bytes([0, 0, 0, 0, 192, 0, 2, 1, 0, 0, 0, 0])
        osc._local_addresses[sender[0]] = (socket.IPPROTO_IP, osc_module.IP_PKTINFO, lost)
        osc.answer(sender, "/b")
        client.settimeout(5)
        assert client.recv(100) == b"/b\0\0,\0\0\0"
    assert osc.answers_lost == 0
    osc.close()


def test_a_bounded_number_of_hosts_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(osc_module, "MAX_SENDER_HOSTS", 2)
    osc = OscSocket("0.0.0.0", 0)
    for count, host in enumerate(("127.0.0.2", "127.0.0.3", "127.0.0.4"), 1):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.bind((host, 0))
            client.sendto(b"/a\0\0", ("127.0.0.1", osc.port))
        until(lambda count=count: drained(osc) == count)
    assert list(osc._local_addresses) == ["127.0.0.3", "127.0.0.4"]
    osc.close()


def test_both_loopbacks_and_both_protocols_reach_the_server() -> None:
    # A client that resolves `localhost` may get either address.
    for host in ("127.0.0.1", "localhost", "::1", "0.0.0.0", "::"):
        osc = OscSocket(host, 0)
        clients = [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
        for count, (family, address) in enumerate(clients, 1):
            with socket.socket(family, socket.SOCK_DGRAM) as client:
                client.settimeout(60)
                client.sendto(b"/a\0\0", (address, osc.port))
                until(lambda osc=osc, count=count: drained(osc) == count)
                ((packet, sender),) = osc.take(8)
                assert packet == b"/a\0\0"
                osc.answer(sender, "/b")
                assert client.recv(64) == b"/b\0\0,\0\0\0"
        assert (osc.answers_lost, osc.dropped, osc.barred) == (0, 0, 0)
        osc.close()


def test_an_allowed_ipv6_network_bars_other_senders(monkeypatch: pytest.MonkeyPatch) -> None:
    osc = OscSocket("127.0.0.1", 0, ["2001:db8::/32"])
    for sender in (("2001:db8::7", 5000, 0, 0), ("2001:db9::7", 5000, 0, 0), ("::1", 5000, 0, 0)):
        osc._queue.put(b"/a\0\0", sender)
    assert (osc.waiting, osc.barred) == (2, 1)
    osc.close()


def test_a_port_in_use_on_the_other_loopback_is_logged_and_left_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as taken:
        taken.bind(("::1", 0))
        port = taken.getsockname()[1]
        osc = OscSocket("127.0.0.1", port)
        assert len(osc.filenos()) == 1
        holder = f"in use by process {os.getpid()} ("
        assert f"UDP port {port} on ::1 is {holder}" in caplog.text
        osc.close()


def test_the_error_for_a_port_in_use_names_the_process_and_the_remedy() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(PortTaken) as refused:
            OscSocket("127.0.0.1", port)
    text = str(refused.value)
    assert f"UDP port {port} on 127.0.0.1 is in use by process {os.getpid()} (" in text
    other = re.search(r"--port (\d+)", text)
    assert other and 0 < int(other[1]) < 65536 and int(other[1]) != port
    assert "SuperDirt" not in text


def test_the_error_for_the_default_port_names_other_programs_that_use_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def held(kind: str, number: int) -> list[str]:
        return ["process 4711 (sclang)"] if (kind, number) == ("udp", 57120) else []

    monkeypatch.setattr(port_holders, "port_holders", held)
    text = osc_module.port_taken_message("127.0.0.1", 57120)
    assert "in use by process 4711 (sclang): end that" in text and "--port 57130" in text
    [page] = re.findall(r"docs/\S+\.md", text)
    assert (PROJECT / page).is_file()
    monkeypatch.setattr(port_holders, "port_holders", lambda _kind, _number: [])
    text = osc_module.port_taken_message("127.0.0.1", 57121)
    assert "in use by a program of another user" in text


def test_sockets_of_an_earlier_control_are_adopted() -> None:
    first = OscSocket("127.0.0.1", 0)
    again = OscSocket("127.0.0.1", 0, (), [os.dup(fd) for fd in first.filenos()])
    assert (again.port, len(again.filenos())) == (first.port, len(first.filenos()))
    first.close()
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as client:
        client.sendto(b"/a\0\0", ("::1", again.port))
        until(lambda: drained(again) == 1)
    again.close()
