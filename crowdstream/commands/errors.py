"""What can be wrong with a command, as types a caller can tell apart."""

from __future__ import annotations


class CommandError(ValueError):
    """A command can't be carried out. The message is the reason the sender is told."""


class UnknownAddress(CommandError):
    """No command has this address."""


class BadArgument(CommandError):
    """Wrong number, type or range of arguments."""


class NotLoaded(CommandError):
    """Nothing is loaded where the command needs something."""


class Refused(CommandError):
    """There is no room: no voice, source, queue place or memory left."""


class NotPlaying(CommandError):
    """The deck does not play, and the command is about what plays."""


class NoGrid(CommandError):
    """The command counts in beats, and the track has no beat grid."""
