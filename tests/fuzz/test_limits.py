"""Commands beyond a limit are refused, counted and reported, and the server recovers."""

from __future__ import annotations

from crowdstream.desk.constants import PENDING
from tests.fuzz.player import Player
from tests.support import osc_reference

LEVELS = osc_reference.message("/deck_levels", [("f", 0.5)] * 4)  # four commands to the engine
TOO_MANY = 100  # messages


def test_commands_beyond_the_heap_are_counted_and_reported() -> None:
    with Player(memory_mb=4) as player:
        player.play(256)
        fits = PENDING // 4
        for number in range(fits + TOO_MANY):
            player.core.handle_packet(LEVELS, ("127.0.0.1", number))
        assert not player.fails(), "the ring has room for all"
        player.play(256)
        assert int(player.desk.ledger["pending_refused"]) == 4 * TOO_MANY
        refused = [sender for sender, address, _ in player.answers.said if address == "/fail"]
        assert refused == [("127.0.0.1", number) for number in range(fits, fits + TOO_MANY)]
        assert set(player.fails()) == {
            "/deck_levels too many commands are waiting in the engine: this one was dropped"
        }
        player.check()
        player.handle(osc_reference.message("/deck_levels", [("f", 0.25)] * 4))
        for _ in range(8):
            player.play(1024)
        player.check()
        assert player.status()["deck.A.level"] == 0.25
        assert int(player.desk.ledger["pending_refused"]) == 4 * TOO_MANY
