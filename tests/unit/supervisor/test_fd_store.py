"""The descriptors that control has received and that nothing has taken over."""

from __future__ import annotations

import os
import socket

from crowdstream.supervisor.fd_store import FdStore, receive


def test_a_process_that_nothing_takes_over_loses_its_input() -> None:
    reader, writer = os.pipe()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        socket.send_fds(ours, [b'{"keep": "other", "note": {"pid": 1}}'], [writer])
        socket.send_fds(ours, [b'{"keep": "web", "note": {"pid": 2}}'], [writer])
        ours.send(b'{"deaths": 1, "reason": "signal 9"}')
        os.close(writer)
        store = FdStore(theirs)
        web = store.kept.pop("web")
        store.drop_rest()
        assert store.kept == {}
        assert receive(ours) == ({"drop": "other", "failed": False}, [])
        os.write(web.fds[0], b"x")
        os.close(web.fds[0])
        assert os.read(reader, 2) == b"x" and os.read(reader, 2) == b"", "no copy is left open"
    os.close(reader)
