"""The messages of the sending process."""

from benchmarks.sender import mixing_messages, wrong_messages
from crowdstream.commands.errors import CommandError
from crowdstream.commands.registry import TABLE
from crowdstream.osc.socket import Malformed, parse


def test_every_mixing_message_is_valid() -> None:
    for packet in mixing_messages(300):
        ((moment, message),) = parse(packet)
        assert moment is None
        command, _ = TABLE.find(message.address)
        command.bind(tuple(message.params))


def test_no_wrong_message_is_carried_out() -> None:
    accepted = []
    for packet in set(wrong_messages(100)):
        try:
            ((_, message),) = parse(packet)
            command, _ = TABLE.find(message.address)
            bound = command.bind(tuple(message.params))
        except (Malformed, CommandError):
            continue
        # Its arguments are valid, but its buffer number belongs to no deck.
        accepted.append(bound)
    assert all(not 100 <= bound.get("id", 0) <= 4099 for bound in accepted)
