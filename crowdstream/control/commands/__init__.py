"""The commands themselves, by subject. Importing this package fills the table."""

from crowdstream.control.commands import decks, effects, legacy, server

__all__ = ["decks", "effects", "legacy", "server"]
