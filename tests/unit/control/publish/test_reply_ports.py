"""A client names the port on which it listens if it differs from its source port."""

from __future__ import annotations

from typing import Any

import pytest

from crowdstream.commands.errors import BadArgument
from crowdstream.control.publish.reply_ports import MAX_REPLY_PORTS, ReplyPorts
from tests.support.offline_server import ME, Rig
from tests.unit.control.state.test_snapshotter import RestartableRig

HOME = ("127.0.0.1", 9000)
STRANGER = ("192.0.2.7", 50000)


def received_by(rig: Rig, client: Any) -> list[str]:
    """Addresses of the messages sent to a client."""
    return [said for sender, said, _ in rig.answers.said if sender == client]


def test_replies_and_subscriptions_go_to_the_named_port(rig: Rig, steady: str) -> None:
    rig.send("/notify", 1, 9000)
    for command in (("/changes/subscribe", 1), ("/meters", 10.0), ("/feedback",), ("/status",),
                    ("/nothing",), ("/clock/ticks", 1), ("/deck/A/load", steady),
                    ("/deck/A/play",)):
        rig.send(*command)
    rig.seconds(1.0)
    found = set(received_by(rig, HOME))
    assert {"/done", "/changed", "/meter", "/status.reply", "/fail", "/beat", "/mix/level"} <= found
    assert not received_by(rig, ME)


def test_a_restarted_client_resumes_its_subscriptions(rig: Rig) -> None:
    for port in (50000, 50001, 50002):
        rig.send("/notify", 1, 9000, sender=("127.0.0.1", port))
        rig.send("/changes/subscribe", 1, sender=("127.0.0.1", port))
    assert (len(rig.core.subscribers), len(rig.core.changes.watchers)) == (1, 1)
    rig.send("/mix/level", 0.5, sender=("127.0.0.1", 50002))
    rig.seconds(0.1)
    assert received_by(rig, HOME).count("/changed") == 1


def test_existing_subscriptions_move_to_the_named_port(rig: Rig) -> None:
    rig.send("/notify", 1)
    rig.send("/changes/subscribe", 1)
    rig.send("/notify", 1, 9000)
    rig.send("/notify", 1, 9001)
    rig.core.notify("/event")
    rig.send("/mix/level", 0.5)
    rig.seconds(0.1)
    assert (received_by(rig, ME), received_by(rig, HOME)) == (["/done", "/done"], ["/done"])
    assert received_by(rig, ("127.0.0.1", 9001)) == ["/done", "/event"]


def test_port_0_restores_the_source_port(rig: Rig) -> None:
    rig.send("/notify", 1, 9000)
    rig.send("/notify", 0)
    assert received_by(rig, HOME) == ["/done", "/done"]
    rig.send("/status")
    assert received_by(rig, ME) == ["/status.reply"]
    assert len(rig.core.reply_ports) == 0


def test_a_client_that_leaves_its_port_is_sent_nothing_there(rig: Rig) -> None:
    """It could not end these subscriptions any more: they belong to the port."""
    rig.send("/notify", 1, 9000)
    for address, value in (("/changes/subscribe", 1), ("/feedback", 1), ("/meters", 10.0)):
        rig.send(address, value)
    rig.send("/notify", 0)
    rig.seconds(0.1)
    rig.answers.said.clear()
    rig.send("/mix/level", 0.5)
    rig.seconds(0.2)
    assert received_by(rig, HOME) == []


def test_untrusted_senders_name_no_port_and_nobody_names_another_host(rig: Rig) -> None:
    rig.send("/notify", 1, 9000, sender=STRANGER)
    assert len(rig.core.reply_ports) == 0
    assert {sender for sender, _, _ in rig.answers.said} <= {STRANGER}
    ports = ReplyPorts(57120)
    for host in ("127.0.0.1", "::1", "fe80::1%eth0", "::ffff:10.0.0.1"):
        sender = (host, 50000) if ":" not in host else (host, 50000, 0, 2)
        assert ports.name(sender, 9000) == (host, 9000, *sender[2:])
        assert ports.address_of(sender)[0] == host


@pytest.mark.parametrize("port", [0, 53, 1023, 65536, -1, 57120])
def test_forbidden_ports_are_refused(rig: Rig, port: int) -> None:
    # 57120 is the server's own port: it would execute its own messages.
    rig.send("/notify", 1, port)
    assert "port" in rig.fails()[0]
    assert len(rig.core.reply_ports) == len(rig.core.subscribers) == 0


def test_a_client_on_another_machine_may_name_the_servers_port_number() -> None:
    ports = ReplyPorts(57120)
    assert ports.name(("192.0.2.7", 57120), 57120) == ("192.0.2.7", 57120)
    with pytest.raises(BadArgument):
        ports.name(("192.0.2.7", 50000), 57120)
    with pytest.raises(BadArgument):
        ports.name(None, 9000)


def test_the_number_of_remembered_senders_is_limited() -> None:
    ports = ReplyPorts(57120)
    ports.name(("127.0.0.1", 2000), 9000)
    for port in range(MAX_REPLY_PORTS + 10):
        ports.name(("127.0.0.2", 10000 + port), 9000 + port)
        assert ports.address_of(("127.0.0.1", 2000)) == HOME, "who sends is not forgotten"
    assert len(ports) == MAX_REPLY_PORTS


def test_named_ports_survive_a_restart_of_control() -> None:
    with RestartableRig() as rig:
        rig.send("/notify", 1, 9000)
        rig.note()
        rig.restart_control()
        rig.send("/status")
        assert received_by(rig, HOME) == ["/done", "/status.reply"]
