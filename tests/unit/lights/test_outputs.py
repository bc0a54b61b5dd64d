"""Outputs over loopback: receivers that are there, gone, slow, and back."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import sys
import threading
from collections.abc import Iterator

import pytest
import zeroconf
from sacn.messages.data_packet import DataPacket

from crowdstream.lights import outputs
from crowdstream.lights.discovery import SERVICE, find_os2l
from crowdstream.lights.outputs import MAX_QUEUE, Output, make_output
from crowdstream.settings.light_target import parse_target
from crowdstream.system.text import install_command
from tests.support.osc_client import until

SLOTS = bytes(range(16))


@contextlib.contextmanager
def started(text: str) -> Iterator[tuple[Output, list[str]]]:
    """An output that runs, and the states it has reported."""
    states: list[str] = []
    output = make_output(parse_target(text), lambda: states.append(output.state))
    output.start()
    try:
        yield output, states
    finally:
        output.close()
        output.join(10.0)


@pytest.fixture
def receiver() -> Iterator[socket.socket]:
    """A UDP socket on loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.bind(("127.0.0.1", 0))
        made.settimeout(30.0)
        yield made


def port_of(made: socket.socket) -> int:
    """The port of a socket."""
    return int(made.getsockname()[1])


def test_sacn_values_begin_at_the_channel_and_the_stream_is_ended(receiver: socket.socket) -> None:
    with started(f"sacn://127.0.0.1:{port_of(receiver)}/7?channel=17&priority=50") as (output, _):
        for _ in range(3):
            output.offer(SLOTS)
        packets = [DataPacket.make_data_packet(receiver.recv(2000)) for _ in range(3)]
    assert [one.sequence for one in packets] == [1, 2, 3]
    assert all(bytes(one.dmxData[:32]) == bytes(16) + SLOTS for one in packets)
    assert (packets[0].universe, packets[0].priority) == (7, 50)
    ends = [DataPacket.make_data_packet(receiver.recv(2000)) for _ in range(3)]
    assert all(one.option_StreamTerminated for one in ends)
    assert output.sent == 3 and output.lost == 0


def test_artnet_values_arrive_and_the_end_is_dark(receiver: socket.socket) -> None:
    with started(f"artnet://127.0.0.1:{port_of(receiver)}/3") as (output, _):
        output.offer(SLOTS)
        packet = receiver.recv(2000)
        assert packet[:8] == b"Art-Net\0" and packet[14:16] == b"\3\0" and packet[18:] == SLOTS
    assert receiver.recv(2000)[18:] == bytes(16)


def test_sacn_multicast_arrives_in_its_group(receiver: socket.socket) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as group:
        group.bind(("239.255.1.2", 0))
        group.settimeout(30.0)
        member = socket.inet_aton("239.255.1.2") + socket.inet_aton("127.0.0.1")
        group.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
        text = f"sacn://multicast:{port_of(group)}/258?interface=127.0.0.1"
        with started(text) as (output, _):
            output.offer(SLOTS)
            assert DataPacket.make_data_packet(group.recv(2000)).universe == 258


def test_a_receiver_that_is_missing_is_reported_once_and_found_later(
    monkeypatch: pytest.MonkeyPatch, receiver: socket.socket
) -> None:
    monkeypatch.setattr(outputs, "RECOVERED_SECONDS", 0.2)
    monkeypatch.setattr(outputs, "MAX_PAUSE", 0.1)
    monkeypatch.setattr(outputs, "MIN_PAUSE", 0.1)
    port = port_of(receiver)
    receiver.close()
    with started(f"artnet://127.0.0.1:{port}/0") as (output, states):
        def failed() -> bool:
            output.offer(SLOTS)
            return output.failures == 1 and output.state == "failed"

        until(failed)
        assert "nothing receives at 127.0.0.1" in output.reason
        for _ in range(100):
            output.offer(SLOTS)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
            again.bind(("127.0.0.1", port))

            def sending() -> bool:
                output.offer(SLOTS)
                return output.state == "sending"

            until(sending)
            assert states == ["failed", "sending"] and output.failures == 1
            assert output.lost > 0


def test_an_os2l_program_receives_and_may_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outputs, "MIN_PAUSE", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(30.0)
        with started(f"os2l://127.0.0.1:{port_of(listener)}") as (output, states):
            for round_ in range(2):
                program, _ = listener.accept()
                until(lambda: output.state == "sending")
                with program, program.makefile() as lines:
                    program.sendall(b'{"evt":"feedback","name":"drop","state":"on"}')
                    output.offer({"evt": "beat", "pos": round_})
                    assert json.loads(lines.readline()) == {"evt": "beat", "pos": round_}

                def noticed(failures: int = round_ + 1) -> bool:
                    output.offer({"evt": "beat"})
                    return output.failures == failures

                until(noticed)
            assert states == ["sending", "failed", "sending", "failed"]


def test_a_program_that_restarts_while_nothing_plays_is_found_again(
    monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outputs, "MIN_PAUSE", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(30.0)
        with started(f"os2l://127.0.0.1:{port_of(listener)}") as (output, states):
            program, _ = listener.accept()
            until(lambda: output.state == "sending")
            program.close()
            with listener.accept()[0] as again, again.makefile() as lines:
                until(lambda: states == ["sending", "failed", "sending"])
                output.offer({"evt": "beat", "pos": 0})
                assert json.loads(lines.readline()) == {"evt": "beat", "pos": 0}


def test_a_program_that_reads_nothing_loses_messages_and_delays_nobody(
    monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outputs, "SEND_SECONDS", 0.2)
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        with started(f"os2l://127.0.0.1:{port_of(listener)}") as (output, _):
            text = "x" * 20000

            def full() -> bool:
                for _ in range(2 * MAX_QUEUE):
                    output.offer({"evt": text})
                return output.lost > 0 and output.failures > 0

            until(full)


def test_a_program_that_announces_itself_is_found() -> None:
    engine = zeroconf.Zeroconf(interfaces=["127.0.0.1"])
    try:
        info = zeroconf.ServiceInfo(
            SERVICE, f"Lights.{SERVICE}", port=4321, parsed_addresses=["127.0.0.1"],
            server="lights-test.local.",
        )  # fmt: skip
        engine.register_service(info)
        assert find_os2l("127.0.0.1", threading.Event(), 30.0) == ("127.0.0.1", 4321)
    finally:
        engine.close()


def test_an_announcement_with_an_impossible_name_is_passed_over() -> None:
    engine = zeroconf.Zeroconf(interfaces=["127.0.0.1"])
    cancelled = threading.Event()

    def announce() -> None:
        while not cancelled.wait(0.2):
            record = zeroconf.DNSPointer(  # type: ignore[attr-defined]
                SERVICE, zeroconf.const._TYPE_PTR, zeroconf.const._CLASS_IN, 120,
                "Another._http._tcp.local.",
            )  # fmt: skip
            made = zeroconf.DNSOutgoing(  # type: ignore[attr-defined]
                zeroconf.const._FLAGS_QR_RESPONSE
            )
            made.add_answer_at_time(record, 0)
            engine.send(made)

    thread = threading.Thread(target=announce)
    thread.start()
    try:
        info = zeroconf.ServiceInfo(
            SERVICE, f"Lights.{SERVICE}", port=4321, parsed_addresses=["127.0.0.1"],
            server="lights-test.local.",
        )  # fmt: skip
        assert find_os2l("127.0.0.1", threading.Event(), 2.0) is None
        engine.register_service(info)
        assert find_os2l("127.0.0.1", threading.Event(), 30.0) == ("127.0.0.1", 4321)
    finally:
        cancelled.set()
        thread.join()
        engine.close()


def test_a_search_can_be_cancelled_and_needs_zeroconf(monkeypatch: pytest.MonkeyPatch) -> None:
    cancelled = threading.Event()
    cancelled.set()
    assert find_os2l("127.0.0.1", cancelled) is None
    monkeypatch.setitem(sys.modules, "zeroconf", None)
    with pytest.raises(OSError, match=re.escape(install_command("zeroconf"))):
        find_os2l("", threading.Event())


def test_an_interface_that_this_machine_does_not_have_is_named() -> None:
    with started("sacn://multicast/1?interface=192.0.2.77") as (output, _):
        until(lambda: output.state == "failed")
        assert output.reason == "this machine has no interface 192.0.2.77"
