"""Consent: patterns, remembered tools, and tickets of questions."""

from __future__ import annotations

import pytest

from crowdstream.mcp.consent import MAX_QUESTIONS, Consent


@pytest.mark.parametrize(
    ("patterns", "address", "allowed"),
    [
        ((), "/deck/A/level", False),
        (("*",), "/mixer_cleanup", True),
        (("/deck/*",), "/deck/A/eq/low", True),
        (("/deck/*/level", "/clock/*"), "/deck/A/eq/low", False),
        (("/deck/*/level", "/clock/*"), "/clock/tempo", True),
        (("/deck",), "/deck/A/level", False),
    ],
)
def test_patterns(patterns: tuple[str, ...], address: str, allowed: bool) -> None:
    assert Consent(patterns).allows("tool", address) == allowed


def test_a_remembered_tool_is_allowed_for_all_addresses() -> None:
    consent = Consent()
    consent.remember("deck_level")
    assert consent.allows("deck_level", "/deck/B/level")
    assert not consent.allows("deck_gain", "/deck/B/gain")


def test_a_ticket_is_valid_once_and_for_its_own_request() -> None:
    consent = Consent()
    ticket = consent.ask("deck_level", {"gain": 0.5, "deck": "A"})
    assert not consent.redeem(ticket + "0", "deck_level", {"deck": "A", "gain": 0.5})
    assert consent.redeem(ticket, "deck_level", {"deck": "A", "gain": 0.5})
    assert not consent.redeem(ticket, "deck_level", {"deck": "A", "gain": 0.5})
    other = consent.ask("deck_level", {"deck": "A"})
    assert not consent.redeem(other, "deck_level", {"deck": "B"})
    assert not consent.redeem(None, "deck_level", {})
    assert not Consent().redeem(consent.ask("x", {}), "x", {})


def test_only_so_many_questions_are_open() -> None:
    consent = Consent()
    tickets = [consent.ask("x", {}) for _ in range(MAX_QUESTIONS + 1)]
    assert not consent.redeem(tickets[0], "x", {})
    assert consent.redeem(tickets[-1], "x", {})
