"""The sending process."""

import socket

from benchmarks.sender import Sender


def test_the_sender_reports_the_number_of_sent_messages() -> None:
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
        received = 0
        try:
            while receiver.recv(65536):
                received += 1
        except BlockingIOError:
            pass
    assert result["sent"] == received == 300
    assert result["seconds"] > 0


def test_the_sender_ends_on_request() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        with Sender(receiver.getsockname()[1], 100.0, 1e9) as sender:
            sender.wait_begun()
            assert sender.result()["sent"] < 1e6
