"""The sending process."""

import math
import socket

from benchmarks.sender import Sender, mixing_messages, wrong_messages
from crowdstream.control.errors import CommandError
from crowdstream.control.osc import Malformed, parse
from crowdstream.control.table import TABLE


def test_every_mixing_message_is_a_good_one() -> None:
    for packet in mixing_messages(300):
        ((moment, message),) = parse(packet)
        assert moment is None
        command, _ = TABLE.find(message.address)
        command.bind(tuple(message.params))


def test_no_wrong_message_gets_through_unnoticed() -> None:
    accepted = []
    for packet in set(wrong_messages(100)):
        try:
            ((_, message),) = parse(packet)
            command, _ = TABLE.find(message.address)
            bound = command.bind(tuple(message.params))
        except (Malformed, CommandError):
            continue
        # Its arguments are in order: it is the buffer number that belongs to no deck.
        accepted.append(bound)
    assert all(not 100 <= bound.get("id", 0) <= 4099 for bound in accepted)


def test_it_sends_exactly_what_it_says() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        receiver.bind(("127.0.0.1", 0))
        port = receiver.getsockname()[1]
        with Sender(port, 1000.0, 0.3) as sender:
            sender.wait_begun()
            while not sender.finished():
                pass
            result = sender.result()
        receiver.setblocking(False)
        heard = 0
        try:
            while receiver.recv(65536):
                heard += 1
        except BlockingIOError:
            pass
    assert result["sent"] == heard == 300
    assert math.isclose(result["seconds"], 0.3, abs_tol=10.0)


def test_it_ends_when_asked_to() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        with Sender(receiver.getsockname()[1], 100.0, 1e9) as sender:
            sender.wait_begun()
            assert sender.result()["sent"] < 1e6
