"""The commands themselves, by subject. Importing this package fills the table."""

from crowdstream.control.commands import decks, legacy, mix, record, server

__all__ = ["decks", "legacy", "mix", "record", "server"]
